//! Who makes the connections: the dialer role, because this process has no network and sees no backend's socket; or this
//! process, where it serves one session and there are no roles.

use super::failure::Failure;
use gatepost_role::{DialerLink, Passed};
use gatepost_sys::net::{self, Connecting};
use gatepost_wire::slice::Connect;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Pause before a unix socket whose backlog is full is tried again: it refuses at once, where TCP would wait.
const BACKLOG_PAUSE: Duration = Duration::from_millis(20);

/// The dialer.
#[derive(Debug)]
pub(crate) enum Dialer {
    /// The role.
    Role(DialerLink),
    /// This process, to these backends.
    Here(Vec<Connect>),
}

impl Default for Dialer {
    fn default() -> Self {
        Self::Role(DialerLink::default())
    }
}

impl Dialer {
    /// Takes a new link, which replaces the one before it. The future reads its answers until it ends.
    ///
    /// # Errors
    /// The runtime takes no more descriptors; this process has backends and no dialer.
    pub(crate) fn link(&self, fd: OwnedFd) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        match self {
            Self::Role(link) => link.link(fd),
            Self::Here(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// A connection to the backend with that place in the configuration, for which `patience` is waited at most.
    ///
    /// # Errors
    /// [`Failure::Connect`]: also when the dialer is away, or goes away meanwhile.
    pub(super) async fn connect(&self, backend: usize, patience: Duration) -> Result<Passed, Failure> {
        let made = match self {
            Self::Role(link) => link.connect(backend, patience).await,
            Self::Here(backends) => match backends.get(backend) {
                Some(place) => connect(place).await,
                None => Err(io::ErrorKind::InvalidInput.into()),
            },
        };
        made.map_err(Failure::Connect)
    }
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
