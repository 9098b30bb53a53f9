//! Asking the dialer for a connection: this process has no network, and sees no socket of anybody's.

use crate::{Passed, Tickets};
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_wire::dial::{Dial, Dialed};
use gatepost_wire::{Direction as _, FromDialer, ToDialer};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One link with the dialer.
#[derive(Debug)]
struct Link {
    end: AsyncEnd<ToDialer, FromDialer>,
    tickets: Tickets<io::Result<OwnedFd>>,
}

/// The dialer, by the link that is current.
#[derive(Debug, Default)]
pub struct DialerLink(Mutex<Option<Arc<Link>>>);

impl DialerLink {
    /// Takes a new link, which replaces the one before it. The future reads its answers until it ends.
    ///
    /// # Errors
    /// The runtime takes no more descriptors.
    pub fn link(&self, fd: OwnedFd) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let link = Arc::new(Link { end: AsyncEnd::from_fd(fd)?, tickets: Tickets::default() });
        *self.lock() = Some(Arc::clone(&link));
        Ok(async move { link.receive().await })
    }

    /// A connection to the place of that number, for which `patience` is waited at most.
    ///
    /// # Errors
    /// It can't be made; also when the dialer is away, or goes away meanwhile.
    pub async fn connect(&self, place: usize, patience: Duration) -> io::Result<Passed> {
        let away = || io::Error::other("the dialer is away");
        let link = self.lock().clone().filter(|link| !link.tickets.is_over()).ok_or_else(away)?;
        let (number, answer) = link.tickets.issue().map_err(|_| away())?;
        link.end.tell(&Dial::new(number, place, patience)).await.map_err(|_| away())?;
        answer.await.map_err(|_| away())?.and_then(Passed::new)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Reads answers until the link ends. The dialer may be owned: what does not fit a request ends that request at most.
    async fn receive(&self) {
        let mut inbox = Inbox::new(FromDialer::FRAME_MAX);
        loop {
            match self.end.recv_with(&mut inbox).await {
                Ok((dialed, fds)) => self.tickets.answer(dialed.number(), outcome(dialed, fds)),
                // Which request the lost connection was for is not known.
                Err(e) if e.is_out_of_descriptors() => {
                    tracing::error!("dialer: no descriptors left for a connection");
                    self.tickets.give_up();
                }
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
