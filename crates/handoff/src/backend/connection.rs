//! One connection to the backend: hello, identity, envelope. What it says is believed only where it was asked.

use super::stream::Stream;
use super::{Facts, Failure, Patience, Phase};
use crate::clock::{Clock, Elapsed, later};
use crate::identity::{self, Client};
use crate::transaction::{Helo, Recipient, Transaction};
use gatepost_smtp::client::{Extensions, Reply, ReplyReader};
use gatepost_wire::slice::{Connect, Dialect, Identity};
use std::future::Future;
use tokio::time::Instant;

/// Commands written before their replies are read, where the backend lists PIPELINING: few enough that neither side can
/// block on a full socket while the other does (RFC 2920 §3.1).
const GROUP: usize = 50;
/// Room for what the backend says; longer replies take several reads.
const BUFFER: usize = 1024;

/// What the backend holds of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    /// This transaction of our session, with so many recipients.
    Envelope {
        transaction: u32,
        recipients: usize,
    },
    /// Something that has to be reset first.
    Stale,
}

/// What the backend says to an envelope.
#[derive(Debug)]
pub(crate) enum Envelope {
    /// All of it stands.
    Accepted,
    /// It refuses the reverse-path.
    Sender(Reply),
    /// It refuses the new recipient.
    Recipient(Reply),
    /// It refuses now a recipient that it has accepted before.
    Changed(Reply),
}

/// A connection that has been through hello and identity.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    reader: ReplyReader,
    buffer: Box<[u8]>,
    /// The part of `buffer` that is not yet read.
    unread: std::ops::Range<usize>,
    clock: Clock,
    pub(super) patience: Patience,
    /// What it listed last.
    pub(crate) extensions: Extensions,
    /// What was said of the client's HELO; `None` where the backend is not told.
    helo: Option<Helo>,
    /// The backend was not told who the client is.
    anonymous: bool,
    pub(super) held: Held,
    batch: Vec<u8>,
}

enum Command<'a> {
    Rset,
    Mail,
    /// A recipient that was accepted before, on a connection that is gone.
    Again(&'a Recipient),
    Rcpt(&'a Recipient),
}

impl Connection {
    /// Connects, says hello and hands the client's identity over; whatever is asked then is to be answered by `until`.
    pub(super) async fn open(
        to: &Connect,
        facts: &Facts,
        client: &Client<'_>,
        until: Instant,
    ) -> Result<Self, Failure> {
        let mut clock = Clock::new(until);
        let stream = Stream::reach(to, &mut clock, facts.patience.connect).await?;
        let mut connection = Self {
            stream,
            reader: ReplyReader::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            unread: 0..0,
            clock,
            patience: facts.patience,
            extensions: Extensions::default(),
            helo: None,
            anonymous: facts.identity == Identity::None,
            held: Held::Nothing,
            batch: Vec::new(),
        };
        match facts.identity {
            Identity::None => connection.hello(facts).await?,
            Identity::Xclient => {
                connection.hello(facts).await?;
                connection.hand_over(facts, client).await?;
            }
            Identity::ProxyV2 => {
                let header = identity::proxy_v2(client);
                connection.send(&header, Phase::Hello).await?;
                connection.hello(facts).await.map_err(after_proxy)?;
            }
        }
        Ok(connection)
    }

    async fn hello(&mut self, facts: &Facts) -> Result<(), Failure> {
        let greeting = self.reply(Phase::Hello).await?;
        match greeting.code {
            220 => self.ehlo(facts.dialect, facts.hostname.as_bytes()).await,
            _ => Err(Failure::Unexpected(greeting)),
        }
    }

    async fn ehlo(&mut self, dialect: Dialect, name: &[u8]) -> Result<(), Failure> {
        let verb: &[u8] = if dialect == Dialect::Lmtp { b"LHLO " } else { b"EHLO " };
        let reply = self.ask(&[verb, name, b"\r\n"].concat(), Phase::Hello).await?;
        if reply.code != 250 {
            return Err(Failure::Unexpected(reply));
        }
        self.extensions = Extensions::from_ehlo(&reply);
        Ok(())
    }

    /// XCLIENT, then EHLO again: the list changes and the session starts over (no confirmation, no mail).
    async fn hand_over(&mut self, facts: &Facts, client: &Client<'_>) -> Result<(), Failure> {
        let Some(commands) = identity::xclient(client, facts.dialect, &self.extensions) else {
            return Err(Failure::Identity("it does not offer XCLIENT with ADDR to us".to_owned()));
        };
        for command in commands {
            let reply = self.ask(&command, Phase::Hello).await?;
            match reply.code {
                220 => {}
                // Syntax, order or authority: it did not take the identity. All else is its opinion of the client.
                500..=504 | 555 => return Err(Failure::Identity(format!("it answers {} to XCLIENT", reply.code))),
                550 if reply.enhanced == Some((5, 7, 0)) => {
                    return Err(Failure::Identity("it does not let us use XCLIENT".to_owned()));
                }
                400..=599 => return Err(Failure::Client(reply)),
                _ => return Err(Failure::Unexpected(reply)),
            }
        }
        let said = if identity::can_be_said(&client.helo.name) { &client.helo.name } else { facts.hostname.as_bytes() };
        self.helo = Some(client.helo.clone());
        match self.ehlo(facts.dialect, said).await {
            Err(Failure::Unexpected(reply)) if (400..=599).contains(&reply.code) => Err(Failure::Client(reply)),
            other => other,
        }
    }

    /// True when nothing on it belongs to one client or one transaction.
    pub(crate) fn is_anybodys(&self) -> bool {
        self.anonymous && self.held == Held::Nothing && self.unread.is_empty()
    }

    /// True while what the backend was told of the client still holds.
    pub(crate) fn suits(&self, helo: &Helo) -> bool {
        self.helo.as_ref().is_none_or(|told| told == helo)
    }

    /// Brings the envelope of `transaction` before the backend, as far as it does not hold it already, and then `new`.
    pub(crate) async fn envelope(
        &mut self,
        transaction: &Transaction,
        length: Option<u64>,
        new: Option<&Recipient>,
    ) -> Result<Envelope, Failure> {
        let dsn = new.is_some_and(Recipient::needs_dsn) && !self.extensions.dsn;
        if let Some(extension) = transaction.missing(&self.extensions).or(dsn.then_some("DSN")) {
            return Err(Failure::Missing(extension));
        }
        let number = transaction.number;
        let mut commands = Vec::new();
        let known = match self.held {
            Held::Envelope { transaction, recipients } if transaction == number => recipients,
            Held::Nothing => {
                commands.push(Command::Mail);
                0
            }
            Held::Envelope { .. } | Held::Stale => {
                commands.extend([Command::Rset, Command::Mail]);
                0
            }
        };
        commands.extend(transaction.recipients().iter().skip(known).map(Command::Again));
        commands.extend(new.map(Command::Rcpt));
        if commands.is_empty() {
            return Ok(Envelope::Accepted);
        }
        let group = if self.extensions.pipelining { GROUP } else { 1 };
        for group in commands.chunks(group) {
            let mut batch = std::mem::take(&mut self.batch);
            batch.clear();
            for command in group {
                match command {
                    Command::Rset => batch.extend_from_slice(b"RSET\r\n"),
                    Command::Mail => transaction.mail_command(&self.extensions, length, &mut batch),
                    Command::Again(recipient) | Command::Rcpt(recipient) => recipient.rcpt_command(&mut batch),
                }
            }
            let sent = self.send(&batch, Phase::Envelope).await;
            self.batch = batch;
            sent?;
            match self.judge(group, number).await? {
                Envelope::Accepted => {}
                refusal => return Ok(refusal),
            }
        }
        Ok(Envelope::Accepted)
    }

    /// Reads the replies to a group of commands: all of them, whatever the first says.
    async fn judge(&mut self, group: &[Command<'_>], number: u32) -> Result<Envelope, Failure> {
        let mut judgement = Envelope::Accepted;
        for command in group {
            let reply = self.reply(Phase::Envelope).await?;
            let fine = match reply.code {
                200..=299 => true,
                400..=599 => false,
                _ => return Err(Failure::Unexpected(reply)),
            };
            if !matches!(judgement, Envelope::Accepted) {
                continue;
            }
            match (command, fine) {
                (Command::Rset, true) => self.held = Held::Nothing,
                (Command::Rset, false) => return Err(Failure::Unexpected(reply)),
                (Command::Mail, true) => self.held = Held::Envelope { transaction: number, recipients: 0 },
                (Command::Mail, false) => judgement = Envelope::Sender(reply),
                (Command::Again(_) | Command::Rcpt(_), true) => {
                    if let Held::Envelope { recipients, .. } = &mut self.held {
                        *recipients = recipients.saturating_add(1);
                    }
                }
                (Command::Again(_), false) => judgement = Envelope::Changed(reply),
                (Command::Rcpt(_), false) => judgement = Envelope::Recipient(reply),
            }
        }
        if matches!(judgement, Envelope::Sender(_) | Envelope::Changed(_)) {
            self.held = Held::Stale;
        }
        Ok(judgement)
    }

    /// One command, one reply.
    pub(super) async fn ask(&mut self, command: &[u8], phase: Phase) -> Result<Reply, Failure> {
        self.send(command, phase).await?;
        self.reply(phase).await
    }

    /// Sends commands. Nothing may be there to read: a reply that came unasked would be taken for the answer to these, and
    /// one too many for the answer to the content.
    pub(super) async fn send(&mut self, octets: &[u8], phase: Phase) -> Result<(), Failure> {
        if self.unread.is_empty() {
            // The runtime knows what has come only after a look at the system, and it may not have looked since the last
            // reply: without this a reply that came unasked right behind that one would go unseen.
            tokio::task::yield_now().await;
            match self.stream.try_read(&mut self.buffer) {
                Ok(0) => return Err(Failure::Lost(None)),
                Ok(n) => self.unread = 0..n,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(Failure::Lost(Some(e))),
            }
        }
        if !self.unread.is_empty() {
            // What an idle backend may say unasked is that it closes.
            return match self.reply(phase).await {
                Err(failure) => Err(failure),
                Ok(reply) => Err(Failure::Unasked(reply)),
            };
        }
        self.clock.set(self.patience.of(phase));
        match self.clock.bound(self.stream.write_all(octets)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(self.last_words(e).await),
            Err(Elapsed) => Err(Failure::Timeout(phase)),
        }
    }

    /// A backend that hangs up often says why, and that is still there to be read.
    async fn last_words(&mut self, broken: std::io::Error) -> Failure {
        match self.reply(Phase::Envelope).await {
            Err(Failure::Closing(reply)) => Failure::Closing(reply),
            _ => Failure::Lost(Some(broken)),
        }
    }

    /// Reads one reply, whatever pieces it comes in. 421 is a failure at any stage (RFC 5321 §3.8).
    pub(super) async fn reply(&mut self, phase: Phase) -> Result<Reply, Failure> {
        self.clock.set(self.patience.of(phase));
        loop {
            let unread = self.buffer.get(self.unread.clone()).unwrap_or_default();
            if !unread.is_empty() {
                let (used, reply) = self.reader.push(unread).map_err(|_| Failure::Garbage("not a reply"))?;
                self.unread.start = self.unread.start.saturating_add(used);
                match reply {
                    Some(reply) if reply.code == 421 => return Err(Failure::Closing(reply)),
                    Some(reply) => return Ok(reply),
                    None => {}
                }
            }
            match self.clock.bound(self.stream.read(&mut self.buffer)).await {
                Ok(Ok(0)) => return Err(Failure::Lost(None)),
                Ok(Ok(n)) => self.unread = 0..n,
                Ok(Err(e)) => return Err(Failure::Lost(Some(e))),
                Err(Elapsed) => return Err(Failure::Timeout(phase)),
            }
        }
    }

    /// Whatever is asked from now on is to be answered by `until`.
    pub(crate) fn due(&mut self, until: Instant) {
        self.clock.end(until);
    }

    /// Starts the time after which an unused connection is closed.
    pub(crate) fn rest(&mut self) {
        self.clock.end(later(self.patience.park));
        self.clock.set(self.patience.park);
    }

    /// Waits for `work`, but not longer than the connection may rest.
    pub(crate) async fn rest_during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        self.clock.bound(work).await
    }

    /// Takes leave as a client should, without waiting for anything. A transaction that is under way ends here (RFC 5321
    /// §4.1.1.10). Within content it would be content: there a connection is just dropped.
    pub(crate) fn quit(self) {
        self.stream.try_write(b"QUIT\r\n");
    }
}

/// A backend that does not expect a PROXY header reads it as commands: then the hand-over has failed, and only then.
fn after_proxy(failure: Failure) -> Failure {
    match failure {
        Failure::Unexpected(reply) if matches!(reply.code, 554 | 550 | 450 | 451) => Failure::Client(reply),
        Failure::Unexpected(reply) => Failure::Identity(format!("it answers {} after the PROXY header", reply.code)),
        Failure::Garbage(what) => Failure::Identity(format!("after the PROXY header {what}")),
        other => other,
    }
}
