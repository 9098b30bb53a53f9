//! The verbs, and how a line is one of them.

use gatepost_smtp::find;

use crate::split;

/// What a command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Helo,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
    Auth,
    StartTls,
}

/// Every verb that isn't simply unknown. Frequent ones first.
const VERBS: &[(&[u8], Verb)] = &[
    (b"RCPT", Verb::Rcpt),
    (b"MAIL", Verb::Mail),
    (b"DATA", Verb::Data),
    (b"EHLO", Verb::Ehlo),
    (b"HELO", Verb::Helo),
    (b"QUIT", Verb::Quit),
    (b"RSET", Verb::Rset),
    (b"STARTTLS", Verb::StartTls),
    (b"AUTH", Verb::Auth),
    (b"NOOP", Verb::Noop),
    (b"VRFY", Verb::Vrfy),
    (b"HELP", Verb::Help),
];

/// Reads a line, its end cut off. A NUL ends it, only a space ends the verb, spaces before the argument mean nothing.
pub(super) fn parse(line: &[u8]) -> (Option<Verb>, &[u8]) {
    let (line, _) = split(line, find::first(0, line).unwrap_or(line.len()));
    let (word, rest) = split(line, find::first(b' ', line).unwrap_or(line.len()));
    let verb = VERBS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, verb)| *verb);
    (verb, skip_spaces(rest))
}

/// What follows leading spaces. A TAB isn't one.
pub(super) fn skip_spaces(text: &[u8]) -> &[u8] {
    split(text, text.iter().take_while(|octet| **octet == b' ').count()).1
}
