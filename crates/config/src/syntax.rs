//! Text that is no TOML: reported, then blanked out line by line, so that the rest can be read and checked as well.

use crate::fault::{Page, Span, Wrong};
use std::ops::Range;
use toml::de::{DeTable, Error};

/// Faults of syntax reported in one run; more is another kind of file.
const ROUNDS: usize = 20;

const UNQUOTED: &str = "string values must be quoted";
const OPEN_LIST: &str = "missing comma between array elements";

const NO_HEADING: &str = "missing table open";

/// What the parser says first, what to say instead, and what to write.
const SAID: [(&str, &str, &str); 10] = [
    (UNQUOTED, "a text without quotes", "write it in double quotes"),
    ("invalid basic string", "a text that is not closed, or that holds what no text can", "close it with \""),
    ("invalid literal string", "a text that is not closed", "close it with '"),
    ("unclosed array table", "a heading that is not closed", "close it with ]]"),
    ("unclosed table", "a heading that is not closed", "close it with ]"),
    (NO_HEADING, "a bracket that closes nothing", "write a heading as [name]"),
    ("unclosed array", "a list that is not closed", "close it with ]"),
    (OPEN_LIST, "a list that is not closed, or has no comma here", "close it with ], or put a comma between two texts"),
    ("duplicate key", "given twice", "take one out"),
    ("key with no value", "a key without a value", "write key = value"),
];

/// The text of `page`, octet for octet in its place, with spaces for every line that is no TOML. Those are noted.
/// Each is blanked before the next is looked for: what follows from a mistake is not a mistake.
pub(crate) fn mend(page: &mut Page<'_>) -> String {
    let mut text = page.text().to_owned();
    for _ in 0..ROUNDS {
        let (_, errors) = DeTable::parse_recoverable(&text);
        let Some(first) = errors.iter().min_by_key(|error| span_of(error, &text).start) else { break };
        let span = span_of(first, &text);
        page.fault(&span, wording(first.message(), span.is_empty()));
        let lines = spoiled(page, &text, first.message(), &span);
        blank(page, &mut text, lines);
    }
    text
}

/// Where the parser points; to the end of the text when it does not say.
fn span_of(error: &Error, text: &str) -> Span {
    error.span().unwrap_or(text.len()..text.len())
}

fn wording(message: &str, nothing: bool) -> Wrong {
    match SAID.iter().find(|(theirs, ..)| message.starts_with(theirs)) {
        Some((UNQUOTED, ..)) if nothing => Wrong::new("a value is missing", "write one after the ="),
        Some((_, ours, advice)) => Wrong::new(*ours, *advice),
        None => Wrong::new(message, ""),
    }
}

/// The lines that mean nothing any more: that of the mistake, all keys below a heading that is none, all of a list.
fn spoiled(page: &Page<'_>, text: &str, message: &str, span: &Span) -> Range<usize> {
    let at = page.line_of(span.start);
    let line = |n: usize| text.get(page.line_span(n)).unwrap_or_default().trim_start();
    let from_here = |n: &usize| *n < page.lines();
    if message.starts_with(OPEN_LIST) {
        let begins = |n: &usize| line(*n).split_once('=').is_some_and(|(_, value)| value.trim_start().starts_with('['));
        let start = page.line_span(at).start;
        let leads = text.get(start..span.start).is_none_or(|before| before.trim().is_empty());
        if !leads {
            return at..at.saturating_add(1);
        }
        let first = (0..at).rev().find(begins).unwrap_or(at);
        // A new key or heading: the list was to end before it. Anything else is still of the list.
        if line(at).starts_with(|c: char| c == '[' || c.is_ascii_alphabetic()) {
            return first..at;
        }
        let last = (at..).take_while(from_here).find(|n| line(*n).contains(']')).unwrap_or(at);
        return first..last.saturating_add(1);
    }
    let next = at.saturating_add(1);
    if line(at).starts_with('[') || message.starts_with(NO_HEADING) {
        return at..(next..).take_while(from_here).find(|n| line(*n).starts_with('[')).unwrap_or(page.lines());
    }
    at..next
}

fn blank(page: &mut Page<'_>, text: &mut String, lines: Range<usize>) {
    for line in lines {
        let span = page.line_span(line);
        if text.get(span.clone()).is_some() {
            text.replace_range(span.clone(), &" ".repeat(span.len()));
        }
        page.spoil(line);
    }
}
