//! One SMTP or LMTP connection to a backend: greeting, identity, envelope. A reply counts only as the answer to a command.

use super::connections::ConnectionPermit;
use super::facts::{Facts, Words};
use super::failure::Failure;
use super::list::Backend;
use super::stream::Stream;
use super::wait::Wait;
use crate::deadline::Deadline;
use crate::identity::{self, Client};
use crate::transaction::{Helo, Recipient, Transaction};
use gatepost_policy::share::Origin;
use gatepost_smtp::client::{Extensions, Reply, ReplyReader};
use gatepost_wire::slice::{Connect, Identity, TlsMode};
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// Commands written before their replies are read, where the backend lists PIPELINING: few enough that not both sides
/// can wait on a full socket (RFC 2920 §3.1).
const GROUP: usize = 50;
/// Octets of one read; longer replies take several.
const BUFFER: usize = 1024;

/// What the backend has been told of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    /// This transaction of our session, with so many recipients.
    Envelope {
        transaction: u32,
        recipients: usize,
    },
    /// This transaction, with some of its recipients: enough to ask about one more, and too little to send the content.
    Part {
        transaction: u32,
    },
    /// A transaction that has to be reset first.
    Stale,
    /// Answers that are not read: it must not be used again.
    Lost,
}

/// The answer to an envelope.
#[derive(Debug)]
pub(crate) enum Envelope {
    /// All of it is accepted.
    Accepted,
    /// It refuses the reverse-path.
    Sender(Reply),
    /// It refuses the new recipient.
    Recipient(Reply),
    /// It refuses now a recipient that it has accepted before.
    Changed(Reply),
}

/// A connection on which the greeting and the identity are done.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    reader: ReplyReader,
    buffer: Box<[u8]>,
    /// The part of `buffer` that is not yet read.
    unread: std::ops::Range<usize>,
    /// What the backend listed last.
    pub(crate) extensions: Extensions,
    /// What the backend was told of the client's HELO; `None` where it is told nothing of it.
    helo: Option<Helo>,
    /// The backend was not told who the client is.
    anonymous: bool,
    /// The right to it; none for one that only learns what the backend offers.
    permit: Option<ConnectionPermit>,
    pub(super) held: Held,
    /// It has answered to content: see [`Connection::deliver`].
    pub(super) carried: bool,
    batch: Vec<u8>,
}

enum Command<'a> {
    Rset,
    Mail,
    /// A recipient that was accepted before, on an earlier connection.
    Again(&'a Recipient),
    Rcpt(&'a Recipient),
}

impl Connection {
    /// Connects, exchanges greetings and tells the backend who the client is. Every wait ends by `until`.
    pub(super) async fn open(
        to: &Backend,
        facts: &Facts,
        client: &Client<'_>,
        until: Instant,
    ) -> Result<Self, Failure> {
        let mut connection = Self {
            stream: Stream::open(&facts.dialer, to, facts.timeouts, until).await?,
            reader: ReplyReader::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            unread: 0..0,
            extensions: Extensions::default(),
            helo: None,
            anonymous: facts.identity == Identity::None,
            permit: None,
            held: Held::Nothing,
            carried: false,
            batch: Vec::new(),
        };
        connection.begin(&to.connect, facts, client).await?;
        Ok(connection)
    }

    /// PROXY header, TLS, greeting and XCLIENT, in this order as far as they are configured; with STARTTLS the greeting comes
    /// before TLS, and EHLO is repeated after it (RFC 3207 §4.2).
    async fn begin(&mut self, place: &Connect, facts: &Facts, client: &Client<'_>) -> Result<(), Failure> {
        if facts.identity == Identity::ProxyV2 {
            self.send(&identity::proxy_v2(client), Wait::Greeting).await?;
        }
        if facts.tls.mode == TlsMode::Implicit {
            self.stream.secure(&facts.tls, place).await?;
        }
        let greeted = self.greet(facts).await;
        if facts.identity == Identity::ProxyV2 {
            greeted.map_err(after_proxy)?
        } else {
            greeted?
        }
        if facts.tls.mode == TlsMode::StartTls {
            self.starttls(place, facts).await?;
        }
        if facts.identity == Identity::Xclient {
            self.xclient(facts, client).await?;
        }
        Ok(())
    }

    async fn greet(&mut self, facts: &Facts) -> Result<(), Failure> {
        let greeting = self.reply(Wait::Greeting).await?;
        match greeting.code {
            220 => self.ehlo(facts.words, facts.hostname.as_bytes()).await,
            _ => Err(Failure::Unexpected(greeting)),
        }
    }

    /// STARTTLS, or no connection: whoever is on the path could have removed it from the list.
    async fn starttls(&mut self, place: &Connect, facts: &Facts) -> Result<(), Failure> {
        if !self.extensions.starttls {
            return Err(Failure::Tls("it does not offer STARTTLS".to_owned()));
        }
        let reply = self.ask(b"STARTTLS\r\n", Wait::Greeting).await?;
        if reply.code != 220 {
            return Err(Failure::Tls(format!("it answers {} to STARTTLS", reply.code)));
        }
        // What is behind the answer came in clear text, and would be taken for a reply within TLS.
        if !self.unread.is_empty() {
            return Err(Failure::Tls("more octets come behind its answer to STARTTLS".to_owned()));
        }
        self.stream.secure(&facts.tls, place).await?;
        self.ehlo(facts.words, facts.hostname.as_bytes()).await
    }

    async fn ehlo(&mut self, words: &Words, name: &[u8]) -> Result<(), Failure> {
        let line = |verb: &str| [verb.as_bytes(), b" ", name, b"\r\n"].concat();
        let mut reply = self.ask(&line(words.hello), Wait::Greeting).await?;
        // Where the backend is to be told who the client is, this could be its refusal of a PROXY header, and what it says to
        // HELO would pass for a confirmation.
        let plain = words.plain_hello.filter(|_| self.anonymous && matches!(reply.code, 500..=504 | 550));
        if let Some(verb) = plain {
            reply = self.ask(&line(verb), Wait::Greeting).await?;
            // However many lines it has, they are no list of extensions.
            reply.lines.truncate(1);
        }
        if reply.code != 250 {
            return Err(Failure::Unexpected(reply));
        }
        self.extensions = Extensions::from_ehlo(&reply);
        Ok(())
    }

    /// XCLIENT, then EHLO again: the session starts over and the list of extensions changes. Without a confirmation no mail
    /// is sent.
    async fn xclient(&mut self, facts: &Facts, client: &Client<'_>) -> Result<(), Failure> {
        let Some(commands) = identity::xclient(client, facts.words, &self.extensions) else {
            return Err(Failure::Identity(
                "it does not offer XCLIENT with ADDR to us, or not with LOGIN, which submission needs".to_owned(),
            ));
        };
        for command in commands {
            let reply = self.ask(&command, Wait::Greeting).await?;
            match reply.code {
                220 => {}
                // Syntax, order or authority: it did not take the identity. Any other refusal is about the client.
                500..=504 | 555 => return Err(Failure::Identity(format!("it answers {} to XCLIENT", reply.code))),
                550 if reply.enhanced == Some((5, 7, 0)) => {
                    return Err(Failure::Identity("it does not let us use XCLIENT".to_owned()));
                }
                400..=599 => return Err(Failure::Client(reply)),
                _ => return Err(Failure::Unexpected(reply)),
            }
        }
        let own = facts.hostname.as_bytes();
        let name = if identity::fits_ehlo(&client.helo.name) { &client.helo.name } else { own };
        self.helo = Some(client.helo.clone());
        match self.ehlo(facts.words, name).await {
            Err(Failure::Unexpected(reply)) if (400..=599).contains(&reply.code) => Err(Failure::Client(reply)),
            other => other,
        }
    }

    /// It has been opened by right of `permit`.
    pub(super) fn with(self, permit: ConnectionPermit) -> Self {
        Self { permit: Some(permit), ..self }
    }

    /// It is not used for now: closed after `wait`, or sooner when somebody else needs it, see [`Self::unless_closed`].
    pub(super) fn park(&mut self, wait: Duration) {
        self.stream.deadline.park(wait);
        if let Some(permit) = &self.permit {
            permit.park();
        }
    }

    /// It is used again. False: it must be closed instead.
    #[must_use]
    pub(super) fn resume(&self) -> bool {
        self.permit.as_ref().is_none_or(ConnectionPermit::resume)
    }

    /// Waits for `work` with a parked connection. None: it must be closed.
    pub(crate) async fn unless_closed<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let Self { stream, permit, .. } = self;
        match permit {
            Some(permit) => permit.unless_reclaimed(stream.deadline.bound(work)).await?.ok(),
            None => stream.deadline.bound(work).await.ok(),
        }
    }

    /// Somebody waits for a connection.
    pub(super) fn is_wanted(&self) -> bool {
        self.permit.as_ref().is_some_and(ConnectionPermit::is_wanted)
    }

    /// The same connection for the session of a client at `origin`. None, and it is closed, when somebody waits for one.
    pub(super) fn pass_on(mut self, origin: Origin) -> Option<Self> {
        match self.permit.take().map(|permit| permit.pass_on(origin)) {
            Some(Some(permit)) => Some(self.with(permit)),
            Some(None) => {
                self.quit();
                None
            }
            None => Some(self),
        }
    }

    /// Nothing has come that is not read. When no answer is due, whatever has is a reply to nothing.
    pub(super) fn is_quiet(&self) -> bool {
        self.unread.is_empty()
    }

    /// It must not be used again.
    pub(super) fn is_lost(&self) -> bool {
        self.held == Held::Lost
    }

    /// True when any session may use it: it belongs to no client and holds no transaction.
    pub(crate) fn is_reusable(&self) -> bool {
        self.anonymous && self.held == Held::Nothing && self.is_quiet()
    }

    /// True while what the backend was told of the client's HELO is still true.
    pub(crate) fn is_for(&self, helo: &Helo) -> bool {
        self.helo.as_ref().is_none_or(|told| told == helo)
    }

    /// Sends the part of `transaction`'s envelope that the backend does not hold yet, and then the recipient `new`. `have`: as in
    /// [`super::Message`].
    pub(crate) async fn envelope(
        &mut self,
        transaction: &Transaction,
        have: &[bool],
        length: Option<u64>,
        new: Option<&Recipient>,
    ) -> Result<Envelope, Failure> {
        let dsn = new.is_some_and(Recipient::needs_dsn) && !self.extensions.dsn;
        if let Some(extension) = transaction.missing(&self.extensions).or(dsn.then_some("DSN")) {
            return Err(Failure::Missing(extension));
        }
        let number = transaction.number;
        let mut commands = Vec::new();
        let some = have.contains(&true);
        let accepted = transaction.recipients().len();
        let known = match self.held {
            Held::Envelope { transaction, recipients } if transaction == number && !some => recipients,
            Held::Part { transaction } if transaction == number && new.is_some() => accepted,
            Held::Nothing => {
                commands.push(Command::Mail);
                0
            }
            Held::Envelope { .. } | Held::Part { .. } | Held::Stale | Held::Lost => {
                commands.extend([Command::Rset, Command::Mail]);
                0
            }
        };
        // For one question a client must not have the backend answer a thousand again.
        let part = known == 0 && new.is_some() && !transaction.may_repeat(accepted);
        let known = if part { accepted } else { known };
        let wanted = transaction.recipients().iter().enumerate();
        let wanted = wanted.filter(|(place, _)| !have.get(*place).is_some_and(|has| *has));
        commands.extend(wanted.skip(known).map(|(_, recipient)| Command::Again(recipient)));
        commands.extend(new.map(Command::Rcpt));
        if commands.is_empty() {
            return Ok(Envelope::Accepted);
        }
        if matches!(commands.first(), Some(Command::Rset | Command::Mail)) {
            // A reply too many to the message before this one comes right behind the last: time for it, and for everybody else.
            tokio::task::yield_now().await;
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
            let sent = self.send(&batch, Wait::Envelope).await;
            self.batch = batch;
            sent?;
            let begun = if part {
                Held::Part { transaction: number }
            } else {
                Held::Envelope { transaction: number, recipients: 0 }
            };
            match self.replies(group, begun).await? {
                Envelope::Accepted => {}
                refusal => return Ok(refusal),
            }
        }
        Ok(Envelope::Accepted)
    }

    /// Reads the replies to a group of commands: all of them, whatever the first says. `begun`: what it holds after MAIL.
    async fn replies(&mut self, group: &[Command<'_>], begun: Held) -> Result<Envelope, Failure> {
        let mut judgement = Envelope::Accepted;
        for command in group {
            let reply = self.reply(Wait::Envelope).await?;
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
                (Command::Mail, true) => self.held = begun,
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
    pub(super) async fn ask(&mut self, command: &[u8], wait: Wait) -> Result<Reply, Failure> {
        self.send(command, wait).await?;
        self.reply(wait).await
    }

    /// Sends commands, after a check that there is nothing to read: a reply that came unasked would be taken for the answer
    /// to these, and one too many for the answer to the content. Whatever comes before they are written answers nothing. What comes
    /// afterwards can't be told from an answer by when it comes, see [`Connection::deliver`].
    pub(super) async fn send(&mut self, octets: &[u8], wait: Wait) -> Result<(), Failure> {
        if self.unread.is_empty()
            && let Some(n) = self.stream.read_early(&mut self.buffer).await?
        {
            self.unread = 0..n;
        }
        if !self.unread.is_empty() {
            // The one thing that an idle backend may say unasked is that it closes.
            return match self.reply(wait).await {
                Err(failure) => Err(failure),
                Ok(reply) => Err(Failure::Unasked(reply)),
            };
        }
        match self.stream.write(octets, wait).await {
            Err(Failure::Lost(Some(e))) => Err(self.closing_reply(e, wait).await),
            done => done,
        }
    }

    /// A backend that closes often says why, and that can still be read.
    async fn closing_reply(&mut self, broken: std::io::Error, wait: Wait) -> Failure {
        match self.reply(Wait::Envelope).await {
            Err(Failure::Closing(_, reply)) => Failure::Closing(wait, reply),
            _ => Failure::Lost(Some(broken)),
        }
    }

    /// Reads one reply, whatever pieces it comes in. 421 is a failure at any stage (RFC 5321 §3.8).
    pub(super) async fn reply(&mut self, wait: Wait) -> Result<Reply, Failure> {
        self.stream.start(wait);
        loop {
            let unread = self.buffer.get(self.unread.clone()).unwrap_or_default();
            if !unread.is_empty() {
                let (used, reply) = self.reader.push(unread).map_err(|_| Failure::Garbage("not a reply"))?;
                self.unread.start = self.unread.start.saturating_add(used);
                match reply {
                    Some(reply) if reply.code == 421 => return Err(Failure::Closing(wait, reply)),
                    Some(reply) => return Ok(reply),
                    None => {}
                }
            }
            self.unread = 0..self.stream.read(&mut self.buffer, wait).await?;
        }
    }

    /// The deadline of its waits.
    pub(crate) fn deadline(&mut self) -> &mut Deadline {
        &mut self.stream.deadline
    }

    /// Says QUIT and closes, without waiting. A transaction that is under way ends here (RFC 5321 §4.1.1.10). Never used
    /// within content, where QUIT would be content: there a connection is just dropped.
    pub(crate) fn quit(self) {
        self.stream.close_with(b"QUIT\r\n");
    }
}

/// A backend that does not expect a PROXY header reads it as commands: then it was not told who the client is.
fn after_proxy(failure: Failure) -> Failure {
    match failure {
        Failure::Unexpected(reply) if matches!(reply.code, 554 | 550 | 450 | 451) => Failure::Client(reply),
        Failure::Unexpected(reply) => Failure::Identity(format!("it answers {} after the PROXY header", reply.code)),
        Failure::Garbage(what) => Failure::Identity(format!("after the PROXY header {what}")),
        other => other,
    }
}
