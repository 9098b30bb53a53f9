//! The only door to the MTA: relay policy, backends, message spool.
//!
//! A session that is owned can ask for anything; what it gets is decided here, by who the listener says its client is
//! (P4). No client's octet is parsed beyond the envelope, which is read again, and the header of a message. What a backend
//! says is read as hostile input.
//!
//! | module | charter |
//! |---|---|
//! | `serve` | orders from the launcher, news from the listener, one task per session |
//! | `gate` | what a session may say, and when; pure |
//! | `transaction` | the envelope and the inline content; pure |
//! | `session` | one session: judge, ask the backend, deliver |
//! | `backend` | connections, the relay proof, delivery |
//! | `identity` | XCLIENT and PROXY v2; pure |
//! | `content` | header duties and framing on the way out; pure |
//! | `verdict` | from what happened to what the client is told; pure |
//! | `spool` | content files |
#![forbid(unsafe_code)]

mod allowance;
mod backend;
mod clock;
mod content;
mod error;
mod gate;
mod identity;
mod idle;
mod serve;
mod session;
mod spool;
mod transaction;
mod verdict;

#[cfg(test)]
mod tests;

pub use error::HandoffError;

use gatepost_channel::AsyncEnd;
use gatepost_jail::Newborn;
use gatepost_wire::control::Role;
use gatepost_wire::slice::HandoffSlice;
use gatepost_wire::{HandoffToSession, LauncherToRole, ListenerToHandoff, Nothing, RoleToLauncher, SessionToHandoff};

/// Towards the launcher.
type ControlEnd = AsyncEnd<RoleToLauncher, LauncherToRole>;
/// Towards the listener.
type ListenerEnd = AsyncEnd<Nothing, ListenerToHandoff>;
/// Towards one session.
type SessionEnd = AsyncEnd<HandoffToSession, SessionToHandoff>;

/// A handoff process from birth to drain.
///
/// # Errors
/// It can't be confined, can't keep content files, or the backend is not safe to send mail to.
pub fn run(newborn: Newborn) -> Result<(), HandoffError> {
    let slice: HandoffSlice = newborn.slice()?;
    let house = serve::house(&slice)?;
    let entered = newborn.enter(Role::Handoff)?;
    serve::prepare_spool(&house, &slice.spool)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(HandoffError::Runtime)?;
    let jailed = entered.seal()?;
    runtime.block_on(serve::serve(jailed.control, house))
}
