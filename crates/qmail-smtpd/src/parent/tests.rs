//! What an owned session can make of the parent: nothing that its client could not have had.

use super::{Offence, Parent, Programs};
use crate::record::Record;
use crate::{ParentEnd, SessionEnd};
use gatepost_channel::{End, Inbox};
use gatepost_program::Inherited;
use gatepost_qmail::auth::{Checker, SmtpAuth};
use gatepost_qmail::control::Home;
use gatepost_qmail::controls::Controls;
use gatepost_qmail::environment::Environment;
use gatepost_qmail::switches::Switches;
use gatepost_smtp::envelope::Mechanism;
use gatepost_ucspi::cdb::Lookup;
use gatepost_wire::parent::{Answer, Ask, Auth};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// control/ with a name, one host, and perhaps plugins.
#[derive(Debug)]
struct Files(&'static str);

impl Home for Files {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(match name {
            "me" => Some(b"mx.example.org\n".to_vec()),
            "rcpthosts" => Some(b".example.com\n".to_vec()),
            "smtpplugins" if !self.0.is_empty() => Some(self.0.as_bytes().to_vec()),
            _ => None,
        })
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        Ok(self.read(name)?.map(|octets| Box::new(io::Cursor::new(octets)) as Box<dyn Read>))
    }

    fn cdb(&self, _: &str) -> io::Result<Option<Box<dyn Lookup + '_>>> {
        Ok(None)
    }

    fn exists(&self, _: &str) -> bool {
        false
    }
}

/// A parent whose checker says yes to everything.
pub(crate) fn parent(variables: &[(&str, &str)], plugins: &'static str) -> Parent {
    let environment: Environment = variables.iter().copied().collect();
    let controls = Controls::read(&Files(plugins), &environment, &Switches::default()).unwrap().0;
    let checker = Checker { program: b"/bin/true", arguments: Vec::new(), host: None };
    let programs = Programs {
        directory: c"/".to_owned(),
        limits: Inherited::read().unwrap(),
        stay: Vec::new(),
        stderr: None,
        checker: vec![checker.program.to_vec()],
        auth_host: None,
    };
    let mut parent = Parent::new(Files(plugins), controls, environment, programs, Record::new(false));
    parent.offer = SmtpAuth::read(&parent.environment, Some(&checker));
    parent
}

struct Owned {
    parent: Parent,
    ours: SessionEnd,
    theirs: ParentEnd,
}

impl Owned {
    fn new(variables: &[(&str, &str)], plugins: &'static str) -> Self {
        let (ours, theirs) = End::pair().unwrap();
        let mut owned = Self { parent: parent(variables, plugins), ours, theirs };
        assert_eq!(owned.says(Ask::Jail { entered: true, text: b"" }), "-");
        owned
    }

    /// Says it, and hears the reply's code; `-` for the usual one, `!` when the parent has closed instead.
    fn says(&mut self, ask: Ask<'_>) -> String {
        match self.parent.hear(&self.ours, ask) {
            Err(Offence::Untimely) => return "!".into(),
            Err(other) => panic!("{other}"),
            Ok(_) => {}
        }
        let mut inbox = Inbox::default();
        match self.theirs.recv(&mut inbox).unwrap() {
            Answer::Reply { lines: b"", .. } => "-".into(),
            Answer::Reply { lines, .. } => String::from_utf8_lossy(lines.get(..3).unwrap()).into_owned(),
            other => panic!("{other:?}"),
        }
    }
}

const DIGEST: &[u8] = b"0123456789abcdef0123456789abcdef";

const fn login(mechanism: Mechanism, user: &'static [u8], password: &'static [u8]) -> Ask<'static> {
    Ask::Auth(Auth { mechanism, user, password, challenge: b"<made@up>" })
}

#[test]
fn p3_a_session_that_did_not_enter_its_jail_is_heard_no_further() {
    let (ours, theirs) = End::pair().unwrap();
    let mut parent = parent(&[], "");
    theirs.tell(&Ask::Jail { entered: false, text: b"jail: not proved" }).unwrap();
    theirs.tell(&Ask::Helo(b"road.test")).unwrap();
    theirs.seq().set_nonblocking(true).unwrap();
    let (_client, end) = UnixStream::pair().unwrap();
    parent.silence = Duration::from_millis(50);
    theirs.seq().finish().unwrap();
    let served = parent.serve(&ours, end.as_fd());
    assert!(served.is_ok(), "{served:?}");
    assert!(theirs.recv(&mut Inbox::default()).is_err(), "HELO was answered");
}

#[test]
fn p3_an_owned_session_does_not_outlive_its_client() {
    let mut owned = Owned::new(&[], "");
    owned.parent.silence = Duration::from_millis(1);
    let (client, parent) = UnixStream::pair().unwrap();
    drop(client);
    let served = owned.parent.serve(&owned.ours, parent.as_fd());
    assert!(matches!(served, Err(Offence::Deserted)), "{served:?}");
}

#[test]
fn p4_no_address_ends_a_line_of_whoever_sends_it_on() {
    const RELAY: &[u8] = b"x@a>\r\nRCPT TO:<victim@foreign.example>\r\nRCPT TO:<x@b.example.com";
    for ask in [Ask::Helo(RELAY), Ask::Mail(RELAY), Ask::Rcpt(RELAY)] {
        let mut owned = Owned::new(&[], "");
        assert_eq!(owned.says(Ask::Mail(b"a@b")), "-");
        assert_eq!(owned.says(ask), "!", "{ask:?}");
    }
}

#[test]
fn p4_auth_is_what_the_admin_offers_and_nothing_is_empty() {
    use Mechanism::{CramMd5, Login, Plain};
    for (offer, ask, said) in [
        ("", login(Plain, b"u", b"p"), "-"),
        ("", login(Login, b"u", b"p"), "-"),
        ("", login(Plain, b"u", b""), "!"),
        ("", login(Plain, b"", b"p"), "!"),
        ("", login(CramMd5, b"u", DIGEST), "!"),
        ("", Ask::Challenge, "!"),
        ("-", login(Plain, b"u", b"p"), "!"),
        ("cram", login(Plain, b"u", b"p"), "!"),
        // Offered, but no challenge was asked for.
        ("cram", login(CramMd5, b"u", DIGEST), "!"),
    ] {
        let mut owned = Owned::new(&[("SMTPAUTH", offer)], "");
        assert_eq!(owned.says(ask), said, "SMTPAUTH={offer} {ask:?}");
        assert_eq!(owned.parent.may_relay(), said == "-", "SMTPAUTH={offer} {ask:?}");
    }
    let mut owned = Owned::new(&[("SMTPAUTH", "cram")], "");
    assert!(owned.says(Ask::Challenge).starts_with('<'));
    assert_eq!(owned.says(login(CramMd5, b"u", DIGEST)), "-");
    // A second login would make the first one's environment the one that TLS goes back to.
    assert_eq!(owned.says(Ask::Challenge), "!");
}

#[test]
fn p4_where_auth_is_mandatory_there_is_no_mail_before_it() {
    let mut owned = Owned::new(&[("SMTPAUTH", "!")], "");
    assert_eq!(owned.says(Ask::Mail(b"a@b")), "!");
    let mut owned = Owned::new(&[("SMTPAUTH", "!")], "");
    assert_eq!(owned.says(login(Mechanism::Plain, b"u", b"p")), "-");
    assert_eq!(owned.says(Ask::Mail(b"a@b")), "-");
}

#[test]
fn p11_what_a_program_is_asked_about_is_what_is_queued() {
    const ODD: &[u8] = b"us\x01er@b.example.com";
    const MAY_RELAY: &[(&str, &str)] = &[("RCPTCHECK", "/bin/true"), ("RELAYCLIENT", "")];
    for (variables, plugins, said) in [
        // Nobody is asked: taken as qmail takes it.
        (&[][..], "", "-"),
        (MAY_RELAY, "", "-"),
        (&[("RCPTCHECK", "/bin/true")], "", "555"),
        (&[], "[rcpt]\n:true\n", "555"),
    ] {
        let mut owned = Owned::new(variables, plugins);
        assert_eq!(owned.says(Ask::Mail(ODD)), said, "{variables:?} {plugins:?}");
        assert_eq!(owned.says(Ask::Mail(b"a@b")), "-");
        assert_eq!(owned.says(Ask::Rcpt(ODD)), said, "{variables:?} {plugins:?}");
        assert_eq!(owned.says(Ask::Rcpt(b"user@b.example.com")), "-");
    }
}

#[test]
fn the_tarpit_counts_what_a_message_has_been_granted() {
    let mut owned = Owned::new(&[("TARPITCOUNT", "2"), ("TARPITDELAY", "1")], "");
    let mut slow = |ask, said: &str| {
        let begin = std::time::Instant::now();
        assert_eq!(owned.says(ask), said);
        begin.elapsed() >= Duration::from_secs(1)
    };
    let (mail, rcpt) = (Ask::Mail(b"a@b"), Ask::Rcpt(b"c@d.example.com"));
    assert!(!slow(mail, "-"));
    // A recipient that is refused is none.
    assert!(!slow(Ask::Rcpt(b"c@foreign.example"), "553") && !slow(Ask::Rcpt(b"c@foreign.example"), "553"));
    assert!(!slow(rcpt, "-") && !slow(rcpt, "-"), "two at once");
    assert!(slow(rcpt, "-") && !slow(Ask::Rcpt(b"c@foreign.example"), "553"), "each past the count waits");
    assert!(!slow(mail, "-") && !slow(rcpt, "-") && !slow(rcpt, "-"), "and the next message begins at 0");
}
