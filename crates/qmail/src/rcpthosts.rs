//! rcpthosts and morercpthosts.cdb: the domains that mail is taken for.

use std::io;

use crate::control::Home;
use crate::list::List;
use crate::replies::{self, Reply};
use crate::text::domain;

/// Asked about a domain when rcpthosts, which must be there, has it not.
const MORE: &str = "morercpthosts.cdb";

/// What is known of the domains that mail is taken for.
#[derive(Debug, Clone)]
pub enum RcptHosts {
    /// No file, and the admin wants it so: any address.
    Any,
    /// No file: only addresses without a domain.
    Missing,
    /// Those of this list, and those of morercpthosts.cdb. Without entries, only addresses without a domain.
    Listed(List),
}

impl RcptHosts {
    /// What is said to a recipient that mail is not taken for.
    #[must_use]
    pub fn refusal(&self) -> Reply {
        match self {
            Self::Missing => replies::NO_RCPTHOSTS,
            Self::Any | Self::Listed(_) => replies::NOT_IN_RCPTHOSTS,
        }
    }

    /// Whether mail is taken for `recipient`, by its last `@`; without any it always is. The list is asked about the whole
    /// domain and each suffix that begins with a dot, then the database.
    ///
    /// # Errors
    /// Those of the list; those of the database, which is asked only about what is not in the list.
    pub fn admit(&self, home: &dyn Home, recipient: &[u8]) -> io::Result<bool> {
        let Some(domain) = domain(recipient) else { return Ok(true) };
        let list = match self {
            Self::Any => return Ok(true),
            Self::Missing => return Ok(false),
            Self::Listed(list) => list,
        };
        if list.any(home, |entry| covers(entry, domain))? {
            return Ok(true);
        }
        let Some(more) = home.cdb(MORE)? else { return Ok(false) };
        let domain = domain.to_ascii_lowercase();
        for at in 0..domain.len() {
            let key = domain.get(at..).unwrap_or_default();
            if (at == 0 || key.starts_with(b".")) && more.contains(key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The entry is the domain, or a suffix of it that begins with a dot.
fn covers(entry: &[u8], domain: &[u8]) -> bool {
    let Some(at) = domain.len().checked_sub(entry.len()) else { return false };
    (at == 0 || entry.starts_with(b".")) && domain.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_ucspi::cdb::Lookup;
    use proptest::prelude::*;
    use std::io::Read;

    /// rcpthosts, and perhaps a database.
    #[derive(Debug)]
    struct Files<'a>(&'a [u8], bool);

    impl Home for Files<'_> {
        fn read(&self, _: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(None)
        }

        fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
            assert_eq!(name, "rcpthosts");
            Ok(Some(Box::new(self.0)))
        }

        fn cdb(&self, name: &str) -> io::Result<Option<Box<dyn Lookup + '_>>> {
            assert_eq!(name, MORE);
            Ok(self.1.then(|| Box::new(Net) as Box<dyn Lookup>))
        }

        fn exists(&self, _: &str) -> bool {
            true
        }
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

    fn admit(octets: &[u8], more: bool, recipient: &[u8]) -> Option<bool> {
        let files = Files(octets, more);
        let list = List::find(&files, "rcpthosts", "rcpthosts", &mut Vec::new(), &mut |_, _| {}).unwrap().unwrap();
        RcptHosts::Listed(list).admit(&files, recipient).ok()
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
                let answer = admit(octets, false, recipient.as_bytes());
                assert_eq!(answer, Some(*admitted), "{} and {recipient}", octets.escape_ascii());
            }
        }
        assert!(RcptHosts::Any.admit(&Files(b"", false), b"a@b.c").unwrap());
        assert!(!RcptHosts::Missing.admit(&Files(b"", true), b"a@b.example.net").unwrap());
        assert!(RcptHosts::Missing.admit(&Files(b"", true), b"local").unwrap());
    }

    #[test]
    fn a83_a73c_morercpthosts_is_asked_after_rcpthosts() {
        for (recipient, admitted) in [
            (&b"a@X.EXAMPLE.net"[..], Some(true)),
            (b"a@example.net", Some(false)),
            (b"a@example.com", Some(true)),
            (b"a@broken.example", None),
        ] {
            assert_eq!(admit(b"example.com\n", true, recipient), admitted, "{}", recipient.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_octets_upset_it(octets: Vec<u8>, recipient: Vec<u8>) {
            let _ = admit(&octets, true, &recipient);
        }
    }
}
