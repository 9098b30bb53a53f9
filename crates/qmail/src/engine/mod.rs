//! qmail-smtpd's dialect of SMTP: octets in, events and replies out. It parses, and decides nothing about anyone: the
//! process beside it, the parent, does, and runs the queue program.
//!
//! ```text
//! greeting ─► HELO? ─► MAIL? RCPT?… ─► DATA? ─► Content ─► Commit? ──► command …
//!     │                                               └──► Abandon ──► command …
//!     ├─ AUTH ─► Challenge? Check?          (?: an answer is due)
//!     └─ STARTTLS? ─► handshake ─► tls_established ─► command
//! ```
//! The shell reads octets, feeds them to [`Engine::read`] until it is starved, writes [`Engine::output`], and gives an
//! [`Engine::answer`] where one is due. Any segmentation of the same octets yields the same events.
//!
//! ```
//! use gatepost_qmail::engine::{Answer, Engine, Event, Settings};
//!
//! let mut engine = Engine::new(Settings { greeting: b"mx.example.org".to_vec(), ..Settings::default() });
//! engine.answer(&Answer::GO);
//! let input = b"MAIL FROM:<@hop:a@example.net>\r\n";
//! let asked = Event::Mail { address: b"a@example.net", argument: b"FROM:<@hop:a@example.net>" };
//! assert_eq!(engine.read(input), (input.len(), asked));
//! engine.answer(&Answer::GO);
//! assert_eq!(engine.output(), b"220 mx.example.org ESMTP\r\n250 ok\r\n");
//! ```

mod address;
mod auth;
mod commands;
mod content;
pub mod data;
mod events;
mod hops;
mod settings;
mod tallies;
mod verbs;

pub use auth::AuthAsk;
pub use data::BareLf;
pub use events::{Answer, Event, Phase, exit_status};

use gatepost_smtp::envelope::{Abandoned, CloseReason, Then};
pub use settings::{AuthOffer, Limits, Settings};

use crate::replies::{self, Reply};
use crate::split;
use content::Reception;
use gatepost_smtp::lines::{Found, Lines, Rules};
use gatepost_smtp::sasl::{Claim, Exchange};
use tallies::Tallies;

/// Replies are held back from growing beyond this: [`Event::Flush`].
const OUTPUT_MAX: usize = 4096;

/// What the parent was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Greeting,
    Helo,
    Mail,
    Rcpt,
    Data,
    Commit,
    Challenge,
    Check,
    StartTls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Command,
    /// A response of [`Engine::exchange`] is due.
    Auth,
    Content,
    /// Holds nothing back: whatever is typed ahead waits in the shell.
    Asked(Question),
    Handshake,
    Closed(CloseReason),
}

/// An [`Event`], before it borrows from the engine.
enum Turn<'i> {
    Starved,
    Flush,
    Helo,
    Mail,
    Rcpt,
    Data,
    Content(&'i [u8]),
    Commit,
    Abandon(Abandoned),
    Reset,
    Challenge,
    Check,
    StartTls,
    Close(CloseReason),
}

/// From the granted MAIL on.
#[derive(Debug, Default)]
struct Transaction {
    accepted: u32,
}

/// One session.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    state: State,
    lines: Lines,
    /// Of the last MAIL or RCPT.
    address: Vec<u8>,
    /// Of the last HELO or MAIL.
    argument: Vec<u8>,
    esmtp: bool,
    tls: bool,
    authenticated: bool,
    /// The dialogue of AUTH, until it is judged.
    exchange: Option<Exchange>,
    transaction: Option<Transaction>,
    reception: Reception,
    tallies: Tallies,
    output: Vec<u8>,
    sent: usize,
}

impl Engine {
    /// Before the greeting: an answer is due, which greets.
    #[must_use]
    pub fn new(mut settings: Settings) -> Self {
        settings.greeting.retain(|octet| *octet != b'\n');
        let reception = Reception::new(&settings);
        Self {
            settings,
            state: State::Asked(Question::Greeting),
            lines: Lines::default(),
            address: Vec::new(),
            argument: Vec::new(),
            esmtp: false,
            tls: false,
            authenticated: false,
            exchange: None,
            transaction: None,
            reception,
            tallies: Tallies::default(),
            output: Vec::new(),
            sent: 0,
        }
    }

    /// Reads on: octets consumed, and what they mean. To be called again with the rest until it is starved.
    pub fn read<'a>(&'a mut self, input: &'a [u8]) -> (usize, Event<'a>) {
        let mut rest = input;
        let turn = loop {
            if let Some(turn) = self.turn(&mut rest) {
                break turn;
            }
        };
        (input.len().saturating_sub(rest.len()), self.event(turn))
    }

    fn turn<'i>(&mut self, rest: &mut &'i [u8]) -> Option<Turn<'i>> {
        match self.state {
            State::Closed(reason) => Some(Turn::Close(reason)),
            // CVE-2011-0411: what was typed ahead in clear would be obeyed as if it had come through TLS.
            State::Asked(Question::StartTls) | State::Handshake => {
                *rest = &[];
                Some(Turn::Starved)
            }
            State::Asked(_) => Some(Turn::Starved),
            _ if rest.is_empty() => Some(Turn::Starved),
            State::Content => self.read_content(rest),
            State::Command | State::Auth if self.output().len() >= OUTPUT_MAX => Some(Turn::Flush),
            State::Command => self.read_line(false, rest),
            State::Auth => self.read_line(true, rest),
        }
    }

    fn event<'a>(&'a self, turn: Turn<'a>) -> Event<'a> {
        match turn {
            Turn::Starved => Event::Starved,
            Turn::Flush => Event::Flush,
            Turn::Helo => Event::Helo { esmtp: self.esmtp, name: &self.argument },
            Turn::Mail => Event::Mail { address: &self.address, argument: &self.argument },
            Turn::Rcpt => Event::Rcpt { address: &self.address },
            Turn::Data => Event::Data,
            Turn::Content(content) => Event::Content(content),
            Turn::Commit => Event::Commit,
            Turn::Abandon(why) => Event::Abandon(why),
            Turn::Reset => Event::Reset,
            Turn::Challenge => Event::Auth(AuthAsk::Challenge),
            Turn::Check => self.exchange.as_ref().map_or(Event::Starved, |exchange| {
                let Claim { mechanism, user, pass, challenge, acts_for: _ } = exchange.claim();
                Event::Auth(AuthAsk::Check { mechanism, user, pass, challenge })
            }),
            Turn::StartTls => Event::StartTls,
            Turn::Close(reason) => Event::Close(reason),
        }
    }

    fn read_line<'i>(&mut self, responds: bool, rest: &mut &'i [u8]) -> Option<Turn<'i>> {
        let Limits { line, auth_line, long_line, .. } = self.settings.limits;
        // AUTH may bring a response along, and be as long.
        let auth = responds || self.lines.begins_with(b"AUTH ", rest);
        let longest = if auth { line.max(auth_line) } else { line };
        let rules = Rules { longest, endless: long_line, bare_lf: true };
        let (taken, found) = self.lines.next(rest, &rules);
        *rest = split(rest, taken).1;
        let turn = match found {
            Found::Starved => None,
            Found::Line(line) => self.line(responds, line),
            Found::Held => {
                let line = self.lines.take_held();
                let turn = self.line(responds, &line);
                self.lines.give_back(line);
                turn
            }
            // These rules know no bare LF.
            Found::TooLong | Found::BareLf => {
                self.state = State::Command;
                self.refuse(if responds { replies::AUTH_MALFORMED } else { replies::LINE_TOO_LONG })
            }
            Found::Endless => self.close(replies::OUT_OF_MEMORY, CloseReason::Limit),
        };
        if matches!(turn, Some(Turn::StartTls)) {
            *rest = &[];
        }
        turn
    }

    fn line<'i>(&mut self, responds: bool, line: &[u8]) -> Option<Turn<'i>> {
        if responds { self.response(line) } else { self.command(line) }
    }

    /// What the session waits for.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Asked(Question::Greeting) => Phase::Greeting,
            State::Command | State::Auth => Phase::Command,
            State::Content => Phase::Content,
            State::Asked(_) => Phase::Answer,
            State::Handshake => Phase::Handshake,
            State::Closed(_) => Phase::Closed,
        }
    }

    /// Queues the reply to what was asked. Without effect when nothing is due.
    pub fn answer(&mut self, answer: &Answer<'_>) {
        let State::Asked(question) = self.state else { return };
        self.state = State::Command;
        if answer.lines.is_empty() {
            self.say_usual(question, answer.then);
        } else {
            self.say_line(&[answer.lines.strip_suffix(b"\r\n").unwrap_or(answer.lines)]);
        }
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        match answer.then {
            Then::Go => self.granted(question),
            Then::Refused => self.denied(question),
            Then::Close => self.end(CloseReason::Refused),
            Then::Leave => self.end(CloseReason::Dismissed),
        }
    }

    /// The reply to an answer that brings none.
    fn say_usual(&mut self, question: Question, then: Then) {
        match (question, then) {
            (_, Then::Close | Then::Leave) => {}
            (Question::Greeting, Then::Go) => self.say_greeting(b"220 ", b" ESMTP"),
            (Question::Helo, Then::Go) => self.say_helo(),
            (Question::Mail | Question::Rcpt, Then::Go) => self.say(replies::OK),
            (Question::Data, Then::Go) => self.say(replies::GO_AHEAD),
            (Question::Check, Then::Go) => self.say(replies::AUTH_OK),
            (Question::StartTls, Then::Go) => self.say(replies::TLS_READY),
            (Question::Check, Then::Refused) => self.say(replies::AUTH_FAILED),
            // A client that is told nothing waits for ever.
            _ => self.fail(),
        }
    }

    fn granted(&mut self, question: Question) {
        match question {
            Question::Greeting | Question::Helo => {}
            Question::Mail => self.transaction = Some(Transaction::default()),
            Question::Rcpt => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.accepted = transaction.accepted.saturating_add(1);
                }
            }
            Question::Data => {
                self.reception = Reception::new(&self.settings);
                self.state = State::Content;
            }
            Question::Commit => {
                self.transaction = None;
                self.tallies.forgive();
            }
            // Whatever was said was no challenge, or the engine would know it.
            Question::Challenge => self.fail(),
            Question::Check => {
                self.authenticated = true;
                self.exchange = None;
            }
            Question::StartTls => self.state = State::Handshake,
        }
        self.tallies.errors.forget();
    }

    fn denied(&mut self, question: Question) {
        match question {
            Question::Data | Question::Commit => self.transaction = None,
            Question::Check | Question::Challenge => self.exchange = None,
            Question::Rcpt => {
                let _: Option<Turn<'_>> = self.recipient_refused();
            }
            // Its cause is ours, but nothing else would end the asking.
            Question::StartTls if self.too_many_errors() => {
                let _: Option<Turn<'_>> = self.close_for_abuse();
            }
            _ => {}
        }
    }

    /// TLS is up: everything the client said in clear is forgotten, RFC 3207 §4.2, AUTH too. The parent must forget as well.
    /// Before the greeting if TLS is implicit.
    pub fn tls_established(&mut self) {
        self.tls = true;
        self.authenticated = false;
        self.exchange = None;
        self.transaction = None;
        self.lines.clear();
        if matches!(self.state, State::Handshake) {
            self.state = State::Command;
        }
    }

    /// The client was silent for too long: 451. The next read yields [`Event::Close`].
    pub fn timeout(&mut self) {
        let _: Option<Turn<'_>> = self.close(replies::TIMEOUT, CloseReason::Timeout);
    }

    /// The session has lasted as long as any may: 421. The next read yields [`Event::Close`].
    pub fn expire(&mut self) {
        let _: Option<Turn<'_>> = self.close(replies::SESSION_TIME, CloseReason::Limit);
    }

    /// Something of ours broke: 421. The next read yields [`Event::Close`].
    pub fn fail(&mut self) {
        let _: Option<Turn<'_>> = self.close(replies::INTERNAL, CloseReason::Internal);
    }

    /// Replies not yet sent: 4 KiB and one reply at most.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// The first `n` octets of the output are sent.
    pub fn sent(&mut self, n: usize) {
        self.sent = self.sent.saturating_add(n);
        if self.sent >= self.output.len() {
            self.output.clear();
            self.sent = 0;
        } else if self.sent > OUTPUT_MAX {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn end(&mut self, reason: CloseReason) {
        self.state = State::Closed(reason);
        self.transaction = None;
    }

    /// Says a last reply and ends.
    fn close<'i>(&mut self, reply: Reply, reason: CloseReason) -> Option<Turn<'i>> {
        if let State::Closed(reason) = self.state {
            return Some(Turn::Close(reason));
        }
        // In the handshake the other side expects TLS records: our clear text would only confuse it.
        if !matches!(self.state, State::Handshake) {
            self.say(reply);
        }
        self.end(reason);
        Some(Turn::Close(reason))
    }

    fn close_for_abuse<'i>(&mut self) -> Option<Turn<'i>> {
        self.close(replies::TOO_MANY_ERRORS, CloseReason::Limit)
    }

    /// Refuses a command for what it is, and counts it.
    fn refuse<'i>(&mut self, reply: Reply) -> Option<Turn<'i>> {
        if self.too_many_errors() {
            return self.close_for_abuse();
        }
        self.say(reply);
        None
    }

    /// Counts one.
    fn too_many_errors(&mut self) -> bool {
        let Limits { errors, errors_in_all, .. } = self.settings.limits;
        self.tallies.errors.one_more(errors) | self.tallies.errors_in_all.one_more(errors_in_all)
    }

    fn say(&mut self, reply: Reply) {
        self.say_line(&[reply.line().as_bytes()]);
    }

    fn say_greeting(&mut self, before: &[u8], behind: &[u8]) {
        for part in [before, &self.settings.greeting, behind, b"\r\n"] {
            self.output.extend_from_slice(part);
        }
    }

    fn say_line(&mut self, parts: &[&[u8]]) {
        for part in parts.iter().chain(&[&b"\r\n"[..]]) {
            self.output.extend_from_slice(part);
        }
    }
}
