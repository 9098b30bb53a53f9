//! One command line of LMTP: RFC 5321 §4.1 with the one verb that RFC 2033 §4.1 replaces.

use crate::replies::{self, Reply};
use gatepost_smtp::address::{BadAddress, ForwardPath, ReversePath, split_brackets};
use gatepost_smtp::verbs::Argument;

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Lhlo,
    Mail { reverse_path: ReversePath, smtputf8: bool },
    Rcpt(ForwardPath),
    Data,
    Rset,
    Noop,
    Vrfy,
    Quit,
}

type Parse = fn(&[u8], bool) -> Result<Command, Reply>;

/// Every verb that is served: its name, what may follow, how it is read. HELO and EHLO are not: an LMTP server must not
/// be taken for an SMTP one (RFC 2033 §4.1).
const VERBS: &[(&str, Argument, Parse)] = &[
    ("LHLO", Argument::Required, |_, _| Ok(Command::Lhlo)),
    ("MAIL", Argument::Required, |argument, _| mail(argument)),
    ("RCPT", Argument::Required, rcpt),
    ("DATA", Argument::Absent, |_, _| Ok(Command::Data)),
    ("RSET", Argument::Absent, |_, _| Ok(Command::Rset)),
    ("NOOP", Argument::Any, |_, _| Ok(Command::Noop)),
    ("VRFY", Argument::Required, |_, _| Ok(Command::Vrfy)),
    ("QUIT", Argument::Absent, |_, _| Ok(Command::Quit)),
];

impl Command {
    /// Reads a line without its CRLF. `smtputf8`: the transaction's MAIL asked for it.
    ///
    /// # Errors
    /// The reply that refuses it.
    pub(crate) fn parse(line: &[u8], smtputf8: bool) -> Result<Self, Reply> {
        let line = line.trim_ascii_end();
        let end = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
        let (word, argument) = line.split_at_checked(end).unwrap_or((line, &[]));
        let argument = argument.trim_ascii_start();
        let (_, takes, parse) =
            VERBS.iter().find(|(name, ..)| name.as_bytes().eq_ignore_ascii_case(word)).ok_or(replies::UNKNOWN_VERB)?;
        if takes.permits(argument) { parse(argument, smtputf8) } else { Err(replies::BAD_ARGUMENT) }
    }
}

/// Cuts `FROM:<path> parameters` into path and parameters.
fn path<'l>(argument: &'l [u8], prefix: &str) -> Option<(&'l [u8], impl Iterator<Item = &'l [u8]>)> {
    let (word, text) = argument.split_at_checked(prefix.len())?;
    let (path, rest) = split_brackets(text.trim_ascii_start())?;
    let clean = word.eq_ignore_ascii_case(prefix.as_bytes()) && (rest.is_empty() || rest.starts_with(b" "));
    clean.then(|| (path, rest.split(|octet| *octet == b' ').filter(|word| !word.is_empty())))
}

fn mail(argument: &[u8]) -> Result<Command, Reply> {
    let (path, parameters) = path(argument, "FROM:").ok_or(replies::BAD_ARGUMENT)?;
    let mut smtputf8 = false;
    for parameter in parameters {
        match parameter.to_ascii_uppercase().as_slice() {
            b"SMTPUTF8" => smtputf8 = true,
            // Content passes as it comes, and how large it may be only the disk knows.
            b"BODY=7BIT" | b"BODY=8BITMIME" => {}
            size if size.strip_prefix(b"SIZE=").is_some_and(is_number) => {}
            _ => return Err(replies::BAD_PARAMETER),
        }
    }
    match ReversePath::parse(path, smtputf8) {
        Ok(reverse_path) => Ok(Command::Mail { reverse_path, smtputf8 }),
        Err(BadAddress::NotAscii) => Err(replies::NOT_ASCII),
        Err(_) => Err(replies::BAD_SENDER),
    }
}

fn is_number(text: &[u8]) -> bool {
    // RFC 1870 §4: twenty digits.
    (1..=20).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

fn rcpt(argument: &[u8], smtputf8: bool) -> Result<Command, Reply> {
    let (path, mut parameters) = path(argument, "TO:").ok_or(replies::BAD_ARGUMENT)?;
    if parameters.next().is_some() {
        return Err(replies::BAD_PARAMETER);
    }
    match ForwardPath::parse(path, smtputf8) {
        Ok(forward_path) => Ok(Command::Rcpt(forward_path)),
        Err(BadAddress::NotAscii) => Err(replies::NOT_ASCII),
        Err(_) => Err(replies::BAD_RECIPIENT),
    }
}
