//! badmailfrom: judged at MAIL, told at each RCPT.

use std::io;
use std::ops::ControlFlow;

use crate::control::Home;
use crate::list::List;
use crate::patterns::{Subject, is_plain};
use crate::replies::{self, Reply};

/// What is said at each RCPT to a sender because of one list; `None` when nothing is. The sender is taken as it was parsed:
/// source route and quotes gone, literal replaced. A plain entry is the whole sender, or all from its last `@`; no subdomains.
/// What is not [`is_plain`] is a pattern of the qregex patch; a plain entry is told before any pattern.
///
/// # Errors
/// Those of the list.
pub fn judge(list: &List, home: &dyn Home, sender: &[u8]) -> io::Result<Option<Reply>> {
    let host = memchr::memrchr(b'@', sender).and_then(|at| sender.get(at..));
    let subject = Subject::new(sender);
    let mut verdict = None;
    list.each(home, &mut |entry| {
        if is_plain(entry) {
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

    fn judged(octets: &[u8], sender: &[u8]) -> Option<Reply> {
        let home = One(Some(octets));
        let list = List::find(&home, "badmailfrom", "badmailfrom", &mut Vec::new(), &mut |_, _| {}).unwrap().unwrap();
        judge(&list, &home, sender).unwrap()
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
            assert_eq!(judged(octets, sender.as_bytes()), bad.then_some(replies::BAD_MAIL_FROM), "{sender}");
        }
    }

    #[test]
    fn patterns_have_a_reply_of_their_own() {
        assert_eq!(judged(b"^[0-9]+@", b"123@x.example"), Some(replies::SENDER_DENIED));
        assert_eq!(judged(b"^[0-9]+@", b"x@y.example"), None);
        assert_eq!(judged(b"^1\n@x.example", b"1@x.example"), Some(replies::BAD_MAIL_FROM));
    }
}
