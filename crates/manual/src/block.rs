//! A page as blocks: what markdown says, as far as manual pages need it.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    /// To be typed or read literally.
    Literal,
    /// Stands for something else.
    Placeholder,
}

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) style: Style,
    pub(crate) text: String,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Section,
    Subsection,
    Paragraph,
    /// What the paragraphs behind it, one deeper, explain.
    Term,
    /// The first paragraph of an item.
    Bullet,
    /// Lines as they are.
    Code,
}

/// A block of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    /// Lists that it is in; a term is in the list that it begins.
    pub(crate) depth: usize,
    pub(crate) spans: Vec<Span>,
}

impl Block {
    /// All of its text.
    pub(crate) fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }
}

/// What is being read.
struct Reader {
    blocks: Vec<Block>,
    spans: Vec<Span>,
    style: Style,
    depth: usize,
    kind: Kind,
}

impl Reader {
    fn begin(&mut self, kind: Kind) {
        self.end();
        self.kind = kind;
    }

    fn end(&mut self) {
        if !self.spans.is_empty() {
            let spans = std::mem::take(&mut self.spans);
            self.blocks.push(Block { kind: self.kind, depth: self.depth, spans });
            self.kind = Kind::Paragraph;
        }
    }

    fn say(&mut self, style: Style, text: &str) {
        match self.spans.last_mut() {
            Some(last) if last.style == style => last.text.push_str(text),
            _ => self.spans.push(Span { style, text: text.to_owned() }),
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Heading { level: HeadingLevel::H2, .. } => self.begin(Kind::Section),
            Tag::Heading { .. } => self.begin(Kind::Subsection),
            Tag::CodeBlock(_) => self.begin(Kind::Code),
            Tag::DefinitionList | Tag::List(_) => {
                self.end();
                self.depth = self.depth.saturating_add(1);
            }
            Tag::DefinitionListTitle => self.begin(Kind::Term),
            Tag::Item => self.begin(Kind::Bullet),
            Tag::DefinitionListDefinition => self.begin(Kind::Paragraph),
            Tag::Paragraph if self.kind != Kind::Bullet => self.begin(Kind::Paragraph),
            Tag::Strong => self.style = Style::Literal,
            Tag::Emphasis => self.style = Style::Placeholder,
            _ => {}
        }
    }

    fn stop(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::DefinitionList | TagEnd::List(_) => {
                self.end();
                self.depth = self.depth.saturating_sub(1);
            }
            TagEnd::Strong | TagEnd::Emphasis => self.style = Style::Plain,
            TagEnd::Link | TagEnd::Image => {}
            _ => self.end(),
        }
    }
}

/// The blocks of a page.
pub(crate) fn read(markdown: &str) -> Vec<Block> {
    let mut reader =
        Reader { blocks: Vec::new(), spans: Vec::new(), style: Style::Plain, depth: 0, kind: Kind::Paragraph };
    for event in Parser::new_ext(markdown, Options::ENABLE_DEFINITION_LIST) {
        match event {
            Event::Start(tag) => reader.start(&tag),
            Event::End(tag) => reader.stop(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => reader.say(reader.style, &text),
            Event::Code(text) => reader.say(Style::Literal, &text),
            Event::SoftBreak | Event::HardBreak => reader.say(Style::Plain, " "),
            _ => {}
        }
    }
    reader.end();
    reader.blocks
}
