//! Names by which the binary may be started: a link in the place of the program it stands for.

use std::ffi::OsStr;
use std::path::Path;

/// A program that gatepost stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// qmail-smtpd, and what wrappers' authors called the original when they moved it away: qmail-smtpd2, qmail-smtpd.orig.
    QmailSmtpd,
}

/// The program that `argv0` names; None: gatepost itself. A login shell's dash, which tcpserver passes on, is not looked at.
pub(crate) fn of(argv0: Option<&OsStr>) -> Option<Name> {
    let name = Path::new(argv0?).file_name()?.to_str()?;
    name.trim_start_matches('-').starts_with("qmail-smtpd").then_some(Name::QmailSmtpd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_known_by_their_names() {
        for (argv0, name) in [
            ("qmail-smtpd", Some(Name::QmailSmtpd)),
            ("/var/qmail/bin/qmail-smtpd", Some(Name::QmailSmtpd)),
            ("/usr/local/bin/qmail-smtpd2", Some(Name::QmailSmtpd)),
            ("-qmail-smtpd", Some(Name::QmailSmtpd)),
            ("gatepost", None),
            ("/opt/qmail-smtpd/gatepost", None),
            ("", None),
        ] {
            assert_eq!(of(Some(OsStr::new(argv0))), name, "{argv0}");
        }
        assert_eq!(of(None), None);
    }
}
