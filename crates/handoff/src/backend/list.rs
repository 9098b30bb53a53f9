//! The backends of a route, in the order in which they are tried, and what is known of each.

use super::failure::Failure;
use gatepost_smtp::client::Extensions;
use gatepost_wire::known::{KnownBackend, KnownExtensions};
use gatepost_wire::slice::Connect;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A backend that failed is tried after all others for so long.
const DOUBT: Duration = Duration::from_secs(10);

/// One backend.
#[derive(Debug)]
pub(super) struct Backend {
    /// The number by which the dialer knows it: its place among all places of the configuration.
    pub(super) index: usize,
    pub(super) connect: Connect,
    known: Mutex<Known>,
    /// Held by the one who asks it whether it relays.
    pub(super) asking: tokio::sync::Mutex<()>,
}

/// What is known of a backend.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Known {
    /// It refuses to relay for a stranger, or need not prove it.
    pub(super) proved: bool,
    /// It has refused to relay for who has logged in.
    pub(super) refuses_logins: bool,
    /// What it listed last.
    pub(super) extensions: Option<Extensions>,
    /// That is from another process, and has in it only what clients are offered.
    recalled: bool,
    /// When it last failed, unless it has answered since.
    down: Option<Instant>,
}

/// What is done with one backend. Boxed, because a closure's own future is not known to be `Send`.
pub(super) type Attempt<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// All backends of a route.
#[derive(Debug)]
pub(super) struct Backends(Vec<Backend>);

impl Backends {
    /// `first`: the dialer's number for the first of them. `proved`: none has to prove that it does not relay.
    pub(super) fn new(places: &[Connect], first: usize, proved: bool) -> Self {
        let known = Known { proved, ..Known::default() };
        let backend = |(index, place): (usize, &Connect)| Backend {
            index: first.saturating_add(index),
            connect: place.clone(),
            known: Mutex::new(known),
            asking: tokio::sync::Mutex::default(),
        };
        Self(places.iter().enumerate().map(backend).collect())
    }

    /// Has each prove that it can be used.
    ///
    /// # Errors
    /// The first final failure; else, when none passed, the last failure.
    pub(super) async fn prove<'a>(&'a self, prove: impl Fn(&'a Backend) -> Attempt<'a, ()>) -> Result<(), Failure> {
        let mut proved = Err(nowhere());
        for backend in &self.0 {
            match prove(backend).await {
                Ok(()) => {
                    backend.is_up();
                    proved = Ok(());
                }
                Err(failure) if failure.is_final() => return Err(failure),
                Err(failure) if proved.is_err() => proved = Err(failure),
                Err(failure) => backend.is_down(&failure),
            }
        }
        proved
    }

    /// Opens a connection to the first that answers.
    ///
    /// # Errors
    /// A refusal of the client, for which no other backend is asked; else the last failure.
    pub(super) async fn open<'a, T>(&'a self, open: impl Fn(&'a Backend) -> Attempt<'a, T>) -> Result<T, Failure> {
        let mut last = nowhere();
        // One that has just failed may take its whole time to fail again.
        let (doubtful, good): (Vec<_>, Vec<_>) = self.0.iter().partition(|backend| backend.failed_lately());
        for backend in good.into_iter().chain(doubtful) {
            match open(backend).await {
                Ok(opened) => {
                    backend.is_up();
                    return Ok(opened);
                }
                Err(failure @ (Failure::Client(_) | Failure::Identity(_))) => return Err(failure),
                Err(failure) => {
                    backend.is_down(&failure);
                    last = failure;
                }
            }
        }
        Err(last)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// One of them has refused to relay for who has logged in.
    pub(super) fn refuse_logins(&self) -> bool {
        self.0.iter().any(|backend| backend.known().refuses_logins)
    }

    /// What is known of each.
    pub(super) fn known(&self) -> Vec<KnownBackend> {
        let one = |backend: &Backend| {
            let Known { proved, extensions, .. } = *backend.known();
            KnownBackend { proved, listed: extensions.map(listed) }
        };
        self.0.iter().map(one).collect()
    }

    /// Takes for known what another process has learned. False: it is not of these backends, or none of them may be used.
    #[must_use]
    pub(super) fn recall(&self, known: &[KnownBackend]) -> bool {
        if known.len() != self.0.len() {
            return false;
        }
        for (backend, told) in self.0.iter().zip(known) {
            let mut known = backend.known();
            known.proved |= told.proved;
            (known.extensions, known.recalled) = (told.listed.map(extensions), true);
        }
        known.iter().any(|told| told.proved)
    }

    /// What each listed last, of those that have been asked.
    pub(super) fn extensions(&self) -> impl Iterator<Item = Extensions> {
        self.0.iter().filter_map(|backend| backend.known().extensions)
    }
}

fn listed(extensions: Extensions) -> KnownExtensions {
    let Extensions { size, eight_bit, smtputf8, dsn, rcptmax, .. } = extensions;
    KnownExtensions { size, eight_bit, smtputf8, dsn, rcptmax }
}

fn extensions(listed: KnownExtensions) -> Extensions {
    let KnownExtensions { size, eight_bit, smtputf8, dsn, rcptmax } = listed;
    Extensions { size, eight_bit, smtputf8, dsn, rcptmax, ..Extensions::default() }
}

/// The failure of a route without backends.
fn nowhere() -> Failure {
    Failure::Connect(io::ErrorKind::NotFound.into())
}

impl Backend {
    /// Notes what it lists.
    pub(super) fn learn(&self, extensions: Extensions) {
        let mut known = self.known();
        let recalled = std::mem::take(&mut known.recalled);
        let before = known.extensions.replace(extensions);
        drop(known);
        if !recalled && before.is_some_and(|before| before != extensions) {
            tracing::warn!("backend {self}: lists other extensions than before: {extensions:?}");
        }
    }

    fn is_up(&self) {
        if self.known().down.take().is_some() {
            tracing::info!("backend {self}: answers again");
        }
    }

    /// Logged once, not at each try.
    fn is_down(&self, failure: &Failure) {
        if self.known().down.replace(Instant::now()).is_none() {
            tracing::warn!("backend {self}: {failure}");
        }
    }

    fn failed_lately(&self) -> bool {
        self.known().down.is_some_and(|at| at.elapsed() < DOUBT)
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its place, as the configuration writes it.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.connect {
            Connect::Unix(path) => write!(f, "unix:{}", path.display()),
            Connect::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}
