//! What patches ask of each recipient beside rcpthosts: badrcptto is a pattern list; here are validrcptto with brtlimit, maxrcpt
//! and the tarpit.

use std::io;
use std::ops::ControlFlow;

use crate::control::Home;
use crate::list::List;
use crate::replies::{self, Reply};

/// Asked beside validrcptto.
const MORE: &str = "morevalidrcptto.cdb";

/// validrcptto: whole addresses, and `@host` for all of a host; with `-` in front not those. In the file, in
/// morevalidrcptto.cdb, or in both.
#[derive(Debug, Clone)]
pub struct ValidRcptTo {
    /// The file, if there is one.
    list: Option<List>,
    /// The database was there when the connection began.
    more: bool,
}

impl ValidRcptTo {
    /// With this list; `None` when there is neither it nor the database.
    #[must_use]
    pub fn new(home: &dyn Home, list: Option<List>) -> Option<Self> {
        let more = home.exists(MORE);
        (list.is_some() || more).then_some(Self { list, more })
    }

    /// Whether `recipient` is known here. The address counts before its denial, that before the host, that before its denial;
    /// who is not listed at all is not known. An address without a domain can only be listed whole.
    ///
    /// # Errors
    /// Those of the list and of the database; NotFound when one has gone since the connection began.
    pub fn knows(&self, home: &dyn Home, recipient: &[u8]) -> io::Result<bool> {
        let whole = recipient.to_ascii_lowercase();
        let host = gatepost_smtp::find::last(b'@', &whole).and_then(|at| whole.get(at..));
        let keys = [Some(whole.as_slice()), host].into_iter().flatten();
        let mut keys: Vec<_> = keys
            .flat_map(|key| [(key.to_vec(), true), ([b"-", key].concat(), false)])
            .map(|key| (key, false))
            .collect();
        if let Some(list) = &self.list {
            list.each(home, &mut |entry| {
                for ((key, _), found) in &mut keys {
                    *found |= key.eq_ignore_ascii_case(entry);
                }
                ControlFlow::Continue(())
            })?;
        }
        let more = if self.more { Some(home.cdb(MORE)?.ok_or(io::ErrorKind::NotFound)?) } else { None };
        for ((key, known), found) in keys {
            if found || more.as_ref().map_or(Ok(false), |more| more.contains(&key))? {
                return Ok(known);
            }
        }
        Ok(false)
    }
}

/// A refusal of a recipient, and whether the connection ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is said.
    pub reply: Reply,
    /// Whether it is the last reply.
    pub close: bool,
}

/// brtlimit: how many unknown recipients a session may try.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unknown {
    seen: u32,
}

impl Unknown {
    /// One more. The first beyond `limit` ends the session; 0 is no limit.
    pub fn refuse(&mut self, limit: u32) -> Refusal {
        let close = limit != 0 && self.seen >= limit;
        self.seen = self.seen.saturating_add(1);
        Refusal { reply: if close { replies::TOO_MANY_INVALID } else { replies::NOT_VALID_RCPTTO }, close }
    }
}

/// maxrcpt: what is said to one more recipient when the message already has `taken`; 0 is no limit.
#[must_use]
pub fn max_rcpt(taken: u32, limit: u32) -> Option<Reply> {
    (limit != 0 && taken >= limit).then_some(replies::MAX_RCPT)
}

/// tarpitcount and tarpitdelay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tarpit {
    /// Recipients of a message that are granted at once; 0 turns it off.
    pub count: u32,
    /// Seconds that each past those waits.
    pub delay: u32,
}

impl Default for Tarpit {
    fn default() -> Self {
        Self { count: 0, delay: 5 }
    }
}

impl Tarpit {
    /// Seconds to wait before one more recipient is granted to a message that already has `taken`.
    #[must_use]
    pub fn wait(self, taken: u32) -> u32 {
        if self.count != 0 && taken >= self.count { self.delay } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use gatepost_ucspi::cdb::Lookup;
    use std::io::Read;

    /// validrcptto and its database, where they are there.
    #[derive(Debug, Clone, Copy)]
    struct Files(Option<&'static [u8]>, bool);

    impl Home for Files {
        fn read(&self, _: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(None)
        }

        fn open(&self, _: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
            Ok(self.0.map(|octets| Box::new(octets) as Box<dyn Read>))
        }

        fn cdb(&self, _: &str) -> io::Result<Option<Box<dyn Lookup + '_>>> {
            Ok(self.1.then(|| Box::new(Cdb) as Box<dyn Lookup>))
        }

        fn exists(&self, name: &str) -> bool {
            name == MORE && self.1
        }
    }

    struct Cdb;
    impl Lookup for Cdb {
        fn contains(&self, key: &[u8]) -> io::Result<bool> {
            Ok(key == b"c@cdb.example")
        }
    }

    fn valid(files: Files) -> Option<ValidRcptTo> {
        let list = List::find(&files, "validrcptto", "validrcptto", &mut Vec::new(), &mut |_, _| {});
        ValidRcptTo::new(&files, list.unwrap())
    }

    #[test]
    fn validrcptto_knows_addresses_and_hosts() {
        let files = Files(
            Some(b"Jo@example.com\n@all.example\nroot\n-old@all.example\nkept@none.example\n-@none.example\n"),
            true,
        );
        for (recipient, known) in [
            ("jo@EXAMPLE.com", true),
            ("xjo@example.com", false),
            ("any@all.example", true),
            ("any@sub.all.example", false),
            ("C@cdb.example", true),
            ("local", false),
            ("root", true),
            ("old@all.example", false),
            ("kept@none.example", true),
            ("other@none.example", false),
        ] {
            assert_eq!(valid(files).unwrap().knows(&files, recipient.as_bytes()).unwrap(), known, "{recipient}");
        }
    }

    #[test]
    fn issue_10_a_table_that_has_gone_refuses_nobody_for_good() {
        for there in [Files(Some(b"a@b"), false), Files(None, true), Files(Some(b"a@b"), true)] {
            let gone = valid(there).unwrap().knows(&Files(None, false), b"a@b");
            assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::NotFound, "{there:?}");
        }
        assert!(valid(Files(None, false)).is_none());
    }

    #[test]
    fn brtlimit_ends_the_session() {
        let mut unknown = Unknown::default();
        assert!(!unknown.refuse(2).close);
        assert_eq!(unknown.refuse(2), Refusal { reply: replies::NOT_VALID_RCPTTO, close: false });
        assert_eq!(unknown.refuse(2), Refusal { reply: replies::TOO_MANY_INVALID, close: true });
        assert!((0..9).all(|_| !unknown.refuse(0).close));
    }

    #[test]
    fn maxrcpt_and_the_tarpit_count_from_their_limits() {
        for (taken, limit, refused) in [(0, 0, false), (1, 2, false), (2, 2, true), (9, 0, false)] {
            assert_eq!(max_rcpt(taken, limit).is_some(), refused, "{taken} of {limit}");
        }
        let tarpit = Tarpit { count: 2, delay: 7 };
        assert_eq!([0, 1, 2].map(|taken| tarpit.wait(taken)), [0, 0, 7]);
        assert_eq!(Tarpit::default().wait(999), 0);
    }
}
