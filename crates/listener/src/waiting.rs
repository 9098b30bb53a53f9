//! Connections that wait without a session: so many at once, shared by network (P13). Beyond that the one that has waited
//! longest is closed, in the network that has most of them.

use gatepost_policy::share::{Action, Answer, Origin, Shares, WhenFull};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::task::AbortHandle;

/// Who waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    shares: Shares<u64>,
    tasks: BTreeMap<u64, (SocketAddr, AbortHandle)>,
    last: u64,
}

impl Waiting {
    /// At most so many at once.
    pub(crate) fn new(most: u32) -> Self {
        // No claim waits beyond the call that makes it. Who waits longest is the one who can best come again.
        Self { shares: Shares::new(most.into(), 1).of_what_is_spare(0, 0), tasks: BTreeMap::new(), last: 0 }
    }

    /// Whether a client may wait, instead of another if need be, which is closed then. None: its network has most of them, and none that
    /// could be closed. And who has been closed.
    pub(crate) fn claim(&mut self, client: SocketAddr, now: u64) -> (Option<u64>, Vec<SocketAddr>) {
        let origin = Origin::of(client.ip());
        let mut closed = Vec::new();
        self.last = self.last.saturating_add(1);
        let id = self.last;
        let mut granted = self.shares.claim(id, origin, 1, WhenFull::Reclaim, now) == Answer::Granted;
        while let Some(action) = self.shares.poll() {
            match action {
                Action::Reclaim(other) => closed.extend(self.end(other, now)),
                Action::Grant(waiting) => granted |= waiting == id,
                Action::Refuse(_) => {}
            }
        }
        (granted.then_some(id), closed)
    }

    /// That task waits by the claim, for something of that client's.
    pub(crate) fn set_task(&mut self, id: u64, client: SocketAddr, task: AbortHandle) {
        self.tasks.insert(id, (client, task));
    }

    /// It waits no longer.
    pub(crate) fn release(&mut self, id: u64, now: u64) {
        self.tasks.remove(&id);
        self.shares.release(id, now);
    }

    /// Closes all that wait.
    pub(crate) fn close(&mut self) {
        std::mem::take(&mut self.tasks).into_values().for_each(|(_, task)| task.abort());
    }

    fn end(&mut self, id: u64, now: u64) -> Option<SocketAddr> {
        self.shares.release(id, now);
        let (client, task) = self.tasks.remove(&id)?;
        task.abort();
        Some(client)
    }
}
