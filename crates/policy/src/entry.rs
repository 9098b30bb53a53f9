//! An entry of a table: what it covers, and why a text is none.
//!
//! | entry | covers |
//! |---|---|
//! | `user@example.org` | that address |
//! | `@example.org` | every address of that domain |
//! | `@.example.org` | every address of the domains below it |
//! | `example.org`, `.example.org` | for HELO: that name, and all names below |
//! | `/PATTERN/` | what matches: see [`crate::patterns`] |

use crate::patterns::Pattern;
use crate::relay::{DomainFault, check_domain};
use std::fmt;

/// Patterns of one table: each is tried on each address.
pub const PATTERNS_MAX: usize = 100;
/// Octets of one entry.
const ENTRY_MAX: usize = 1024;

/// What the entries of a table stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Addresses.
    Address,
    /// What clients say in HELO and EHLO.
    Helo,
}

/// Why a text is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryFault {
    /// A login, and nothing that it may use.
    Nothing,
    /// No address, no domain after an at sign.
    NoAddress,
    /// The domain in it is none.
    Domain(DomainFault),
    /// A blank or a control character in a name.
    Octet,
    /// The pattern is none.
    Pattern(&'static str),
    /// More than [`PATTERNS_MAX`] patterns.
    Patterns,
    /// Too long, or too many.
    TooLarge,
}

impl fmt::Display for EntryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("a login without an address"),
            Self::NoAddress => f.write_str("no address, no @domain and no /pattern/"),
            Self::Domain(fault) => fault.fmt(f),
            Self::Octet => f.write_str("a blank or control character in a name"),
            Self::Pattern(fault) => write!(f, "the pattern is none: {fault}"),
            Self::Patterns => write!(f, "more than {PATTERNS_MAX} patterns in one table"),
            Self::TooLarge => f.write_str("too long or too many"),
        }
    }
}

impl std::error::Error for EntryFault {}

/// The pattern between slashes.
pub(crate) fn pattern(entry: &[u8]) -> Option<&[u8]> {
    entry.strip_prefix(b"/")?.strip_suffix(b"/")
}

/// Checks an entry.
///
/// # Errors
/// [`EntryFault`].
pub fn check_entry(form: Form, entry: &[u8]) -> Result<(), EntryFault> {
    if entry.len() > ENTRY_MAX {
        return Err(EntryFault::TooLarge);
    }
    if let Some(pattern) = pattern(entry) {
        return Pattern::new(pattern).map(drop).map_err(EntryFault::Pattern);
    }
    if entry.is_empty() || !entry.iter().all(|octet| octet.is_ascii_graphic() || *octet >= 0x80) {
        return Err(if entry.is_empty() { EntryFault::NoAddress } else { EntryFault::Octet });
    }
    if form == Form::Helo {
        return Ok(());
    }
    let at = entry.iter().rposition(|octet| *octet == b'@').ok_or(EntryFault::NoAddress)?;
    let domain = entry.get(at.saturating_add(1)..).unwrap_or_default();
    let all_below = if at == 0 { domain.strip_prefix(b".") } else { None };
    check_domain(all_below.unwrap_or(domain)).map_err(EntryFault::Domain)
}
