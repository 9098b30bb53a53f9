//! Slots are given to others (P13): a client that waits for one gets it when it is free, and a session that must end for somebody else
//! is told by handoff, and killed by its nursery if it does not end.

use crate::connection::{Connection, Listener, Slot};
use crate::links::tell;
use crate::turned::turned;
use gatepost_policy::admission::Refusal;
use gatepost_policy::share::Action;
use gatepost_wire::link::{HandoffOrder, Left, NurseryOrder, SessionId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// A client for a slot.
    pub(crate) slot: Duration,
    /// From telling a session to leave to killing it: within a handshake, or while its client does not read, it does not
    /// hear.
    pub(crate) leave: Duration,
    /// Before a session that is delivering a message may be told again.
    pub(crate) delivery: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self { slot: Duration::from_secs(10), leave: Duration::from_secs(2), delivery: Duration::from_secs(1) }
    }
}

/// What is waited for, and by whom.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pub(crate) waits: Waits,
    /// Shares have changed: there may be something to do.
    pub(crate) due: Notify,
    /// Clients that wait for a slot, by the id that they will have.
    queue: RefCell<BTreeMap<u64, oneshot::Sender<()>>>,
    /// Sessions of which handoff has been asked whether they are told to leave.
    asked: RefCell<BTreeMap<u64, Asked>>,
}

/// A question about a session that handoff has not answered.
#[derive(Debug)]
struct Asked {
    /// The link that it was asked by.
    link: u64,
    /// Who waits for the answer.
    waiting: Vec<oneshot::Sender<bool>>,
}

impl Slots {
    pub(crate) fn new(waits: Waits) -> Self {
        Self { waits, ..Self::default() }
    }

    /// Handoff has told a session to leave, or has not.
    pub(crate) fn left(&self, Left { id, told }: Left) {
        if let Some(Asked { waiting, .. }) = self.asked.borrow_mut().remove(&id.0) {
            for one in waiting {
                let _ = one.send(told);
            }
        }
    }

    /// Somebody waits for the answer about a session. True: `link` has to be asked; else the answer to the question before is this one's
    /// too.
    fn ask(&self, id: SessionId, link: u64, who: oneshot::Sender<bool>) -> bool {
        let mut asked = self.asked.borrow_mut();
        let first = !asked.contains_key(&id.0);
        asked.entry(id.0).or_insert(Asked { link, waiting: Vec::new() }).waiting.push(who);
        first
    }

    /// A link with handoff is at its end: of what was asked along it nothing is delivered any more.
    pub(crate) fn handoff_gone(&self, number: u64) {
        self.asked.borrow_mut().retain(|_, asked| asked.link != number);
    }

    /// No more slots are granted.
    pub(crate) fn close(&self) {
        self.queue.borrow_mut().clear();
    }
}

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
