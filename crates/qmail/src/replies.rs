//! Everything that a client of the drop-in is ever told: the texts of notqmail 1.09 and of the patches that everyone
//! applies, because mail servers and monitors match them.

use std::borrow::Cow;
use std::fmt;

/// One reply line, without its CRLF: three digits, a space, text. Never holds a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(Cow<'static, str>);

impl Reply {
    const fn fixed(line: &'static str) -> Self {
        Self(Cow::Borrowed(line))
    }

    /// A line made of a code and of text from elsewhere: a queue program, a plugin, a control file. What could end the line
    /// or upset a terminal is taken out, and beyond [`TEXT_MAX`] octets it is cut.
    #[must_use]
    pub(crate) fn quoting(code: u16, text: &[u8]) -> Self {
        let mut line = format!("{code} ");
        line.extend(text.iter().filter(|b| (b' '..=b'~').contains(*b)).take(TEXT_MAX).map(|b| char::from(*b)));
        Self(Cow::Owned(line))
    }

    /// A line that another program says as a whole: three digits from 2 to 5 in front, a space or a hyphen for more to
    /// follow, text. Cleaned and cut like `quoting`. `None` when it has no such code.
    #[must_use]
    pub fn said(line: &[u8]) -> Option<Self> {
        let (code, rest) = line.split_at_checked(3)?;
        let sound =
            code.iter().all(u8::is_ascii_digit) && code.first().is_some_and(|first| (b'2'..=b'5').contains(first));
        let (more, text) = match rest.split_first() {
            None => (false, rest),
            Some((b' ', text)) => (false, text),
            Some((b'-', text)) => (true, text),
            Some(_) => return None,
        };
        let code: u16 = std::str::from_utf8(code).ok().filter(|_| sound)?.parse().ok()?;
        let quoted = Self::quoting(code, text).0.into_owned();
        Some(Self(Cow::Owned(if more { quoted.replacen(' ', "-", 1) } else { quoted })))
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.0
    }

    /// 2yz or 3yz: what was asked for is done, or begun.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.0.starts_with(['2', '3'])
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Octets of text that a queue program may say for itself: notqmail's own cut.
pub const TEXT_MAX: usize = 254;

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident = $line:literal;)*) => {
        $($(#[$doc])* pub const $name: Reply = Reply::fixed($line);)*
        /// All fixed replies, for reading and for tests.
        pub const ALL: &[(&str, Reply)] = &[$((stringify!($name), Reply::fixed($line)),)*];
    };
}

replies! {
    // Commands.
    /// MAIL, RCPT and NOOP.
    OK = "250 ok";
    /// RSET.
    FLUSHED = "250 flushed";
    /// VRFY: says nothing about anyone.
    VRFY = "252 send some mail, i'll try my best";
    /// HELP. qmail-smtpd names itself here; P10: no reply names a product.
    HELP = "214 see RFC 5321 (#2.0.0)";
    /// DATA, begun.
    GO_AHEAD = "354 go ahead";
    /// Any verb that is not spoken, or not now.
    UNIMPLEMENTED = "502 unimplemented (#5.5.1)";
    /// RCPT or DATA before MAIL.
    MAIL_FIRST = "503 MAIL first (#5.5.1)";
    /// DATA before RCPT.
    RCPT_FIRST = "503 RCPT first (#5.5.1)";
    /// An address longer than qmail takes.
    SYNTAX = "555 syntax error (#5.5.4)";
    /// A command line longer than any sender's. Ours: qmail-smtpd reads on.
    LINE_TOO_LONG = "500 line too long (#5.5.2)";
    /// More recipients than one message may have. Ours: qmail-smtpd takes them until memory ends.
    TOO_MANY_RECIPIENTS = "452 too many recipients (#4.5.3)";

    // The last reply of a session.
    /// The client said nothing for too long.
    TIMEOUT = "451 timeout (#4.4.2)";
    /// A limit is reached: where qmail-smtpd's memory ended, ours ends by rule.
    OUT_OF_MEMORY = "421 out of memory (#4.3.0)";
    /// Control files cannot be read.
    CONTROLS = "421 unable to read controls (#4.3.0)";
    /// The addresses of this host cannot be found out.
    IP_ME = "421 unable to figure out my IP addresses (#4.3.0)";
    /// A bare LF in content.
    STRAY_NEWLINE = "451 See https://cr.yp.to/docs/smtplf.html.";
    /// More errors than any sender makes. Ours.
    TOO_MANY_ERRORS = "421 too many errors (#4.7.0)";
    /// The session has lasted too long. Ours.
    SESSION_TIME = "421 session too long (#4.4.2)";
    /// Something inside failed. Ours.
    INTERNAL = "421 internal trouble (#4.3.0)";

    // Who may send to whom.
    /// badmailfrom.
    BAD_MAIL_FROM = "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)";
    /// rcpthosts.
    NOT_IN_RCPTHOSTS = "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)";
    /// No rcpthosts, which is a mistake of the admin's. Ours: qmail-smtpd relays then. Not 553: mail waits until the file is back.
    NO_RCPTHOSTS = "451 unable to read controls (#4.3.0)";
    /// badmailfrom as patterns.
    SENDER_DENIED = "553 sorry, your envelope sender has been denied (#5.7.1)";
    /// badrcptto.
    RECIPIENT_DENIED = "553 sorry, your envelope recipient has been denied (#5.7.1)";
    /// badhelo.
    HELO_DENIED = "553 sorry, your HELO host name has been denied (#5.7.1)";
    /// validrcptto.
    NOT_VALID_RCPTTO = "553 sorry, this recipient is not in my validrcptto list (#5.7.1)";
    /// brtlimit.
    TOO_MANY_INVALID = "421 too many invalid addresses, goodbye (#4.3.0)";
    /// maxrcpt.
    MAX_RCPT = "452 max rcpt limit exceeded (#5.7.1)";
    /// DROP_PRE_GREET.
    EARLY_TALKER = "554 SMTP protocol violation";
    /// rejectnullsenders.
    NULL_SENDER = "421 null senders temporarily denied (#4.3.0)";
    /// RCPTCHECK, exit 100.
    NO_MAILBOX = "553 sorry, no mailbox here by that name. (#5.1.1)";
    /// RCPTCHECK, exit 111.
    UNVERIFIED = "421 unable to verify recipient (#4.3.0)";
    /// RCPTCHECK, exit 120 or a signal.
    NO_CHECK = "421 unable to execute recipient check (#4.3.0)";
    /// RCPTCHECK, no process to be had.
    NO_FORK = "421 unable to fork (#4.3.0)";

    /// A plugin that could not be run or did not end well. The patch names itself and the plugin's path here; the log does.
    PLUGIN_FAILURE = "451 plugin failure (#4.3.0)";

    // The end of a message.
    /// More octets than databytes.
    TOO_LARGE = "552 sorry, that message size exceeds my databytes limit (#5.3.4)";
    /// A hundred hops.
    LOOPING = "554 too many hops, this message is looping (#5.4.6)";
    /// No pipe or no process for the queue program.
    QQT_FAILURE = "451 qqt failure (#4.3.0)";
    /// 11, 115.
    QQ_ADDRESS = "554 envelope address too long for qq (#5.1.3)";
    /// 31.
    QQ_REJECTED = "554 mail server permanently rejected message (#5.3.0)";
    /// 12 to 40.
    QQ_PERMANENT = "554 qq permanent problem (#5.3.0)";
    /// 51.
    QQ_MEMORY = "451 qq out of memory (#4.3.0)";
    /// 52.
    QQ_TIMEOUT = "451 qq timeout (#4.3.0)";
    /// 53.
    QQ_WRITE = "451 qq write error or disk full (#4.3.0)";
    /// 54.
    QQ_READ = "451 qq read error (#4.3.0)";
    /// 55.
    QQ_CONFIGURATION = "451 qq unable to read configuration (#4.3.0)";
    /// 56.
    QQ_NETWORK = "451 qq trouble making network connection (#4.3.0)";
    /// 61.
    QQ_HOME = "451 qq trouble in home directory (#4.3.0)";
    /// 62 to 66.
    QQ_FILES = "451 qq trouble creating files in queue (#4.3.0)";
    /// 71.
    QQ_DEFERRED = "451 mail server temporarily rejected message (#4.3.0)";
    /// 72.
    QQ_CONNECT_TIMEOUT = "451 connection to mail server timed out (#4.4.1)";
    /// 73.
    QQ_CONNECT_REFUSED = "451 connection to mail server rejected (#4.4.1)";
    /// 74.
    QQ_COMMUNICATION = "451 communication with mail server failed (#4.4.2)";
    /// 81, 91.
    QQ_BUG = "451 qq internal bug (#4.3.0)";
    /// 120.
    QQ_EXEC = "451 unable to exec qq (#4.3.0)";
    /// Any other status.
    QQ_TEMPORARY = "451 qq temporary problem (#4.3.0)";
    /// A signal.
    QQ_CRASHED = "451 qq crashed (#4.3.0)";
    /// waitpid(2) failed.
    QQ_WAITPID = "451 qq waitpid surprise (#4.3.0)";

    // AUTH, as the patched builds say it.
    /// The checker said yes.
    AUTH_OK = "235 ok, go ahead (#2.0.0)";
    /// The checker said no.
    AUTH_FAILED = "535 authentication failed (#5.7.1)";
    /// LOGIN asks for the user: `Username:`.
    AUTH_USER = "334 VXNlcm5hbWU6";
    /// LOGIN asks for the password: `Password:`.
    AUTH_PASS = "334 UGFzc3dvcmQ6";
    /// PLAIN without an initial response. The space belongs to it.
    AUTH_PLAIN = "334 ";
    /// Not base64, or not what the mechanism wants.
    AUTH_MALFORMED = "501 malformed auth input (#5.5.4)";
    /// `*`.
    AUTH_CANCELED = "501 auth exchange canceled (#5.0.0)";
    /// A second AUTH.
    AUTH_TWICE = "503 you're already authenticated (#5.5.0)";
    /// AUTH between MAIL and DATA.
    AUTH_IN_MAIL = "503 no auth during mail transaction (#5.5.0)";
    /// No checker given.
    AUTH_UNAVAILABLE = "503 auth not available (#5.3.3)";
    /// A mechanism that is not offered.
    AUTH_UNIMPLEMENTED = "504 auth type unimplemented (#5.5.1)";
    /// A password in clear is not wanted.
    AUTH_NEEDS_TLS = "538 auth not available without TLS (#5.3.3)";
    /// MAIL without AUTH where it is mandatory. The space at the end belongs to it.
    AUTH_REQUIRED = "530 Authorization required (#5.7.1) ";
    /// FORCEAUTHMAILFROM.
    AUTH_OTHER_SENDER = "503 from and auth not the same (#5.5.1)";
    /// The checker crashed or could not be started.
    AUTH_CHILD = "454 oops, problem with child and I can't auth (#4.3.0)";

    // STARTTLS, as the patches say it.
    /// The handshake may begin.
    TLS_READY = "220 ready for tls";
    /// STARTTLS with an argument.
    TLS_ARGUMENT = "501 Syntax error (no parameters allowed) (#5.5.4)";
    /// Certificate or key cannot be used now.
    TLS_UNAVAILABLE = "454 TLS not available (#4.3.0)";
    /// UCSPITLS=!.
    TLS_FIRST = "530 Must issue a STARTTLS command first (#5.7.0)";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_issue_10_no_reply_names_a_product() {
        for (name, reply) in ALL {
            let line = reply.line().to_ascii_lowercase();
            // Its page, to which senders' admins are led, is the text that mail servers and monitors know.
            let known = *name == "STRAY_NEWLINE";
            assert!(known || ["qmail", "gatepost", "http", "spp"].iter().all(|word| !line.contains(word)), "{line}");
        }
    }
}
