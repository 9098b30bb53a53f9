//! A page for a terminal.

use crate::Page;
use crate::block::{Block, Kind};

/// Columns of a line.
const WIDTH: usize = 80;
/// Columns by which text stands to the right of its heading or term.
const STEP: usize = 4;

pub(crate) fn page(page: &Page) -> String {
    let title = format!("{}({})", page.name, page.section);
    let mut out = format!("{title}: {}\n", page.about);
    let mut last = Kind::Section;
    for block in &page.blocks {
        let terms = block.kind == Kind::Term && last == Kind::Term;
        let explained = last == Kind::Term && block.kind != Kind::Term;
        if !terms && !explained && !matches!(last, Kind::Subsection) {
            out.push('\n');
        }
        one(&mut out, block);
        last = block.kind;
    }
    out
}

fn one(out: &mut String, block: &Block) {
    let text = block.text();
    let indent = STEP.saturating_mul(block.depth.saturating_add(1));
    match block.kind {
        Kind::Section => out.push_str(&format!("{}\n", text.to_uppercase())),
        Kind::Subsection => out.push_str(&format!("  {text}\n")),
        Kind::Code => {
            for line in text.lines() {
                out.push_str(format!("{:indent$}{line}", "", indent = indent.saturating_add(2)).trim_end());
                out.push('\n');
            }
        }
        Kind::Term => fill(out, &text, indent.saturating_sub(STEP), ""),
        Kind::Bullet => fill(out, &text, indent, "- "),
        Kind::Paragraph => fill(out, &text, indent, ""),
    }
}

/// Words in lines of [`WIDTH`] columns, the first after `mark`.
fn fill(out: &mut String, text: &str, indent: usize, mark: &str) {
    let mut line = format!("{:indent$}{mark}", "");
    let margin = line.len();
    let mut empty = true;
    for word in text.split_whitespace() {
        let longer = line.chars().count().saturating_add(word.chars().count()).saturating_add(1);
        if !empty && longer > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = " ".repeat(margin);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(&line);
    out.push('\n');
}
