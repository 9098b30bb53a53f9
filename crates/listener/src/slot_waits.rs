//! Who waits for a slot, and which sessions have been asked to leave theirs.

use gatepost_wire::link::{Left, SessionId};
use std::cell::RefCell;
use std::collections::BTreeMap;
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
    pub(crate) queue: RefCell<BTreeMap<u64, oneshot::Sender<()>>>,
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
    pub(crate) fn ask(&self, id: SessionId, link: u64, who: oneshot::Sender<bool>) -> bool {
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
