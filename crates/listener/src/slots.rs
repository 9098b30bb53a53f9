//! Slots are given to others (P13): a client that waits for one gets it when it is free, and a session that must end for somebody else
//! is told by handoff, and killed by its nursery if it does not end.

use crate::connection::Connection;
use crate::links::tell;
use crate::listener::Listener;
use crate::start::Slot;
use crate::turned::turned;
use gatepost_policy::admission::Refusal;
use gatepost_policy::share::Action;
use gatepost_wire::link::{HandoffOrder, NurseryOrder, SessionId};
use std::rc::Rc;
use tokio::sync::oneshot;

impl Listener {
    /// Carries out what the shares of slots demand, for as long as the role lives.
    pub(crate) async fn reassign_slots(self: Rc<Self>) {
        loop {
            self.slots.due.notified().await;
            loop {
                let Some(action) = self.admission.borrow_mut().poll() else { break };
                match action {
                    Action::Grant(id) => {
                        if let Some(waiting) = self.slots.queue.borrow_mut().remove(&id) {
                            let _ = waiting.send(());
                        }
                    }
                    // It hears that there is none when what it waits for is dropped.
                    Action::Refuse(id) => drop(self.slots.queue.borrow_mut().remove(&id)),
                    Action::Reclaim(id) => {
                        tokio::task::spawn_local(Rc::clone(&self).reclaim(SessionId(id)));
                    }
                }
            }
        }
    }

    /// Lets a client wait for its slot, beside all others; if in vain, it hears `refusal`.
    pub(crate) fn queue(self: &Rc<Self>, connection: Connection, slot: Slot, pause: u16, refusal: Refusal) {
        let (sender, granted) = oneshot::channel();
        self.slots.queue.borrow_mut().insert(slot.id().0, sender);
        self.sessions.borrow_mut().begin_waiting();
        let listener = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Ok(Ok(())) = tokio::time::timeout(listener.slots.waits.slot, granted).await {
                listener.begin(connection, slot, pause).await;
            } else {
                listener.slots.queue.borrow_mut().remove(&slot.id().0);
                drop(slot);
                listener.turn_away(connection, turned(refusal));
            }
            listener.sessions.borrow_mut().end_waiting();
        });
    }

    /// Has a session end for somebody else, unless its message is being delivered: its client would send it again.
    async fn reclaim(self: Rc<Self>, id: SessionId) {
        if self.end_session(id).await {
            return;
        }
        self.admission.borrow_mut().stays(id.0, self.now());
        self.slots.due.notify_one();
        tokio::time::sleep(self.slots.waits.delivery).await;
        self.admission.borrow_mut().may_end(id.0);
        self.slots.due.notify_one();
    }

    /// Has a session end, at once if it does not hear. False: a message of its is being delivered, and it goes on.
    pub(crate) async fn end_session(&self, id: SessionId) -> bool {
        if !self.leaves(id).await {
            return false;
        }
        tokio::time::sleep(self.slots.waits.leave).await;
        let nursery = self.sessions.borrow_mut().kill(id);
        if let Some(link) = nursery.and_then(|nursery| self.links.borrow().nursery_of(nursery)) {
            // An error means that the nursery is gone, and all its sessions.
            let _ = tell(&link, &NurseryOrder::Kill(id), &[]).await;
        }
        true
    }

    /// Asks handoff to tell a session to leave. False: a message of its is being delivered.
    async fn leaves(&self, id: SessionId) -> bool {
        let Some((number, handoff)) = self.links.borrow().handoff() else { return true };
        let (sender, told) = oneshot::channel();
        let first = self.slots.ask(id, number, sender);
        if first && tell(&handoff, &HandoffOrder::Leave(id), &[]).await.is_err() {
            self.slots.handoff_gone(number);
        }
        // Without an answer handoff is gone, and with it every delivery has ended.
        told.await.unwrap_or(true)
    }
}
