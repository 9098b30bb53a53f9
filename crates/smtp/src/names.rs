//! Host names that were looked up, and what a look-up can come to: known, none, or temporary. A failure is never "no name".

use crate::address::{Domain, Rules};
use std::fmt;

/// Longest name, octets (RFC 1035 §2.3.4, less the root's dot and length).
pub const HOST_NAME_MAX: usize = 253;

/// A host name in lower case without a trailing dot, as Postfix accepts one for XCLIENT NAME: letters, digits, hyphens and
/// underscores, labels of at most 63 octets, [`HOST_NAME_MAX`] octets in all, and not only digits and dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// The name in `text`, which may end with a dot. `None`: whoever publishes it, it is no host's name.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b".").unwrap_or(text);
        let rules = Rules { underscores: true, ..Rules::widest(false) };
        // A name like an address would be taken for one in a log and by a backend.
        let numeric = text.iter().all(|octet| octet.is_ascii_digit() || *octet == b'.');
        let named = matches!(Domain::parse(text, &rules), Ok(Domain::Name(_)));
        let text = std::str::from_utf8(text).ok().filter(|_| named && !numeric && text.len() <= HOST_NAME_MAX)?;
        Some(Self(text.to_ascii_lowercase()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a look-up came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Found<T> {
    /// There is this.
    Known(T),
    /// Whoever is responsible says that there is nothing.
    None,
    /// Nobody could say, or not in time. It may be there.
    Temporary,
}

impl<T> Found<T> {
    /// What is known, if anything is.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(known) => Some(known),
            Self::None | Self::Temporary => None,
        }
    }

    /// The same of what `change` makes of it.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::Known(known) => Found::Known(change(known)),
            Self::None => Found::None,
            Self::Temporary => Found::Temporary,
        }
    }
}

/// The names of a client, told apart as Postfix does (XCLIENT `REVERSE_NAME` and `NAME`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientNames {
    /// What its address is said to be called (PTR). Whoever has the address can say anything here.
    pub reverse: Found<HostName>,
    /// That name, when it leads back to the address.
    pub confirmed: Found<HostName>,
}

impl ClientNames {
    /// Of a client whose names could not be looked up, or not yet.
    pub const TEMPORARY: Self = Self { reverse: Found::Temporary, confirmed: Found::Temporary };
    /// Of a client that has none.
    pub const NONE: Self = Self { reverse: Found::None, confirmed: Found::None };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_12_a_host_name_is_one_that_every_backend_takes() {
        let long = format!("{}.test", ["a".repeat(62).as_str(); 4].join("."));
        let label = "b".repeat(64);
        for (text, name) in [
            ("mx.Example.TEST.", Some("mx.example.test")),
            ("localhost", Some("localhost")),
            ("_dmarc.a-b.test", Some("_dmarc.a-b.test")),
            ("1-2-3-4.dsl.test", Some("1-2-3-4.dsl.test")),
            ("192.0.2.1", None),
            ("1.0/25.2.0.192.in-addr.arpa", None),
            ("", None),
            (".", None),
            ("a..b", None),
            ("-a.test", None),
            ("a-.test", None),
            ("a b.test", None),
            ("a\r\nb.test", None),
            ("[192.0.2.1]", None),
            ("bücher.test", None),
            ("a\0.test", None),
            (long.as_str(), None),
            (label.as_str(), None),
        ] {
            assert_eq!(HostName::parse(text.as_bytes()).as_ref().map(HostName::as_str), name, "{text:?}");
        }
    }
}
