//! Deadlines, on a clock that goes on only while the session waits: no test here waits.

use super::rig::{Behaviour, Heard, handoff, slice};
use crate::serve::Session;
use crate::{HandoffEnd, NewSession, SessionExit, Shared};
use gatepost_shell::{Clock, Ends, KeyholderEnd, Want};
use gatepost_smtp::envelope::{CloseReason, Service};
use gatepost_smtp::keyword::Keywords;
use gatepost_sys::wait;
use gatepost_wire::link::SessionId;
use gatepost_wire::slice::TlsMode;
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What a client does next: how long it waits afterwards, or None when it does nothing more.
type Script = Box<dyn FnMut(&mut Speaker) -> Option<Duration>>;

/// The client's end of the connection.
struct Speaker {
    stream: UnixStream,
    heard: Vec<u8>,
}

impl Speaker {
    /// Sends `octets`; false when the session takes no more.
    fn say(&mut self, octets: impl AsRef<[u8]>) -> bool {
        matches!(self.stream.write(octets.as_ref()), Ok(sent) if sent == octets.as_ref().len())
    }

    /// Reads what there is.
    fn hear(&mut self) {
        let mut some = [0; 4096];
        while let Ok(octets @ 1..) = self.stream.read(&mut some) {
            self.heard.extend_from_slice(&some[..octets]);
        }
    }
}

/// Ways of a client beside its script.
#[derive(Clone, Copy)]
struct Kind {
    /// It reads what it is told.
    reads: bool,
    /// Time that passes with each look at the clock, as if all that the session does took long.
    pace: Duration,
}

const USUAL: Kind = Kind { reads: true, pace: Duration::ZERO };

/// A clock that stands still until the session waits; then the client acts, or time goes on to whatever comes first.
struct Paused {
    now: Rc<RefCell<Instant>>,
    client: Rc<RefCell<Speaker>>,
    kind: Kind,
    script: Script,
    /// When the client acts again.
    next: Option<Instant>,
}

impl Clock for Paused {
    fn now(&self) -> Instant {
        *self.now.borrow_mut() += self.kind.pace;
        *self.now.borrow()
    }

    fn wait(&mut self, wanted: &[(BorrowedFd<'_>, Want)], until: Instant) -> io::Result<Option<usize>> {
        loop {
            if self.kind.reads {
                self.client.borrow_mut().hear();
            }
            // In the past: looks, and does not wait.
            let ready = wait::ready(wanted, Some(Instant::now()))?;
            if let Some(first) = ready.iter().position(|ready| *ready) {
                return Ok(Some(first));
            }
            let Some(next) = self.next.filter(|next| *next <= until) else {
                *self.now.borrow_mut() = until;
                return Ok(None);
            };
            let now = next.max(*self.now.borrow());
            *self.now.borrow_mut() = now;
            let pause = (self.script)(&mut self.client.borrow_mut());
            self.next = pause.map(|pause| now + pause);
        }
    }
}

/// How a session went.
struct Went {
    reason: CloseReason,
    /// Seconds of the session's clock.
    lasted: u64,
    /// What the client heard.
    said: String,
}

/// Runs a session against `script`.
fn against(mode: TlsMode, stress: bool, script: impl FnMut(&mut Speaker) -> Option<Duration> + 'static) -> Went {
    against_one(USUAL, mode, stress, script)
}

fn against_one(
    kind: Kind,
    mode: TlsMode,
    stress: bool,
    script: impl FnMut(&mut Speaker) -> Option<Duration> + 'static,
) -> Went {
    let (handoff_end, peer) = HandoffEnd::pair().unwrap();
    let handoff = handoff(peer, Behaviour::default());
    let (served, stream) = UnixStream::pair().unwrap();
    served.set_nonblocking(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    let (drained, _drain) = io::pipe().unwrap();
    let (keyholder, _keys) = KeyholderEnd::pair().unwrap();
    let new = NewSession {
        id: SessionId(1),
        listener: 0,
        stress,
        pause: Duration::ZERO,
        hidden: Keywords::default(),
        client: Ends::of_socket(served.into()),
        handoff: handoff_end,
        keyholder: (mode != TlsMode::Off).then_some(keyholder),
        service: Service::Relay,
        auth: None,
    };
    let begun = Instant::now();
    let now = Rc::new(RefCell::new(begun));
    let client = Rc::new(RefCell::new(Speaker { stream, heard: Vec::new() }));
    let clock =
        Paused { now: Rc::clone(&now), client: Rc::clone(&client), kind, script: Box::new(script), next: Some(begun) };
    let shared = Shared::new(slice(mode)).unwrap();
    let mut session = Session::new(new, drained, &shared, clock);
    let SessionExit { reason, .. } = session.run();
    drop(session);
    let lasted = now.borrow().duration_since(begun).as_secs();
    client.borrow_mut().hear();
    let said = String::from_utf8(client.borrow().heard.clone()).unwrap();
    assert!(handoff.join().unwrap().0.ends_with(&[Heard::Bye(reason)]));
    Went { reason, lasted, said }
}

const ENVELOPE: &str = "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";

fn seconds(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n))
}

#[test]
fn a_silent_client_hears_421_after_the_command_timeout() {
    let went = against(TlsMode::Off, false, |_| None);
    assert_eq!(went.reason, CloseReason::Timeout);
    assert!((300..=303).contains(&went.lasted), "{} s", went.lasted);
    assert!(went.said.contains("\r\n421 4.4.2 mx.example.org "), "{}", went.said);
}

#[test]
fn p6_under_stress_a_silent_client_has_ten_seconds_and_content_keeps_its_rate() {
    let went = against(TlsMode::Off, true, |_| None);
    assert_eq!(went.reason, CloseReason::Timeout);
    assert!(
        (10..=12).contains(&went.lasted) && went.said.contains("\r\n421 4.4.2 "),
        "{} s {}",
        went.lasted,
        went.said
    );
    // A kilobyte a second goes on and on.
    let mut second = 0;
    let went = against(TlsMode::Off, true, move |client| {
        second += 1;
        match second {
            1 => client.say(ENVELOPE).then_some(Duration::ZERO),
            2..=61 => client.say(format!("{}\r\n", "x".repeat(1022))).then_some(Duration::from_secs(1)),
            _ => {
                client.say(".\r\nQUIT\r\n");
                None
            }
        }
    });
    assert_eq!(went.reason, CloseReason::Quit, "{}", went.said);
    assert!((60..=62).contains(&went.lasted), "{} s", went.lasted);
}

#[test]
fn p6_a_command_dribbled_octet_by_octet_gets_no_more_time() {
    let went = against(TlsMode::Off, false, |client| client.say("A").then_some(Duration::from_secs(20)));
    assert_eq!(went.reason, CloseReason::Timeout);
    assert!((300..=303).contains(&went.lasted), "{} s", went.lasted);
}

#[test]
fn each_command_has_the_whole_command_timeout() {
    let mut commands = 0;
    let went = against(TlsMode::Off, false, move |client| {
        commands += 1;
        match commands {
            1 => seconds(299),
            2..=3 => client.say("NOOP\r\n").then_some(Duration::from_secs(299)),
            _ => {
                client.say("NOOP\r\n");
                None
            }
        }
    });
    assert_eq!(went.reason, CloseReason::Timeout);
    assert!((3 * 299 + 300..=3 * 299 + 303).contains(&went.lasted), "{} s", went.lasted);
}

#[test]
fn p6_no_session_lasts_longer_than_session_time() {
    let went = against(TlsMode::Off, false, |client| {
        client.say(format!("{ENVELOPE}x\r\n.\r\n")).then_some(Duration::from_secs(100))
    });
    assert_eq!(went.reason, CloseReason::Timeout);
    assert!((3600..=3603).contains(&went.lasted), "{} s", went.lasted);
    assert!(went.said.contains("421 4.4.2 "));
}

#[test]
fn issue_9_a_client_that_always_has_octets_waiting_has_no_more_time() {
    let messages = "MAIL FROM:<a@c.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nx\r\n.\r\n".repeat(20);
    let mut begun = false;
    let went = against_one(Kind { pace: Duration::from_secs(1), ..USUAL }, TlsMode::Off, false, move |client| {
        let hello = if std::mem::replace(&mut begun, true) { "" } else { "EHLO c.example\r\n" };
        client.say(format!("{hello}{messages}")).then_some(Duration::ZERO)
    });
    assert_eq!(went.reason, CloseReason::Timeout);
    assert!((3600..3620).contains(&went.lasted), "{} s", went.lasted);
    assert!(went.said.ends_with("\r\n") && went.said.contains("\r\n421 4.4.2 "), "{}", went.said);
}

/// Each answer takes as long as a backend may, and all questions came at once.
#[test]
fn issue_9_questions_that_came_at_once_do_not_outlast_the_session() {
    let questions =
        format!("EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n{}", "RCPT TO:<b@example.org>\r\n".repeat(400));
    let went = against_one(Kind { pace: Duration::from_secs(30), ..USUAL }, TlsMode::Off, false, move |client| {
        client.say(&questions);
        None
    });
    assert_eq!(went.reason, CloseReason::Timeout);
    assert!((3600..3900).contains(&went.lasted), "{} s", went.lasted);
    assert!(went.said.contains("\r\n421 4.4.2 "), "{}", went.said);
}

#[test]
fn issue_9_content_that_keeps_its_rate_may_finish_after_the_session_s_time() {
    // (octets a second, whether it finishes)
    for (octets, finishes) in [(200, true), (90, false)] {
        let mut second = 0;
        let went = against(TlsMode::Off, false, move |client| {
            second += 1;
            match second {
                1 => client.say("EHLO c.example\r\n").then_some(Duration::ZERO),
                2..=15 => client.say("NOOP\r\n").then_some(Duration::from_secs(250)),
                16 => client.say(&ENVELOPE[16..]).then_some(Duration::from_secs(1)),
                17..=4016 => client.say(format!("{}\r\n", "x".repeat(octets - 2))).then_some(Duration::from_secs(1)),
                _ => {
                    client.say(".\r\nNOOP\r\n");
                    None
                }
            }
        });
        assert_eq!(went.reason, CloseReason::Timeout);
        assert_eq!(went.said.contains("\r\n250 2.0.0 Ok\r\n421 4.4.2 "), finishes, "{}", went.said);
        let expected = if finishes { 7490..7510 } else { 6400..6600 };
        assert!(expected.contains(&went.lasted), "{octets}: {} s", went.lasted);
    }
}

#[test]
fn p6_content_below_the_minimum_rate_ends_the_session() {
    // (octets, seconds between, the session's end in seconds)
    for (octets, pause, end) in [(1, 1, 300..306), (1, 400, 300..304), (50, 1, 595..605), (140, 2, 990..1010)] {
        let mut begun = false;
        let went = against(TlsMode::Off, false, move |client| {
            if !std::mem::replace(&mut begun, true) {
                return client.say(ENVELOPE).then_some(Duration::ZERO);
            }
            client.say("x".repeat(octets)).then_some(Duration::from_secs(pause))
        });
        assert_eq!(went.reason, CloseReason::Timeout);
        assert!(end.contains(&went.lasted), "{octets} octets each {pause} s: {} s", went.lasted);
        assert!(went.said.contains("\r\n421 4.4.2 "), "{}", went.said);
    }
}

#[test]
fn content_at_the_minimum_rate_gets_through() {
    let mut pieces = 0;
    let went = against(TlsMode::Off, false, move |client| {
        pieces += 1;
        match pieces {
            1 => client.say(ENVELOPE).then_some(Duration::ZERO),
            2..=301 => client.say(format!("{}\r\n", "x".repeat(198))).then_some(Duration::from_secs(2)),
            _ => {
                client.say(".\r\nQUIT\r\n");
                None
            }
        }
    });
    assert_eq!(went.reason, CloseReason::Quit);
    assert!((600..602).contains(&went.lasted), "{} s", went.lasted);
    assert!(went.said.contains("\r\n250 2.0.0 ") && went.said.contains("\r\n221 "), "{}", went.said);
}

/// RFC 5321 §4.5.3.2.5 has a client wait three minutes with each block; a modem of 2400 bit/s sends 300 octets a second.
#[test]
fn issue_10_a_pause_in_content_and_a_slow_line_cut_nobody() {
    for (pauses, octets, lasts) in
        [(vec![75], 30, 75), (vec![299], 30, 299), (vec![180; 3], 12_000, 540), (vec![1; 200], 298, 200)]
    {
        let mut step = 0;
        let went = against(TlsMode::Off, false, move |client| {
            step += 1;
            if step == 1 {
                client.say(ENVELOPE);
            }
            match pauses.get(step - 1) {
                Some(pause) => client.say(format!("{}\r\n", "x".repeat(octets))).then(|| Duration::from_secs(*pause)),
                None => {
                    client.say(".\r\nQUIT\r\n");
                    None
                }
            }
        });
        assert_eq!(went.reason, CloseReason::Quit, "{}", went.said);
        assert!((lasts..lasts + 3).contains(&went.lasted), "{} s", went.lasted);
        assert!(went.said.contains("\r\n250 2.0.0 "), "{}", went.said);
    }
}

#[test]
fn p6_a_client_that_does_not_read_is_dropped() {
    let sent = Rc::new(RefCell::new(0));
    let count = Rc::clone(&sent);
    let message = "MAIL FROM:<a@c.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nx\r\n.\r\n".repeat(20);
    let went = against_one(Kind { reads: false, ..USUAL }, TlsMode::Off, false, move |client| {
        *count.borrow_mut() += 1;
        let octets = if *count.borrow() == 1 { "EHLO c.example\r\n" } else { message.as_str() };
        client.say(octets).then_some(Duration::ZERO)
    });
    assert_eq!(went.reason, CloseReason::Timeout);
    assert!((60..62).contains(&went.lasted), "{} s", went.lasted);
    // What it typed ahead was not read without end: what it was not told of is not taken.
    assert!(*sent.borrow() < 5000, "{}", sent.borrow());
}

#[test]
fn issue_12_a_handshake_has_thirty_seconds_and_ten_under_stress() {
    for (mode, stress, seconds) in [
        (TlsMode::Implicit, false, 30),
        (TlsMode::StartTls, false, 30),
        (TlsMode::Implicit, true, 10),
        (TlsMode::StartTls, true, 10),
    ] {
        let went = against(mode, stress, move |client| {
            if mode == TlsMode::StartTls {
                client.say("EHLO c.example\r\nSTARTTLS\r\n");
            }
            None
        });
        assert_eq!(went.reason, CloseReason::TlsFailed);
        assert!((seconds..seconds + 2).contains(&went.lasted), "{mode:?} {stress}: {} s", went.lasted);
    }
}

#[test]
fn p6_a_client_that_always_has_an_octet_ready_has_no_more_time() {
    // A ClientHello in a record of 16 KiB, each octet of it there before the session waits for it.
    let octets = [b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc".as_slice(), &[0; 0x3ffc]].concat();
    let mut octets = octets.into_iter();
    let slow = Kind { pace: Duration::from_millis(100), ..USUAL };
    let went = against_one(slow, TlsMode::Implicit, false, move |client| {
        client.say([octets.next()?]).then_some(Duration::ZERO)
    });
    assert_eq!(went.reason, CloseReason::TlsFailed);
    assert!((30..33).contains(&went.lasted), "{} s", went.lasted);
}
