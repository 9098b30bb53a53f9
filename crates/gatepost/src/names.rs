//! Names of the programs that gatepost stands in for: it is started by a link in their place, or by the word `gatepost NAME`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// A program that gatepost stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// qmail-smtpd, and what wrappers' authors called the original when they moved it away: qmail-smtpd2, qmail-smtpd.orig.
    QmailSmtpd,
    Tcprules,
    Tcprulescheck,
    Softlimit,
    Tcpserver,
    Sendmail,
    Mailq,
    Newaliases,
}

const NAMES: [(&str, Name); 8] = [
    ("qmail-smtpd", Name::QmailSmtpd),
    ("tcprules", Name::Tcprules),
    ("tcprulescheck", Name::Tcprulescheck),
    ("softlimit", Name::Softlimit),
    ("tcpserver", Name::Tcpserver),
    ("sendmail", Name::Sendmail),
    ("mailq", Name::Mailq),
    ("newaliases", Name::Newaliases),
];

impl Name {
    /// The program that `argv0` names; None: gatepost itself. A login shell's dash, which tcpserver passes on, is not looked at.
    pub(crate) fn of_link(argv0: Option<&OsStr>) -> Option<Name> {
        let name = Path::new(argv0?).file_name()?.to_str()?.trim_start_matches('-');
        if name.starts_with("qmail-smtpd") { Some(Name::QmailSmtpd) } else { Name::of_word(name.as_ref()) }
    }

    /// The program that the first argument names; None: a command of gatepost's own.
    pub(crate) fn of_word(word: &OsStr) -> Option<Name> {
        NAMES.iter().find(|(name, _)| word == *name).map(|(_, name)| *name)
    }

    /// Is that program. It takes any argument there is, so clap never sees them.
    pub(crate) fn run(self, arguments: impl Iterator<Item = OsString>) -> ExitCode {
        match self {
            Name::QmailSmtpd => gatepost_qmail_smtpd::run(arguments),
            Name::Tcpserver => gatepost_tcpserver::run(arguments),
            Name::Sendmail => gatepost_sendmail::run(gatepost_sendmail::Name::Sendmail, arguments),
            Name::Mailq => gatepost_sendmail::run(gatepost_sendmail::Name::Mailq, arguments),
            Name::Newaliases => gatepost_sendmail::run(gatepost_sendmail::Name::Newaliases, arguments),
            Name::Tcprules => gatepost_rules::tcprules::run(arguments),
            Name::Softlimit => gatepost_program::softlimit::run(arguments, env::vars_os()),
            Name::Tcprulescheck => gatepost_rules::tcprulescheck::run(arguments, |name| env::var_os(name)),
        }
        .into()
    }
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
            ("/usr/bin/tcprules", Some(Name::Tcprules)),
            ("tcprulescheck", Some(Name::Tcprulescheck)),
            ("/usr/bin/tcpserver", Some(Name::Tcpserver)),
            ("tcprulesx", None),
            ("/usr/sbin/sendmail", Some(Name::Sendmail)),
            ("/usr/bin/mailq", Some(Name::Mailq)),
            ("/usr/bin/newaliases", Some(Name::Newaliases)),
            ("gatepost", None),
            ("/opt/qmail-smtpd/gatepost", None),
            ("", None),
        ] {
            assert_eq!(Name::of_link(Some(OsStr::new(argv0))), name, "{argv0}");
        }
        assert_eq!(Name::of_link(None), None);
        assert_eq!(Name::of_word(OsStr::new("qmail-smtpd2")), None);
    }
}
