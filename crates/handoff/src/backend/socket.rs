//! What a connection to a backend can be made of.

use gatepost_role::Passed;
use std::fmt::Debug;
use std::os::fd::{AsFd as _, BorrowedFd};
use tokio::io::{AsyncRead, AsyncWrite, Empty};
use tokio_rustls::client::TlsStream;

/// What a stream can be made of.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin + Debug {
    /// The socket, where its octets are those of the stream.
    fn bare(&self) -> Option<BorrowedFd<'_>>;
}

impl Socket for Passed {
    fn bare(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

impl Socket for TlsStream<Box<dyn Socket>> {
    fn bare(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// What stands for a socket while TLS begins.
impl Socket for Empty {
    fn bare(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
