//! One attempt, from the question to its answer.

use crate::desk::Desk;
use crate::passwd::{Passwd, is_login};
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_policy::guesses::Guesses;
use gatepost_policy::share::Origin;
use gatepost_smtp::envelope::{Login, Mechanism};
use gatepost_wire::auth::{Claim, LoggedIn, Noted};
use gatepost_wire::event;
use gatepost_wire::link::{OpenAuth, SessionId};
use gatepost_wire::{AuthToHandoff, Direction, HandoffToAuth};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

/// Longest wait for a turn and for the check: a client waits for minutes, but its user does not.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait for handoff to take note of a login.
const NOTE: Duration = Duration::from_secs(5);

type HandoffLink = AsyncEnd<AuthToHandoff, HandoffToAuth>;

/// What a client claims.
pub(crate) struct Attempt {
    mechanism: Mechanism,
    user: Vec<u8>,
    pass: Zeroizing<Vec<u8>>,
}

impl Attempt {
    pub(crate) fn of(claim: &Claim<'_>) -> Self {
        let Claim { mechanism, user, pass } = *claim;
        Self { mechanism, user: user.to_vec(), pass: Zeroizing::new(pass.to_vec()) }
    }
}

/// An attempt that waits, and where it is answered.
struct Waiting {
    attempt: Arc<Attempt>,
    answer: oneshot::Sender<bool>,
}

/// The link with handoff, and who waits for it to take note of a login.
#[derive(Default)]
struct Handoff {
    link: Option<Arc<HandoffLink>>,
    waiting: HashMap<u64, oneshot::Sender<bool>>,
}

/// What all sessions share.
pub(crate) struct Judge {
    passwd: Passwd,
    desk: Mutex<Desk<Waiting>>,
    arrived: Notify,
    guesses: Mutex<Guesses>,
    handoff: Mutex<Handoff>,
    begun: Instant,
}

impl Judge {
    pub(crate) fn new(passwd: Passwd) -> Self {
        Self {
            passwd,
            desk: Mutex::default(),
            arrived: Notify::new(),
            guesses: Mutex::default(),
            handoff: Mutex::default(),
            begun: Instant::now(),
        }
    }

    /// Checks one password after the other, for as long as the process lives.
    pub(crate) async fn check_all(self: Arc<Self>) {
        loop {
            let next = lock(&self.desk).next(self.now());
            match next {
                None => self.arrived.notified().await,
                // Whoever has asked is gone.
                Some((_, waiting)) if waiting.answer.is_closed() => {}
                Some((origin, Waiting { attempt, answer })) => {
                    let begun = Instant::now();
                    let _ = answer.send(self.passwd.accepts(&attempt.user, &attempt.pass));
                    lock(&self.desk).took(origin, milliseconds(begun.elapsed()), self.now());
                    // Orders and questions have their turn between two.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Judges an attempt. A refusal is late; a failure of ours is no yes.
    pub(crate) async fn judge(&self, open: OpenAuth, attempt: Attempt) -> Login {
        let (attempt, origin) = (Arc::new(attempt), Origin::of(open.client.ip()));
        let login = match self.check(origin, &attempt).await {
            Some(true) => self.note(open.id, &attempt.user).await,
            Some(false) => Login::Refused,
            None => Login::Unknown,
        };
        match login {
            Login::Accepted => lock(&self.guesses).right(origin),
            Login::Refused => {
                let late = lock(&self.guesses).wrong(origin, &attempt.user, self.now());
                sleep(Duration::from_millis(late)).await;
            }
            Login::Unknown => {}
        }
        self.tell(open, &attempt, login);
        login
    }

    /// Whether the password is right. None: it did not come to that in time.
    async fn check(&self, origin: Origin, attempt: &Arc<Attempt>) -> Option<bool> {
        let (answer, coming) = oneshot::channel();
        // Who has no turn is answered by the end of its channel.
        drop(lock(&self.desk).wants(origin, Waiting { attempt: Arc::clone(attempt), answer }, self.now()));
        self.arrived.notify_one();
        timeout(PATIENCE, coming).await.ok()?.ok()
    }

    /// Has handoff take note of the login, without which a yes is of no use.
    async fn note(&self, id: SessionId, user: &[u8]) -> Login {
        if !std::str::from_utf8(user).is_ok_and(is_login) {
            return Login::Unknown;
        }
        let (noted, coming) = oneshot::channel();
        let link = {
            let mut handoff = lock(&self.handoff);
            handoff.waiting.insert(id.0, noted);
            handoff.link.clone()
        };
        let Some(link) = link else { return Login::Unknown };
        let told = timeout(NOTE, async {
            link.tell(&LoggedIn { id, login: user }).await.ok()?;
            coming.await.ok()
        });
        let noted = told.await.ok().flatten() == Some(true);
        lock(&self.handoff).waiting.remove(&id.0);
        if noted { Login::Accepted } else { Login::Unknown }
    }

    /// The name of one that is not known is not told: it may be a password in the wrong place.
    fn tell(&self, open: OpenAuth, attempt: &Attempt, result: Login) {
        let OpenAuth { id: session, client } = open;
        let login = Some(attempt.user.as_slice()).filter(|user| self.passwd.knows(user));
        gatepost_log::tell(event::LoginTried { session, client, login, mechanism: attempt.mechanism, result });
    }

    /// Takes a new link with handoff, which replaces the one before it. The future reads what it says until it ends.
    ///
    /// # Errors
    /// The runtime takes no more descriptors.
    pub(crate) fn link(self: &Arc<Self>, fd: OwnedFd) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let link = Arc::new(HandoffLink::from_fd(fd)?);
        lock(&self.handoff).link = Some(Arc::clone(&link));
        let judge = Arc::clone(self);
        Ok(async move {
            let mut inbox = Inbox::new(HandoffToAuth::FRAME_MAX);
            loop {
                match link.recv(&mut inbox).await {
                    Ok(Noted { id, noted }) => {
                        if let Some(waiting) = lock(&judge.handoff).waiting.remove(&id.0) {
                            let _ = waiting.send(noted);
                        }
                    }
                    Err(ChannelError::Closed) => return,
                    Err(e) => return tracing::error!("handoff: {e}"),
                }
            }
        })
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
