//! One connection in the making.

use gatepost_sys::net::{self, Connecting};
use gatepost_wire::slice::Connect;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Pause before a unix socket whose backlog is full is tried again: it refuses at once, where TCP would wait.
const BACKLOG_PAUSE: Duration = Duration::from_millis(20);

/// A connection in the making.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The link that it was asked for on.
    pub(crate) link: u64,
    /// Identifies the request.
    pub(crate) number: u32,
    /// Where to.
    pub(crate) place: usize,
    /// The end of its patience.
    until: Instant,
    /// It is being connected; none: it is begun anew at `again`.
    pub(crate) socket: Option<OwnedFd>,
    again: Instant,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Next {
    /// Wait until the socket can be written to, or until [`Attempt::due`].
    Wait,
    /// Answer.
    Done(io::Result<OwnedFd>),
}

impl Attempt {
    pub(crate) fn new(link: u64, number: u32, place: usize, patience: Duration) -> Self {
        let now = Instant::now();
        // A request bears 49 days at most, which every clock holds.
        Self { link, number, place, until: now.checked_add(patience).unwrap_or(now), socket: None, again: now }
    }

    /// Begins, or begins anew.
    pub(crate) fn begin(&mut self, places: &[Connect]) -> Next {
        let begun = match places.get(self.place) {
            Some(Connect::Unix(path)) => net::begin_unix(path),
            Some(Connect::Tcp(address)) => net::begin_tcp(*address),
            None => Err(ErrorKind::InvalidInput.into()),
        };
        match begun {
            Ok(Connecting { socket, done: true }) => Next::Done(Ok(socket)),
            Ok(Connecting { socket, done: false }) => {
                self.socket = Some(socket);
                Next::Wait
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let now = Instant::now();
                self.again = now.checked_add(BACKLOG_PAUSE).unwrap_or(now);
                Next::Wait
            }
            Err(e) => Next::Done(Err(e)),
        }
    }

    /// Its socket can be written to, or has failed.
    pub(crate) fn finish(&mut self) -> Next {
        match self.socket.take() {
            Some(socket) => Next::Done(net::connected(socket.as_fd()).map(|()| socket)),
            None => Next::Wait,
        }
    }

    /// When something has to be done that no descriptor tells of.
    pub(crate) fn due(&self) -> Instant {
        if self.socket.is_some() { self.until } else { self.again.min(self.until) }
    }

    /// Does it.
    pub(crate) fn at(&mut self, now: Instant, places: &[Connect]) -> Next {
        if now >= self.until {
            Next::Done(Err(ErrorKind::TimedOut.into()))
        } else if self.socket.is_none() && now >= self.again {
            self.begin(places)
        } else {
            Next::Wait
        }
    }
}
