//! The backends of a route, in the order in which they are tried, and what is known of each.

use super::Failure;
use gatepost_smtp::client::Extensions;
use gatepost_wire::slice::Connect;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A backend that failed is tried after all others for so long.
const DOUBT: Duration = Duration::from_secs(10);

/// One backend.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) connect: Connect,
    known: Mutex<Known>,
}

/// What is known of a backend.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Known {
    /// It refuses to relay for a stranger, or need not prove it.
    pub(super) proved: bool,
    /// What it listed last.
    pub(super) extensions: Option<Extensions>,
    /// When it last failed, unless it has answered since.
    down: Option<Instant>,
}

/// All backends of a route.
#[derive(Debug)]
pub(super) struct Backends(Vec<Backend>);

impl Backends {
    /// `proved`: none has to prove that it does not relay.
    pub(super) fn new(places: &[Connect], proved: bool) -> Self {
        let known = Known { proved, ..Known::default() };
        Self(places.iter().map(|place| Backend { connect: place.clone(), known: Mutex::new(known) }).collect())
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Backend> {
        self.0.iter()
    }

    /// All of them in the order of trying: one that has just failed may take its whole time to fail again.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Backend> {
        let (doubtful, good): (Vec<_>, Vec<_>) = self.0.iter().partition(|backend| backend.failed_lately());
        good.into_iter().chain(doubtful)
    }

    /// What each listed last, of those that have been asked.
    pub(super) fn extensions(&self) -> impl Iterator<Item = Extensions> {
        self.0.iter().filter_map(|backend| backend.known().extensions)
    }
}

/// The failure of a route without backends.
pub(super) fn nowhere() -> Failure {
    Failure::Connect(io::ErrorKind::NotFound.into())
}

impl Backend {
    /// Notes what it lists.
    pub(super) fn learn(&self, extensions: Extensions) {
        let before = self.known().extensions.replace(extensions);
        if before.is_some_and(|before| before != extensions) {
            tracing::warn!("backend {self}: lists other extensions than before: {extensions:?}");
        }
    }

    /// Notes the result of an attempt to open a connection.
    ///
    /// # Errors
    /// No other backend must be asked: it would only be for a better opinion of the client.
    pub(super) fn opened<T>(&self, result: Result<T, Failure>) -> Result<Result<T, Failure>, Failure> {
        match &result {
            Ok(_) => self.is_up(),
            Err(Failure::Client(_) | Failure::Identity(_)) => return result.map(Ok),
            Err(failure) => self.is_down(failure),
        }
        Ok(result)
    }

    /// Notes the result of its proof. Gives the result for all so far, of which one has to pass.
    ///
    /// # Errors
    /// A final failure.
    pub(super) fn proved(
        &self,
        before: Result<(), Failure>,
        result: Result<(), Failure>,
    ) -> Result<Result<(), Failure>, Failure> {
        match result {
            Ok(()) => self.is_up(),
            Err(failure) if failure.is_final() => return Err(failure),
            Err(failure) if before.is_err() => return Ok(Err(failure)),
            Err(failure) => self.is_down(&failure),
        }
        Ok(Ok(()))
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
            Connect::Unix(path) => write!(f, "unix:{path}"),
            Connect::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}
