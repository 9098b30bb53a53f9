//! What a session may ask, and when: the state machine of its channel. Pure: frames in, steps out. Whoever has taken over a
//! session has its end of the channel, so nothing that comes from it is trusted, not even the order.

use crate::memory::Memory;
use crate::permitted::{Kind, State, permits};
use crate::transaction::{Recipient, Transaction};
use crate::violation::{FRUITLESS_MAX, SMALL_MAX, Violation};
use gatepost_policy::share::Origin;
use gatepost_smtp::envelope::CloseReason;
use gatepost_smtp::replies::Reply;
use gatepost_wire::session::{Ask, Refused};
use gatepost_wire::{FRAME_MAX, Messages};

/// Octets that a frame has at least in which content goes on: our session fills each but the last.
const FULL: usize = FRAME_MAX - 64;
/// What a frame asks for.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing that is answered.
    Nothing,
    /// Ask about this recipient of [`Protocol::transaction`], then [`Protocol::judged`].
    Rcpt(Recipient),
    /// Is there room for the message of [`Protocol::transaction`]? Then [`Protocol::roomed`].
    Room,
    /// Make a file, then [`Protocol::filed`].
    Spool,
    /// More room in the file, then [`Protocol::filed`].
    Grow,
    /// Deliver this, whose length the session states. The state is idle again.
    Commit { transaction: Box<Transaction>, length: u64 },
    /// The session has refused something by itself.
    Refused(Refusal),
    /// The session is over.
    Bye(CloseReason),
}

/// What a session refused by itself.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reply: Reply,
    /// How many there were since the last one that was said.
    pub(crate) count: u32,
    /// The command; may be empty.
    pub(crate) line: Vec<u8>,
}

/// The state machine of one session.
#[derive(Debug)]
pub(crate) struct Protocol {
    state: State,
    transaction: Option<Box<Transaction>>,
    /// A transaction that ended without a commit and is not logged yet.
    dropped: Option<Box<Transaction>>,
    transactions: u32,
    /// The reply by which the session ended the running transaction itself.
    ended_by: Option<Reply>,
    /// What the session said of its end.
    detail: Vec<u8>,
    /// Since the last accepted message.
    fruitless: u32,
    /// The same of [`SMALL_MAX`].
    small: u32,
    memory: Memory,
    origin: Origin,
}

impl Protocol {
    /// For a new session of a client at `origin`, which takes from `memory`.
    pub(crate) fn new(memory: Memory, origin: Origin) -> Self {
        let state = State::Idle;
        Self {
            state,
            transaction: None,
            dropped: None,
            transactions: 0,
            ended_by: None,
            detail: Vec::new(),
            fruitless: 0,
            small: 0,
            memory,
            origin,
        }
    }

    /// Nothing is taken before [`Self::unlock`]: mail is submitted here.
    pub(crate) fn locked(self) -> Self {
        Self { state: State::Locked, ..self }
    }

    /// The client has logged in.
    pub(crate) fn unlock(&mut self) {
        if self.state == State::Locked {
            self.state = State::Idle;
        }
    }

    /// Nobody has logged in.
    pub(crate) fn is_locked(&self) -> bool {
        self.state == State::Locked
    }

    /// Reads one frame. An ask that is answered must be the last of its frame: the session has to wait.
    pub(crate) fn frame(&mut self, frame: &[u8]) -> Result<Step, Violation> {
        if self.fruitless > FRUITLESS_MAX {
            return Err(Violation::Fruitless);
        }
        let mut messages = Messages::<Ask<'_>>::of(frame);
        let mut goes_on = false;
        while let Some(ask) = messages.next() {
            let ask = ask.map_err(Violation::Wire)?;
            let kind = Kind::of(&ask);
            if !permits(self.state, kind) {
                return Err(Violation::Untimely(self.state, kind));
            }
            goes_on = kind == Kind::Content;
            let step = self.ask(ask)?;
            if !matches!(step, Step::Nothing) {
                return if messages.next().is_none() { Ok(step) } else { Err(Violation::Impatient(kind)) };
            }
        }
        if goes_on && frame.len() < FULL {
            self.small = self.small.saturating_add(1);
            if self.small > SMALL_MAX {
                return Err(Violation::Small);
            }
        }
        Ok(Step::Nothing)
    }

    fn ask(&mut self, ask: Ask<'_>) -> Result<Step, Violation> {
        match (ask, &mut self.transaction) {
            (Ask::Mail(mail), slot) => {
                self.transactions = self.transactions.saturating_add(1);
                self.ended_by = None;
                let part = self.memory.part(self.origin);
                *slot = Some(Box::new(Transaction::new(self.transactions, &mail, part)?));
                self.state = State::Envelope;
            }
            (Ask::Rcpt(rcpt), Some(transaction)) => return Ok(Step::Rcpt(transaction.recipient(&rcpt)?)),
            // Our engine passes on what it has, never nothing.
            (Ask::Content([]), _) => return Err(Violation::Field("content")),
            (Ask::Content(octets), Some(transaction)) => {
                transaction.take(octets)?;
                self.state = State::Content;
            }
            (Ask::Room, Some(_)) => {
                // It costs a look at the disk, and never ends a transaction that our engine would have begun.
                self.fruitless = self.fruitless.saturating_add(1);
                return Ok(Step::Room);
            }
            (Ask::Spool, Some(_)) => return Ok(Step::Spool),
            (Ask::Grow, Some(_)) => return Ok(Step::Grow),
            (Ask::Commit { length }, slot) => {
                self.state = State::Idle;
                if let Some(transaction) = slot.take() {
                    return Ok(Step::Commit { transaction, length });
                }
            }
            (Ask::Reset, _) => self.drop_transaction(),
            (Ask::Bye(why), _) => return Ok(Step::Bye(why)),
            (Ask::Refused(refused), _) => {
                self.fruitless = self.fruitless.saturating_add(1);
                if refused.ends {
                    self.ended_by = Some(refused.reply);
                }
                let Refused { reply, count, line, .. } = refused;
                return Ok(Step::Refused(Refusal { reply, count, line: line.to_vec() }));
            }
            (Ask::Detail(text), _) => {
                // Our session has one.
                self.fruitless = self.fruitless.saturating_add(1);
                self.detail = text.to_vec();
            }
            // Not reached: the table permits these only within a transaction.
            (Ask::Rcpt(_) | Ask::Content(_) | Ask::Room | Ask::Spool | Ask::Grow, None) => {
                return Err(Violation::Field("transaction"));
            }
        }
        Ok(Step::Nothing)
    }

    fn drop_transaction(&mut self) {
        if self.state != State::Locked {
            self.state = State::Idle;
        }
        self.fruitless = self.fruitless.saturating_add(1);
        self.dropped = self.transaction.take().or(self.dropped.take());
    }

    /// There is room for the message, or not: then the transaction is over.
    pub(crate) fn roomed(&mut self, room: bool) {
        if !room {
            self.drop_transaction();
        }
    }

    /// The running transaction.
    pub(crate) fn transaction(&mut self) -> Option<&mut Transaction> {
        self.transaction.as_deref_mut()
    }

    /// The recipient that was asked about is accepted, and added to the envelope, or refused.
    pub(crate) fn judged(&mut self, recipient: Recipient, accepted: bool) {
        if !accepted {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        let Some(transaction) = &mut self.transaction else { return };
        if accepted {
            transaction.accept(recipient);
            self.state = State::Accepted;
        } else {
            transaction.refused = transaction.refused.saturating_add(1);
        }
    }

    /// The message that was committed is accepted or not.
    pub(crate) fn committed(&mut self, accepted: bool) {
        self.fruitless = if accepted { 0 } else { self.fruitless.saturating_add(1) };
        if accepted {
            self.small = 0;
        }
    }

    /// The file that was asked for is there or not.
    pub(crate) fn filed(&mut self, given: bool) {
        if let Some(transaction) = &mut self.transaction {
            transaction.filed = given;
        }
        self.state = if given { State::Filed } else { State::Unfiled };
    }

    /// A transaction that ended without a commit and is not logged yet.
    pub(crate) fn take_dropped(&mut self) -> Option<Box<Transaction>> {
        self.dropped.take()
    }

    /// The session is over: gives the transaction that was under way.
    pub(crate) fn close(&mut self) -> Option<Box<Transaction>> {
        self.state = State::Idle;
        let mut transaction = self.transaction.take();
        transaction.iter_mut().for_each(|transaction| transaction.resume());
        transaction
    }

    /// The reply by which the session ended the last transaction itself. None at the next call.
    pub(crate) fn take_ended_by(&mut self) -> Option<Reply> {
        self.ended_by.take()
    }

    /// What the session said of its end.
    pub(crate) fn detail(&self) -> Option<&[u8]> {
        Some(self.detail.as_slice()).filter(|detail| !detail.is_empty())
    }

    /// Transactions begun so far.
    pub(crate) fn transactions(&self) -> u32 {
        self.transactions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;
    use gatepost_wire::Frame;

    #[test]
    fn p6_asks_in_vain_are_counted_until_a_message_is_accepted() {
        let reset = Frame::of(&Ask::Reset).unwrap();
        for accepted in [false, true] {
            let mut protocol = Protocol::new(memory::of(1 << 20), Origin::of([192, 0, 2, 1].into()));
            for _ in 0..FRUITLESS_MAX {
                assert!(protocol.frame(reset.bytes()).is_ok());
            }
            protocol.committed(accepted);
            assert_eq!(protocol.frame(reset.bytes()).is_ok(), accepted);
        }
    }
}
