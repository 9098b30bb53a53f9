//! AUTH as the patched builds have it: the argv that names a checker, the SMTPAUTH variable, and the octets that a
//! checkpassword reads on its fd 3. The dialogue is [`gatepost_smtp::sasl`].

use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::program::Ended;
use crate::replies::{self, Reply};

/// The checker and its arguments, the subprogram that it runs on success among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checker<'a> {
    /// Looked up with PATH when it has no slash, as by qmail.
    pub program: &'a [u8],
    /// What follows it.
    pub arguments: Vec<&'a [u8]>,
    /// The host name that older patches want in front; part of CRAM-MD5's challenge.
    pub host: Option<&'a [u8]>,
}

impl<'a> Checker<'a> {
    /// From the arguments after `argv[0]`. Forms: `CHECKER SUBPROGRAM` and, of older patches, `HOST CHECKER SUBPROGRAM`. The
    /// first word that begins with `/` is the checker if it is the first or second; a first word without a slash is a host
    /// if a path follows it or if it has a dot and something follows it. Options are left out.
    #[must_use]
    pub fn from_arguments(arguments: &[&'a [u8]]) -> Option<Self> {
        let mut words = arguments.iter().copied().skip_while(|word| word.starts_with(b"-") || word.is_empty());
        let first = words.next()?;
        let mut rest: Vec<_> = words.collect();
        let path = |word: &[u8]| word.starts_with(b"/");
        let hosted = !path(first) && rest.first().is_some_and(|second| path(second) || first.contains(&b'.'));
        if hosted {
            let program = rest.remove(0);
            return Some(Self { program, arguments: rest, host: Some(first) });
        }
        Some(Self { program: first, arguments: rest, host: None })
    }
}

/// What is offered and asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmtpAuth {
    /// LOGIN and PLAIN.
    pub plain: bool,
    /// CRAM-MD5.
    pub cram: bool,
    /// MAIL without AUTH is refused.
    pub mandatory: bool,
}

impl SmtpAuth {
    /// SMTPAUTH: nothing is LOGIN and PLAIN, `+cram` CRAM-MD5 too, `cram` that alone, `!` in front makes it mandatory, `-` and
    /// `0` turn it off. Unset, a checker on the command line means LOGIN and PLAIN, which any checkpassword can verify:
    /// older patches know no variable. Without a checker there is never AUTH. What isn't known is as if unset.
    #[must_use]
    pub fn read(environment: &Environment, checker: Option<&Checker<'_>>) -> Option<Self> {
        checker?;
        let value = environment.get("SMTPAUTH").unwrap_or_default();
        let (mandatory, value) = value.strip_prefix(b"!").map_or((false, value), |rest| (true, rest));
        match value {
            b"-" | b"0" => None,
            b"cram" => Some(Self { plain: false, cram: true, mandatory }),
            b"+cram" => Some(Self { plain: true, cram: true, mandatory }),
            _ => Some(Self { plain: true, cram: false, mandatory }),
        }
    }
}

/// Octets that checkpassword reads.
pub(crate) const INPUT_MAX: usize = 512;

/// What goes to the checker's fd 3: user, password, challenge, each with its NUL. For LOGIN and PLAIN the challenge is
/// empty; for CRAM-MD5 the password is the hex digest. `None` when a NUL would shift the fields or a checkpassword would
/// not read all of it: answered with 535, without asking.
#[must_use]
pub fn input(user: &[u8], password: &[u8], challenge: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // At its full size from the start: growing would leave copies of the password behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(INPUT_MAX));
    for field in [user, password, challenge] {
        if field.contains(&0) || octets.len().saturating_add(field.len()) >= INPUT_MAX {
            return None;
        }
        octets.extend_from_slice(field);
        octets.push(0);
    }
    Some(octets)
}

/// CRAM-MD5's challenge, before base64: `<PID.TIME@HOST>`.
#[must_use]
pub fn challenge(pid: u32, time: u64, host: &[u8]) -> Vec<u8> {
    let host: Vec<u8> =
        host.iter().filter(|octet| octet.is_ascii_graphic() && !b"<>".contains(octet)).copied().collect();
    let mut text = format!("<{pid}.{time}@").into_bytes();
    text.extend_from_slice(host.get(..host.len().min(255)).unwrap_or_default());
    text.push(b'>');
    text
}

/// Seconds before the answer to a refused login, as in the patches.
pub const REFUSAL_DELAY: u32 = 5;

/// What the client is told when the checker has ended.
#[must_use]
pub fn verdict(ended: Ended) -> Reply {
    match ended {
        Ended::Exited(0) => replies::AUTH_OK,
        Ended::NOT_EXECUTED | Ended::Killed(_) | Ended::NotForked | Ended::Lost => replies::AUTH_CHILD,
        Ended::Exited(_) => replies::AUTH_FAILED,
    }
}

/// What a login changes for later checks and for the queue program. The user is what the client called itself, and the
/// checker has said yes to it; it goes in cleaned all the same.
pub fn authenticated(environment: &mut Environment, user: &[u8], mechanism: &str) {
    if !environment.has("RELAYCLIENT") {
        environment.set("RELAYCLIENT", "");
    }
    for name in ["TCPREMOTEINFO", "SMTPAUTHUSER", "SMTP_AUTH_USER"] {
        environment.set_hostile(name, user);
    }
    environment.set("SMTPAUTHMETHOD", mechanism);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a90_argv_names_a_checker() {
        type Row<'a> = (&'a [&'a str], Option<(&'a str, &'a [&'a str], Option<&'a str>)>);
        let rows: &[Row<'_>] = &[
            (&[], None),
            (&["/bin/checkpassword", "true"], Some(("/bin/checkpassword", &["true"], None))),
            (&["mx", "/bin/checkpassword", "true"], Some(("/bin/checkpassword", &["true"], Some("mx")))),
            (&["mx.example.org", "checkpassword", "true"], Some(("checkpassword", &["true"], Some("mx.example.org")))),
            (&["checkpassword", "true"], Some(("checkpassword", &["true"], None))),
            (&["checkpassword", "-x", "true"], Some(("checkpassword", &["-x", "true"], None))),
            (&["-v", "/bin/c", "/bin/true"], Some(("/bin/c", &["/bin/true"], None))),
            (&["/bin/c"], Some(("/bin/c", &[], None))),
            (&["-v"], None),
        ];
        for (arguments, expected) in rows {
            let octets: Vec<_> = arguments.iter().map(|word| word.as_bytes()).collect();
            let expected = expected.map(|(program, rest, host)| Checker {
                program: program.as_bytes(),
                arguments: rest.iter().map(|word| word.as_bytes()).collect(),
                host: host.map(str::as_bytes),
            });
            assert_eq!(Checker::from_arguments(&octets), expected, "{arguments:?}");
        }
    }

    #[test]
    fn smtpauth_values() {
        let checker = Checker { program: b"/c", arguments: Vec::new(), host: None };
        for (value, offered) in [
            // (SMTPAUTH, (LOGIN and PLAIN, CRAM-MD5, mandatory))
            (None, Some((true, false, false))),
            (Some(""), Some((true, false, false))),
            (Some("+cram"), Some((true, true, false))),
            (Some("cram"), Some((false, true, false))),
            (Some("!"), Some((true, false, true))),
            (Some("!cram"), Some((false, true, true))),
            (Some("-"), None),
            (Some("0"), None),
        ] {
            let environment: Environment = value.map(|value| ("SMTPAUTH", value)).into_iter().collect();
            let read = SmtpAuth::read(&environment, Some(&checker));
            assert_eq!(read.map(|auth| (auth.plain, auth.cram, auth.mandatory)), offered, "{value:?}");
            assert_eq!(SmtpAuth::read(&environment, None), None);
        }
    }

    #[test]
    fn fd_3_gets_three_fields() {
        assert_eq!(input(b"jo", b"pw", b"").unwrap().as_slice(), b"jo\0pw\0\0");
        assert_eq!(input(b"jo", b"ab12", b"<1.2@h>").unwrap().as_slice(), b"jo\0ab12\0<1.2@h>\0");
        assert_eq!(input(b"jo\0root", b"pw", b""), None);
        assert_eq!(input(b"jo", &[b'a'; 506], b"").map(|octets| octets.len()), Some(511));
        assert_eq!(input(b"jo", &[b'a'; 508], b""), None);
        assert_eq!(challenge(7, 9, b"mx.example.org"), b"<7.9@mx.example.org>");
        assert_eq!(challenge(7, 9, b"a>\n<b"), b"<7.9@ab>");
    }

    #[test]
    fn the_checker_s_end_decides() {
        for (ended, reply) in [
            (Ended::Exited(0), replies::AUTH_OK),
            (Ended::Exited(1), replies::AUTH_FAILED),
            (Ended::Exited(111), replies::AUTH_FAILED),
            (Ended::Exited(120), replies::AUTH_CHILD),
            (Ended::Killed(9), replies::AUTH_CHILD),
            (Ended::NotForked, replies::AUTH_CHILD),
            (Ended::Lost, replies::AUTH_CHILD),
        ] {
            assert_eq!(verdict(ended), reply, "{ended:?}");
        }
    }

    #[test]
    fn a_login_may_relay() {
        let mut environment = Environment::default();
        authenticated(&mut environment, b"jo\n", "plain");
        assert_eq!(environment.relay_client(), Some(&b""[..]));
        assert_eq!(environment.get("TCPREMOTEINFO"), Some(&b"jo"[..]));
        assert_eq!(environment.get("SMTPAUTHMETHOD"), Some(&b"plain"[..]));
    }

    proptest! {
        #[test]
        fn no_login_shifts_the_fields(user: Vec<u8>, password: Vec<u8>) {
            if let Some(octets) = input(&user, &password, b"") {
                prop_assert_eq!(octets.iter().filter(|octet| **octet == 0).count(), 3);
                prop_assert!(octets.len() <= INPUT_MAX);
            }
        }
    }
}
