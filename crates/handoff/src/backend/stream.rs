//! A stream to a backend, whichever address family it has.

use super::{Failure, Phase};
use crate::clock::{Clock, Elapsed};
use gatepost_wire::slice::Connect;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Wait before a full backlog is tried again: a unix socket refuses at once where TCP would wait.
const BACKLOG_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    /// Connects within `wait`.
    pub(crate) async fn reach(to: &Connect, clock: &mut Clock, wait: Duration) -> Result<Self, Failure> {
        clock.set(wait);
        match clock.bound(Self::connect(to)).await {
            Ok(stream) => stream.map_err(Failure::Connect),
            Err(Elapsed) => Err(Failure::Timeout(Phase::Connect)),
        }
    }

    /// Waits for ever while a unix socket's backlog is full.
    async fn connect(to: &Connect) -> io::Result<Self> {
        match to {
            Connect::Unix(path) => loop {
                match UnixStream::connect(path).await {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(BACKLOG_PAUSE).await,
                    other => return other.map(Self::Unix),
                }
            },
            Connect::Tcp(address) => {
                let stream = TcpStream::connect(*address).await?;
                // What belongs together is written together; without this the last piece may wait 40 ms for an ACK.
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    /// Reads what is there, at least one octet. 0: the backend has closed.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer).await,
            Self::Tcp(stream) => stream.read(buffer).await,
        }
    }

    /// Reads what is there already.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.try_read(buffer),
            Self::Tcp(stream) => stream.try_read(buffer),
        }
    }

    /// Writes all of it.
    pub(crate) async fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.write_all(octets).await,
            Self::Tcp(stream) => stream.write_all(octets).await,
        }
    }

    /// Ends our half: no more will come from us.
    pub(crate) async fn shut(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.shutdown().await,
            Self::Tcp(stream) => stream.shutdown().await,
        }
    }

    /// Writes what goes out at once, and does not care.
    pub(crate) fn try_write(&self, octets: &[u8]) {
        let _ = match self {
            Self::Unix(stream) => stream.try_write(octets),
            Self::Tcp(stream) => stream.try_write(octets),
        };
    }
}
