//! Runs the queue program, `bin/qmail-queue` of the qmail home or another of its kind, for each message that handoff hands in.
//!
//! May do: what its two users may, for it has no jail: the program that it runs needs the system and would inherit one. Holds:
//! its channels. Believes: handoff, whose messages are complete and judged; it parses no client's octet, and gives the content
//! on as it is. Each message has a process of its own that feeds the program and waits for it.
//!
//! | module | charter |
//! |---|---|
//! | `serve` | messages from handoff, a process each |
//! | `job` | messages to be queued, and their envelopes as they come in; pure |
//! | `run` | one message, one program |
//! | `here` | the same without the role, for a process that serves one connection |
#![forbid(unsafe_code)]

mod here;
mod job;
mod run;
mod serve;

pub use here::Here;

use gatepost_jail::Unjailed;
use gatepost_role::RoleError;
use gatepost_wire::slice::QueueSlice;

/// The queue role, from its start to its end.
///
/// # Errors
/// [`RoleError`].
pub fn run(unjailed: Unjailed) -> Result<(), RoleError> {
    let slice: QueueSlice = unjailed.slice()?;
    let outside = unjailed.stay_outside(slice.real_uid)?;
    serve::serve(outside, &slice)
}
