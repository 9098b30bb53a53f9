//! The nursery and its sessions: one client, one process, one life.
//!
//! The nursery is jailed once and then forks a session for each connection. In a session [`gatepost_shell`] carries octets
//! between the client and [`gatepost_smtp::server::Engine`]; what is here carries questions between the engine and handoff.
//!
//! | file | what |
//! |---|---|
//! | `nursery.rs` | the loop that forks and reaps |
//! | `shared.rs`, `warm.rs` | what is made and done once, before the first fork |
//! | `serve.rs` | a session's life: what the engine asks, and who answers it |
//! | `handoff.rs` | asking handoff |
//! | `auth.rs` | asking auth |
#![forbid(unsafe_code)]

mod auth;
mod handoff;
mod nursery;
mod serve;
mod shared;
#[cfg(test)]
mod tests;
mod warm;

pub use nursery::{run_nursery, run_nursery_with};
pub use serve::{NewSession, SessionExit, serve};
pub use shared::Shared;

use gatepost_channel::End;
use gatepost_wire::{AuthToSession, HandoffToSession, SessionToAuth, SessionToHandoff};

/// A session's end towards auth.
pub(crate) type AuthEnd = End<SessionToAuth, AuthToSession>;

/// A session's end towards handoff.
pub type HandoffEnd = End<SessionToHandoff, HandoffToSession>;
