//! Requests to another role that are under way, and who waits for the answer to which.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// A link that has ended: nothing can be asked on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkOver;

/// Requests on one link.
#[derive(Debug)]
pub struct Tickets<T>(Mutex<Waiting<T>>);

#[derive(Debug)]
struct Waiting<T> {
    senders: HashMap<u32, oneshot::Sender<T>>,
    last: u32,
    /// The link is over: nobody may begin to wait.
    over: bool,
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self(Mutex::new(Waiting { senders: HashMap::new(), last: 0, over: false }))
    }
}

impl<T> Tickets<T> {
    /// A number, and where its answer will come; an error there: the link has ended, and it is not known what became of it.
    ///
    /// # Errors
    /// The link is over.
    pub fn issue(&self) -> Result<(u32, oneshot::Receiver<T>), LinkOver> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.over {
            return Err(LinkOver);
        }
        waiting.last = waiting.last.wrapping_add(1);
        let number = waiting.last;
        // Forget those who no longer wait.
        waiting.senders.retain(|_, sender| !sender.is_closed());
        waiting.senders.insert(number, sender);
        Ok((number, receiver))
    }

    /// Gives an answer to who waits for it. One that nobody waits for is dropped: it came late, twice or for no request.
    pub fn answer(&self, number: u32, answer: T) {
        let waiting = self.lock().senders.remove(&number);
        let _ = waiting.map(|waiting| waiting.send(answer));
    }

    /// Nobody waits any more for what is under way; the link goes on.
    pub fn give_up(&self) {
        self.lock().senders.clear();
    }

    /// The link is over.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.over = true;
        waiting.senders.clear();
    }

    /// The link has ended.
    pub fn is_over(&self) -> bool {
        self.lock().over
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
