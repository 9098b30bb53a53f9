//! badmailfrom: judged at MAIL, told at each RCPT.

use crate::control::Warning;
use crate::patterns::{Patterns, is_plain};
use crate::rcpthosts::Set;
use crate::replies::{self, Reply};

/// badmailfrom, plain entries and patterns.
#[derive(Debug, Clone, Default)]
pub struct BadMailFrom {
    plain: Set,
    patterns: Patterns,
}

impl BadMailFrom {
    /// From the entries of the file. What [`is_plain`] is plain qmail's, the rest is qregex's.
    #[must_use]
    pub fn new(file: &'static str, entries: &[(usize, &[u8])], warnings: &mut Vec<Warning>) -> Self {
        let (plain, patterned): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, entry)| is_plain(entry));
        let mut patterns = Patterns::default();
        patterns.add(file, &patterned, warnings);
        Self { plain: Set::new(plain.iter().map(|(_, entry)| *entry)), patterns }
    }

    /// What is to be said at each RCPT to a sender, as it was parsed: source route and quotes gone, literal replaced. A plain
    /// entry is the whole sender, or all from its last `@`; no subdomains.
    #[must_use]
    pub fn judge(&self, sender: &[u8]) -> Option<Reply> {
        let host = memchr::memrchr(b'@', sender).and_then(|at| sender.get(at..));
        if self.plain.has(sender) || host.is_some_and(|host| self.plain.has(host)) {
            Some(replies::BAD_MAIL_FROM)
        } else {
            self.patterns.deny(sender).then_some(replies::SENDER_DENIED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a44_to_a47_plain_entries() {
        let octets = b"spam@Bad.example\n@worse.example\nroot\n<>\nuser+tag@x.example";
        let mut warnings = Vec::new();
        let entries = crate::control::list("badmailfrom", octets, &mut warnings);
        let bad = BadMailFrom::new("badmailfrom", &entries, &mut warnings);
        assert!(warnings.is_empty());
        for (sender, judged) in [
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
            assert_eq!(bad.judge(sender.as_bytes()), judged.then_some(replies::BAD_MAIL_FROM), "{sender}");
        }
    }

    #[test]
    fn patterns_have_a_reply_of_their_own() {
        let bad = BadMailFrom::new("badmailfrom", &[(1, b"^[0-9]+@")], &mut Vec::new());
        assert_eq!(bad.judge(b"123@x.example"), Some(replies::SENDER_DENIED));
        assert_eq!(bad.judge(b"x@y.example"), None);
    }
}
