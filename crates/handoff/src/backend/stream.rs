//! A connection to a backend as a stream of octets: a unix socket or TCP, with or without TLS. Every wait on it has an end.

use super::dialer::Dialer;
use super::failure::Failure;
use super::list::Backend;
use super::socket::Socket;
use super::tls::{Tls, broken};
use super::wait::{Timeouts, Wait};
use crate::deadline::{Deadline, Elapsed};
use gatepost_sys::net;
use gatepost_wire::slice::Connect;
use std::fmt::Debug;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

/// An open stream.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Box<dyn Socket>,
    pub(super) deadline: Deadline,
    timeouts: Timeouts,
}

impl Stream {
    /// Has the dialer connect. Every wait, this one included, ends by `until`.
    pub(super) async fn open(
        dialer: &Dialer,
        to: &Backend,
        timeouts: Timeouts,
        until: Instant,
    ) -> Result<Self, Failure> {
        let mut deadline = Deadline::new(until);
        deadline.set(timeouts.of(Wait::Connect));
        let patience = deadline.left();
        match deadline.bound(dialer.connect(to.index, patience)).await {
            Ok(Ok(socket)) => Ok(Self { socket: Box::new(socket), deadline, timeouts }),
            Ok(Err(Failure::Connect(e))) if e.kind() == io::ErrorKind::TimedOut => Err(Failure::Timeout(Wait::Connect)),
            Ok(Err(failure)) => Err(failure),
            Err(Elapsed) => Err(Failure::Timeout(Wait::Connect)),
        }
    }

    /// Changes to TLS with the backend at `place`. The socket is lost with an error.
    pub(super) async fn secure(&mut self, tls: &Tls, place: &Connect) -> Result<(), Failure> {
        self.start(Wait::Greeting);
        let socket = std::mem::replace(&mut self.socket, Box::new(tokio::io::empty()));
        match self.deadline.bound(tls.connect(place, socket)).await {
            Ok(socket) => self.socket = socket?,
            Err(Elapsed) => return Err(Failure::Timeout(Wait::Greeting)),
        }
        Ok(())
    }

    /// Reads octets that have come already; `None`: there are none.
    pub(super) async fn read_early(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        // The runtime learns what has come only when it asks the system, which it may not have done since the last read.
        if let Some(socket) = self.socket.bare() {
            // One call instead of a turn of the runtime: this comes before each command.
            return match net::receive(socket, buffer) {
                Ok(0) => Err(Failure::Lost(None)),
                Ok(octets) => Ok(Some(octets)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(e) => Err(lost(e)),
            };
        }
        tokio::task::yield_now().await;
        let mut buffer = ReadBuf::new(buffer);
        let read = poll_fn(|cx| match Pin::new(&mut *self.socket).poll_read(cx, &mut buffer) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => Poll::Ready(None),
        });
        match read.await {
            None => Ok(None),
            Some(Ok(())) if buffer.filled().is_empty() => Err(Failure::Lost(None)),
            Some(Ok(())) => Ok(Some(buffer.filled().len())),
            Some(Err(e)) => Err(lost(e)),
        }
    }

    /// Starts the time that the reads and writes of one step may take together.
    pub(super) fn start(&mut self, wait: Wait) {
        self.deadline.set(self.timeouts.of(wait));
    }

    /// Reads at least one octet.
    pub(super) async fn read(&mut self, buffer: &mut [u8], wait: Wait) -> Result<usize, Failure> {
        match self.deadline.bound(self.socket.read(buffer)).await {
            Ok(Ok(0)) => Err(Failure::Lost(None)),
            Ok(Ok(n)) => Ok(n),
            Ok(Err(e)) => Err(lost(e)),
            Err(Elapsed) => Err(Failure::Timeout(wait)),
        }
    }

    /// Writes all of `octets`.
    pub(super) async fn write(&mut self, octets: &[u8], wait: Wait) -> Result<(), Failure> {
        self.start(wait);
        let socket = &mut self.socket;
        let written = async {
            socket.write_all(octets).await?;
            socket.flush().await
        };
        match self.deadline.bound(written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(lost(e)),
            Err(Elapsed) => Err(Failure::Timeout(wait)),
        }
    }

    /// Ends our half: nothing more will be written.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        self.socket.shutdown().await.map_err(lost)
    }

    /// Closes, after writing as much of `octets` as can be written without waiting.
    pub(super) fn close_with(mut self, octets: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        if Pin::new(&mut *self.socket).poll_write(&mut cx, octets).is_ready() {
            let _ = Pin::new(&mut *self.socket).poll_flush(&mut cx);
            let _ = Pin::new(&mut *self.socket).poll_shutdown(&mut cx);
        }
    }
}

fn lost(e: io::Error) -> Failure {
    broken(e, |e| Failure::Lost(Some(e)))
}
