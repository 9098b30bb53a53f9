//! Sessions under way, and through which nursery.

use crate::unasked::Unasked;
use gatepost_policy::admission::SlotClaim;
use gatepost_wire::link::SessionId;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::task::{Poll, Waker};

/// Names a nursery link among those that this listener has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Nursery(pub(crate) u64);

/// One session under way.
#[derive(Debug)]
pub(crate) struct Session {
    /// Who forked it.
    pub(crate) nursery: Nursery,
    /// Its client.
    pub(crate) client: SocketAddr,
    /// The slot it holds.
    pub(crate) claim: SlotClaim,
    /// The nursery was told to end it.
    pub(crate) killed: bool,
    /// The keyholder's end of its channel, until it asks for something.
    pub(crate) key: Option<Unasked>,
}

/// The table of sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    table: HashMap<SessionId, Session>,
    /// Clients that wait for a slot.
    waiting: usize,
    waker: Option<Waker>,
}

impl Sessions {
    /// A session begins.
    pub(crate) fn insert(&mut self, id: SessionId, session: Session) {
        self.table.insert(id, session);
    }

    /// A session is over. What it was, when `nursery` really had it: a nursery cannot end another's sessions, nor one
    /// session twice.
    pub(crate) fn remove(&mut self, id: SessionId, nursery: Nursery) -> Option<Session> {
        if self.table.get(&id)?.nursery != nursery {
            return None;
        }
        let session = self.table.remove(&id);
        self.wake_if_idle();
        session
    }

    /// All sessions of a nursery are over.
    pub(crate) fn remove_all(&mut self, nursery: Nursery) -> Vec<Session> {
        let gone = self.table.extract_if(|_, session| session.nursery == nursery).map(|(_, session)| session).collect();
        self.wake_if_idle();
        gone
    }

    /// The channel of a session that asks the keyholder, and its client. None: it has been taken, or the session is over.
    pub(crate) fn take_key(&mut self, id: SessionId) -> Option<(Unasked, SocketAddr)> {
        let session = self.table.get_mut(&id)?;
        Some((session.key.take()?, session.client))
    }

    /// Each session with its client.
    pub(crate) fn all(&self) -> impl Iterator<Item = (SessionId, SocketAddr)> {
        self.table.iter().map(|(id, session)| (*id, session.client))
    }

    /// Sessions, and clients that wait for a slot.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.table.len(), self.waiting)
    }

    /// A client waits for a slot.
    pub(crate) fn begin_waiting(&mut self) {
        self.waiting = self.waiting.saturating_add(1);
    }

    /// It does no longer.
    pub(crate) fn end_waiting(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        self.wake_if_idle();
    }

    /// Who forked a session that is to be killed. None: it is over.
    pub(crate) fn kill(&mut self, id: SessionId) -> Option<Nursery> {
        let session = self.table.get_mut(&id)?;
        session.killed = true;
        Some(session.nursery)
    }

    /// Ready when no session is under way and nobody waits for one.
    pub(crate) fn poll_idle(&mut self, waker: &Waker) -> Poll<()> {
        if self.is_idle() {
            return Poll::Ready(());
        }
        self.waker = Some(waker.clone());
        Poll::Pending
    }

    fn is_idle(&self) -> bool {
        self.table.is_empty() && self.waiting == 0
    }

    fn wake_if_idle(&mut self) {
        if self.is_idle()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}
