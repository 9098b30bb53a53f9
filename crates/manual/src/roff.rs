//! A page for man(1), in the macros of an(7).

use crate::Page;
use crate::block::{Block, Kind, Span, Style};

/// Who all of these pages are from.
const MANUAL: &str = "gatepost";

pub(crate) fn page(page: &Page) -> String {
    let version = env!("CARGO_PKG_VERSION");
    // Without a date: the same source gives the same octets.
    let mut out = format!(
        ".TH {} {} \"\" \"gatepost {version}\" {MANUAL}\n.nh\n.ad l\n.SH NAME\n{} \\- {}\n",
        escape(&page.name.to_uppercase(), Style::Literal),
        page.section,
        escape(page.name, Style::Literal),
        escape(&page.about, Style::Plain),
    );
    let mut depth = 0;
    let mut after_term = false;
    for block in &page.blocks {
        while depth < block.depth {
            out.push_str(if depth > 0 { ".RS\n" } else { "" });
            depth += 1;
        }
        while depth > block.depth {
            depth -= 1;
            out.push_str(if depth > 0 { ".RE\n" } else { "" });
        }
        one(&mut out, block, after_term);
        after_term = block.kind == Kind::Term;
    }
    out
}

fn one(out: &mut String, block: &Block, after_term: bool) {
    let begin = match block.kind {
        Kind::Section => ".SH ",
        Kind::Subsection => ".SS ",
        Kind::Term => ".TP\n",
        Kind::Bullet => ".IP \\(bu 2\n",
        Kind::Paragraph if after_term => "",
        Kind::Paragraph if block.depth > 0 => ".IP\n",
        Kind::Paragraph => ".PP\n",
        Kind::Code if block.depth > 0 => ".IP\n.EX\n",
        Kind::Code => ".PP\n.RS 4\n.EX\n",
    };
    out.push_str(begin);
    match block.kind {
        Kind::Section => out.push_str(&escape(&block.text().to_uppercase(), Style::Plain)),
        // Fonts in the argument of a macro would need quotes around the spaces.
        Kind::Subsection => out.push_str(&escape(&block.text(), Style::Plain)),
        Kind::Code => {
            let lines: Vec<String> = block.text().lines().map(|line| guard(escape(line, Style::Literal))).collect();
            out.push_str(&lines.join("\n"));
        }
        _ => out.push_str(&guard(block.spans.iter().map(span).collect())),
    }
    out.push('\n');
    if block.kind == Kind::Code {
        out.push_str(if block.depth > 0 { ".EE\n" } else { ".EE\n.RE\n" });
    }
}

fn span(span: &Span) -> String {
    let text = escape(&span.text, span.style);
    match span.style {
        Style::Plain => text,
        Style::Literal => format!("\\fB{text}\\fR"),
        Style::Placeholder => format!("\\fI{text}\\fR"),
    }
}

/// A line that begins with one of these would be a request.
fn guard(line: String) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

fn escape(text: &str, style: Style) -> String {
    let literal = style == Style::Literal;
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\(rs"),
            // A hyphen, a quote, a circumflex and a tilde would be typeset, and could not be pasted.
            '-' if literal => out.push_str("\\-"),
            '\'' if literal => out.push_str("\\(aq"),
            '`' if literal => out.push_str("\\(ga"),
            '^' if literal => out.push_str("\\(ha"),
            '~' if literal => out.push_str("\\(ti"),
            c if c.is_ascii() => out.push(c),
            c => out.push_str(&format!("\\[u{:04X}]", u32::from(c))),
        }
    }
    out
}
