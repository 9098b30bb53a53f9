//! The nursery and its sessions: one client, one process, one life.
//!
//! The nursery is jailed once and then forks a session for each connection. A session is a thin shell around
//! [`gatepost_smtp::server::Engine`]: octets between client and engine, questions between engine and handoff.
//!
//! | file | what |
//! |---|---|
//! | `nursery.rs` | the loop that forks and reaps |
//! | `shared.rs`, `warm.rs` | what is made and done once, before the first fork |
//! | `serve.rs` | a session's life |
//! | `line.rs` | the client's end of it, in clear or in TLS |
//! | `patience.rs` | how long a session waits |
//! | `handoff.rs` | asking handoff |
//! | `signer.rs` | asking the keyholder |
//! | `exit.rs` | exit statuses |
#![forbid(unsafe_code)]

pub mod exit;
mod handoff;
mod line;
mod nursery;
mod patience;
mod serve;
mod shared;
mod signer;
#[cfg(test)]
mod tests;
mod warm;

pub use nursery::{NurseryError, run_nursery, run_nursery_with};
pub use patience::Patience;
pub use serve::{SessionBirth, serve};
pub use shared::Shared;
pub use signer::Signer;

use gatepost_channel::End;
use gatepost_wire::{HandoffToSession, KeyholderToSession, SessionToHandoff, SessionToKeyholder};

/// A session's end towards handoff.
pub type HandoffEnd = End<SessionToHandoff, HandoffToSession>;
/// A session's end towards the keyholder.
pub type KeyholderEnd = End<SessionToKeyholder, KeyholderToSession>;
