//! How qmail reads a control file: a line or a number (a list: [`crate::list`]), with every quirk that a grown installation may
//! depend on. What is surely not what the admin meant is told as a [`Warning`]; it never changes the result.

use std::fmt;
use std::io;

use crate::replies::{self, Reply};
use crate::text::{digits, shown};
use gatepost_ucspi::cdb::Lookup;

/// The files of qmail's `control` directory.
pub trait Home: fmt::Debug {
    /// The octets of `control/NAME`, a small file; `None` when there is no such file.
    ///
    /// # Errors
    /// Whatever else keeps it from being read. The caller fails closed on it, as qmail-smtpd does.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// `control/NAME`, a file of any size, from its beginning; `None` when there is no such file.
    ///
    /// # Errors
    /// As [`Home::read`].
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn io::Read + '_>>>;

    /// The constant database `control/NAME`; `None` when there is no such file.
    ///
    /// # Errors
    /// As [`Home::read`].
    fn cdb(&self, name: &str) -> io::Result<Option<Box<dyn Lookup + '_>>>;

    /// Whether `control/NAME` can be stat'ed. For files that only have to be there, such as a certificate.
    fn exists(&self, name: &str) -> bool;
}

/// A control file that is there and can't be used: ours to mend, not the client's. Its [`reply`](Self::reply) takes the place
/// of the greeting.
#[derive(Debug)]
pub enum ControlError {
    /// Reading failed otherwise than with "no such file".
    Unreadable {
        /// Name below `control/`.
        file: &'static str,
        /// Why.
        error: io::Error,
    },
    /// Neither `smtpgreeting` nor `me`.
    NoGreeting,
}

impl ControlError {
    /// What the client is told before the connection is closed.
    #[must_use]
    pub fn reply(&self) -> Reply {
        replies::CONTROLS
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => write!(f, "control/{file}: {error}"),
            Self::NoGreeting => {
                f.write_str("control/me: missing, and control/smtpgreeting too; write the host name into me")
            }
        }
    }
}

impl std::error::Error for ControlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { error, .. } => Some(error),
            Self::NoGreeting => None,
        }
    }
}

/// Something in a control file or a variable that hardly anyone means. Displayed as file, what, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Lines end in CR LF; CR belongs to the value.
    CarriageReturn {
        /// Name below `control/`.
        file: &'static str,
    },
    /// An entry that begins with a blank matches nothing.
    LeadingBlank {
        /// Name below `control/`.
        file: &'static str,
        /// From 1.
        line: usize,
    },
    /// A line longer than [`crate::list::LINE_MAX`] octets.
    LongLine {
        /// Name below `control/`.
        file: &'static str,
        /// From 1.
        line: usize,
    },
    /// An entry of badmailfrom that the qregex patch would read as a pattern.
    NoPattern {
        /// From 1.
        line: usize,
    },
    /// No digit at the start; the default is kept.
    NotANumber {
        /// Name below `control/`.
        file: &'static str,
        /// What holds instead.
        kept: u32,
    },
    /// A number and something after it.
    TrailingText {
        /// Name below `control/`.
        file: &'static str,
        /// What holds.
        used: u32,
    },
    /// A number beyond 32 bits.
    Wrapped {
        /// Name below `control/`.
        file: &'static str,
        /// What holds.
        used: u32,
    },
    /// A variable that should be a number and isn't.
    Variable {
        /// The variable.
        name: &'static str,
        /// What holds instead.
        kept: u32,
    },
    /// A variable that begins with a number and goes on otherwise.
    VariableText {
        /// The variable.
        name: &'static str,
        /// What holds.
        used: u32,
    },
    /// A name that begins like a switch and is none.
    NoSwitch {
        /// The variable, cleaned.
        name: String,
    },
    /// A switch with a value that it doesn't know.
    Switch {
        /// The variable.
        name: &'static str,
        /// Its value, cleaned.
        value: String,
    },
    /// A pattern that is no POSIX extended regular expression; it is passed over.
    Pattern {
        /// Name below `control/`.
        file: &'static str,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A line of `smtpplugins` that is passed over.
    Plugin {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No rcpthosts.
    NoRcpthosts {
        /// Whether all mail is accepted, as qmail-smtpd would.
        open: bool,
    },
}

/// Where an admin finds the switches.
const TABLE: &str = "see the table in examples/qmail/README.md";

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CarriageReturn { file } => {
                write!(f, "control/{file}: lines end in CR LF and the CR counts; save it with LF alone")
            }
            Self::LeadingBlank { file, line } => {
                write!(f, "control/{file}: line {line} begins with a blank and matches nothing; remove the blank")
            }
            Self::LongLine { file, line } => {
                write!(f, "control/{file}: line {line} is longer than any address and matches nothing; cut it")
            }
            Self::NoPattern { line } => write!(
                f,
                "control/badmailfrom: line {line} looks like a pattern and is compared as an address, as qmail-smtpd does; if it \
                 is for the qregex patch, set GATEPOST_QREGEX"
            ),
            Self::NotANumber { file, kept } => {
                write!(
                    f,
                    "control/{file}: does not begin with a digit, {kept} holds; write a number or remove the file"
                )
            }
            Self::TrailingText { file, used } => {
                write!(f, "control/{file}: text after the number is not read, {used} holds; write the number alone")
            }
            Self::Wrapped { file, used } => {
                write!(f, "control/{file}: more than 32 bits, {used} holds; write a number below 4294967295")
            }
            Self::Variable { name, kept } => {
                write!(f, "{name}: does not begin with a digit, {kept} holds; give it a number or unset it")
            }
            Self::Switch { name, value } => {
                write!(f, "{name}: `{value}` is not known and not heeded; {TABLE}")
            }
            Self::VariableText { name, used } => {
                write!(f, "{name}: text after the number is not read, {used} holds; give it the number alone")
            }
            Self::NoSwitch { name } => write!(f, "{name}: there is no such switch; {TABLE}"),
            Self::Pattern { file, line, why } => {
                write!(f, "control/{file}: line {line} is passed over, {why}; mend the pattern")
            }
            Self::Plugin { line, why } => {
                write!(f, "control/smtpplugins: line {line} is passed over, {why}; mend the line")
            }
            Self::NoRcpthosts { open: true } => f.write_str(
                "control/rcpthosts: missing, mail to any domain is accepted (GATEPOST_OPENRELAY); write the file",
            ),
            Self::NoRcpthosts { open: false } => f.write_str(
                "control/rcpthosts: missing, mail to any domain is put off with 451; write the file, or set GATEPOST_OPENRELAY",
            ),
        }
    }
}

/// *line*: the first line, without blanks at its end. CR stays, leading blanks stay, nothing is a comment; an empty file is
/// an empty value.
#[must_use]
pub fn line<'a>(file: &'static str, octets: &'a [u8], warnings: &mut Vec<Warning>) -> &'a [u8] {
    let first = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let value = trimmed(first);
    if value.ends_with(b"\r") {
        warnings.push(Warning::CarriageReturn { file });
    }
    value
}

/// *int*: digits at the very start of the first line, in 32 bits. Without any, `default`.
#[must_use]
pub fn int(file: &'static str, octets: &[u8], default: u32, warnings: &mut Vec<Warning>) -> u32 {
    let mut unheeded = Vec::new();
    let value = line(file, octets, &mut unheeded);
    let (number, count, wrapped) = digits(value);
    if count == 0 {
        warnings.push(Warning::NotANumber { file, kept: default });
        return default;
    }
    if wrapped {
        warnings.push(Warning::Wrapped { file, used: number });
    } else if value.len() > count {
        warnings.push(Warning::TrailingText { file, used: number });
    }
    number
}

/// A number from a variable, by the same prefix rule. `None` when the variable is unset or has no digit in front, which is
/// warned of with what holds instead.
#[must_use]
pub fn variable(name: &'static str, value: Option<&[u8]>, kept: u32, warnings: &mut Vec<Warning>) -> Option<u32> {
    match digits(value?) {
        (_, 0, _) => {
            warnings.push(Warning::Variable { name, kept });
            None
        }
        (used, count, _) => {
            if value?.len() > count {
                warnings.push(Warning::VariableText { name, used });
            }
            Some(used)
        }
    }
}

/// A warning about a switch, with its hostile value cleaned.
pub(crate) fn odd_switch(name: &'static str, value: &[u8]) -> Warning {
    Warning::Switch { name, value: shown(value, 40) }
}

pub(crate) fn trimmed(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|octet| !matches!(octet, b' ' | b'\t')).map_or(0, |last| last.saturating_add(1));
    line.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn line_rules() {
        for (octets, value, warned) in [
            (&b"mx.example.org\n"[..], &b"mx.example.org"[..], false),
            (b"hello.example ready to go  \t\nsecond", b"hello.example ready to go", false),
            (b"  kept", b"  kept", false),
            (b"", b"", false),
            (b"\n\nx", b"", false),
            (b"#no comment", b"#no comment", false),
            (b"host.x hi\r\n", b"host.x hi\r", true),
        ] {
            let mut warnings = Vec::new();
            assert_eq!(line("smtpgreeting", octets, &mut warnings), value);
            assert_eq!(!warnings.is_empty(), warned, "{}", octets.escape_ascii());
        }
    }

    #[test]
    fn a73_int_rules() {
        let none = Warning::NotANumber { file: "databytes", kept: 7 };
        for (octets, value, warning) in [
            (&b"10"[..], 10, None),
            (b"10\n99\n", 10, None),
            (b"10  \n", 10, None),
            (b"10 bytes", 10, Some(Warning::TrailingText { file: "databytes", used: 10 })),
            (b"10\r\n", 10, Some(Warning::TrailingText { file: "databytes", used: 10 })),
            (b"0x10", 0, Some(Warning::TrailingText { file: "databytes", used: 0 })),
            (b"4294967306", 10, Some(Warning::Wrapped { file: "databytes", used: 10 })),
            (b"4294967296", 0, Some(Warning::Wrapped { file: "databytes", used: 0 })),
            (b"-5", 7, Some(none.clone())),
            (b"+10", 7, Some(none.clone())),
            (b" 10", 7, Some(none.clone())),
            (b"abc", 7, Some(none.clone())),
            (b"", 7, Some(none)),
        ] {
            let mut warnings = Vec::new();
            assert_eq!(int("databytes", octets, 7, &mut warnings), value, "{}", octets.escape_ascii());
            assert_eq!(warnings, Vec::from_iter(warning));
        }
    }

    proptest! {
        #[test]
        fn no_octets_upset_the_rules(octets: Vec<u8>) {
            let mut warnings = Vec::new();
            let _ = line("me", &octets, &mut warnings);
            let _ = int("databytes", &octets, 0, &mut warnings);
        }
    }
}
