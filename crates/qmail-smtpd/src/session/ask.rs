//! Asking the parent. Blocking: a session serves one client, and that client waits for the answer.

use crate::ParentEnd;
use gatepost_channel::{ChannelError, Inbox, Outbox};
use gatepost_smtp::envelope::{CloseReason, Then};
use gatepost_wire::parent::{Answer, Ask, CONTENT_MAX, LINES_MAX, PAIRS_MAX};
use gatepost_wire::slice::Chain;
use gatepost_wire::{ParentToSession, SessionToParent};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Longest wait for an answer. A queue program may take its time; qmail-queue gives itself a day.
const WAIT: Duration = Duration::from_secs(24 * 3600);

/// The parent is of no more use: gone, or it answered what was not asked. Ours, never the client's fault.
#[derive(Debug)]
pub(crate) struct ParentLost;

impl From<ChannelError> for ParentLost {
    fn from(_: ChannelError) -> Self {
        Self
    }
}

/// What the parent said to STARTTLS.
pub(crate) enum Tls {
    /// Chains, and where signatures are to be had.
    Ready(Vec<Chain>, OwnedFd),
    /// It cannot be had now; the lines say so.
    Refused(Vec<u8>),
}

/// The session's side of its conversation with the parent.
#[derive(Debug)]
pub(crate) struct Parent {
    end: ParentEnd,
    outbox: Outbox<SessionToParent>,
    inbox: Inbox,
    /// Content that has not been sent yet, [`CONTENT_MAX`] octets at most.
    content: Vec<u8>,
}

impl Parent {
    pub(crate) fn new(end: ParentEnd) -> Self {
        let _ = end.seq().set_timeout(WAIT);
        Self { end, outbox: Outbox::default(), inbox: Inbox::new(LINES_MAX.saturating_add(64)), content: Vec::new() }
    }

    /// Asks, and gives the lines and what then.
    pub(crate) fn ask(&mut self, ask: &Ask<'_>) -> Result<(&[u8], Then), ParentLost> {
        self.tell(ask)?;
        self.end.flush(&mut self.outbox)?;
        match self.end.recv(&mut self.inbox)? {
            Answer::Reply { lines, then } => Ok((lines, then)),
            Answer::Chain(_) | Answer::Sign => Err(ParentLost),
        }
    }

    /// Says what is not answered; it travels with the next question.
    pub(crate) fn tell(&mut self, ask: &Ask<'_>) -> Result<(), ParentLost> {
        self.hand_over()?;
        Ok(self.end.queue(&mut self.outbox, ask)?)
    }

    /// Says what is not answered and is to be heard at once, not with the next question: that may never come.
    pub(crate) fn tell_now(&mut self, ask: &Ask<'_>) -> Result<(), ParentLost> {
        self.tell(ask)?;
        Ok(self.end.flush(&mut self.outbox)?)
    }

    /// The next octets of content. Gathered: a client may send it in lines of one octet, and each message costs both ends
    /// a system call.
    pub(crate) fn content(&mut self, mut octets: &[u8]) -> Result<(), ParentLost> {
        while !octets.is_empty() {
            let room = CONTENT_MAX.saturating_sub(self.content.len());
            let (now, later) = octets.split_at_checked(room).unwrap_or((octets, &[]));
            self.content.extend_from_slice(now);
            octets = later;
            if self.content.len() >= CONTENT_MAX {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    /// Sends the content that has gathered.
    fn hand_over(&mut self) -> Result<(), ParentLost> {
        if !self.content.is_empty() {
            self.end.flush(&mut self.outbox)?;
            self.end.tell(&Ask::Content(&self.content))?;
            self.content.clear();
        }
        Ok(())
    }

    /// STARTTLS.
    pub(crate) fn start_tls(&mut self) -> Result<Tls, ParentLost> {
        self.tell(&Ask::StartTls)?;
        self.end.flush(&mut self.outbox)?;
        let mut chains = Vec::new();
        let mut inbox = Inbox::of::<ParentToSession>();
        loop {
            let (answer, fds) = self.end.recv_with(&mut inbox)?;
            match (answer, <[_; 1]>::try_from(fds)) {
                (Answer::Chain(chain), Err(_)) if chains.len() < PAIRS_MAX => chains.push(chain),
                (Answer::Sign, Ok([fd])) => return Ok(Tls::Ready(chains, fd)),
                (Answer::Reply { lines, .. }, Err(_)) => return Ok(Tls::Refused(lines.to_vec())),
                _ => return Err(ParentLost),
            }
        }
    }

    /// The session is over. What was said before it is heard first; content of a message that has no end is dropped.
    pub(crate) fn bye(&mut self, close_reason: CloseReason) {
        self.content.clear();
        let _ = self.tell_now(&Ask::Bye(close_reason));
    }
}
