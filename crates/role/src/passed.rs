//! A connection that the dialer made, or one in the making here. The dialer may be owned: whatever kind of descriptor this is, and whoever
//! else has it, no call on it waits, and one that is no stream fails.

use gatepost_sys::net;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// The connection.
#[derive(Debug)]
pub struct Passed(AsyncFd<OwnedFd>);

impl Passed {
    /// Registers it with the runtime that runs the caller.
    ///
    /// # Errors
    /// The runtime takes no more descriptors, or none of this kind.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(gatepost_channel::watch(fd, Interest::READABLE | Interest::WRITABLE)?))
    }

    /// Once it is connected, which it is when it can be written to.
    ///
    /// # Errors
    /// connect(2)'s.
    pub async fn connected(self) -> io::Result<Self> {
        // It stays known as ready, for the first write.
        drop(self.0.writable().await?);
        net::connected(self.0.get_ref().as_fd())?;
        Ok(self)
    }
}

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl AsyncRead for Passed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            let most = room.len();
            if let Ok(read) = guard.try_io(|fd| net::receive(fd.as_fd(), room)) {
                let length = read?;
                // All that was there: the next read would ask the system for nothing.
                if length > 0 && length < most {
                    guard.clear_ready();
                }
                buffer.advance(length);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Passed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(written) = guard.try_io(|fd| net::transmit(fd.as_fd(), octets)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(net::finish(self.0.get_ref().as_fd()))
    }
}
