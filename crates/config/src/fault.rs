//! Faults and how they are shown.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Octets of TOML or of a list, from the first to past the last.
pub(crate) type Span = Range<usize>;

/// Faults kept of one run; more are counted only. A wrong file of domains has one a line.
const KEPT: usize = 100;
/// Characters of a source line that are shown.
const WINDOW: usize = 100;
/// Characters of a sentence that are shown.
const SENTENCE: usize = 400;

/// What is wrong with a value, in words that can follow its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) advice: String,
}

impl Wrong {
    pub(crate) fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into() }
    }
}

/// One mistake: where, what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    file: PathBuf,
    place: Option<Place>,
    wrong: Wrong,
}

/// Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    /// The source line, or a window of it, without control characters; none when something is missing altogether.
    shown: Option<Shown>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    text: String,
    indent: usize,
    carets: usize,
}

impl Fault {
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "write the file, which gatepost init does, or name another by --config",
            io::ErrorKind::PermissionDenied => "start as a user who may read it",
            io::ErrorKind::IsADirectory => "name the file, not its directory",
            _ => "",
        };
        Self::of_file(path, Wrong::new(format!("cannot be read: {error}"), advice))
    }

    /// Something about all of a file.
    pub(crate) fn of_file(path: &Path, wrong: Wrong) -> Self {
        Self { file: path.to_owned(), place: None, wrong }
    }

    /// The file it is in.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Line and column, both from 1; none when the file could not be read.
    #[must_use]
    pub fn position(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }

    /// What is wrong.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.wrong.what
    }

    /// What to write instead; may be empty.
    #[must_use]
    pub fn advice(&self) -> &str {
        &self.wrong.advice
    }
}

impl fmt::Display for Fault {
    /// Ends without a line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        let mut gutter = 1;
        if let Some(place) = &self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
            gutter = place.line.to_string().len();
        }
        write!(f, " {}", printable(&self.wrong.what))?;
        if let Some(Place { line, shown: Some(shown), .. }) = &self.place {
            write!(f, "\n{:gutter$} |\n{line} | {}", "", shown.text)?;
            write!(
                f,
                "\n{:gutter$} | {:indent$}{:^<carets$}",
                "",
                "",
                "",
                indent = shown.indent,
                carets = shown.carets
            )?;
        }
        if self.wrong.advice.is_empty() {
            Ok(())
        } else {
            write!(f, "\n{:gutter$} = {}", "", printable(&self.wrong.advice))
        }
    }
}

/// Every fault that was found: one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    kept: Vec<Fault>,
    more: usize,
}

impl Faults {
    /// The faults, in the order of the text. At most 100: [`Faults::more`] counts the rest.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.kept.iter()
    }

    /// Faults beyond those kept.
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self { kept: vec![fault], more: 0 }
    }
}

impl fmt::Display for Faults {
    /// One after the other, an empty line between them, ends with a line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.kept.iter().enumerate() {
            let gap = if index > 0 { "\n" } else { "" };
            writeln!(f, "{gap}{fault}")?;
        }
        if self.more > 0 { writeln!(f, "\nand {} more", self.more) } else { Ok(()) }
    }
}

impl std::error::Error for Faults {}

/// A text with its path, and what was found wrong in it and in the files it names.
#[derive(Debug)]
pub(crate) struct Page<'t> {
    path: &'t Path,
    text: &'t str,
    /// Offset of each line's first octet.
    starts: Vec<usize>,
    /// With its offset here, to sort by.
    found: Vec<(usize, Fault)>,
    more: usize,
    /// Lines, from 0, that are no TOML.
    broken: BTreeSet<usize>,
}

impl<'t> Page<'t> {
    pub(crate) fn new(path: &'t Path, text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at.saturating_add(1));
        let starts = std::iter::once(0).chain(breaks).collect();
        Self { path, text, starts, found: Vec::new(), more: 0, broken: BTreeSet::new() }
    }

    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// Notes a fault at `span`, unless its line is no TOML anyway.
    pub(crate) fn fault(&mut self, span: &Span, wrong: Wrong) {
        if self.broken.contains(&self.line_of(span.start)) {
            return;
        }
        let fault = Fault { file: self.path.to_owned(), place: Some(self.place(span)), wrong };
        self.keep(span.start, fault);
    }

    /// Remembers that a line is no TOML, so that nothing more is said of it.
    pub(crate) fn spoil(&mut self, line: usize) {
        self.broken.insert(line);
    }

    /// Notes that something is missing: at `span`, or altogether. What is missing may stand in a line that is no TOML,
    /// so nothing is noted when there is one.
    pub(crate) fn lack(&mut self, span: Option<&Span>, wrong: Wrong) {
        match span {
            _ if !self.broken.is_empty() => {}
            Some(span) => self.fault(span, wrong),
            None => {
                let place = Place { line: 1, column: 1, shown: None };
                self.keep(0, Fault { file: self.path.to_owned(), place: Some(place), wrong });
            }
        }
    }

    /// Takes over what was found in a file that this text names at `span`.
    pub(crate) fn adopt(&mut self, span: &Span, other: Faults) {
        self.more = self.more.saturating_add(other.more);
        for fault in other.kept {
            self.keep(span.start, fault);
        }
    }

    fn keep(&mut self, at: usize, fault: Fault) {
        if self.found.len() < KEPT { self.found.push((at, fault)) } else { self.more = self.more.saturating_add(1) }
    }

    /// The number, from 0, of the line that holds the octet `at`.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// The octets of a line, its break excluded; empty for a line that is not there.
    pub(crate) fn line_span(&self, line: usize) -> Span {
        let start = self.starts.get(line).copied().unwrap_or(self.text.len());
        let next = line.checked_add(1).and_then(|next| self.starts.get(next));
        start..next.map_or(self.text.len(), |next| next.saturating_sub(1))
    }

    /// Number of lines.
    pub(crate) fn lines(&self) -> usize {
        self.starts.len()
    }

    fn place(&self, span: &Span) -> Place {
        let line = self.line_of(span.start);
        let start = self.line_span(line).start;
        let source = self.text.get(self.line_span(line)).unwrap_or_default().trim_end_matches('\r');
        // Spans come from a parser of ours and of others; one that cuts a character counts up to that character.
        let chars = |end: usize| source.char_indices().take_while(|(at, _)| start.saturating_add(*at) < end).count();
        let column = chars(span.start);
        let width = chars(span.end).saturating_sub(column);
        Place {
            line: line.saturating_add(1),
            column: column.saturating_add(1),
            shown: Some(show(source, column, width)),
        }
    }

    /// Everything found, in the order of the text; `None` when there is nothing.
    pub(crate) fn into_faults(mut self) -> Option<Faults> {
        self.found.sort_by_key(|(at, _)| *at);
        let kept: Vec<Fault> = self.found.into_iter().map(|(_, fault)| fault).collect();
        (!kept.is_empty()).then_some(Faults { kept, more: self.more })
    }
}

/// The part of a line that holds `width` characters from `column` on, each as one printable character, so that a tab
/// does not move the carets and a control sequence does not reach a terminal.
fn show(source: &str, column: usize, width: usize) -> Shown {
    let length = source.chars().count();
    let first = if length <= WINDOW { 0 } else { column.saturating_sub(WINDOW / 2) };
    let text: String = source.chars().skip(first).take(WINDOW).map(shown_as).collect();
    let indent = column.saturating_sub(first);
    let room = WINDOW.saturating_sub(indent).max(1);
    Shown { text: text.trim_end().to_owned(), indent, carets: width.clamp(1, room) }
}

fn shown_as(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// A sentence that quotes a value of any length and content.
fn printable(sentence: &str) -> String {
    let mut shown: String = sentence.chars().take(SENTENCE).map(shown_as).collect();
    if sentence.chars().nth(SENTENCE).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The text in `bytes`.
pub(crate) fn utf8<'b>(bytes: &'b [u8], path: &Path) -> Result<&'b str, Faults> {
    std::str::from_utf8(bytes).map_err(|error| {
        let (good, bad) = bytes.split_at_checked(error.valid_up_to()).unwrap_or((bytes, &[]));
        // Good up to here, by the word of the error itself; the bad octet stands in as one that can be shown.
        let mut text = String::from_utf8_lossy(good).into_owned();
        let span = text.len()..text.len().saturating_add(1);
        text.push(char::REPLACEMENT_CHARACTER);
        let octet = bad.first().map_or(String::new(), |b| format!(" {b:#04x}"));
        let wrong = Wrong::new(format!("the octet{octet} is no UTF-8"), "save the file as UTF-8");
        let mut page = Page::new(path, &text);
        page.fault(&span, wrong.clone());
        page.into_faults().unwrap_or_else(|| Fault { file: path.to_owned(), place: None, wrong }.into())
    })
}
