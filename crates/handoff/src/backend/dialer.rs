//! The dialer role, which makes the connections: this process has no network and sees no backend's socket.

use super::Failure;
use super::passed::Passed;
use super::tickets::Tickets;
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_wire::dial::{Dial, Dialed};
use gatepost_wire::{DialerToHandoff, HandoffToDialer};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest frame that the dialer sends.
const SHORT_FRAME: usize = 64;

/// One link with the dialer.
#[derive(Debug)]
struct Link {
    end: AsyncEnd<HandoffToDialer, DialerToHandoff>,
    tickets: Tickets<io::Result<OwnedFd>>,
}

/// The dialer, by the link that is current.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    link: Mutex<Option<Arc<Link>>>,
}

impl Dialer {
    /// Takes a new link, which replaces the one before it. The future reads its answers until it ends.
    ///
    /// # Errors
    /// The runtime takes no more descriptors.
    pub(crate) fn link(&self, fd: OwnedFd) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let link = Arc::new(Link { end: AsyncEnd::from_fd(fd)?, tickets: Tickets::default() });
        *self.lock() = Some(Arc::clone(&link));
        Ok(async move { link.receive().await })
    }

    /// A connection to the backend with that place in the configuration, for which `patience` is waited at most.
    ///
    /// # Errors
    /// [`Failure::Connect`]: also when the dialer is away, or goes away meanwhile.
    pub(super) async fn connect(&self, backend: usize, patience: Duration) -> Result<Passed, Failure> {
        let link = self.lock().clone().filter(|link| !link.tickets.is_over()).ok_or_else(away)?;
        let (number, answer) = link.tickets.issue().map_err(|_| away())?;
        link.end.tell(&Dial::new(number, backend, patience)).await.map_err(|_| away())?;
        let connection = answer.await.map_err(|_| away())?;
        connection.and_then(Passed::new).map_err(Failure::Connect)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
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
