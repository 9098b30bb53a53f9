//! How many connections to the backends there may be at once, and whose they are (P13, issue 9): fair shares by network, see
//! [`gatepost_policy::share`]. A connection that its session is not using now is taken back when a lighter network waits
//! for one; the session's envelope is sent again when it goes on.
//!
//! A connection that waits for any session ([`super::idle`]) is used before a new one is opened, and none is kept while
//! somebody waits, so these are given up first.

use super::failure::Failure;
use crate::deadline::later;
use gatepost_policy::share::{Action, Answer, Origin, Shares, WhenFull};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// Claims that wait at once: beyond, the last of the network that waits for most is refused.
const WAITING_MAX: usize = 1000;
/// A connection that its session has not used for so long goes to whoever waits, unless his network has more already. Sooner,
/// and sessions that are busy would take it from each other with each command, and send their envelopes again each time.
const SPARE: Duration = Duration::from_millis(250);
/// One that its session has had for so long goes to him too, however often it is used: else as many networks as there are connections
/// keep them from all others by a command four times a second.
const TURN: Duration = Duration::from_secs(1);
/// Between two looks for what has become spare. Each of those that wait looks, and each look is at all of them.
const LOOK: Duration = Duration::from_millis(25);

/// All connections that there may be.
#[derive(Debug)]
pub(crate) struct Connections {
    begun: Instant,
    /// Longest wait for one.
    wait: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    shares: Shares<u64>,
    /// Those that have been claimed, by the number of the claim.
    claims: BTreeMap<u64, Arc<Claim>>,
    last: u64,
    /// When it was last looked for what is spare.
    looked: u64,
}

/// What the one who claimed is told.
#[derive(Debug)]
struct Claim {
    word: AtomicU8,
    told: Notify,
}

const WAITING: u8 = 0;
const GRANTED: u8 = 1;
const REFUSED: u8 = 2;
const RECLAIMED: u8 = 3;

/// The right to one connection, for as long as it exists.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    connections: Arc<Connections>,
    id: u64,
    claim: Arc<Claim>,
}

impl Connections {
    /// `most` at once; nobody waits for one longer than `wait`.
    pub(crate) fn new(most: u32, wait: Duration) -> Arc<Self> {
        let shares = Shares::new(most.into(), WAITING_MAX).of_what_is_spare(milliseconds(SPARE), milliseconds(TURN));
        let state = State { shares, claims: BTreeMap::new(), last: 0, looked: 0 };
        Arc::new(Self { begun: Instant::now(), wait, state: Mutex::new(state) })
    }

    /// Those that there are, those that there may be, and who waits for one.
    pub(crate) fn count(&self) -> [u64; 3] {
        let shares = &self.lock().shares;
        let used = shares.used();
        [used, used.saturating_add(shares.free()), u64::try_from(shares.waiting()).unwrap_or(u64::MAX)]
    }

    /// One connection for a client at `origin`, in use until [`ConnectionPermit::park`]. Waits no longer than
    /// [`Self::new`] was told, and not beyond `until`.
    ///
    /// # Errors
    /// [`Failure::Busy`].
    pub(crate) async fn claim(self: &Arc<Self>, origin: Origin, until: Instant) -> Result<ConnectionPermit, Failure> {
        let (permit, answer) = self.enter(origin);
        if answer == Answer::Waiting {
            let wait = until.min(later(self.wait));
            let told = async {
                while permit.claim.word() == WAITING {
                    if timeout(SPARE, permit.claim.told.notified()).await.is_err() {
                        self.look();
                    }
                }
            };
            // Without a grant in time the permit is dropped, and with it the claim.
            let _ = timeout_at(wait, told).await;
        }
        match (answer, permit.claim.word()) {
            (Answer::Refused, _) | (_, WAITING | REFUSED) => Err(Failure::Busy),
            _ => Ok(permit),
        }
    }

    fn enter(self: &Arc<Self>, origin: Origin) -> (ConnectionPermit, Answer) {
        let claim = Arc::new(Claim { word: AtomicU8::new(WAITING), told: Notify::new() });
        let mut state = self.lock();
        state.last = state.last.wrapping_add(1);
        let id = state.last;
        state.claims.insert(id, claim.clone());
        let answer = state.shares.claim(id, origin, 1, WhenFull::Queue, self.now());
        if answer == Answer::Granted {
            claim.word.store(GRANTED, Ordering::Relaxed);
            state.shares.hold(id, false);
        }
        state.carry_out();
        drop(state);
        (ConnectionPermit { connections: self.clone(), id, claim }, answer)
    }

    /// Takes back what has become spare.
    fn look(&self) {
        let mut state = self.lock();
        let now = self.now();
        if now.saturating_sub(state.looked) >= milliseconds(LOOK) {
            state.looked = now;
            state.shares.look(now);
            state.carry_out();
        }
    }

    /// Milliseconds since the start.
    fn now(&self) -> u64 {
        milliseconds(self.begun.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl State {
    fn carry_out(&mut self) {
        while let Some(action) = self.shares.poll() {
            let (id, word) = match action {
                Action::Grant(id) => {
                    // Whoever is granted one uses it at once.
                    self.shares.hold(id, false);
                    (id, GRANTED)
                }
                Action::Refuse(id) => (id, REFUSED),
                Action::Reclaim(id) => (id, RECLAIMED),
            };
            if let Some(claim) = self.claims.get(&id) {
                claim.word.store(word, Ordering::Relaxed);
                claim.told.notify_one();
            }
        }
    }
}

impl Claim {
    fn word(&self) -> u8 {
        self.word.load(Ordering::Relaxed)
    }
}

impl ConnectionPermit {
    /// The connection is not used for now, so it may be taken back.
    pub(crate) fn park(&self) {
        let mut state = self.connections.lock();
        state.shares.moved(self.id, self.connections.now());
        state.shares.hold(self.id, true);
        state.carry_out();
    }

    /// The connection is used again. False: it has been taken back, and must be closed instead.
    #[must_use]
    pub(crate) fn resume(&self) -> bool {
        let mut state = self.connections.lock();
        state.shares.hold(self.id, false);
        self.claim.word() != RECLAIMED
    }

    /// Somebody waits for a connection.
    pub(crate) fn is_wanted(&self) -> bool {
        self.connections.lock().shares.waiting() > 0
    }

    /// Gives it to a client at `origin`, who takes over its connection. None when somebody waits for it.
    pub(crate) fn pass_on(self, origin: Origin) -> Option<Self> {
        let connections = self.connections.clone();
        drop(self);
        match connections.enter(origin) {
            (permit, Answer::Granted) => Some(permit),
            _ => None,
        }
    }

    /// Runs `work` until it is done, or until the connection is taken back: then None.
    pub(crate) async fn unless_reclaimed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let (mut work, mut told) = (pin!(work), pin!(self.claim.told.notified()));
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            while self.claim.word() != RECLAIMED {
                if told.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                told.set(self.claim.told.notified());
            }
            Poll::Ready(None)
        })
        .await
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        state.claims.remove(&self.id);
        state.shares.release(self.id, self.connections.now());
        state.carry_out();
    }
}
