//! badmailfrom and badmailfromnorelay: judged at MAIL, told at each RCPT.

use std::io;
use std::ops::ControlFlow;

use crate::control::Home;
use crate::list::List;
use crate::replies::{self, Reply};
use gatepost_policy::patterns::{Subject, is_plain};

/// How the entries of one list are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As qmail-smtpd without patches does: each is an address or an `@host`.
    Plain,
    /// What is not [`is_plain`] is a pattern of the qregex patch.
    Patterns,
}

/// What is said at each RCPT to a sender because of one list; `None` when nothing is. The sender is taken as it was parsed:
/// source route and quotes gone, literal replaced. A plain entry is the whole sender, or all from its last `@`; no subdomains.
/// A plain entry is told before any pattern.
///
/// # Errors
/// Those of the list.
pub fn judge(list: &List, reading: Reading, home: &dyn Home, sender: &[u8]) -> io::Result<Option<Reply>> {
    let host = gatepost_smtp::find::last(b'@', sender).and_then(|at| sender.get(at..));
    let subject = Subject::new(sender);
    let mut verdict = None;
    list.each(home, &mut |entry| {
        if reading == Reading::Plain || is_plain(entry) {
            if entry.eq_ignore_ascii_case(sender) || host.is_some_and(|host| entry.eq_ignore_ascii_case(host)) {
                verdict = Some(replies::BAD_MAIL_FROM);
                return ControlFlow::Break(());
            }
        } else if verdict.is_none() && subject.is_denied_by(entry) {
            verdict = Some(replies::SENDER_DENIED);
        }
        ControlFlow::Continue(())
    })?;
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::tests::One;

    fn judged(reading: Reading, octets: &[u8], sender: &[u8]) -> Option<Reply> {
        let home = One(Some(octets));
        let list = List::find(&home, "badmailfrom", "badmailfrom", &mut Vec::new(), &mut |_, _| {}).unwrap().unwrap();
        judge(&list, reading, &home, sender).unwrap()
    }

    #[test]
    fn a44_to_a47_plain_entries() {
        let octets = b"spam@Bad.example\n@worse.example\nroot\n<>\nuser+tag@x.example";
        for (sender, bad) in [
            ("SPAM@bad.EXAMPLE", true),
            ("x@WORSE.example", true),
            ("x@sub.worse.example", false),
            ("x@y@worse.example", true),
            ("root", true),
            ("root@x", false),
            ("", false),
            ("user+tag@x.example", true),
            ("userrtag@x.example", false),
            ("spam@badXexample", false),
        ] {
            for reading in [Reading::Plain, Reading::Patterns] {
                let judged = judged(reading, octets, sender.as_bytes());
                assert_eq!(judged, bad.then_some(replies::BAD_MAIL_FROM), "{sender} {reading:?}");
            }
        }
    }

    #[test]
    fn patterns_have_a_reply_of_their_own() {
        let judged = |octets, sender| judged(Reading::Patterns, octets, sender);
        assert_eq!(judged(b"^[0-9]+@", b"123@x.example"), Some(replies::SENDER_DENIED));
        assert_eq!(judged(b"^[0-9]+@", b"x@y.example"), None);
        assert_eq!(judged(b"^1\n@x.example", b"1@x.example"), Some(replies::BAD_MAIL_FROM));
    }

    #[test]
    fn issue_10_entries_of_an_unpatched_qmail_are_addresses() {
        for entry in
            ["!bang@x", "a*b@x", "x^y@z", "user$1@x", "[1]@x", "q?@x", "(c)@x", "back\\slash@x", "a|b@x", "v.+@x"]
        {
            let said = |sender: &[u8]| judged(Reading::Plain, entry.as_bytes(), sender);
            assert_eq!(said(entry.to_ascii_uppercase().as_bytes()), Some(replies::BAD_MAIL_FROM), "{entry}");
            for other in ["a@b", "bang@x", "ab@x", "aab@x", "1@x", "c@x"] {
                assert_eq!(said(other.as_bytes()), None, "{entry} {other}");
            }
        }
    }
}
