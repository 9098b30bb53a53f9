//! One session: what it asks is checked here and put to the backend.

use crate::SessionEnd;
use crate::backend::{Asking, Connection, DeliveryError, Message};
use crate::identity::Client;
use crate::logins::Pending;
use crate::names::Names;
use crate::outcome::Outcome;
use crate::protocol::{INLINE_MAX, Protocol, Refusal, Step, Violation};
use crate::routes::{Destination, Place};
use crate::seats::Seat;
use crate::several::Answers;
use crate::shared::Shared;
use crate::spool::ContentFile;
use crate::stages::{AtStage, Stage};
use crate::telling::Telling;
use crate::transaction::{Recipient, Transaction};
use crate::turns::Turn;
use crate::verdict;
use gatepost_channel::ChannelError;
use gatepost_policy::local_part;
use gatepost_policy::relay::{Judgement, is_literal_of};
use gatepost_policy::share::Origin;
use gatepost_policy::tables::{Address, Question};
use gatepost_smtp::envelope::{CloseReason, Offer, Service, Verdict};
use gatepost_smtp::names::HostName;
use gatepost_smtp::received::{Received, With};
use gatepost_wire::event;
use gatepost_wire::link::Open;
use gatepost_wire::session::Answer;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

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
    seat: Seat,
    protocol: Protocol,
    turn: Turn,
    /// Kept for later requests, but not for long: see [`crate::backend::Timeouts::park`].
    connection: Option<Connection>,
    /// Where that is to.
    connected: Place,
    /// The session's one content file, emptied between transactions.
    file: Option<ContentFile>,
    /// The verdict on the running transaction's content, where it was given before its end.
    content_refused: Option<Outcome>,
    /// When the running transaction began, and how long the backend has been waited for in it.
    begun: Option<Instant>,
    backend: Duration,
    /// Messages that were taken.
    delivered: u32,
    born: Instant,
    /// What the client is called.
    names: Names,
    stage: AtStage,
    /// Where its login comes; none: mail is not submitted here.
    pending: Option<Pending>,
    /// Who it has logged in as.
    login: Option<Arc<str>>,
}

/// Serves one session until it ends or breaks the rules; why it ends, if it said so.
pub(crate) async fn serve(shared: Arc<Shared>, open: Open, end: SessionEnd) -> Option<CloseReason> {
    let origin = Origin::of(open.counted());
    let (protocol, turn) = (Protocol::new(shared.memory.clone(), origin), shared.turns.of(origin));
    let pending = (open.service == Service::Submission).then(|| shared.logins.enter(open.id));
    let protocol = if pending.is_some() { protocol.locked() } else { protocol };
    let seat = shared.seats.enter(open.id);
    let names = Names::UNASKED;
    let stage = AtStage::begin(&shared.stages);
    let login = open.user.map(|uid| shared.locals.name(uid).into());
    let mut session = Session {
        shared,
        open,
        end,
        seat,
        protocol,
        turn,
        connection: None,
        connected: Place::Backend,
        file: None,
        content_refused: None,
        begun: None,
        backend: Duration::ZERO,
        delivered: 0,
        born: Instant::now(),
        names,
        stage,
        pending,
        login,
    };
    let ended = session.run().await;
    session.give_back();
    if let Some(transaction) = session.protocol.close() {
        session.tell_dropped(&transaction);
    }
    let said = ended.as_ref().ok().copied();
    if session.delivered > 0 || session.shared.may_log(open.counted()) {
        session.tell_end(ended);
    }
    said
}

impl Session {
    async fn run(&mut self) -> Result<CloseReason, SessionError> {
        // The session greets when it has the offer.
        self.names = self.shared.resolver.names(self.open.client.ip(), self.shared.names_wait).await;
        let largest = self.shared.spool.has_room(self.origin(), Some(self.message_size()));
        // Where the disk can't be asked, small mail that needs no file goes on.
        let scarce = largest.is_ok_and(|room| !room);
        let offer = Answer::Offer { offer: self.offer(), inline_max: INLINE_MAX, scarce };
        self.end.tell(if self.shared.is_away() { &Answer::Away } else { &offer }).await?;
        loop {
            self.stage.set(if self.protocol.transaction().is_some() { Stage::Transaction } else { Stage::Idle });
            let step = self.step().await?;
            if let Some(dropped) = self.protocol.take_dropped() {
                self.tell_dropped(&dropped);
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
                Step::Commit { transaction, length } => {
                    self.stage.set(Stage::Delivering);
                    self.commit(&transaction, length).await?;
                }
                Step::Refused(refusal) => self.tell_refused(&refusal),
                Step::Bye(why) => return Ok(why),
            }
        }
    }

    /// Waits for the next frame. A backend connection that is not used for too long meanwhile, or that somebody
    /// else needs, is closed.
    async fn step(&mut self) -> Result<Step, SessionError> {
        self.park();
        loop {
            let readable = self.seat.unless_told(self.end.readable());
            let readable = match &mut self.connection {
                None => readable.await,
                Some(connection) => match connection.unless_closed(readable).await {
                    Some(readable) => readable,
                    None => {
                        if let Some(connection) = self.connection.take() {
                            connection.quit();
                        }
                        continue;
                    }
                },
            };
            let Some(readable) = readable else {
                self.end.tell(&Answer::Leave).await?;
                continue;
            };
            readable?;
            let mut inbox = self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            if self.end.try_fill(&mut inbox)? {
                if self.protocol.is_locked() {
                    self.login = self.pending.as_ref().and_then(Pending::login);
                    if self.login.is_some() {
                        self.protocol.unlock();
                    }
                }
                resume(&mut self.protocol, &mut self.file);
                return Ok(self.protocol.frame(inbox.bytes())?);
            }
        }
    }

    async fn answer(&mut self, outcome: &Outcome) -> Result<(), SessionError> {
        Ok(self.end.tell(&Answer::Verdict { verdict: outcome.verdict, text: outcome.text() }).await?)
    }

    /// The session has no use for the connection that it has kept.
    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.shared.routes.at(self.connected).route.give_back(connection);
        }
    }

    /// What is asked next is for this destination: a connection to another is not kept.
    fn turn_to(&mut self, place: Place) {
        if self.connected != place {
            self.give_back();
            self.connected = place;
        }
    }

    /// A recipient: our own rules decide first, then the backend.
    async fn rcpt(&mut self, recipient: Recipient) -> Result<(), SessionError> {
        let asked = Instant::now();
        self.begun.get_or_insert(asked);
        let outcome = match self.refusal(&recipient) {
            Some(refusal) => refusal.into(),
            None if self.has_one(&recipient) => verdict::RCPT_OK.into(),
            None => match self.too_often() {
                Some(refusal) => refusal.into(),
                None => self.ask(&recipient).await,
            },
        };
        if outcome.verdict.code >= 500 && !self.open.exempt {
            let origin = self.origin();
            self.shared.rates(|rates, now| rates.refused(origin, now));
        }
        self.backend = self.backend.saturating_add(asked.elapsed());
        self.answer(&outcome).await?;
        if outcome.verdict.code >= 400 && self.shared.may_log(self.open.counted()) {
            self.tell_refused_recipient(&recipient, &outcome);
        }
        self.protocol.judged(recipient, outcome.verdict.code < 400);
        Ok(())
    }

    /// Octets of this client's largest message.
    fn message_size(&self) -> u64 {
        match self.open.message_size {
            0 => self.shared.message_size,
            size => size.min(self.shared.message_size),
        }
    }

    fn offer(&self) -> Offer {
        let offer = self.shared.offer();
        Offer { size: offer.size.min(self.message_size()), ..offer }
    }

    /// Why a recipient is refused without asking the backend.
    fn refusal(&mut self, recipient: &Recipient) -> Option<Verdict> {
        let (name, domain) = recipient.parts();
        let address = Address { local_part: name, domain };
        let relay = &self.shared.relay;
        let trusted = self.open.relay || self.login.is_some() || relay.is_client(self.open.client.ip());
        let judgement = match trusted {
            true => relay.judge_permitted(name, domain),
            false => relay.judge(name, domain, self.open.client.ip()),
        };
        // RFC 5321 §4.5.1: whoever knows nothing but our address can write to the postmaster.
        let literal = || domain.is_some_and(|domain| is_literal_of(domain, self.open.local.ip()));
        if judgement != Judgement::Allow && !(address.is_always_reachable() && literal()) {
            return Some(verdict::RELAY_DENIED);
        }
        if let Some(refusal) = self.refused_by_tables(address, trusted) {
            return Some(refusal);
        }
        let offer = self.offer();
        let transaction = self.protocol.transaction()?;
        if transaction.sender().is_some_and(local_part::can_run) {
            return Some(verdict::BAD_SENDER);
        }
        let path = transaction.reverse_path();
        let own = |login: &Arc<str>| match self.open.service {
            Service::Local => self.shared.locals.permits(login, path),
            Service::Relay | Service::Submission => self.shared.senders.permits(login, path),
        };
        if !self.login.as_ref().is_none_or(own) {
            return Some(verdict::NOT_YOURS);
        }
        let origin = Origin::of(self.open.counted());
        if transaction.recipients().len() >= usize::from(offer.recipients)
            || self.shared.awaited.parts(origin, transaction, recipient)
        {
            return Some(verdict::TOO_MANY);
        }
        let routes = &self.shared.routes;
        if routes.of_transaction(transaction).is_some_and(|place| place != routes.of(name, domain)) {
            return Some(verdict::OTHER_BACKEND);
        }
        if transaction.has_room_for(recipient) { None } else { Some(verdict::NO_SPACE) }
    }

    /// Why the backend is not asked about one more recipient of this client's now.
    fn too_often(&mut self) -> Option<Verdict> {
        if self.open.exempt {
            return None;
        }
        let origin = self.origin();
        let transaction = self.protocol.transaction()?;
        let refusal = self.shared.rates(|rates, now| rates.ask(origin, !transaction.measured, now));
        transaction.measured |= refusal.is_none();
        refusal
    }

    /// What the admin's tables say.
    fn refused_by_tables(&mut self, recipient: Address<'_>, trusted: bool) -> Option<Verdict> {
        let tables = self.shared.tables();
        let own = recipient.domain.is_some_and(|domain| self.shared.relay.domains.covers(domain));
        let transaction = self.protocol.transaction()?;
        let (helo, sender) = (transaction.helo.name.as_slice(), transaction.sender_address());
        match tables.judge(&Question { helo, sender, recipient, trusted, own }) {
            Ok(finding) => verdict::of_finding(finding),
            Err(e) => {
                if self.shared.may_log(self.open.counted()) {
                    tracing::error!(
                        "a table of [senders], [recipients] or [helo] can't be searched, so mail waits: {e}"
                    );
                }
                Some(verdict::INTERNAL)
            }
        }
    }

    /// The recipient is refused no more: see [`crate::several`].
    fn has_one(&mut self, recipient: &Recipient) -> bool {
        let origin = Origin::of(self.open.counted());
        let transaction = self.protocol.transaction();
        transaction.is_some_and(|transaction| self.shared.awaited.has_one(origin, transaction, recipient))
    }

    /// Asks the backend.
    async fn ask(&mut self, recipient: &Recipient) -> Outcome {
        let (name, domain) = recipient.parts();
        self.turn_to(self.shared.routes.of(name, domain));
        let Some(transaction) = self.protocol.transaction() else { return verdict::INTERNAL.into() };
        let client = Client::new(&self.open, &transaction.helo, self.names.now(), self.login.as_deref());
        let Destination { route, connections, texts } = self.shared.routes.at(self.connected);
        let asking = Asking { connection: &mut self.connection, client, transaction, connections };
        let asked = route.recipient(asking, recipient).await;
        asked.unwrap_or_else(|e| Outcome::of_error(&e, self.open.id)).with_texts(*texts)
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
            self.tell_refusal(&outcome.verdict, &outcome.heard(), 1, b"MAIL");
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
        self.content_refused = Some(outcome);
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
        Origin::of(self.open.counted())
    }

    /// The content is complete and the client has committed.
    async fn commit(&mut self, transaction: &Transaction, length: u64) -> Result<(), SessionError> {
        let asked = Instant::now();
        let answers = if self.seat.is_leaving() {
            Answers::one(verdict::RECLAIMED.into())
        } else {
            self.deliver(transaction, length).await?
        };
        self.backend = self.backend.saturating_add(asked.elapsed());
        let Answers { results, each, all: outcome } = &answers;
        self.protocol.committed(outcome.verdict.code < 400);
        for outcome in results.iter().filter(|_| *each) {
            self.end.tell(&Answer::Recipient { verdict: outcome.verdict, text: outcome.text() }).await?;
        }
        // The answer first: until the client has it, it may send the message again (RFC 1047).
        let answered = self.answer(outcome).await;
        self.seat.end_delivery();
        let taken = outcome.verdict.code < 400;
        if taken {
            let origin = self.origin();
            self.shared.rates(|rates, now| rates.taken(origin, now));
        }
        self.delivered = self.delivered.saturating_add(u32::from(taken));
        if taken || self.shared.may_log(self.open.counted()) {
            self.telling(transaction, length).all(&answers).await;
        }
        (self.begun, self.backend) = (None, Duration::ZERO);
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
        if length > self.message_size() {
            return Ok(Answers::one(verdict::TOO_LARGE.into()));
        }
        // Every path from here on puts the file back: a session that kept its descriptor must not get a second file.
        let mut file = if transaction.filed { self.file.take() } else { None };
        let shared = Arc::clone(&self.shared);
        let place = shared.routes.of_transaction(transaction).unwrap_or_default();
        self.turn_to(place);
        let mut message = Message {
            received: &self.received(transaction),
            inline,
            file: file.as_mut().map(|file| (file, filed)),
            own_id: &shared.hostname,
            hops: shared.hops,
            have: Vec::new(),
            permit: self.seat.permit(),
        };
        let done = if shared.routes.at(place).route.answers_each() {
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
        let (shared, origin) = (Arc::clone(&self.shared), Origin::of(self.open.counted()));
        let delivery = shared.awaited.begin(origin, transaction, message).await?;
        let all_have = !message.have.contains(&false);
        let outcomes = if all_have { Vec::new() } else { self.hand_over(transaction, message).await };
        delivery.end(outcomes, message).await
    }

    /// One outcome for all, or as many as the backend was to answer.
    async fn hand_over(&mut self, transaction: &Transaction, message: &mut Message<'_>) -> Vec<Outcome> {
        let Shared { routes, spool, .. } = &*self.shared;
        let Destination { route, connections, texts } = routes.at(self.connected);
        let client = Client::new(&self.open, &transaction.helo, self.names.now(), self.login.as_deref());
        let asking = Asking { connection: &mut self.connection, client, transaction, connections };
        let answers = message.have.iter().filter(|has| !**has).count().max(1);
        let outcomes = route.deliver(asking, message, spool).await.unwrap_or_else(|e| {
            let outcome = Outcome::of_error(&e, self.open.id);
            (0..answers).map(|_| outcome.clone()).collect()
        });
        outcomes.into_iter().map(|outcome| outcome.with_texts(*texts)).collect()
    }

    fn received(&mut self, transaction: &Transaction) -> Vec<u8> {
        let mut field = Vec::with_capacity(512);
        let recipient = match transaction.recipients() {
            [recipient] => Some(recipient.path()),
            _ => None,
        };
        Received {
            helo: &transaction.helo.name,
            address: self.open.client.ip(),
            user: self.open.user.zip(self.login.as_deref()),
            name: self.names.now().confirmed.known().map(HostName::as_str),
            by: &self.shared.hostname,
            with: With::new(
                transaction.helo.esmtp,
                transaction.tls.is_some(),
                transaction.smtputf8(),
                self.login.is_some(),
            ),
            tls: transaction.tls.map(|tls| (tls.version, tls.suite)),
            id: &format!("{}.{}", self.open.id, transaction.number),
            recipient,
            date: UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
        }
        .write(&mut field);
        field
    }

    fn tell_end(&self, ended: Result<CloseReason, SessionError>) {
        let Open { id: session, client, .. } = self.open;
        let (end, detail) = match ended {
            Ok(why @ CloseReason::ProxyHeader) => {
                tracing::warn!(
                    "session={session} client={client}: a PROXY header, but proxy_from of its [[listen]] does not name it"
                );
                (why, None)
            }
            Ok(why) => (why, self.protocol.detail().map(|detail| String::from_utf8_lossy(detail).into_owned())),
            // It ended before it said why: by a signal, or with its nursery.
            Err(SessionError::Gone(e)) => (CloseReason::Internal, Some(e.to_string())),
            // Our own code never does this: somebody has taken over the session.
            Err(SessionError::Hostile(violation)) => {
                let violation = violation.to_string();
                gatepost_log::tell(event::Owned { session, client, violation: violation.as_bytes() });
                (CloseReason::Abuse, Some(violation))
            }
        };
        gatepost_log::tell(event::Session {
            session,
            client,
            name: self.names.known().map(|name| name.as_str().as_bytes()),
            transactions: self.protocol.transactions(),
            messages: self.delivered,
            end,
            detail: detail.as_deref().map(str::as_bytes),
            seconds: u32::try_from(self.born.elapsed().as_secs()).unwrap_or(u32::MAX),
        });
    }

    fn telling<'a>(&self, transaction: &'a Transaction, size: u64) -> Telling<'a> {
        let took = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        let name = self.names.known().cloned();
        Telling { open: self.open, name, login: self.login.clone(), transaction, size, took, backend: self.backend }
    }

    /// A transaction that ended without a commit: the session refused it, or the client took it back or went away.
    fn tell_dropped(&mut self, transaction: &Transaction) {
        let ended_by = self.protocol.take_ended_by().map(Outcome::of_session);
        let refused = self.content_refused.take().or(ended_by);
        if !transaction.recipients().is_empty() && self.shared.may_log(self.open.counted()) {
            let outcome = refused.unwrap_or_else(Outcome::abandoned);
            self.telling(transaction, 0).now(&outcome);
        }
        (self.begun, self.backend) = (None, Duration::ZERO);
    }

    /// One that was refused is told at once: it is no part of the transaction.
    fn tell_refused_recipient(&mut self, recipient: &Recipient, outcome: &Outcome) {
        let took = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        let (open, login, backend) = (self.open, self.login.clone(), self.backend);
        if let Some(transaction) = self.protocol.transaction() {
            let name = self.names.known().cloned();
            let telling = Telling { open, name, login, transaction, size: 0, took, backend };
            telling.recipient(recipient, false, (outcome, outcome), |event| gatepost_log::tell(*event));
        }
    }

    fn tell_refused(&self, refusal: &Refusal) {
        let Refusal { reply, count, line } = refusal;
        self.tell_refusal(&Outcome::of_session(*reply).verdict, reply.text, *count, line);
    }

    fn tell_refusal(&self, verdict: &Verdict, heard: &str, count: u32, line: &[u8]) {
        if self.shared.may_log(self.open.counted()) {
            gatepost_log::tell(event::Refused {
                session: self.open.id,
                client: self.open.client,
                reply: verdict.code,
                enhanced: verdict.enhanced,
                heard: heard.as_bytes(),
                count,
                line,
            });
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
