//! One session: what it asks is checked here and put to the backend.

mod deliver;
mod judge;
mod tell;

use crate::SessionEnd;
use crate::backend::{Asking, Connection};
use crate::helo::OfHelo;
use crate::identity::Client;
use crate::logins::Pending;
use crate::names::Names;
use crate::outcome::Outcome;
use crate::progress::{Progress, SessionProgress};
use crate::protocol::{Protocol, Step};
use crate::routes::{Destination, DestinationId};
use crate::session_table::SessionEntry;
use crate::shared::Shared;
use crate::spool::ContentFile;
use crate::telling::Waited;
use crate::transaction::Recipient;
use crate::turns::Turn;
use crate::verdict;
use crate::violation::{INLINE_MAX, Violation};
use gatepost_channel::ChannelError;
use gatepost_policy::share::Origin;
use gatepost_smtp::envelope::{CloseReason, Offer, Service};
use gatepost_wire::link::Open;
use gatepost_wire::session::Answer;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longest wait for room for one of the many answers to a commit: longer than a session waits for its client to read.
const READ_WAIT: Duration = Duration::from_secs(90);

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
    entry: SessionEntry,
    protocol: Protocol,
    turn: Turn,
    /// Kept for later requests, but not for long: see [`crate::backend::Timeouts::park`].
    connection: Option<Connection>,
    /// Where that is to.
    connected: DestinationId,
    /// The session's one content file, emptied between transactions.
    file: Option<ContentFile>,
    running: Running,
    /// Messages that were taken.
    delivered: u32,
    begun: Instant,
    /// What the client is called.
    names: Names,
    /// What lists say of what it calls itself.
    of_helo: OfHelo,
    progress: SessionProgress,
    /// Where its login comes; none: mail is not submitted here.
    pending: Option<Pending>,
    /// Who it has logged in as.
    login: Option<Arc<str>>,
}

/// What the log is told of the running transaction beside its envelope. Taken as a whole at each end of one, so that nothing of it is
/// told of the next.
#[derive(Debug, Default)]
struct Running {
    /// The verdict on its content, where that was given before its end.
    content_refused: Option<Outcome>,
    begun: Option<Instant>,
    /// How long the client and the backend have been waited for.
    waited: Waited,
    /// The Message-ID that its content was given.
    message_id: Option<Vec<u8>>,
}

impl Running {
    fn took(&self) -> Duration {
        self.begun.map_or(Duration::ZERO, |begun| begun.elapsed())
    }
}

/// Serves one session until it ends or breaks the rules; why it ends, if it said so.
pub(crate) async fn serve(shared: Arc<Shared>, open: Open, end: SessionEnd) -> Option<CloseReason> {
    let origin = Origin::of(open.counted());
    let (protocol, turn) = (Protocol::new(shared.memory.clone(), origin), shared.turns.of(origin));
    let pending = (open.service == Service::Submission).then(|| shared.logins.enter(open.id));
    let protocol = if pending.is_some() { protocol.locked() } else { protocol };
    let entry = shared.sessions.enter(open.id);
    let names = Names::UNASKED;
    let progress = SessionProgress::begin(&shared.progress);
    let login = open.user.map(|uid| shared.tables().locals.name(uid).into());
    let mut session = Session {
        shared,
        open,
        end,
        entry,
        protocol,
        turn,
        connection: None,
        connected: DestinationId::Backend,
        file: None,
        running: Running::default(),
        delivered: 0,
        begun: Instant::now(),
        names,
        of_helo: OfHelo::default(),
        progress,
        pending,
        login,
    };
    let ended = session.run().await;
    session.give_back();
    if let Some(transaction) = session.protocol.close() {
        session.tell_dropped(&transaction);
    }
    let said = ended.as_ref().ok().copied();
    if session.delivered > 0 || session.shared.log_limit.permits(open.counted()) {
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
        // One that has ended meanwhile, as a client that goes away at once has it, has said why: that is heard first.
        match self.tell(if self.shared.is_away() { &Answer::Away } else { &offer }) {
            Ok(()) | Err(SessionError::Gone(ChannelError::Closed)) => {}
            Err(e) => return Err(e),
        }
        loop {
            self.progress.set(if self.protocol.transaction().is_some() {
                Progress::Transaction
            } else {
                Progress::Idle
            });
            let waits = Instant::now();
            let step = self.step().await;
            if self.running.begun.is_some() {
                let waited = &mut self.running.waited;
                waited.client = waited.client.saturating_add(waits.elapsed());
            }
            let step = step?;
            if let Some(dropped) = self.protocol.take_dropped() {
                self.tell_dropped(&dropped);
                if dropped.filed {
                    empty(&mut self.file);
                }
            }
            if self.protocol.transaction().is_some() {
                self.running.begun.get_or_insert_with(Instant::now);
            }
            match step {
                // Whoever sends much that is not answered has one frame a turn, as other networks have.
                Step::Nothing => self.turn.end().await,
                Step::Room => self.room()?,
                Step::Rcpt(recipient) => self.rcpt(recipient).await?,
                Step::Spool => self.spool()?,
                Step::Grow => self.grow()?,
                Step::Commit { transaction, length } => {
                    self.progress.set(Progress::Delivering);
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
            let readable = self.entry.unless_told(self.end.readable());
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
                self.tell(&Answer::Leave)?;
                continue;
            };
            readable?;
            let mut inbox = self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            if self.end.try_fill(&mut inbox)? {
                inbox.no_fds()?;
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

    fn tell(&self, answer: &Answer) -> Result<(), SessionError> {
        self.tell_with(answer, &[])
    }

    /// Tells the session something. It waits for each answer before it asks again, so there is always room: one that lets answers
    /// gather is owned, and is not waited for, with a connection and memory that nobody could take back meanwhile (P13).
    fn tell_with(&self, answer: &Answer, fds: &[BorrowedFd<'_>]) -> Result<(), SessionError> {
        match self.end.try_tell_with(answer, fds) {
            Err(ChannelError::WouldBlock) => Err(Violation::NotReading.into()),
            told => Ok(told?),
        }
    }

    /// As [`Self::tell`], for the answers to one commit, which may be many: the session passes each on before it reads the next, and its
    /// client may be slow to take them.
    async fn tell_slowly(&mut self, answer: &Answer) -> Result<(), SessionError> {
        match self.end.try_tell_with(answer, &[]) {
            Err(ChannelError::WouldBlock) => {}
            told => return Ok(told?),
        }
        // Somebody else may need it meanwhile.
        self.give_back();
        match timeout(READ_WAIT, self.end.tell(answer)).await {
            Ok(told) => Ok(told?),
            Err(_) => Err(Violation::NotReading.into()),
        }
    }

    fn answer(&self, outcome: &Outcome) -> Result<(), SessionError> {
        self.tell(&Answer::Verdict { verdict: outcome.verdict, text: outcome.text() })
    }

    /// The session has no use for the connection that it has kept.
    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.shared.routes.at(self.connected).route.give_back(connection);
        }
    }

    /// What is asked next is for this destination: a connection to another is not kept.
    fn turn_to(&mut self, id: DestinationId) {
        if self.connected != id {
            self.give_back();
            self.connected = id;
        }
    }

    /// A recipient: our own rules decide first, then the backend.
    async fn rcpt(&mut self, recipient: Recipient) -> Result<(), SessionError> {
        let asked = Instant::now();
        let outcome = match self.refusal(&recipient) {
            Some(refusal) => refusal.into(),
            None if self.has_one(&recipient) => verdict::RCPT_OK.into(),
            None => match self.listed(&recipient).await {
                Some(refusal) => refusal,
                None => match self.too_often() {
                    Some(refusal) => refusal.into(),
                    None => self.ask(&recipient).await,
                },
            },
        };
        if outcome.verdict.code >= 500 && !self.open.exempt {
            let origin = self.origin();
            self.shared.rates(|rates, now| rates.refused(origin, now));
        }
        let waited = &mut self.running.waited;
        waited.backend = waited.backend.saturating_add(asked.elapsed());
        self.answer(&outcome)?;
        if outcome.verdict.code >= 400 && self.shared.log_limit.permits(self.open.counted()) {
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

    /// Asks the backend.
    async fn ask(&mut self, recipient: &Recipient) -> Outcome {
        let (name, domain) = recipient.parts();
        self.turn_to(self.shared.routes.of(name, domain));
        let Some(transaction) = self.protocol.transaction() else { return verdict::INTERNAL.into() };
        let client = Client::new(&self.open, &transaction.helo, self.names.now(), self.login.as_deref());
        let Destination { route, connections, texts, .. } = self.shared.routes.at(self.connected);
        let asking = Asking { connection: &mut self.connection, client, transaction, connections };
        let asked = route.recipient(asking, recipient).await;
        asked.unwrap_or_else(|e| Outcome::of_error(&e, &self.shared.log_limit, &self.open)).with_texts(*texts)
    }

    /// Whether the message that MAIL has announced has room on the disk.
    fn room(&mut self) -> Result<(), SessionError> {
        let announced = self.protocol.transaction().and_then(|transaction| transaction.announced());
        let looked = self.shared.spool.has_room(self.origin(), announced);
        let room = looked.unwrap_or_else(|e| {
            if self.shared.log_limit.permits(self.open.counted()) {
                tracing::error!("session={} spool: {e}; its client hears 452 and may come again", self.open.id);
            }
            false
        });
        let outcome = Outcome::from(if room { verdict::MAIL_OK } else { verdict::NO_SPACE });
        self.protocol.roomed(room);
        self.answer(&outcome)?;
        if !room {
            self.tell_refusal(&outcome.verdict, &outcome.heard(), 1, b"MAIL");
        }
        Ok(())
    }

    /// A file for content that is too large to come inline.
    fn spool(&mut self) -> Result<(), SessionError> {
        let made = match &mut self.file {
            Some(file) => file.empty(),
            None => self.shared.spool.file(self.origin()).map(|file| self.file = Some(file)),
        };
        let octets = made.and_then(|()| self.more());
        match (&octets, &self.file) {
            (Ok(octets), Some(file)) => {
                self.protocol.filed(true);
                self.tell_with(&Answer::Spool { octets: *octets }, &[file.writer()])
            }
            _ => self.no_space(octets.err()),
        }
    }

    /// More room in the file, for content that goes on.
    fn grow(&mut self) -> Result<(), SessionError> {
        if let Some(file) = &self.file
            && file.length().is_ok_and(|length| length > file.granted())
            && self.protocol.transaction().is_some_and(|transaction| transaction.inline().is_some())
        {
            return Err(Violation::Overgrown.into());
        }
        match self.more() {
            Ok(octets) => self.tell(&Answer::Spool { octets }),
            Err(e) => self.no_space(Some(e)),
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
    fn no_space(&mut self, why: Option<io::Error>) -> Result<(), SessionError> {
        let told = why
            .filter(|e| e.kind() != io::ErrorKind::StorageFull && self.shared.log_limit.permits(self.open.counted()));
        if let Some(e) = told {
            tracing::error!("session={} content file: {e}; its message is refused with 452", self.open.id);
        }
        let filed = self.filed();
        if let Some(transaction) = self.protocol.transaction().filter(|transaction| transaction.filed) {
            transaction.count(filed);
        }
        empty(&mut self.file);
        self.protocol.filed(false);
        let outcome = Outcome::from(verdict::NO_SPACE);
        self.answer(&outcome)?;
        self.running.content_refused = Some(outcome);
        Ok(())
    }

    /// Octets of content in the file.
    fn filed(&self) -> u64 {
        self.file.as_ref().and_then(|file| file.length().ok()).unwrap_or_default()
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
