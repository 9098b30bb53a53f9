//! Sessions under way, and through which nursery.

use crate::keys::Unasked;
use gatepost_policy::admission::Ticket;
use gatepost_wire::link::SessionId;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::task::{Poll, Waker};

/// Names a nursery link among those that this listener has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The nursery was told to end it.
    pub(crate) killed: bool,
    /// The keyholder's end of its channel, until it asks for something.
    pub(crate) key: Option<Unasked>,
}

/// Who is inside.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    sessions: HashMap<SessionId, Inside>,
    /// Clients that wait for a slot.
    queue: usize,
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

    /// The channel of a session that asks the keyholder, and its client. None: it has been taken, or the session is over.
    pub(crate) fn take_key(&mut self, id: SessionId) -> Option<(Unasked, SocketAddr)> {
        let inside = self.sessions.get_mut(&id)?;
        Some((inside.key.take()?, inside.client))
    }

    /// Each session with its client.
    pub(crate) fn all(&self) -> impl Iterator<Item = (SessionId, SocketAddr)> {
        self.sessions.iter().map(|(id, inside)| (*id, inside.client))
    }

    /// Sessions, and clients that wait for a slot.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.sessions.len(), self.queue)
    }

    /// A client waits for a slot.
    pub(crate) fn enter_queue(&mut self) {
        self.queue = self.queue.saturating_add(1);
    }

    /// It does no longer.
    pub(crate) fn leave_queue(&mut self) {
        self.queue = self.queue.saturating_sub(1);
        self.wake_if_quiet();
    }

    /// Who forked a session that is to be killed. None: it is over.
    pub(crate) fn kill(&mut self, id: SessionId) -> Option<Nursery> {
        let inside = self.sessions.get_mut(&id)?;
        inside.killed = true;
        Some(inside.nursery)
    }

    /// Ready when nobody is inside or waits.
    pub(crate) fn poll_quiet(&mut self, waker: &Waker) -> Poll<()> {
        if self.is_quiet() {
            return Poll::Ready(());
        }
        self.waiting = Some(waker.clone());
        Poll::Pending
    }

    fn is_quiet(&self) -> bool {
        self.sessions.is_empty() && self.queue == 0
    }

    fn wake_if_quiet(&mut self) {
        if self.is_quiet()
            && let Some(waker) = self.waiting.take()
        {
            waker.wake();
        }
    }
}
