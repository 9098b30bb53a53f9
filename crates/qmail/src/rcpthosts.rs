//! rcpthosts and morercpthosts.cdb: the domains that mail is taken for.

use std::io;

use crate::text::domain;

/// Entries of a list, found without regard to ASCII case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    sorted: Vec<Box<[u8]>>,
}

impl Set {
    /// Of these entries.
    #[must_use]
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut sorted: Vec<Box<[u8]>> =
            entries.into_iter().map(|entry| entry.to_ascii_lowercase().into_boxed_slice()).collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// Whether `key` is among them.
    #[must_use]
    pub fn has(&self, key: &[u8]) -> bool {
        let key = key.to_ascii_lowercase();
        self.sorted.binary_search_by(|entry| (**entry).cmp(&key)).is_ok()
    }
}

/// A constant database with keys in lower case.
pub trait Lookup {
    /// Whether it has the key.
    ///
    /// # Errors
    /// It can't be read or is corrupt: the session is told that controls are unreadable, and ends.
    fn contains(&self, key: &[u8]) -> io::Result<bool>;
}

/// What is known of the domains that mail is taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RcptHosts {
    /// No file, and the admin wants it so: any address.
    Any,
    /// These, and those of morercpthosts.cdb. Without entries, only addresses without a domain.
    Only(Set),
}

impl RcptHosts {
    /// Whether mail is taken for `recipient`, by its last `@`; without any it always is. The whole domain is tried, then each
    /// suffix that begins with a dot, in the list and then in `more`.
    ///
    /// # Errors
    /// Those of `more`, which is asked only about what is not in the list.
    pub fn admit(&self, recipient: &[u8], more: Option<&dyn Lookup>) -> io::Result<bool> {
        let Self::Only(set) = self else { return Ok(true) };
        let Some(domain) = domain(recipient) else { return Ok(true) };
        let domain = domain.to_ascii_lowercase();
        let keys = || {
            (0..domain.len())
                .filter_map(|at| domain.get(at..))
                .enumerate()
                .filter(|(at, suffix)| *at == 0 || suffix.starts_with(b"."))
                .map(|(_, suffix)| suffix)
        };
        if keys().any(|key| set.has(key)) {
            return Ok(true);
        }
        let Some(more) = more else { return Ok(false) };
        for key in keys() {
            if more.contains(key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::list;
    use proptest::prelude::*;

    fn hosts(octets: &[u8]) -> RcptHosts {
        let mut warnings = Vec::new();
        RcptHosts::Only(Set::new(list("rcpthosts", octets, &mut warnings).into_iter().map(|(_, entry)| entry)))
    }

    #[test]
    fn a31_to_a41_who_may_be_written_to() {
        type Rows = &'static [(&'static str, bool)];
        let cases: &[(&[u8], Rows)] = &[
            (
                b"example.com",
                &[
                    ("a@EXAMPLE.com", true),
                    ("a@x.example.com", false),
                    ("local", true),
                    ("", true),
                    ("a@example.com.", false),
                    ("a@", false),
                    ("a@b@example.com", true),
                    ("a%x.y@example.com", true),
                    ("ext.example!u@example.com", true),
                    ("u@ext.example", false),
                    ("a@[192.0.2.1]", false),
                ],
            ),
            (
                b".sub.example.com\n",
                &[("a@sub.example.com", false), ("a@y.z.sub.example.com", true), ("a@.sub.example.com", true)],
            ),
            (b".com", &[("a@any.com", true), ("a@com", false)]),
            (b".", &[("a@b.c", false), ("a@b.", true)]),
            (b"", &[("a@b.c", false), ("a", true)]),
            (b"example.com\r\n", &[("a@example.com", false)]),
            (b" example.com\n", &[("a@example.com", false)]),
            (b"x.example\nexample.com", &[("a@example.com", true), ("a@X.example", true)]),
        ];
        for (octets, rows) in cases {
            for (recipient, admitted) in *rows {
                let answer = hosts(octets).admit(recipient.as_bytes(), None).unwrap();
                assert_eq!(answer, *admitted, "{} and {recipient}", octets.escape_ascii());
            }
        }
        assert!(RcptHosts::Any.admit(b"a@b.c", None).unwrap());
    }

    struct Net;
    impl Lookup for Net {
        fn contains(&self, key: &[u8]) -> io::Result<bool> {
            match key {
                b"broken.example" => Err(io::ErrorKind::InvalidData.into()),
                key => Ok(key == b".example.net"),
            }
        }
    }

    #[test]
    fn a83_a73c_morercpthosts_is_asked_after_rcpthosts() {
        let hosts = hosts(b"example.com\n");
        for (recipient, admitted) in [
            (&b"a@X.EXAMPLE.net"[..], Some(true)),
            (b"a@example.net", Some(false)),
            (b"a@example.com", Some(true)),
            (b"a@broken.example", None),
        ] {
            assert_eq!(hosts.admit(recipient, Some(&Net)).ok(), admitted, "{}", recipient.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_octets_upset_it(octets: Vec<u8>, recipient: Vec<u8>) {
            let _ = hosts(&octets).admit(&recipient, Some(&Net));
        }
    }
}
