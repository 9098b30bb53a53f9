//! A parent that says what it is told to say, and writes down what it was asked.

use gatepost_qmail::engine::{Answer, AuthAsk, Engine, Event, Phase, Settings};
use gatepost_smtp::envelope::Then;

/// What to say to the event that reads so.
pub(crate) type Told = (&'static str, &'static str, Then);

/// Everything that a session came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Joined with `; `; adjacent pieces of content in one.
    pub(crate) events: String,
    /// Without the greeting.
    pub(crate) output: Vec<u8>,
    pub(crate) phase: Phase,
}

pub(crate) struct Session<'t> {
    pub(crate) engine: Engine,
    told: &'t [Told],
    events: Vec<String>,
    content: Vec<u8>,
    output: Vec<u8>,
    /// The most that the engine held at a time.
    pub(crate) output_max: usize,
}

enum Heard {
    Starved,
    Flush,
    Content(Vec<u8>),
    Event(String),
    Closed(String),
}

fn hear(event: &Event<'_>) -> Heard {
    let text = |octets: &[u8]| octets.escape_ascii().to_string();
    Heard::Event(match event {
        Event::Starved => return Heard::Starved,
        Event::Flush => return Heard::Flush,
        Event::Content(content) => return Heard::Content(content.to_vec()),
        Event::Close(farewell) => return Heard::Closed(format!("CLOSE {farewell:?}")),
        Event::Helo { esmtp: false, name } => format!("HELO {}", text(name)),
        Event::Helo { esmtp: true, name } => format!("EHLO {}", text(name)),
        Event::Mail { address, .. } => format!("MAIL {}", text(address)),
        Event::Rcpt { address } => format!("RCPT {}", text(address)),
        Event::Auth(AuthAsk::Challenge) => "CHALLENGE".into(),
        Event::Auth(AuthAsk::Check { mechanism, user, pass, challenge }) => {
            format!("CHECK {mechanism:?} {} {} {}", text(user), text(pass), text(challenge)).trim_end().into()
        }
        Event::Abandon(why) => format!("ABANDON {why:?}"),
        Event::Data => "DATA".into(),
        Event::Commit => "COMMIT".into(),
        Event::Reset => "RESET".into(),
        Event::StartTls => "STARTTLS".into(),
    })
}

impl<'t> Session<'t> {
    pub(crate) fn new(settings: Settings, told: &'t [Told]) -> Self {
        let mut engine = Engine::new(settings);
        engine.answer(&Answer::GO);
        engine.sent(engine.output().len());
        Self { engine, told, events: Vec::new(), content: Vec::new(), output: Vec::new(), output_max: 0 }
    }

    /// Feeds one segment, as a shell does. False: it is over.
    pub(crate) fn feed(&mut self, segment: &[u8]) -> bool {
        let mut rest = segment;
        loop {
            let (used, event) = self.engine.read(rest);
            let heard = hear(&event);
            rest = &rest[used..];
            self.output_max = self.output_max.max(self.engine.output().len());
            match heard {
                Heard::Starved => {
                    assert!(rest.is_empty(), "starved, and {} octets left", rest.len());
                    self.flush();
                    return true;
                }
                Heard::Flush => self.flush(),
                Heard::Content(content) => {
                    assert!(!content.is_empty());
                    self.content.extend(content);
                }
                Heard::Event(event) => {
                    assert!(event != "STARTTLS" || rest.is_empty(), "{} octets in clear are left", rest.len());
                    let answer = self.answer_to(&event);
                    self.note(event.clone());
                    match (event.as_str(), answer) {
                        ("CHALLENGE", Answer::GO) => self.engine.challenge(b"<1.2@mx>"),
                        _ => self.engine.answer(&answer),
                    }
                }
                Heard::Closed(event) => {
                    self.note(event);
                    self.flush();
                    return false;
                }
            }
        }
    }

    fn answer_to(&self, event: &str) -> Answer<'static> {
        let usual = if event == "COMMIT" { "250 ok 1 qp 2\r\n" } else { "" };
        let told = self.told.iter().find(|(asked, ..)| *asked == event);
        let (_, lines, then) = told.copied().unwrap_or(("", usual, Then::Go));
        Answer { lines: lines.as_bytes(), then }
    }

    fn note(&mut self, event: String) {
        if !self.content.is_empty() {
            let content = std::mem::take(&mut self.content);
            self.events.push(format!("CONTENT {}", content.escape_ascii()));
        }
        self.events.push(event);
    }

    fn flush(&mut self) {
        self.output.extend_from_slice(self.engine.output());
        self.engine.sent(self.engine.output().len());
    }

    pub(crate) fn record(mut self) -> Record {
        self.flush();
        if !self.content.is_empty() {
            self.note("CUT".into());
        }
        Record { events: self.events.join("; "), output: self.output, phase: self.engine.phase() }
    }
}

/// A session of `segments` and, once it waits for a handshake, of `behind_tls`.
pub(crate) fn run<'s>(
    settings: &Settings,
    told: &[Told],
    segments: impl IntoIterator<Item = &'s [u8]>,
    behind_tls: &[u8],
) -> Record {
    let mut session = Session::new(settings.clone(), told);
    for segment in segments {
        if !session.feed(segment) {
            return session.record();
        }
    }
    if session.engine.phase() == Phase::Handshake {
        session.engine.tls_established();
        session.feed(behind_tls);
    }
    session.record()
}
