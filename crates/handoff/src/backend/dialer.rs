//! Who makes the connections: the dialer role, because this process has no network and sees no backend's socket; or this
//! process, where it serves one session and there are no roles.

use super::Failure;
use super::passed::Passed;
use super::tickets::Tickets;
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_sys::net::{self, Connecting};
use gatepost_wire::dial::{Dial, Dialed};
use gatepost_wire::slice::Connect;
use gatepost_wire::{DialerToHandoff, HandoffToDialer};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest frame that the dialer sends.
const SHORT_FRAME: usize = 64;
/// Pause before a unix socket whose backlog is full is tried again: it refuses at once, where TCP would wait.
const BACKLOG_PAUSE: Duration = Duration::from_millis(20);

/// One link with the dialer.
#[derive(Debug)]
pub(crate) struct Link {
    end: AsyncEnd<HandoffToDialer, DialerToHandoff>,
    tickets: Tickets<io::Result<OwnedFd>>,
}

/// The dialer.
#[derive(Debug)]
pub(crate) enum Dialer {
    /// The role, by the link that is current.
    Role(Mutex<Option<Arc<Link>>>),
    /// This process, to these backends.
    Here(Vec<Connect>),
}

impl Default for Dialer {
    fn default() -> Self {
        Self::Role(Mutex::default())
    }
}

impl Dialer {
    /// Takes a new link, which replaces the one before it. The future reads its answers until it ends.
    ///
    /// # Errors
    /// The runtime takes no more descriptors.
    pub(crate) fn link(&self, fd: OwnedFd) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let link = Arc::new(Link { end: AsyncEnd::from_fd(fd)?, tickets: Tickets::default() });
        if let Self::Role(current) = self {
            *lock(current) = Some(Arc::clone(&link));
        }
        Ok(async move { link.receive().await })
    }

    /// A connection to the backend with that place in the configuration, for which `patience` is waited at most.
    ///
    /// # Errors
    /// [`Failure::Connect`]: also when the dialer is away, or goes away meanwhile.
    pub(super) async fn connect(&self, backend: usize, patience: Duration) -> Result<Passed, Failure> {
        let current = match self {
            Self::Role(current) => lock(current).clone(),
            Self::Here(backends) => {
                let place = backends.get(backend).ok_or_else(away)?;
                return connect(place).await.map_err(Failure::Connect);
            }
        };
        let link = current.filter(|link| !link.tickets.is_over()).ok_or_else(away)?;
        let (number, answer) = link.tickets.issue().map_err(|_| away())?;
        link.end.tell(&Dial::new(number, backend, patience)).await.map_err(|_| away())?;
        let connection = answer.await.map_err(|_| away())?;
        connection.and_then(Passed::new).map_err(Failure::Connect)
    }
}

fn lock(current: &Mutex<Option<Arc<Link>>>) -> MutexGuard<'_, Option<Arc<Link>>> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection of our own. Who calls knows how long to wait.
async fn connect(place: &Connect) -> io::Result<Passed> {
    loop {
        let begun = match place {
            Connect::Unix(path) => net::begin_unix(path),
            Connect::Tcp(address) => net::begin_tcp(*address),
        };
        match begun {
            Ok(Connecting { socket, done: true }) => return Passed::new(socket),
            Ok(Connecting { socket, done: false }) => {
                return Passed::new(socket)?.connected().await;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(BACKLOG_PAUSE).await,
            Err(e) => return Err(e),
        }
    }
}

fn away() -> Failure {
    Failure::Connect(io::Error::other("the dialer is away"))
}

impl Link {
    /// Reads answers until the link ends. The dialer may be owned: what does not fit a request ends that request at most.
    async fn receive(&self) {
        let mut inbox = Inbox::new(SHORT_FRAME);
        loop {
            match self.end.recv_with(&mut inbox).await {
                Ok((dialed, fds)) => self.tickets.answer(dialed.number(), outcome(dialed, fds)),
                Err(e) => {
                    if !matches!(e, ChannelError::Closed) {
                        tracing::error!("dialer: {e}");
                    }
                    return self.tickets.close();
                }
            }
        }
    }
}

fn outcome(dialed: Dialed, fds: Vec<OwnedFd>) -> io::Result<OwnedFd> {
    match dialed {
        Dialed::Connected { .. } => {
            let [connection] = <[OwnedFd; 1]>::try_from(fds)
                .map_err(|_| io::Error::other("the dialer's answer has not the one descriptor it needs"))?;
            Ok(connection)
        }
        Dialed::Failed { errno, .. } => Err(io::Error::from_raw_os_error(errno.into())),
    }
}
