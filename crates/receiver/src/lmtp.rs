//! The receiving side of LMTP (RFC 2033), sans-IO: octets in, events and replies out.
//!
//! The peer is gatepost's own handoff, but whoever may open the socket may speak here: every length is bounded, and
//! content is read by the same scanner as a client's, so that there is one reading of it (P9).

use crate::command::Command;
use crate::replies::{self, Reply};
use gatepost_smtp::address::{ForwardPath, ReversePath};
use gatepost_smtp::data::{BareLf, Framing, Piece, Scanner};
use gatepost_smtp::lines::{Found, Lines, Rules};

/// Longest command line with its CRLF, octets: the longest path and every parameter fit.
pub const LINE_MAX: usize = 2048;
/// Octets without a line end after which nobody is speaking LMTP.
pub const ENDLESS: usize = 64 * 1024;
/// Recipients in one transaction, as many as RFC 5321 §4.5.3.1.8 demands.
pub const RECIPIENTS_MAX: usize = 100;
/// Refused commands on one connection.
pub const ERRORS_MAX: u32 = 20;

/// Offered after LHLO, a line each.
const EXTENSIONS: [&str; 5] = ["8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES", "SMTPUTF8", "SIZE"];

/// From whom and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where bounces go.
    pub reverse_path: ReversePath,
    /// Where the message goes, in the order given, at most [`RECIPIENTS_MAX`].
    pub forward_paths: Vec<ForwardPath>,
    smtputf8: bool,
}

/// What came of a file operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// As asked.
    Done,
    /// Larger than a file may be here.
    TooLarge,
    /// No room on the disk.
    DiskFull,
    /// Anything else: try again later.
    Failed,
}

/// What the octets meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// All input is consumed: send the output, then read more.
    Starved,
    /// Content follows for [`Receiver::envelope`]: make a file. [`Receiver::answer`] is due.
    Begin,
    /// The next octets of content, in canonical CRLF form, dots unstuffed.
    Content(&'i [u8]),
    /// The content is whole: put it where it belongs. [`Receiver::answer`] is due.
    End,
    /// The content is not to be kept. May come more than once.
    Abandon,
    /// Send the output, then close.
    Close,
}

/// Where the dialogue stands.
#[derive(Debug)]
enum Stage {
    /// Between transactions.
    Idle,
    /// MAIL was accepted.
    Envelope(Envelope),
    /// [`Event::Begin`] waits for its answer.
    Opening(Envelope),
    /// After 354, for so many recipients.
    Content(Box<Scanner>, usize),
    /// [`Event::End`] waits for its answer, for so many recipients.
    Storing(usize),
    /// The last reply is queued.
    Closed,
}

/// One connection's receiver.
#[derive(Debug)]
pub struct Receiver {
    hostname: String,
    stage: Stage,
    greeted: bool,
    draining: bool,
    errors: u32,
    lines: Lines,
    out: Vec<u8>,
}

impl Receiver {
    /// A new connection: the greeting is queued.
    #[must_use]
    pub fn new(hostname: &str) -> Self {
        let mut receiver = Self {
            hostname: hostname.to_owned(),
            stage: Stage::Idle,
            greeted: false,
            draining: false,
            errors: 0,
            lines: Lines::default(),
            out: Vec::new(),
        };
        receiver.reply(&format!("220 {hostname} LMTP"));
        receiver
    }

    /// Replies to be sent.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.out
    }

    /// The first `n` octets of the output have been sent.
    pub fn sent(&mut self, n: usize) {
        self.out.drain(..n.min(self.out.len()));
    }

    /// The envelope of the transaction, while recipients are collected and at [`Event::Begin`].
    #[must_use]
    pub fn envelope(&self) -> Option<&Envelope> {
        match &self.stage {
            Stage::Envelope(envelope) | Stage::Opening(envelope) => Some(envelope),
            Stage::Idle | Stage::Content(..) | Stage::Storing(_) | Stage::Closed => None,
        }
    }

    /// Whether the last reply is queued: [`Event::Close`] is next.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    /// Reads on: octets consumed, and what they meant. To be called again with the rest until starved.
    pub fn read<'i>(&mut self, input: &'i [u8]) -> (usize, Event<'i>) {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let (taken, event) = match &mut self.stage {
                Stage::Closed => (0, Some(Event::Close)),
                Stage::Opening(_) | Stage::Storing(_) => (0, Some(Event::Starved)),
                Stage::Content(..) => self.content(rest),
                Stage::Idle | Stage::Envelope(_) => self.line(rest),
            };
            at = at.saturating_add(taken);
            if let Some(event) = event {
                return (at, event);
            }
        }
    }

    /// What came of [`Event::Begin`] or [`Event::End`].
    pub fn answer(&mut self, stored: Stored) {
        match (std::mem::replace(&mut self.stage, Stage::Idle), stored) {
            (Stage::Opening(envelope), Stored::Done) => {
                let scanner = Scanner::new(Framing::Dots, BareLf::Refuse, None);
                self.stage = Stage::Content(Box::new(scanner), envelope.forward_paths.len());
                self.reply(replies::GO_AHEAD);
            }
            (Stage::Opening(_), refused) => {
                self.reply(refusal(refused));
                self.settle();
            }
            (Stage::Storing(recipients), Stored::Done) => self.reply_to_each(recipients, replies::STORED),
            (Stage::Storing(recipients), refused) => self.reply_to_each(recipients, refusal(refused)),
            // Nothing was asked.
            (other, _) => self.stage = other,
        }
    }

    /// Ends the dialogue, at once or as soon as the transaction is over.
    pub fn drain(&mut self) {
        self.draining = true;
        if matches!(self.stage, Stage::Idle) {
            self.settle();
        }
    }

    /// Nothing has been heard for too long.
    pub fn timeout(&mut self) {
        self.close(replies::TIMEOUT);
    }

    /// After a transaction.
    fn settle(&mut self) {
        self.stage = Stage::Idle;
        if self.draining {
            self.close(replies::DRAINED);
        }
    }

    fn reply(&mut self, reply: &str) {
        self.out.extend_from_slice(reply.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn close(&mut self, reply: Reply) {
        if !self.is_closed() {
            self.reply(reply);
        }
        self.stage = Stage::Closed;
    }

    fn refuse(&mut self, reply: Reply) {
        self.errors = self.errors.saturating_add(1);
        if self.errors > ERRORS_MAX { self.close(replies::TOO_MANY_ERRORS) } else { self.reply(reply) }
    }

    /// RFC 2033 §4.2: one reply for each recipient that was accepted, in order.
    fn reply_to_each(&mut self, recipients: usize, reply: Reply) {
        for _ in 0..recipients {
            self.reply(reply);
        }
        self.settle();
    }

    fn content<'i>(&mut self, input: &'i [u8]) -> (usize, Option<Event<'i>>) {
        let Stage::Content(scanner, recipients) = &mut self.stage else { return (0, None) };
        let (taken, piece) = scanner.scan(input);
        let (pure, recipients) = (scanner.impure().is_none(), *recipients);
        let event = match piece {
            Piece::Starved => Event::Starved,
            Piece::Content(octets) if pure => Event::Content(octets),
            Piece::Content(_) => Event::Abandon,
            Piece::End if pure => {
                self.stage = Stage::Storing(recipients);
                Event::End
            }
            Piece::End => {
                self.reply_to_each(recipients, replies::IMPURE);
                Event::Abandon
            }
        };
        (taken, Some(event))
    }

    /// Takes up to one line and obeys it.
    fn line<'i>(&mut self, input: &'i [u8]) -> (usize, Option<Event<'i>>) {
        let rules = Rules { longest: LINE_MAX, endless: ENDLESS, bare_lf: false };
        let (taken, found) = self.lines.next(input, &rules);
        let event = match found {
            Found::Starved => Some(Event::Starved),
            Found::Line(line) => self.obey(line),
            Found::Held => {
                let line = self.lines.take_held();
                let event = self.obey(&line);
                self.lines.give_back(line);
                event
            }
            Found::TooLong | Found::BareLf => {
                self.refuse(replies::BAD_LINE);
                None
            }
            Found::Endless => {
                self.close(replies::TOO_MANY_ERRORS);
                None
            }
        };
        (taken, event)
    }

    fn obey<'i>(&mut self, line: &[u8]) -> Option<Event<'i>> {
        let smtputf8 = self.envelope().is_some_and(|envelope| envelope.smtputf8);
        match Command::parse(line, smtputf8) {
            Err(refusal) => self.refuse(refusal),
            Ok(Command::Lhlo) => self.lhlo(),
            Ok(Command::Mail { reverse_path, smtputf8 }) => match self.stage {
                Stage::Idle if self.greeted => {
                    self.stage = Stage::Envelope(Envelope { reverse_path, forward_paths: Vec::new(), smtputf8 });
                    self.reply(replies::SENDER_OK);
                }
                _ => self.refuse(replies::BAD_SEQUENCE),
            },
            Ok(Command::Rcpt(forward_path)) => self.rcpt(forward_path),
            Ok(Command::Data) => return self.data(),
            Ok(Command::Rset) => {
                self.reply(replies::OK);
                self.settle();
            }
            Ok(Command::Noop) => self.reply(replies::OK),
            Ok(Command::Vrfy) => self.reply(replies::NOT_SAID),
            Ok(Command::Quit) => self.close(replies::BYE),
        }
        None
    }

    fn lhlo(&mut self) {
        self.greeted = true;
        let greeting = format!("250-{}", self.hostname);
        self.reply(&greeting);
        for (i, extension) in EXTENSIONS.iter().enumerate() {
            let separator = if i.saturating_add(1) == EXTENSIONS.len() { ' ' } else { '-' };
            self.reply(&format!("250{separator}{extension}"));
        }
        // RFC 5321 §4.1.4: as RSET.
        self.settle();
    }

    fn rcpt(&mut self, forward_path: ForwardPath) {
        match &mut self.stage {
            Stage::Envelope(envelope) if envelope.forward_paths.len() < RECIPIENTS_MAX => {
                envelope.forward_paths.push(forward_path);
                self.reply(replies::RECIPIENT_OK);
            }
            Stage::Envelope(_) => self.reply(replies::TOO_MANY_RECIPIENTS),
            _ => self.refuse(replies::BAD_SEQUENCE),
        }
    }

    fn data<'i>(&mut self) -> Option<Event<'i>> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Envelope(envelope) if !envelope.forward_paths.is_empty() => {
                self.stage = Stage::Opening(envelope);
                Some(Event::Begin)
            }
            stage => {
                let empty = matches!(stage, Stage::Envelope(_));
                self.stage = stage;
                self.refuse(if empty { replies::NO_RECIPIENTS } else { replies::BAD_SEQUENCE });
                None
            }
        }
    }
}

fn refusal(stored: Stored) -> Reply {
    match stored {
        Stored::TooLarge => replies::TOO_LARGE,
        Stored::DiskFull => replies::DISK_FULL,
        Stored::Done | Stored::Failed => replies::FAILED,
    }
}
