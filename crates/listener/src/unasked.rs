//! The channels to the keyholder on which no session has asked for anything yet: made, and watched for the first question.

use gatepost_channel::End;
use gatepost_sys::epoll::Epoll;
use gatepost_wire::link::SessionId;
use gatepost_wire::{KeyholderToSession, SessionToKeyholder};
use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Sessions that are seen to ask at once; the others are seen next.
const BATCH: usize = 64;

/// The set of channels that are watched. To be made before the system call filter is in force.
pub(crate) fn watch() -> io::Result<Epoll> {
    Epoll::new(BATCH)
}

/// A session's end.
pub(crate) type SessionEnd = End<SessionToKeyholder, KeyholderToSession>;

/// The keyholder's end of a channel that waits for its first question.
pub(crate) type Unasked = End<KeyholderToSession, SessionToKeyholder>;

/// All such channels, each known by its session.
#[derive(Debug)]
pub(crate) struct Keys {
    watched: RefCell<AsyncFd<Epoll>>,
    asking: RefCell<Vec<u64>>,
}

impl Keys {
    /// On the runtime.
    pub(crate) fn new(epoll: Epoll) -> io::Result<Self> {
        let watched = RefCell::new(gatepost_channel::watch(epoll, Interest::READABLE)?);
        Ok(Self { watched, asking: RefCell::default() })
    }

    /// A channel for this session: its end, and the one that is watched.
    pub(crate) fn channel(&self, id: SessionId) -> io::Result<(SessionEnd, Unasked)> {
        let (session, unasked) = SessionEnd::pair()?;
        self.watched.borrow().get_ref().add(unasked.as_fd(), id.0)?;
        Ok((session, unasked))
    }

    /// The next session that has sent something or closed its channel, which is still watched.
    pub(crate) fn poll_asking(&self, cx: &mut Context<'_>) -> Poll<io::Result<SessionId>> {
        let mut asking = self.asking.borrow_mut();
        loop {
            if let Some(id) = asking.pop() {
                return Poll::Ready(Ok(SessionId(id)));
            }
            let mut watched = self.watched.borrow_mut();
            let mut guard = ready!(watched.poll_read_ready_mut(cx))?;
            guard.get_inner_mut().wait(Some(Duration::ZERO), &mut asking)?;
            // All that there are: another look would be a call for each session that ends.
            if asking.len() < BATCH {
                guard.clear_ready();
            }
        }
    }

    /// That channel is watched no longer.
    pub(crate) fn forget(&self, unasked: &Unasked) {
        // Not in the set: it is forgotten already.
        let _ = self.watched.borrow().get_ref().remove(unasked.as_fd());
    }
}
