//! One attempt, from the question to its answer, whatever the source of logins is.

use crate::checker::Checker;
use crate::dovecot::{self, Dovecot, Outcome};
use crate::passwd::Passwd;
use crate::scram::{self, Binding};
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_policy::fair_queue::FairQueue;
use gatepost_policy::flood::{Flood, Line};
use gatepost_policy::guesses::Guesses;
use gatepost_policy::share::Origin;
use gatepost_role::unless;
use gatepost_smtp::envelope::{Login, Mechanism};
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_wire::auth::{BINDING_LENGTH, Begin, Claim, LOGIN_MAX, LoggedIn, Noted, is_login};
use gatepost_wire::event;
use gatepost_wire::link::{OpenAuth, SessionId};
use gatepost_wire::{AuthToHandoff, Direction, HandoffToAuth, check};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

/// Longest wait for a turn and for the check: a client waits for minutes, but its user does not.
const PATIENCE: Duration = Duration::from_secs(20);
/// Attempts that wait for their turn; of more, one of the network that has used most is answered "not known" at once.
const WAITING_MAX: usize = 512;
/// Longest wait for handoff to take note of a login.
const NOTE: Duration = Duration::from_secs(5);

/// Longest wait until who has the right password has been told, before the next password is checked.
const TOLD: Duration = Duration::from_millis(100);
/// After a check there is none for this part of the time that it took: checks never take more than 8/9 of one processor.
const REST: u32 = 8;

/// What a client claims.
pub(crate) struct Attempt {
    pub(crate) mechanism: Mechanism,
    user: Vec<u8>,
    pass: Zeroizing<Vec<u8>>,
}

impl Attempt {
    pub(crate) fn of(claim: &Claim<'_>) -> Self {
        let Claim { mechanism, user, pass } = *claim;
        Self { mechanism, user: user.to_vec(), pass: Zeroizing::new(pass.to_vec()) }
    }
}

/// What a client says first in a dialogue.
pub(crate) struct Opening {
    pub(crate) mechanism: Mechanism,
    /// What the session says that its client's connection is bound by.
    binding: Option<[u8; BINDING_LENGTH]>,
    response: Zeroizing<Vec<u8>>,
}

impl Opening {
    pub(crate) fn of(begin: &Begin<'_>) -> Self {
        let Begin { mechanism, binding, response } = *begin;
        let binding = binding.and_then(|binding| binding.try_into().ok());
        Self { mechanism, binding, response: Zeroizing::new(response.to_vec()) }
    }
}

/// A dialogue whose client has to say more.
pub(crate) struct Exchange {
    mechanism: Mechanism,
    with: With,
}

enum With {
    Dovecot(Box<dovecot::Exchange>),
    Scram(Box<Scram>),
}

/// SCRAM with the passwd file.
struct Scram {
    login: String,
    /// There is such a login.
    known: bool,
    /// Its last message is due; none: it has proved that it is who it says, and has to take note of our proof.
    server: Option<scram::Server>,
}

impl Exchange {
    /// Waits for the client. None: the dialogue has to give way.
    pub(crate) async fn unless_told<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match &self.with {
            With::Dovecot(exchange) => exchange.unless_told(work).await,
            // Costs nobody anything.
            With::Scram(_) => Some(work.await),
        }
    }
}

/// What follows from what a client said.
pub(crate) enum Turn {
    /// It must answer this.
    Challenge(Vec<u8>, Exchange),
    /// Whether it is who it says.
    Judged(Login),
}

/// What the source of logins says of an attempt.
enum Found {
    /// The client is this login.
    Accepted(Vec<u8>),
    /// It is not. Whom it claimed to be, where that is known here.
    Refused(Option<Vec<u8>>),
    /// It is not known now.
    Unknown,
}

/// Where logins come from.
pub(crate) enum Source {
    Passwd(Passwd),
    Dovecot(Dovecot),
    Checker(Checker),
}

/// An attempt that waits, and where it is answered.
struct Waiting {
    attempt: Arc<Attempt>,
    answer: oneshot::Sender<Option<bool>>,
    /// Ends when its session has been told.
    told: oneshot::Receiver<()>,
}

/// A link with handoff, and who waits for it to take note of a login.
struct Handoff {
    end: AsyncEnd<AuthToHandoff, HandoffToAuth>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<bool>>>,
}

impl Handoff {
    /// Reads what handoff says, until the link ends.
    async fn receive(&self) {
        let mut inbox = Inbox::new(HandoffToAuth::FRAME_MAX);
        loop {
            match self.end.recv(&mut inbox).await {
                Ok(Noted { id, noted }) => {
                    if let Some(waiting) = lock(&self.waiting).remove(&id.0) {
                        let _ = waiting.send(noted);
                    }
                }
                Err(ChannelError::Closed) => return,
                Err(e) => return tracing::error!("handoff: {e}"),
            }
        }
    }
}

/// What all sessions share.
pub(crate) struct Judge {
    source: Source,
    /// What nonces are made from, and how many there were.
    secret: [u8; 32],
    nonces: AtomicU64,
    queue: Mutex<FairQueue<Waiting>>,
    arrived: Notify,
    guesses: Mutex<Guesses>,
    /// The newest link, until it ends.
    handoff: Mutex<Option<Arc<Handoff>>>,
    flood: Mutex<Flood>,
    begun: Instant,
}

impl Judge {
    /// `secret`: 32 random octets.
    pub(crate) fn new(source: Source, secret: [u8; 32]) -> Self {
        Self {
            source,
            secret,
            nonces: AtomicU64::new(0),
            queue: Mutex::new(FairQueue::new(WAITING_MAX, 1)),
            arrived: Notify::new(),
            guesses: Mutex::default(),
            handoff: Mutex::default(),
            flood: Mutex::default(),
            begun: Instant::now(),
        }
    }

    /// By which mechanisms every client can log in. None: it changes while we run.
    pub(crate) fn offers_to_all(&self) -> Option<Mechanisms> {
        match &self.source {
            Source::Passwd(passwd) => Some(passwd.offer()),
            Source::Dovecot(_) => None,
            Source::Checker(_) => Some(Mechanisms::PASSWORD),
        }
    }

    /// By which mechanisms a client that has come can log in.
    pub(crate) async fn offer(&self) -> Mechanisms {
        match (self.offers_to_all(), &self.source) {
            (None, Source::Dovecot(dovecot)) => dovecot.offer().await,
            (offered, _) => offered.unwrap_or_default(),
        }
    }

    /// Checks one password of the passwd file after the other, for as long as the process lives.
    pub(crate) async fn check_all(self: Arc<Self>) {
        let Source::Passwd(passwd) = &self.source else { return };
        loop {
            let next = lock(&self.queue).next(self.now());
            match next {
                None => self.arrived.notified().await,
                // Whoever has asked is gone.
                Some((turn, waiting)) if waiting.answer.is_closed() => lock(&self.queue).ended(turn, self.now()),
                Some((turn, Waiting { attempt, answer, told })) => {
                    let begun = Instant::now();
                    let accepted = passwd.accepts(&attempt.user, &attempt.pass);
                    // What computes hashes copies the password to wherever it works.
                    gatepost_sys::wipe::stack();
                    drop(attempt);
                    if accepted.is_none() {
                        tracing::error!("a password could not be checked: no memory was left");
                    }
                    let took = begun.elapsed();
                    let _ = answer.send(accepted);
                    lock(&self.queue).ended(turn, self.now());
                    if accepted == Some(true) {
                        // It would wait for the next one's check otherwise: handoff has to answer before it is let in.
                        let _ = timeout(TOLD, told).await;
                    }
                    // Others have the processor, and orders and questions their turn, with what follows from them.
                    sleep(took / REST).await;
                }
            }
        }
    }

    /// Judges a name and its password. A refusal is late; a failure of ours is no yes. None: its session was `gone` before its turn, and
    /// nothing was computed for it.
    pub(crate) async fn claim(
        &self,
        open: OpenAuth,
        attempt: Attempt,
        gone: impl Future<Output = ()>,
    ) -> Option<Login> {
        let (mechanism, attempt) = (attempt.mechanism, Arc::new(attempt));
        // Kept until the session can be told.
        let (_telling, told) = oneshot::channel();
        let found = match &self.source {
            Source::Passwd(passwd) => match self.check(Origin::of(open.client.ip()), &attempt, told, gone).await? {
                Some(true) => Found::Accepted(attempt.user.clone()),
                // The name of one that is not known is not told: it may be a password in the wrong place.
                Some(false) => Found::Refused(Some(attempt.user.clone()).filter(|user| passwd.knows(user))),
                None => Found::Unknown,
            },
            Source::Checker(checker) => match checker.ask(open.client, &attempt.user, &attempt.pass).await {
                check::Found::Right => Found::Accepted(attempt.user.clone()),
                // As above; whom it knows is known to the program alone.
                check::Found::Wrong => Found::Refused(None),
                check::Found::Unknown => Found::Unknown,
            },
            Source::Dovecot(dovecot) => {
                let Attempt { mechanism, user, pass } = &*attempt;
                let plain = Zeroizing::new([b"\0", user.as_slice(), b"\0", pass].concat());
                let outcome = match mechanism {
                    Mechanism::Login => dovecot.begin(*mechanism, open.client, None, &[user, pass]).await,
                    _ => dovecot.begin(*mechanism, open.client, Some(&plain), &[]).await,
                };
                match outcome {
                    Outcome::Accepted(login) => Found::Accepted(login.into_bytes()),
                    Outcome::Refused => Found::Refused(None),
                    Outcome::Failed(why) => {
                        self.tell_failure(open.client, &why);
                        Found::Unknown
                    }
                    // It has been told all there is.
                    Outcome::Challenge(..) | Outcome::Unknown => Found::Unknown,
                }
            }
        };
        Some(self.conclude(open, mechanism, Some(&attempt.user), found).await)
    }

    /// Begins a dialogue.
    pub(crate) async fn begin(&self, open: OpenAuth, opening: Opening) -> Turn {
        let mechanism = opening.mechanism;
        match &self.source {
            Source::Passwd(passwd) => match self.begin_scram(passwd, &opening) {
                Some((challenge, scram)) => {
                    let with = With::Scram(Box::new(scram));
                    Turn::Challenge(challenge.into_bytes(), Exchange { mechanism, with })
                }
                None => Turn::Judged(self.conclude(open, mechanism, None, Found::Refused(None)).await),
            },
            Source::Dovecot(dovecot) => {
                let outcome = dovecot.begin(mechanism, open.client, Some(&opening.response), &[]).await;
                self.turn(open, mechanism, outcome).await
            }
            // It has no dialogue, and offers none.
            Source::Checker(_) => Turn::Judged(self.conclude(open, mechanism, None, Found::Unknown).await),
        }
    }

    /// None: the client says what it must not.
    fn begin_scram(&self, passwd: &Passwd, opening: &Opening) -> Option<(String, Scram)> {
        let binding = match (opening.mechanism, &opening.binding) {
            (Mechanism::ScramSha256Plus, data) => Binding::Chosen(data.as_ref()?),
            (_, Some(_)) => Binding::Offered,
            (_, None) => Binding::Unknown,
        };
        let said = scram::Opening::parse(&opening.response, binding).ok()?;
        let (keys, known) = passwd.keys(&said.login)?;
        let nonce = scram::hmac(&self.secret, &self.nonces.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let (server, challenge) = said.answer(keys, &nonce, binding);
        Some((challenge, Scram { login: said.login, known, server: Some(server) }))
    }

    /// Goes on with one.
    pub(crate) async fn respond(&self, open: OpenAuth, exchange: Exchange, response: &[u8]) -> Turn {
        let Exchange { mechanism, with } = exchange;
        match with {
            With::Dovecot(exchange) => {
                let outcome = exchange.respond(response).await;
                self.turn(open, mechanism, outcome).await
            }
            With::Scram(scram) => self.respond_scram(open, mechanism, *scram, response).await,
        }
    }

    async fn respond_scram(&self, open: OpenAuth, mechanism: Mechanism, scram: Scram, response: &[u8]) -> Turn {
        let Scram { login, known, server } = scram;
        let found = match server.map(|server| server.finish(response)) {
            Some(Ok(proof)) if known => {
                let with = With::Scram(Box::new(Scram { login, known, server: None }));
                return Turn::Challenge(proof.into_bytes(), Exchange { mechanism, with });
            }
            None if response.is_empty() => Found::Accepted(login.clone().into_bytes()),
            _ => Found::Refused(known.then(|| login.clone().into_bytes())),
        };
        Turn::Judged(self.conclude(open, mechanism, Some(login.as_bytes()), found).await)
    }

    async fn turn(&self, open: OpenAuth, mechanism: Mechanism, outcome: Outcome) -> Turn {
        let found = match outcome {
            Outcome::Challenge(challenge, with) => {
                return Turn::Challenge(challenge, Exchange { mechanism, with: With::Dovecot(with) });
            }
            Outcome::Accepted(login) => Found::Accepted(login.into_bytes()),
            Outcome::Refused => Found::Refused(None),
            Outcome::Failed(why) => {
                self.tell_failure(open.client, &why);
                Found::Unknown
            }
            Outcome::Unknown => Found::Unknown,
        };
        Turn::Judged(self.conclude(open, mechanism, None, found).await)
    }

    /// What follows from what was found: handoff takes note of a login, a refusal is late, and it is told.
    async fn conclude(&self, open: OpenAuth, mechanism: Mechanism, claimed: Option<&[u8]>, found: Found) -> Login {
        let origin = Origin::of(open.client.ip());
        let (result, login) = match found {
            Found::Accepted(login) => (self.note(open.id, &login).await, Some(login)),
            Found::Refused(login) => (Login::Refused, login),
            Found::Unknown => (Login::Unknown, None),
        };
        match result {
            Login::Accepted => lock(&self.guesses).right(origin),
            Login::Refused => {
                let late = lock(&self.guesses).wrong(origin, claimed, self.now());
                sleep(Duration::from_millis(late)).await;
            }
            Login::Unknown => {}
        }
        let OpenAuth { id: session, client, .. } = open;
        let login = login.as_deref().filter(|login| login.len() <= LOGIN_MAX);
        gatepost_log::tell(event::LoginTried { session, client, login, mechanism, result });
        result
    }

    /// Whether the password is right; or that it could not be checked, or not in time. None: the session was gone before.
    async fn check(
        &self,
        origin: Origin,
        attempt: &Arc<Attempt>,
        told: oneshot::Receiver<()>,
        gone: impl Future<Output = ()>,
    ) -> Option<Option<bool>> {
        let (answer, coming) = oneshot::channel();
        // Who has no turn is answered by the end of its channel.
        drop(lock(&self.queue).push(origin, Waiting { attempt: Arc::clone(attempt), answer, told }, self.now()));
        self.arrived.notify_one();
        let answered = unless(gone, timeout(PATIENCE, coming)).await;
        // Whoever does not wait any more is not computed for, and takes nobody's place.
        lock(&self.queue).forget(|waiting| waiting.answer.is_closed());
        Some(answered?.ok().and_then(Result::ok).flatten())
    }

    /// Has handoff take note of the login, without which a yes is of no use.
    async fn note(&self, id: SessionId, user: &[u8]) -> Login {
        if !std::str::from_utf8(user).is_ok_and(is_login) {
            return Login::Unknown;
        }
        let (noted, coming) = oneshot::channel();
        let handoff = {
            let newest = lock(&self.handoff);
            let Some(handoff) = &*newest else { return Login::Unknown };
            // While the link is there: whoever waits when it ends hears so.
            lock(&handoff.waiting).insert(id.0, noted);
            Arc::clone(handoff)
        };
        let told = timeout(NOTE, async {
            handoff.end.tell(&LoggedIn { id, login: user }).await.ok()?;
            coming.await.ok()
        });
        let noted = told.await.ok().flatten() == Some(true);
        lock(&handoff.waiting).remove(&id.0);
        if noted { Login::Accepted } else { Login::Unknown }
    }

    /// Takes a new link with handoff, which replaces the one before it. The future reads what it says until it ends.
    ///
    /// # Errors
    /// The runtime takes no more descriptors.
    pub(crate) fn link(self: &Arc<Self>, fd: OwnedFd) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let handoff = Arc::new(Handoff { end: AsyncEnd::from_fd(fd)?, waiting: Mutex::default() });
        *lock(&self.handoff) = Some(Arc::clone(&handoff));
        let judge = Arc::clone(self);
        Ok(async move {
            handoff.receive().await;
            let mut newest = lock(&judge.handoff);
            if newest.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, &handoff)) {
                *newest = None;
            }
            drop(newest);
            // Nobody takes note of these logins any more, and whoever waits hears so.
            lock(&handoff.waiting).clear();
        })
    }

    /// Whether one more line may be written about a client; and how many were not, before it.
    pub(crate) fn may_log(&self, client: SocketAddr) -> Option<u32> {
        match lock(&self.flood).line(Origin::of(client.ip()), self.now()) {
            Line::Write(kept) => Some(kept),
            Line::Keep => None,
        }
    }

    fn tell_failure(&self, client: SocketAddr, why: &str) {
        if let Some(kept) = self.may_log(client) {
            tracing::error!(%client, kept, "Dovecot's auth socket {why}; the client hears 454 and may come again");
        }
    }

    fn now(&self) -> u64 {
        milliseconds(self.begun.elapsed())
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_channel::End;
    use std::future::pending;

    #[test]
    fn p13_who_knows_the_password_is_let_in_before_the_next_one_is_checked() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // "secret".
            let (passwd, faults) = Passwd::parse(b"joe:$2b$06$abcdefghijklmnopqrstuuxLa0AkDDSrQ9VwNnETzOsObiucpMYgC\n");
            assert_eq!(faults, []);
            let judge = Arc::new(Judge::new(Source::Passwd(passwd), [7; 32]));
            let (ours, handoff) = End::<AuthToHandoff, HandoffToAuth>::pair().unwrap();
            tokio::spawn(judge.link(ours.into_seq().into_fd()).unwrap());
            let noting = std::thread::spawn(move || {
                let mut inbox = Inbox::of::<AuthToHandoff>();
                let LoggedIn { id, .. } = handoff.recv(&mut inbox).unwrap();
                handoff.tell(&Noted { id, noted: true }).unwrap();
            });
            let claim = |id, client: &str, pass| {
                let open = OpenAuth { id: SessionId(id), client: client.parse().unwrap(), offered: false };
                let attempt = Attempt::of(&Claim { mechanism: Mechanism::Plain, user: b"joe", pass });
                let judge = Arc::clone(&judge);
                tokio::spawn(async move { judge.claim(open, attempt, pending()).await })
            };
            let owner = claim(1, "192.0.2.1:9", b"secret");
            let guess = claim(2, "198.51.100.1:9", b"guessed");
            tokio::task::yield_now().await;
            let checking = tokio::spawn(Arc::clone(&judge).check_all());
            assert_eq!(owner.await.unwrap(), Some(Login::Accepted));
            assert!(lock(&judge.queue).next(judge.now()).is_some(), "the guess waits still");
            guess.abort();
            checking.abort();
            noting.join().unwrap();
        });
    }

    #[test]
    fn p13_a_login_that_nobody_takes_note_of_is_answered_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let judge = Arc::new(Judge::new(Source::Passwd(Passwd::parse(b"").0), [7; 32]));
            let link = || {
                let (ours, handoff) = End::<AuthToHandoff, HandoffToAuth>::pair().unwrap();
                (tokio::spawn(judge.link(ours.into_seq().into_fd()).unwrap()), handoff)
            };
            let begun = Instant::now();
            assert_eq!(judge.note(SessionId(1), b"joe").await, Login::Unknown, "without a link");
            // The first link ends while somebody waits; the second one's affair is another.
            let (first, handoff) = link();
            let note = |id| {
                let judge = Arc::clone(&judge);
                tokio::spawn(async move { judge.note(SessionId(id), b"joe").await })
            };
            let mut inbox = Inbox::of::<AuthToHandoff>();
            let lost = note(2);
            tokio::task::yield_now().await;
            assert_eq!(handoff.recv(&mut inbox).unwrap().id, SessionId(2));
            let (second, newer) = link();
            let kept = note(3);
            tokio::task::yield_now().await;
            assert_eq!(newer.recv(&mut inbox).unwrap().id, SessionId(3));
            drop(handoff);
            assert_eq!(lost.await.unwrap(), Login::Unknown);
            first.await.unwrap();
            newer.tell(&Noted { id: SessionId(3), noted: true }).unwrap();
            assert_eq!(kept.await.unwrap(), Login::Accepted);
            drop(newer);
            second.await.unwrap();
            assert_eq!(judge.note(SessionId(4), b"joe").await, Login::Unknown, "after the link");
            assert!(begun.elapsed() < NOTE, "{:?}", begun.elapsed());
            assert!(lock(&judge.handoff).is_none());
        });
    }

    #[test]
    fn p14_lines_about_one_client_are_counted_and_not_all_written() {
        let judge = Judge::new(Source::Passwd(Passwd::parse(b"").0), [7; 32]);
        let (guesser, owner) = ("192.0.2.9:4713".parse().unwrap(), "198.51.100.1:4713".parse().unwrap());
        let written = (0..1000).filter(|_| judge.may_log(guesser).is_some()).count();
        assert!((100..=110).contains(&written), "{written}");
        assert_eq!(judge.may_log(owner), Some(0));
    }
}
