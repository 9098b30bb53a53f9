//! A client's connection before it has a session, and where it came in.

use gatepost_smtp::envelope::Service;
use gatepost_sys::net;
use gatepost_wire::link::Weights;
use gatepost_wire::slice::TlsMode;
use gatepost_wire::terms::Terms;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

/// Where a connection came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Socket {
    /// Index of its `[[listen]]`.
    pub(crate) index: u8,
    /// The address that the client came to, where the connection itself need not be asked.
    pub(crate) local: Option<SocketAddr>,
}

impl Socket {
    /// The address that `client` came to.
    pub(crate) fn local(&self, client: &OwnedFd) -> io::Result<SocketAddr> {
        self.local.map_or_else(|| net::local_addr(client.as_fd()), Ok)
    }
}

/// A client's connection that has no session, and what is known of it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: OwnedFd,
    pub(crate) from: SocketAddr,
    /// Index of the `[[listen]]`.
    pub(crate) listener: u8,
    pub(crate) tls: TlsMode,
    pub(crate) service: Service,
    /// Whose program it is, on a socket for those: `from` is then what it is counted by.
    pub(crate) user: Option<u32>,
    /// The address it came to.
    pub(crate) local: io::Result<SocketAddr>,
    /// What is different for it.
    pub(crate) terms: Terms,
    /// What DNS lists have said of it.
    pub(crate) listed: Weights,
}
