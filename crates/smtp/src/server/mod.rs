//! The session as the server sees it: octets of one client in, events and replies out.
//!
//! ```text
//! greet ─► Command ─► MAIL RCPT… ─► DATA ─► Content ─► ContentEnd ─► answer ─► Command
//!             │                 └─► BDAT ─► Content ─► Command …
//!             └─ STARTTLS ─► Handshake ─► tls_established ─► Command
//! ```
//! The shell reads octets, feeds them to [`Engine::read`] until it is starved, writes [`Engine::output`], and gives an
//! [`Engine::answer`] where one is due. Any segmentation of the same octets yields the same events.
//!
//! ```
//! use gatepost_smtp::server::{Engine, Event, Settings};
//!
//! let mut engine = Engine::new(Settings { hostname: "mx.example.org".into(), ..Settings::default() });
//! engine.greet();
//! assert_eq!(engine.output(), b"220 mx.example.org ESMTP\r\n");
//! let input = b"EHLO client.example.net\r\nMAIL FROM:<>\r\n";
//! assert_eq!(engine.read(input), (input.len(), Event::Mail));
//! ```

mod answers;
mod auth;
mod commands;
mod content;
mod output;
mod parameters;
mod settings;
mod transaction;

pub use crate::data::{BareLf, Impure, Impurity};
pub use auth::Said;
pub use settings::{Leniency, Limits, Settings};

use crate::envelope::{CloseReason, Mail, Offer, Rcpt, Service, Tls};
use crate::lines::{Found, Lines, Rules};
use crate::mechanism::Mechanisms;
use crate::replies::{self, Reply};
use crate::sasl::{self, Exchange};
use crate::split;
use transaction::Transaction;

const HOSTNAME_MAX: usize = 255;
const ID_MAX: usize = 64;

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// All input is consumed: flush the output, then read more. While an answer is due nothing is consumed.
    Starved,
    /// The output is at its bound: flush it, then call again with the rest. Input is left.
    Flush,
    /// An answer is due about [`Engine::mail`].
    Mail,
    /// An answer is due about [`Engine::rcpt`].
    Rcpt,
    /// The next octets of content, canonical, dots unstuffed.
    Content(&'i [u8]),
    /// The content is complete; an answer is due.
    ContentEnd {
        /// Octets handed out by [`Event::Content`].
        length: u64,
    },
    /// The transaction is dropped; its reply is queued.
    Reset,
    /// An answer is due about [`Engine::said`]: [`Engine::judge`] or [`Engine::challenge`].
    Auth,
    /// 220 is queued: flush it, shake hands, then [`Engine::tls_established`].
    StartTls,
    /// Flush the output, then close.
    Close(CloseReason),
}

/// What the session waits for. The shell's timeouts depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The greeting: any input before it is early talk.
    Greeting,
    /// A command.
    Command,
    /// Content, of DATA or of a chunk.
    Content,
    /// An [`Engine::answer`] or [`Engine::judge`].
    Answer,
    /// [`Engine::tls_established`].
    Handshake,
    /// Nothing: it is over.
    Closed,
}

/// What is being read. In the states where an answer is due nothing is read: pipelined input stays in the shell.
#[derive(Debug)]
enum State {
    Greeting,
    Command,
    /// A response of the dialogue of AUTH is due.
    Auth(Box<Exchange>),
    AuthAsked(Box<Exchange>),
    Data,
    Chunk(content::Chunk),
    MailAsked,
    RcptAsked,
    ContentAsked,
    Handshake,
    Closed(CloseReason),
}

/// The result of one command line or one piece of content.
enum Step<'i> {
    /// Go on reading.
    On,
    Yield(Event<'i>),
}

/// What was counted since the last message that was accepted; see [`Limits`].
#[derive(Debug, Default)]
struct Tallies {
    errors: u32,
    noops: u32,
    resets: u32,
    ehlos: u32,
    refused_recipients: u32,
    surplus_recipients: u32,
    tiny_chunks: u32,
    discarded: u64,
}

/// What the engine refused by itself, without a question to anybody: for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The last reply by which it did.
    pub reply: Reply,
    /// How many there were, that one included, since this was asked for last.
    pub count: u32,
    /// The command that got the last reply, or its beginning; empty when it is not to be repeated: an unknown verb, or AUTH, may have a
    /// password behind it.
    pub line: Vec<u8>,
}

/// Octets of a refused command that are kept for the log.
pub const REFUSED_LINE_MAX: usize = 128;

/// One session.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    offer: Option<Offer>,
    state: State,
    lines: Lines,
    helo: Vec<u8>,
    esmtp: bool,
    tls: Option<Tls>,
    /// By which a client may log in.
    mechanisms: Mechanisms,
    /// The client has logged in.
    authenticated: bool,
    /// A password may have been among what was read since [`Engine::take_secret`].
    secret: bool,
    /// AUTH that came to nothing, in all of the session.
    auths: u32,
    transaction: Option<Transaction>,
    tallies: Tallies,
    /// 421 at the next safe point.
    draining: bool,
    /// The first octet has come. Only the first can be that of another protocol.
    spoken: bool,
    impure: Option<Impure>,
    refusal: Option<Refusal>,
    /// The reply that ended the last transaction, where it was a refusal of ours.
    ended_by: Option<Reply>,
    output: Vec<u8>,
    sent: usize,
}

impl Engine {
    /// Before the greeting.
    #[must_use]
    pub fn new(mut settings: Settings) -> Self {
        let clean = |text: &mut String, max: usize| {
            text.retain(|c| c.is_ascii_graphic());
            text.truncate(max);
        };
        clean(&mut settings.hostname, HOSTNAME_MAX);
        clean(&mut settings.id, ID_MAX);
        Self {
            settings,
            offer: None,
            state: State::Greeting,
            lines: Lines::default(),
            helo: Vec::new(),
            esmtp: false,
            tls: None,
            mechanisms: Mechanisms::PASSWORD,
            authenticated: false,
            secret: false,
            auths: 0,
            transaction: None,
            tallies: Tallies::default(),
            draining: false,
            spoken: false,
            impure: None,
            refusal: None,
            ended_by: None,
            output: Vec::new(),
            sent: 0,
        }
    }

    /// Queues 220 and begins to read commands. Call it after the handshake if TLS is implicit.
    pub fn greet(&mut self) {
        if matches!(self.state, State::Greeting) {
            self.say(replies::GREETING);
            self.state = State::Command;
        }
    }

    /// What the backend can honour, from the next EHLO and MAIL on. Until then, what depends on no backend is offered.
    pub fn set_offer(&mut self, offer: Offer) {
        self.offer = Some(offer);
    }

    /// Reads on: octets consumed, and what to do. Call it again with the rest until it is starved.
    pub fn read<'i>(&mut self, input: &'i [u8]) -> (usize, Event<'i>) {
        let mut rest = input;
        loop {
            let step = match self.state {
                State::Closed(reason) => Step::Yield(Event::Close(reason)),
                State::Greeting | State::AuthAsked(_) | State::MailAsked | State::RcptAsked | State::ContentAsked => {
                    Step::Yield(Event::Starved)
                }
                State::Command | State::Auth(_) if self.draining => self.close(replies::DRAINING, CloseReason::Drained),
                // A chunk that is complete ends without more input.
                State::Chunk(chunk) => self.read_chunk(chunk, &mut rest),
                _ if rest.is_empty() => Step::Yield(Event::Starved),
                State::Handshake => self.close(replies::TLS_TYPED_AHEAD, CloseReason::Abuse),
                State::Command | State::Auth(_) if self.is_full() => Step::Yield(Event::Flush),
                State::Command => self.read_command(&mut rest),
                State::Auth(_) => self.read_response(&mut rest),
                State::Data => self.read_data(&mut rest),
            };
            if let Step::Yield(event) = step {
                return (input.len().saturating_sub(rest.len()), event);
            }
        }
    }

    fn read_command<'i>(&mut self, rest: &mut &'i [u8]) -> Step<'i> {
        if !std::mem::replace(&mut self.spoken, true) && is_tls_hello(rest) {
            return self.close(replies::FOREIGN, CloseReason::Abuse);
        }
        let Settings { limits, leniency, .. } = &self.settings;
        let longest = if self.settings.service == Service::Submission && self.lines.begins_with(b"AUTH ", rest) {
            limits.line.max(sasl::LINE_MAX)
        } else {
            limits.line
        };
        let rules = Rules { longest, endless: limits.long_line, bare_lf: leniency.lf_in_commands };
        let (taken, found) = self.lines.next(rest, &rules);
        *rest = split(rest, taken).1;
        match found {
            Found::Starved => Step::On,
            Found::Line(line) => self.command_or_refusal(line, !rest.is_empty()),
            Found::Held => {
                let line = self.lines.take_held();
                let step = self.command_or_refusal(&line, !rest.is_empty());
                self.give_back(line);
                step
            }
            Found::TooLong => self.refuse(replies::LONG_LINE),
            Found::Endless => self.close(replies::TOO_MANY_ERRORS, CloseReason::Abuse),
            Found::BareLf => {
                // Before EHLO it is a health check (`echo QUIT | nc`), which asks for nothing: no abuse, however often it comes.
                let reason = if self.helo.is_empty() { CloseReason::BareLf } else { CloseReason::Abuse };
                self.close(replies::BARE_IN_LINE, reason)
            }
        }
    }

    /// Carries out one command line, and keeps it if it is refused.
    fn command_or_refusal<'i>(&mut self, line: &[u8], more: bool) -> Step<'i> {
        let count = |engine: &Self| engine.refusal.as_ref().map_or(0, |refusal| refusal.count);
        let before = count(self);
        let step = self.command(line, more);
        if count(self) != before
            && let Some(refusal) = &mut self.refusal
        {
            refusal.line = commands::fit_for_log(line).to_vec();
        }
        step
    }

    /// What was refused here since the last call.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// The reply that ended the last transaction, where it was a refusal of ours and not RSET or the like. None at the next
    /// call.
    pub fn take_ended_by(&mut self) -> Option<Reply> {
        self.ended_by.take()
    }

    /// The running transaction's MAIL.
    #[must_use]
    pub fn mail(&self) -> Option<&Mail> {
        self.transaction.as_ref().map(|transaction| &transaction.mail)
    }

    /// The RCPT that an answer is due about.
    #[must_use]
    pub fn rcpt(&self) -> Option<&Rcpt> {
        self.transaction.as_ref().and_then(|transaction| transaction.rcpt.as_ref())
    }

    /// The argument of the last HELO or EHLO, printable ASCII, 255 octets at most; empty before it.
    #[must_use]
    pub fn helo(&self) -> &[u8] {
        &self.helo
    }

    /// The last of HELO and EHLO was EHLO.
    #[must_use]
    pub fn esmtp(&self) -> bool {
        self.esmtp
    }

    /// TLS, once established.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.tls
    }

    /// What was wrong with the last content that was refused here, for the log.
    #[must_use]
    pub fn impure(&self) -> Option<Impure> {
        self.impure
    }

    /// What the session waits for.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Greeting => Phase::Greeting,
            State::Command | State::Auth(_) => Phase::Command,
            State::Data | State::Chunk(_) => Phase::Content,
            State::AuthAsked(_) | State::MailAsked | State::RcptAsked | State::ContentAsked => Phase::Answer,
            State::Handshake => Phase::Handshake,
            State::Closed(_) => Phase::Closed,
        }
    }

    /// TLS is up: everything the client said in clear is forgotten, RFC 3207 §4.2. Before [`Engine::greet`] if implicit.
    pub fn tls_established(&mut self, version: u16, suite: u16) {
        self.tls = Some(Tls { version, suite });
        self.helo.clear();
        self.esmtp = false;
        self.authenticated = false;
        self.transaction = None;
        self.lines.clear();
        if matches!(self.state, State::Handshake) {
            self.state = State::Command;
        }
    }

    /// The client was silent or slow for too long: 421 4.4.2. The next read yields [`Event::Close`].
    pub fn timeout(&mut self) {
        let _: Step<'_> = self.close(replies::TIMEOUT, CloseReason::Timeout);
    }

    /// gatepost is being stopped: 421 4.3.2, at once between commands, else after the answer or content that is due.
    pub fn drain(&mut self) {
        match self.state {
            State::Greeting | State::Command | State::Auth(_) => {
                let _: Step<'_> = self.close(replies::DRAINING, CloseReason::Drained);
            }
            _ => self.draining = true,
        }
    }

    /// The slot is needed for a client of another network: 421 4.3.2, within content too. The next read yields
    /// [`Event::Close`].
    pub fn reclaim(&mut self) {
        let _: Step<'_> = self.close(replies::RECLAIMED, CloseReason::Reclaimed);
    }

    /// Nothing can be taken now, because no backend is there: 421 4.3.2. The next read yields [`Event::Close`].
    pub fn away(&mut self) {
        let _: Step<'_> = self.close(replies::AWAY, CloseReason::Away);
    }

    /// A failure of ours: 421 4.3.0. The next read yields [`Event::Close`].
    pub fn fail(&mut self) {
        let _: Step<'_> = self.close(replies::FAILED, CloseReason::Internal);
    }

    fn end(&mut self, reason: CloseReason) {
        self.state = State::Closed(reason);
        self.transaction = None;
    }

    /// Queues the last reply and ends the session.
    fn close<'i>(&mut self, reply: Reply, reason: CloseReason) -> Step<'i> {
        if let State::Closed(reason) = self.state {
            return Step::Yield(Event::Close(reason));
        }
        // During the handshake the client expects TLS records, not a reply in clear.
        if !matches!(self.state, State::Handshake) {
            self.say(reply);
        }
        if self.transaction.is_some() && reply.refuses() {
            self.ended_by = Some(reply);
        }
        self.end(reason);
        Step::Yield(Event::Close(reason))
    }

    /// Refuses a command, and counts it as an error.
    fn refuse<'i>(&mut self, reply: Reply) -> Step<'i> {
        self.tallies.errors = self.tallies.errors.saturating_add(1);
        if self.tallies.errors > self.settings.limits.errors {
            return self.close(replies::TOO_MANY_ERRORS, CloseReason::Abuse);
        }
        self.say(reply);
        Step::On
    }
}

/// The first octet of a TLS handshake record: the client has not begun with SMTP.
fn is_tls_hello(input: &[u8]) -> bool {
    input.first() == Some(&0x16)
}
