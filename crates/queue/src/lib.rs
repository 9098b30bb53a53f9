//! Runs the queue program, `bin/qmail-queue` of the qmail home or another of its kind, for each message that handoff hands in.
//!
//! May do: what its two users may, for it has no jail: the program that it runs needs the system and would inherit one. Holds:
//! its channels. Believes: handoff, whose messages are complete and judged; it parses no client's octet, and gives the content
//! on as it is. Each message has a process of its own that feeds the program and waits for it.
//!
//! | module | charter |
//! |---|---|
//! | `serve` | orders from the launcher, messages from handoff, a process each |
//! | `desk` | envelopes as they come in; pure |
//! | `run` | one message, one program |
#![forbid(unsafe_code)]

mod desk;
mod run;
mod serve;

use gatepost_channel::ChannelError;
use gatepost_jail::{JailError, Newborn};
use gatepost_wire::slice::QueueSlice;
use std::fmt;
use std::io;

/// Why the queue role did not start, or ended. Always ours, never a client's.
#[derive(Debug)]
#[non_exhaustive]
pub enum QueueError {
    /// It could not give up what it must.
    Jail(JailError),
    /// The system refused something that it should never refuse.
    System(&'static str, io::Error),
    /// The launcher broke the rules of its channel.
    Control(ChannelError),
    /// Handoff did.
    Handoff(String),
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jail(e) => e.fmt(f),
            Self::System(what, e) => write!(f, "cannot {what}: {e}"),
            Self::Control(e) => write!(f, "orders: {e}"),
            Self::Handoff(why) => write!(f, "handoff: {why}"),
        }
    }
}

impl std::error::Error for QueueError {}

impl From<JailError> for QueueError {
    fn from(e: JailError) -> Self {
        Self::Jail(e)
    }
}

impl From<ChannelError> for QueueError {
    fn from(e: ChannelError) -> Self {
        Self::Control(e)
    }
}

/// A queue process from birth to drain.
///
/// # Errors
/// It can't give up what it must, or is not told what to run.
pub fn run(newborn: Newborn) -> Result<(), QueueError> {
    let slice: QueueSlice = newborn.slice()?;
    let outside = newborn.stay_outside(slice.real_uid)?;
    serve::serve(outside, &slice)
}
