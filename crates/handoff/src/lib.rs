//! The only way to the MTA: relay policy, backends, message spool.
//!
//! A session that an attacker has taken over can ask for anything; what it gets is decided here, by the client's address as
//! the listener gave it (P4). Nothing of a client's is parsed but the envelope, which is parsed again, and the header of a
//! message. What a backend says is hostile input.
//!
//! | module | charter |
//! |---|---|
//! | `serve` | orders from the launcher, new sessions from the listener |
//! | `single` | one session without a launcher and without other roles: for `gatepost inetd` |
//! | `known` | what one such process leaves for the next about the backends |
//! | `session` | one session: relay check, questions to the backend, delivery |
//! | `protocol` | what a session may ask, and when: by the table in `permitted`; anything else is a `violation`; pure |
//! | `transaction`, `memory` | the envelope and the content in memory, and how much of it there may be; pure |
//! | `pool` | shares of what is scarce; pure |
//! | `outcome`, `verdict` | what the client is told, and the log; pure |
//! | `routes` | which backend a recipient has |
//! | `backend` | connections, the relay proof, delivery |
//! | `identity` | XCLIENT and PROXY v2; pure |
//! | `logins` | who clients of submission are, from auth |
//! | `names`, `recent_names` | what clients are called, from the resolver |
//! | `content` | header duties and framing; pure |
//! | `several` | several recipients, and the one answer that a client hears |
//! | `rates` | how much clients and logins may send in a time |
//! | `helo_lists`, `helo` | DNS lists that are asked about HELO names, and what a client hears of it |
//! | `submitted` | what the header of a message lacks, and whose it says it is |
//! | `session_table` | sessions that must leave |
//! | `spool`, `disk` | content files, and how much of the disk they may have |
//! | `shared` | what all sessions share |
//! | `deadline` | waiting, with an end to it |
//! | `progress` | how many sessions are how far, for who looks on |
//! | `telling`, `log_limit` | what the log is told of a transaction, and how many lines there may be |
//! | `turns` | who is served next, where nobody waits for an answer |
#![forbid(unsafe_code)]

mod backend;
mod content;
mod deadline;
mod disk;
mod helo;
mod helo_lists;
mod identity;
mod known;
mod log_limit;
mod logins;
mod memory;
mod names;
mod outcome;
mod permitted;
mod pool;
mod progress;
mod protocol;
mod rates;
mod recent_names;
mod routes;
mod serve;
mod session;
mod session_table;
mod several;
mod shared;
mod single;
mod spool;
mod submitted;
mod telling;
mod transaction;
mod turns;
mod verdict;
mod violation;

#[cfg(test)]
mod tests;

pub use backend::RunQueue;
pub use single::Single;

use backend::Timeouts;
use gatepost_channel::AsyncEnd;
use gatepost_jail::Unjailed;
use gatepost_role::RoleError;
use gatepost_sys::heap;
use gatepost_wire::control::Role;
use gatepost_wire::slice::HandoffSlice;
use gatepost_wire::{HandoffToListener, HandoffToSession, ListenerToHandoff, SessionToHandoff};
use shared::Shared;
use std::sync::Arc;
use std::time::Duration;

/// Towards the listener.
type ListenerEnd = AsyncEnd<HandoffToListener, ListenerToHandoff>;
/// Towards one session.
type SessionEnd = AsyncEnd<HandoffToSession, SessionToHandoff>;

/// Freed memory that is kept for the next message, octets: what one in memory takes on its way, several times over.
const KEPT: i32 = 1 << 20;

/// A handoff process, from its start to its end.
///
/// # Errors
/// [`RoleError`].
pub fn run(unjailed: Unjailed) -> Result<(), RoleError> {
    heap::keep(KEPT);
    let slice: HandoffSlice = unjailed.slice()?;
    let timeouts = Timeouts::new(Duration::from_secs(slice.backend.reply_timeout.into()));
    let shared = Shared::new(&slice, timeouts)?;
    let entered = unjailed.enter(Role::Handoff)?;
    if !slice.spool.is_empty() {
        shared.prepare_spool()?;
    }
    let runtime = gatepost_role::runtime()?;
    let jailed = entered.seal()?;
    runtime.block_on(serve::serve(jailed.control, Arc::new(shared)))
}
