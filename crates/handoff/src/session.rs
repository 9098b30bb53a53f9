//! One session: what it asks is checked here and put to the backend.

use crate::SessionEnd;
use crate::backend::{Asking, Connection, DeliveryError, Message};
use crate::identity::Client;
use crate::outcome::Outcome;
use crate::protocol::{INLINE_MAX, Protocol, Step, Violation};
use crate::several::Answers;
use crate::shared::Shared;
use crate::spool::ContentFile;
use crate::transaction::{Recipient, Transaction};
use crate::turns::Turn;
use crate::verdict;
use gatepost_channel::ChannelError;
use gatepost_policy::local_part;
use gatepost_policy::relay::Judgement;
use gatepost_policy::share::Origin;
use gatepost_smtp::envelope::{CloseReason, Verdict};
use gatepost_smtp::received::{Received, With};
use gatepost_smtp::text::Text;
use gatepost_wire::link::Open;
use gatepost_wire::session::Answer;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::UNIX_EPOCH;

/// Why a session ended without saying that it does.
#[derive(Debug)]
enum SessionError {
    /// Its channel is closed.
    Gone(ChannelError),
    /// It broke the rules of its channel.
    Hostile(Violation),
}

impl From<ChannelError> for SessionError {
    fn from(e: ChannelError) -> Self {
        match e {
            ChannelError::Hostile(wire) => SessionError::Hostile(Violation::Wire(wire)),
            other => SessionError::Gone(other),
        }
    }
}

impl From<Violation> for SessionError {
    fn from(violation: Violation) -> Self {
        SessionError::Hostile(violation)
    }
}

/// One session.
struct Session {
    shared: Arc<Shared>,
    open: Open,
    end: SessionEnd,
    protocol: Protocol,
    turn: Turn,
    /// Kept for later requests, but not for long: see [`crate::backend::Timeouts::park`].
    connection: Option<Connection>,
    /// The session's one content file, emptied between transactions.
    file: Option<ContentFile>,
    /// The outcome of the last ask of the running transaction.
    last: Option<Outcome>,
    /// Messages that were taken.
    delivered: u32,
}

/// Serves one session until it ends or breaks the rules.
pub(crate) async fn serve(shared: Arc<Shared>, open: Open, end: SessionEnd) {
    let origin = Origin::of(open.client.ip());
    let (protocol, turn) = (Protocol::new(shared.memory.clone(), origin), shared.turns.of(origin));
    let mut session =
        Session { shared, open, end, protocol, turn, connection: None, file: None, last: None, delivered: 0 };
    let ended = session.run().await;
    if let Some(connection) = session.connection.take() {
        session.shared.route.give_back(connection);
    }
    if let Some(transaction) = session.protocol.close() {
        session.log_dropped(&transaction);
    }
    let (id, client, transactions) = (open.id, open.client, session.protocol.transactions());
    if session.delivered == 0 && !session.shared.may_log(client.ip()) {
        return;
    }
    match ended {
        Ok(why) => tracing::info!("session={id} client={client} transactions={transactions} end={why:?}"),
        Err(SessionError::Gone(e)) => {
            tracing::info!("session={id} client={client} transactions={transactions} end=gone: {e}");
        }
        // Our own code never does this: somebody has taken over the session.
        Err(SessionError::Hostile(violation)) => {
            tracing::warn!("session={id} client={client} transactions={transactions} end=hostile: {violation}");
        }
    }
}

impl Session {
    async fn run(&mut self) -> Result<CloseReason, SessionError> {
        let largest = self.shared.spool.has_room(self.origin(), Some(self.shared.message_size));
        // Where the disk can't be asked, small mail that needs no file goes on.
        let scarce = largest.is_ok_and(|room| !room);
        self.end.tell(&Answer::Offer { offer: self.shared.offer(), inline_max: INLINE_MAX, scarce }).await?;
        loop {
            let step = self.step().await?;
            if let Some(dropped) = self.protocol.take_dropped() {
                self.log_dropped(&dropped);
                if dropped.filed {
                    empty(&mut self.file);
                }
            }
            match step {
                // Whoever sends much that is not answered has one frame a turn, as other networks have.
                Step::Nothing => self.turn.end().await,
                Step::Room => self.room().await?,
                Step::Rcpt(recipient) => self.rcpt(recipient).await?,
                Step::Spool => self.spool().await?,
                Step::Grow => self.grow().await?,
                Step::Commit { transaction, length } => self.commit(&transaction, length).await?,
                Step::Bye(why) => return Ok(why),
            }
        }
    }

    /// Waits for the next frame. A backend connection that is not used for too long meanwhile, or that somebody
    /// else needs, is closed.
    async fn step(&mut self) -> Result<Step, SessionError> {
        self.park();
        loop {
            match &mut self.connection {
                None => self.end.readable().await?,
                Some(connection) => match connection.unless_closed(self.end.readable()).await {
                    Some(readable) => readable?,
                    None => {
                        if let Some(connection) = self.connection.take() {
                            connection.quit();
                        }
                        continue;
                    }
                },
            }
            let mut inbox = self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            if self.end.try_fill(&mut inbox)? {
                resume(&mut self.protocol, &mut self.file);
                return Ok(self.protocol.frame(inbox.bytes())?);
            }
        }
    }

    async fn answer(&mut self, outcome: &Outcome) -> Result<(), SessionError> {
        let (verdict, text) = self.said(outcome);
        Ok(self.end.tell(&Answer::Verdict { verdict, text }).await?)
    }

    fn said(&self, outcome: &Outcome) -> (Verdict, Text) {
        (outcome.verdict, if self.shared.texts { outcome.said.clone() } else { Text::none() })
    }

    /// A recipient: our own rules decide first, then the backend.
    async fn rcpt(&mut self, recipient: Recipient) -> Result<(), SessionError> {
        let outcome = match self.refusal(&recipient) {
            Some(refusal) => refusal.into(),
            None if self.has_one(&recipient) => verdict::RCPT_OK.into(),
            None => self.ask(&recipient).await,
        };
        self.answer(&outcome).await?;
        self.protocol.judged(recipient, outcome.verdict.code < 400);
        self.last = Some(outcome);
        Ok(())
    }

    /// Why a recipient is refused without asking the backend.
    fn refusal(&mut self, recipient: &Recipient) -> Option<Verdict> {
        let (name, domain) = recipient.parts();
        if self.shared.relay.judge(name, domain, self.open.client.ip()) != Judgement::Allow {
            return Some(verdict::RELAY_DENIED);
        }
        let offer = self.shared.offer();
        let transaction = self.protocol.transaction()?;
        if transaction.sender().is_some_and(local_part::can_run) {
            return Some(verdict::BAD_SENDER);
        }
        let origin = Origin::of(self.open.client.ip());
        if transaction.recipients().len() >= usize::from(offer.recipients)
            || self.shared.awaited.parts(origin, transaction, recipient)
        {
            return Some(verdict::TOO_MANY);
        }
        if transaction.has_room_for(recipient) { None } else { Some(verdict::NO_SPACE) }
    }

    /// The recipient is refused no more: see [`crate::several`].
    fn has_one(&mut self, recipient: &Recipient) -> bool {
        let origin = Origin::of(self.open.client.ip());
        let transaction = self.protocol.transaction();
        transaction.is_some_and(|transaction| self.shared.awaited.has_one(origin, transaction, recipient))
    }

    /// Asks the backend.
    async fn ask(&mut self, recipient: &Recipient) -> Outcome {
        let Some(transaction) = self.protocol.transaction() else { return verdict::INTERNAL.into() };
        let client = Client::new(&self.open, &transaction.helo);
        let connections = &self.shared.connections;
        let asking = Asking { connection: &mut self.connection, client, transaction, connections };
        let asked = self.shared.route.recipient(asking, recipient).await;
        asked.unwrap_or_else(|e| Outcome::of_error(&e, self.open.id))
    }

    /// Whether the message that MAIL has announced has room on the disk.
    async fn room(&mut self) -> Result<(), SessionError> {
        let announced = self.protocol.transaction().and_then(|transaction| transaction.announced());
        let looked = self.shared.spool.has_room(self.origin(), announced);
        let room = looked.unwrap_or_else(|e| {
            tracing::error!("session={} spool: {e}", self.open.id);
            false
        });
        let outcome = Outcome::from(if room { verdict::MAIL_OK } else { verdict::NO_SPACE });
        self.protocol.roomed(room);
        self.answer(&outcome).await?;
        if !room {
            self.last = Some(outcome);
        }
        Ok(())
    }

    /// A file for content that is too large to come inline.
    async fn spool(&mut self) -> Result<(), SessionError> {
        let made = match &mut self.file {
            Some(file) => file.empty(),
            None => self.shared.spool.file(self.origin()).map(|file| self.file = Some(file)),
        };
        let octets = made.and_then(|()| self.more());
        match (&octets, &self.file) {
            (Ok(octets), Some(file)) => {
                self.protocol.filed(true);
                Ok(self.end.tell_with(&Answer::Spool { octets: *octets }, &[file.writer()]).await?)
            }
            _ => self.no_space(octets.err()).await,
        }
    }

    /// More room in the file, for content that goes on.
    async fn grow(&mut self) -> Result<(), SessionError> {
        if let Some(file) = &self.file
            && file.length().is_ok_and(|length| length > file.granted())
            && self.protocol.transaction().is_some_and(|transaction| transaction.inline().is_some())
        {
            return Err(Violation::Overgrown.into());
        }
        match self.more() {
            Ok(octets) => Ok(self.end.tell(&Answer::Spool { octets }).await?),
            Err(e) => self.no_space(Some(e)).await,
        }
    }

    /// How many octets more the running transaction may write to the file.
    fn more(&mut self) -> io::Result<u64> {
        match (self.protocol.transaction(), &mut self.file) {
            (Some(transaction), Some(file)) if transaction.inline().is_some() => {
                self.shared.spool.grow(file, transaction.announced())
            }
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// Content has no room: the rest of it is discarded by the session, and refused at its end.
    async fn no_space(&mut self, why: Option<io::Error>) -> Result<(), SessionError> {
        if let Some(e) = why.filter(|e| e.kind() != io::ErrorKind::StorageFull) {
            tracing::error!("session={} content file: {e}", self.open.id);
        }
        empty(&mut self.file);
        self.protocol.filed(false);
        let outcome = Outcome::from(verdict::NO_SPACE);
        self.answer(&outcome).await?;
        self.last = Some(outcome);
        Ok(())
    }

    /// The client is waited for: what its transaction has may be taken back.
    fn park(&mut self) {
        let Some(transaction) = self.protocol.transaction() else { return };
        transaction.park();
        if let (true, Some(file)) = (transaction.filed, &mut self.file) {
            file.park();
        }
    }

    fn origin(&self) -> Origin {
        Origin::of(self.open.client.ip())
    }

    /// The content is complete and the client has committed.
    async fn commit(&mut self, transaction: &Transaction, length: u64) -> Result<(), SessionError> {
        let Answers { each, all: outcome } = self.deliver(transaction, length).await?;
        self.protocol.committed(outcome.verdict.code < 400);
        for outcome in each {
            let (verdict, text) = self.said(&outcome);
            self.end.tell(&Answer::Recipient { verdict, text }).await?;
        }
        // The answer first: until the client has it, it may send the message again (RFC 1047).
        let answered = self.answer(&outcome).await;
        let taken = outcome.verdict.code < 400;
        self.delivered = self.delivered.saturating_add(u32::from(taken));
        if taken || self.shared.may_log(self.open.client.ip()) {
            outcome.log(&self.open, transaction, length);
        }
        self.last = None;
        if transaction.filed {
            empty(&mut self.file);
        }
        answered
    }

    async fn deliver(&mut self, transaction: &Transaction, length: u64) -> Result<Answers, SessionError> {
        let file = if transaction.filed { self.file.as_mut() } else { None };
        let (granted, filed) = file.as_ref().map_or((0, Ok(0)), |file| (file.granted(), file.length()));
        let (Some(inline), Ok(filed)) = (transaction.inline(), filed) else {
            return Ok(Answers::one(verdict::NO_SPACE.into()));
        };
        if filed > granted {
            return Err(Violation::Overgrown.into());
        }
        file.map(ContentFile::complete);
        let received = u64::try_from(inline.len()).unwrap_or(u64::MAX).saturating_add(filed);
        if received != length {
            return Err(Violation::Length { stated: length, received }.into());
        }
        if length > self.shared.message_size {
            return Ok(Answers::one(verdict::TOO_LARGE.into()));
        }
        // Every path from here on puts the file back: a session that kept its descriptor must not get a second file.
        let mut file = if transaction.filed { self.file.take() } else { None };
        let shared = Arc::clone(&self.shared);
        let mut message = Message {
            received: &self.received(transaction),
            inline,
            file: file.as_mut().map(|file| (file, filed)),
            own_id: &shared.hostname,
            hops: shared.hops,
            have: Vec::new(),
        };
        let done = if shared.route.answers_each() {
            let done = self.deliver_each(transaction, &mut message).await;
            done.unwrap_or_else(|e| Answers::one(Outcome::of_error(&DeliveryError::File(e), self.open.id)))
        } else {
            let outcome = self.hand_over(transaction, &mut message).await.pop();
            Answers::one(outcome.unwrap_or(verdict::INTERNAL.into()))
        };
        if file.is_some() {
            self.file = file;
        }
        Ok(done)
    }

    /// Delivers to all who do not have it yet, and makes one answer of the backend's answers.
    async fn deliver_each(&mut self, transaction: &Transaction, message: &mut Message<'_>) -> io::Result<Answers> {
        let (shared, origin) = (Arc::clone(&self.shared), Origin::of(self.open.client.ip()));
        let delivery = shared.awaited.begin(origin, transaction, message).await?;
        let all_have = !message.have.contains(&false);
        let outcomes = if all_have { Vec::new() } else { self.hand_over(transaction, message).await };
        delivery.end(outcomes, message).await
    }

    /// One outcome for all, or as many as the backend was to answer.
    async fn hand_over(&mut self, transaction: &Transaction, message: &mut Message<'_>) -> Vec<Outcome> {
        let Shared { route, spool, connections, .. } = &*self.shared;
        let client = Client::new(&self.open, &transaction.helo);
        let asking = Asking { connection: &mut self.connection, client, transaction, connections };
        let answers = message.have.iter().filter(|has| !**has).count().max(1);
        route.deliver(asking, message, spool).await.unwrap_or_else(|e| {
            let outcome = Outcome::of_error(&e, self.open.id);
            (0..answers).map(|_| outcome.clone()).collect()
        })
    }

    fn received(&self, transaction: &Transaction) -> Vec<u8> {
        let mut field = Vec::with_capacity(512);
        let recipient = match transaction.recipients() {
            [recipient] => Some(recipient.path()),
            _ => None,
        };
        Received {
            helo: &transaction.helo.name,
            address: self.open.client.ip(),
            name: None,
            by: &self.shared.hostname,
            with: With::new(transaction.helo.esmtp, transaction.tls.is_some(), transaction.smtputf8()),
            tls: transaction.tls.map(|tls| (tls.version, tls.suite)),
            id: &format!("{}.{}", self.open.id, transaction.number),
            recipient,
            date: UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
        }
        .write(&mut field);
        field
    }

    /// A transaction that ended without a commit gets a line in the log when anything was asked in it.
    fn log_dropped(&mut self, transaction: &Transaction) {
        if let Some(outcome) = self.last.take()
            && self.shared.may_log(self.open.client.ip())
        {
            outcome.log(&self.open, transaction, 0);
        }
    }
}

/// Nothing that is in the file is needed.
fn empty(file: &mut Option<ContentFile>) {
    if file.as_mut().is_some_and(|file| file.empty().is_err()) {
        *file = None;
    }
}

/// The client goes on: what its transaction has is not taken back from now on, if it was not before.
fn resume(protocol: &mut Protocol, file: &mut Option<ContentFile>) {
    let Some(transaction) = protocol.transaction() else { return };
    transaction.resume();
    if transaction.filed && file.as_mut().is_some_and(|file| !file.resume()) {
        transaction.lose();
        empty(file);
    }
}
