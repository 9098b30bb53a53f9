//! Sessions that can be told to leave, because the listener needs their slots for somebody else (P13).
//!
//! A session whose message is being delivered is not told: its client would not hear what became of the message, and send it
//! again. Once a session is told nothing of its is delivered any more, so that its process may be ended at any moment.

use gatepost_role::unless;
use gatepost_wire::link::SessionId;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Nothing is being delivered.
const FREE: u8 = 0;
/// The backend may have a message, or the session has not been told what became of one.
const DELIVERING: u8 = 1;
/// It is told, or about to be.
const LEAVING: u8 = 2;

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct SessionTable(Mutex<BTreeMap<u64, Arc<State>>>);

#[derive(Debug, Default)]
struct State {
    delivery: AtomicU8,
    told: Notify,
}

/// One session, for as long as it is served.
#[derive(Debug)]
pub(crate) struct SessionEntry {
    table: Arc<SessionTable>,
    id: SessionId,
    state: Arc<State>,
}

/// What has to be asked before a message of a session is delivered.
#[derive(Debug)]
pub(crate) struct DeliveryPermit(Arc<State>);

impl SessionTable {
    /// A session begins.
    pub(crate) fn enter(self: &Arc<Self>, id: SessionId) -> SessionEntry {
        let state = Arc::<State>::default();
        self.lock().insert(id.0, state.clone());
        SessionEntry { table: self.clone(), id, state }
    }

    /// Tells a session to leave. False: a message of its is being delivered. One that there is not is gone.
    pub(crate) fn leave(&self, id: SessionId) -> bool {
        let Some(state) = self.lock().get(&id.0).cloned() else { return true };
        match state.delivery.compare_exchange(FREE, LEAVING, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {
                state.told.notify_one();
                true
            }
            Err(delivery) => delivery == LEAVING,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<State>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionEntry {
    /// For its next message.
    pub(crate) fn permit(&self) -> DeliveryPermit {
        DeliveryPermit(self.state.clone())
    }

    /// The session has been told to leave.
    pub(crate) fn is_leaving(&self) -> bool {
        self.state.delivery.load(Ordering::Relaxed) == LEAVING
    }

    /// The session knows what became of it.
    pub(crate) fn end_delivery(&self) {
        let _ = self.state.delivery.compare_exchange(DELIVERING, FREE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Runs `work` until it is done, or until the session is told to leave: then None, once.
    pub(crate) async fn unless_told<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        unless(self.state.told.notified(), work).await
    }
}

impl DeliveryPermit {
    /// The backend is about to get the message. False: the session has been told to leave, and nothing may be delivered.
    pub(crate) fn begin_delivery(&self) -> bool {
        self.0.delivery.compare_exchange(FREE, DELIVERING, Ordering::Relaxed, Ordering::Relaxed) != Err(LEAVING)
    }
}

impl Drop for SessionEntry {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id.0);
    }
}
