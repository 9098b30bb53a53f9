//! Handoff's side of one session: what it asks is judged here and put to the backend.

use crate::SessionEnd;
use crate::allowance::Allowance;
use crate::backend::{Connection, Doors, Envelope, Failure, Lost, Message, Queue, qmqp};
use crate::clock::later;
use crate::content::Unfit;
use crate::gate::{Gate, Step, Violation};
use crate::identity::Client;
use crate::idle::Idle;
use crate::spool::{ContentFile, Spool};
use crate::transaction::{Recipient, Transaction};
use crate::verdict::{self, Stage};
use gatepost_channel::{ChannelError, Inbox};
use gatepost_policy::local_part;
use gatepost_policy::relay::{Judgement, Relay};
use gatepost_smtp::received::{Received, With};
use gatepost_wire::link::Open;
use gatepost_wire::queue::Done;
use gatepost_wire::session::{Answer, Farewell, Verdict};
use gatepost_wire::slice::Dialect;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;
use tokio::time::Instant;

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) doors: Doors,
    pub(crate) relay: Relay,
    pub(crate) spool: Spool,
    /// Largest message, octets.
    pub(crate) message_size: u64,
    /// Recipients in one transaction.
    pub(crate) recipients: u16,
    pub(crate) allowance: Allowance,
    /// Backend connections that wait for the next session.
    pub(crate) idle: Arc<Idle>,
    /// The queue role, where that is the backend.
    pub(crate) queue: Queue,
    /// Frames are read one at a time and done with at once, so one buffer serves all sessions.
    pub(crate) inbox: Mutex<Inbox>,
}

/// Why a session's channel is of no more use.
#[derive(Debug)]
enum Cut {
    /// The session is gone, without a farewell.
    Gone(ChannelError),
    /// It broke the rules.
    Hostile(Violation),
}

impl From<ChannelError> for Cut {
    fn from(e: ChannelError) -> Self {
        match e {
            ChannelError::Hostile(wire) => Cut::Hostile(Violation::Wire(wire)),
            other => Cut::Gone(other),
        }
    }
}

impl From<Violation> for Cut {
    fn from(violation: Violation) -> Self {
        Cut::Hostile(violation)
    }
}

/// What came of an ask, and what the log says of it.
struct Outcome {
    verdict: Verdict,
    /// The backend's own code, where it is the backend's word.
    backend: Option<u16>,
    failure: Option<String>,
    /// What the backend said of a message, where that is more than a code: qmail's own `qp` number is in it.
    said: Option<String>,
}

impl Outcome {
    /// The backend's word.
    fn of_backend(verdict: Verdict, code: u16) -> Self {
        Self { backend: Some(code), ..verdict.into() }
    }

    /// Why it is not taken.
    fn failed(verdict: Verdict, why: String) -> Self {
        Self { failure: Some(why), ..verdict.into() }
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, backend: None, failure: None, said: None }
    }
}

impl From<qmqp::Answer> for Outcome {
    fn from(answer: qmqp::Answer) -> Self {
        Self { said: Some(answer.to_string()), ..verdict::of_class(answer.class).into() }
    }
}

impl From<Done> for Outcome {
    fn from(done: Done) -> Self {
        let said = format!("qp {} {:?}", done.pid, done.end);
        Self { said: Some(said), ..verdict::of_queue(done.class).into() }
    }
}

impl From<Unfit> for Outcome {
    fn from(unfit: Unfit) -> Self {
        Self::failed(unfit.verdict(), unfit.to_string())
    }
}

impl From<&Failure> for Outcome {
    fn from(failure: &Failure) -> Self {
        Self::failed(verdict::of_failure(failure), failure.to_string())
    }
}

/// One session.
struct Session {
    house: Arc<House>,
    open: Open,
    end: SessionEnd,
    gate: Gate,
    /// Kept for later transactions, but not for long: see [`crate::backend::Patience::park`].
    backend: Option<Connection>,
    /// The session's one content file, emptied between transactions.
    file: Option<ContentFile>,
    /// What came of the last ask of the running transaction.
    last: Option<Outcome>,
}

/// Serves one session until it says farewell, is gone, or breaks the rules.
pub(crate) async fn attend(house: Arc<House>, open: Open, end: SessionEnd) {
    let gate = Gate::new(house.allowance.fresh());
    let mut session = Session { house, open, end, gate, backend: None, file: None, last: None };
    let parted = session.serve().await;
    if let Some(backend) = session.backend.take() {
        session.house.idle.give(backend);
    }
    if let Some(transaction) = session.gate.close() {
        session.log_dropped(&transaction);
    }
    let (id, client, transactions) = (open.id, open.client, session.gate.transactions());
    match parted {
        Ok(why) => tracing::info!("session={id} client={client} transactions={transactions} end={why:?}"),
        Err(Cut::Gone(e)) => tracing::info!("session={id} client={client} transactions={transactions} end=gone: {e}"),
        // No session of ours does this: somebody else owns it.
        Err(Cut::Hostile(violation)) => {
            tracing::warn!("session={id} client={client} transactions={transactions} end=hostile: {violation}");
        }
    }
}

impl Session {
    async fn serve(&mut self) -> Result<Farewell, Cut> {
        let offer = self.house.doors.offer(self.house.message_size, self.house.recipients);
        self.end.tell(&Answer::Offer(offer)).await?;
        loop {
            let step = self.step().await?;
            if let Some(dropped) = self.gate.take_dropped() {
                self.log_dropped(&dropped);
            }
            match step {
                Step::Nothing => {}
                Step::Rcpt(recipient) => self.rcpt(recipient).await?,
                Step::Spool => self.spool().await?,
                Step::Commit { transaction, length } => self.commit(&transaction, length).await?,
                Step::Bye(why) => return Ok(why),
            }
        }
    }

    /// Waits for the next frame. A backend connection that waits with us for too long is closed.
    async fn step(&mut self) -> Result<Step, Cut> {
        loop {
            match &mut self.backend {
                None => self.end.readable().await?,
                Some(backend) => match backend.rest_during(self.end.readable()).await {
                    Ok(readable) => readable?,
                    Err(_) => {
                        if let Some(backend) = self.backend.take() {
                            backend.quit();
                        }
                        continue;
                    }
                },
            }
            let mut inbox = self.house.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            if self.end.try_fill(&mut inbox)? {
                return Ok(self.gate.frame(inbox.bytes())?);
            }
        }
    }

    async fn answer(&mut self, verdict: Verdict) -> Result<(), Cut> {
        Ok(self.end.tell(&Answer::Verdict(verdict)).await?)
    }

    /// A recipient: our own rules first, then the backend's word.
    async fn rcpt(&mut self, recipient: Recipient) -> Result<(), Cut> {
        let outcome = match self.refusal(&recipient) {
            Some(refusal) => refusal.into(),
            None => self.ask(&recipient).await,
        };
        self.answer(outcome.verdict).await?;
        self.gate.judged(recipient, outcome.verdict.code < 400);
        self.last = Some(outcome);
        Ok(())
    }

    /// Why a recipient is refused without asking the backend.
    fn refusal(&mut self, recipient: &Recipient) -> Option<Verdict> {
        let (name, domain) = recipient.parts();
        if self.house.relay.judge(name, domain, self.open.client.ip()) != Judgement::Allow {
            return Some(verdict::RELAY_DENIED);
        }
        let offer = self.house.doors.offer(self.house.message_size, self.house.recipients);
        let transaction = self.gate.transaction()?;
        if transaction.sender().is_some_and(local_part::can_run) {
            return Some(verdict::BAD_SENDER);
        }
        if transaction.recipients().len() >= usize::from(offer.recipients) {
            return Some(verdict::TOO_MANY);
        }
        if transaction.has_room_for(recipient) { None } else { Some(verdict::NO_SPACE) }
    }

    /// Asks the backend.
    async fn ask(&mut self, recipient: &Recipient) -> Outcome {
        if matches!(self.house.doors.facts.dialect, Dialect::Qmqp | Dialect::Queue) {
            // There is nothing to ask with: our own rules have had the only word.
            return verdict::RCPT_OK.into();
        }
        let Some(transaction) = self.gate.transaction() else { return verdict::INTERNAL.into() };
        let until = later(self.house.doors.facts.patience.rcpt);
        let mut errand = Errand::Recipient(recipient);
        match errand.run(&self.house, &self.open, &mut self.backend, transaction, until).await {
            Ok(outcome) => outcome,
            Err(lost) => self.of_lost(&lost),
        }
    }

    /// A file for content that is too large to come inline.
    async fn spool(&mut self) -> Result<(), Cut> {
        let made = match &mut self.file {
            Some(file) => file.empty(),
            None => self.house.spool.file().map(|file| self.file = Some(file)),
        };
        match (made, &self.file) {
            (Ok(()), Some(file)) => {
                self.gate.filed(true);
                Ok(self.end.tell_with(&Answer::Spool, &[file.writer()]).await?)
            }
            (made, _) => {
                if let Err(e) = made {
                    tracing::error!("session={} no content file: {e}", self.open.id);
                }
                self.gate.filed(false);
                self.answer(verdict::NO_SPACE).await
            }
        }
    }

    /// The content is complete and the client has committed.
    async fn commit(&mut self, transaction: &Transaction, length: u64) -> Result<(), Cut> {
        let outcome = self.deliver(transaction, length).await?;
        self.gate.committed(outcome.verdict.code < 400);
        // The answer first: until the client has it, it may send the message again (RFC 1047).
        let answered = self.answer(outcome.verdict).await;
        self.log(transaction, length, &outcome);
        self.last = None;
        if let (true, Some(file)) = (transaction.filed, &mut self.file)
            && file.empty().is_err()
        {
            self.file = None;
        }
        answered
    }

    async fn deliver(&mut self, transaction: &Transaction, length: u64) -> Result<Outcome, Cut> {
        let filed = if transaction.filed { self.file.as_ref() } else { None };
        let filed = filed.map_or(Ok(0), ContentFile::length);
        let (Some(inline), Ok(filed)) = (transaction.inline(), filed) else { return Ok(verdict::NO_SPACE.into()) };
        let found = u64::try_from(inline.len()).unwrap_or(u64::MAX).saturating_add(filed);
        if found != length {
            return Err(Violation::Length { said: length, found }.into());
        }
        if length > self.house.message_size {
            return Ok(verdict::TOO_LARGE.into());
        }
        // From here on every path gives the file back: a session that kept its descriptor must not get a second file.
        let mut file = if transaction.filed { self.file.take() } else { None };
        let received = self.received(transaction);
        let until = later(self.house.doors.facts.patience.end);
        let mut message = Message {
            received: &received,
            inline,
            file: file.as_mut().map(|file| (file, filed)),
            own_id: &self.house.doors.facts.hostname,
        };
        let told = length.saturating_add(u64::try_from(received.len()).unwrap_or(u64::MAX));
        let done = match self.house.doors.facts.dialect {
            Dialect::Qmqp => {
                qmqp::deliver(&self.house.doors, transaction, &mut message, until).await.map(Outcome::from)
            }
            Dialect::Queue => {
                let Session { house, open, .. } = &self;
                house.queue.deliver(&house.spool, open, transaction, &mut message, until).await.map(Outcome::from)
            }
            Dialect::Smtp | Dialect::Lmtp => {
                let mut errand = Errand::Message(message, told);
                errand.run(&self.house, &self.open, &mut self.backend, transaction, until).await
            }
        };
        let outcome = done.unwrap_or_else(|lost| self.of_lost(&lost));
        if file.is_some() {
            self.file = file;
        }
        Ok(outcome)
    }

    fn of_lost(&self, lost: &Lost) -> Outcome {
        match lost {
            Lost::Unfit(unfit) | Lost::Broken(unfit) => (*unfit).into(),
            Lost::Unread(e) => {
                tracing::error!("session={} content file: {e}", self.open.id);
                verdict::INTERNAL.into()
            }
            Lost::Before(failure) => failure.into(),
            Lost::After(failure) => {
                if !matches!(failure, Failure::Closing(_)) {
                    tracing::warn!("session={} possible duplicate: {failure}", self.open.id);
                }
                failure.into()
            }
        }
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
            by: &self.house.doors.facts.hostname,
            with: With::new(transaction.helo.esmtp, transaction.tls.is_some(), transaction.smtputf8),
            tls: transaction.tls.map(|tls| (tls.version, tls.suite)),
            id: &format!("{}.{}", self.open.id, transaction.number),
            recipient,
            date: UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
        }
        .write(&mut field);
        field
    }

    /// What a stranger has written comes last, between quotes that it cannot end.
    fn log(&self, transaction: &Transaction, octets: u64, outcome: &Outcome) {
        let Verdict { code, enhanced: (class, subject, detail), reason } = outcome.verdict;
        tracing::info!(
            "session={}.{} client={} to={} refused={} octets={octets} reply={code} {class}.{subject}.{detail} \
             reason={reason:?} backend={} said=\"{}\" failure=\"{}\" helo=\"{}\" from=\"{}\"",
            self.open.id,
            transaction.number,
            self.open.client,
            transaction.recipients().len(),
            transaction.refused,
            outcome.backend.unwrap_or_default(),
            outcome.said.as_deref().unwrap_or_default(),
            outcome.failure.as_deref().unwrap_or_default(),
            transaction.helo.name.escape_ascii(),
            transaction.reverse_path().escape_ascii(),
        );
    }

    /// A transaction that ended without a commit is worth a line when anything was asked in it.
    fn log_dropped(&mut self, transaction: &Transaction) {
        if let Some(outcome) = self.last.take() {
            self.log(transaction, 0, &outcome);
        }
    }
}

/// What the backend is wanted for.
enum Errand<'a> {
    /// Its word about one more recipient of the transaction.
    Recipient(&'a Recipient),
    /// To take this message, of so many octets.
    Message(Message<'a>, u64),
}

impl Errand<'_> {
    /// Done on the connection in `slot`, on an idle one, or on a fresh one; once more on a fresh one when one that was kept
    /// turns out to be gone. What is left of it that can be used again is in `slot` then.
    async fn run(
        &mut self,
        house: &House,
        open: &Open,
        slot: &mut Option<Connection>,
        transaction: &Transaction,
        until: Instant,
    ) -> Result<Outcome, Lost> {
        let mut kept = kept_for(slot, transaction).or_else(|| house.idle.take());
        loop {
            let was_kept = kept.is_some();
            let mut backend = match kept.take() {
                Some(backend) => backend,
                None => connect(house, open, transaction, until).await.map_err(Lost::Before)?,
            };
            backend.due(until);
            let done = self.on(&mut backend, transaction).await;
            match done {
                Err(Lost::Before(failure)) if was_kept && failure.may_pass() => {}
                // Unfit content is our own finding: the connection is as good as before.
                Ok(_) | Err(Lost::Unfit(_)) => {
                    backend.rest();
                    *slot = Some(backend);
                    return done;
                }
                Err(_) => return done,
            }
        }
    }

    async fn on(&mut self, backend: &mut Connection, transaction: &Transaction) -> Result<Outcome, Lost> {
        match self {
            Errand::Recipient(recipient) => {
                let envelope = backend.envelope(transaction, None, Some(recipient)).await.map_err(Lost::Before)?;
                Ok(of_envelope(&envelope))
            }
            Errand::Message(message, told) => {
                match backend.envelope(transaction, Some(*told), None).await.map_err(Lost::Before)? {
                    Envelope::Accepted => {
                        let reply = backend.deliver(message).await?;
                        let verdict = verdict::of_reply(Stage::Content, &reply);
                        Ok(Outcome::of_backend(verdict, reply.code))
                    }
                    Envelope::Sender(reply) | Envelope::Recipient(reply) | Envelope::Changed(reply) => {
                        Ok(Outcome::of_backend(verdict::CHANGED, reply.code))
                    }
                }
            }
        }
    }
}

/// The kept connection, if the backend was told there what this transaction says of the client.
fn kept_for(slot: &mut Option<Connection>, transaction: &Transaction) -> Option<Connection> {
    let backend = slot.take()?;
    if backend.suits(&transaction.helo) {
        return Some(backend);
    }
    backend.quit();
    None
}

async fn connect(house: &House, open: &Open, transaction: &Transaction, until: Instant) -> Result<Connection, Failure> {
    house.doors.open(&Client { address: open.client, local: open.local, helo: &transaction.helo }, until).await
}

fn of_envelope(envelope: &Envelope) -> Outcome {
    let (verdict, backend) = match envelope {
        Envelope::Accepted => (verdict::RCPT_OK, 250),
        Envelope::Sender(reply) => (verdict::of_reply(Stage::Sender, reply), reply.code),
        Envelope::Recipient(reply) => (verdict::of_reply(Stage::Recipient, reply), reply.code),
        Envelope::Changed(reply) => (verdict::CHANGED, reply.code),
    };
    Outcome::of_backend(verdict, backend)
}
