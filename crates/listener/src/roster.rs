//! Sessions under way, and through which nursery.

use gatepost_policy::admission::Ticket;
use gatepost_wire::link::SessionId;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::task::{Poll, Waker};

/// Names a nursery link among those that this listener has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nursery(pub(crate) u64);

/// One session under way.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Who forked it.
    pub(crate) nursery: Nursery,
    /// Its client.
    pub(crate) client: SocketAddr,
    /// The slot it holds.
    pub(crate) ticket: Ticket,
}

/// Who is inside.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    sessions: HashMap<SessionId, Inside>,
    waiting: Option<Waker>,
}

impl Roster {
    /// A session begins.
    pub(crate) fn enter(&mut self, id: SessionId, inside: Inside) {
        self.sessions.insert(id, inside);
    }

    /// A session is over. What it was, when `nursery` really had it: a nursery cannot end another's sessions, nor one
    /// session twice.
    pub(crate) fn leave(&mut self, id: SessionId, nursery: Nursery) -> Option<Inside> {
        if self.sessions.get(&id)?.nursery != nursery {
            return None;
        }
        let inside = self.sessions.remove(&id);
        self.wake_if_quiet();
        inside
    }

    /// All sessions of a nursery are over.
    pub(crate) fn leave_all(&mut self, nursery: Nursery) -> Vec<Inside> {
        let gone = self.sessions.extract_if(|_, inside| inside.nursery == nursery).map(|(_, inside)| inside).collect();
        self.wake_if_quiet();
        gone
    }

    /// Each session with its client.
    pub(crate) fn all(&self) -> impl Iterator<Item = (SessionId, SocketAddr)> {
        self.sessions.iter().map(|(id, inside)| (*id, inside.client))
    }

    /// Ready when nobody is inside.
    pub(crate) fn poll_quiet(&mut self, waker: &Waker) -> Poll<()> {
        if self.sessions.is_empty() {
            return Poll::Ready(());
        }
        self.waiting = Some(waker.clone());
        Poll::Pending
    }

    fn wake_if_quiet(&mut self) {
        if self.sessions.is_empty()
            && let Some(waker) = self.waiting.take()
        {
            waker.wake();
        }
    }
}
