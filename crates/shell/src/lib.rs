//! What drives an engine in a session: octets between client and engine, in clear or in TLS, with a limit on every wait.
//!
//! The process that runs this reads strangers, so it has as little as possible: no runtime, no timer, no epoll. It waits
//! in one place, by poll(2), for its client and for the news that gatepost is going down. What an engine asks of other
//! processes is a [`Dialogue`]'s affair, and blocks: the client waits for the answer anyway.
//!
//! | file | what |
//! |---|---|
//! | `shell.rs` | the loop: read, feed the engine, send, start TLS, close |
//! | `line.rs` | the client's octets, in clear or in TLS |
//! | `ends.rs` | the client's descriptors |
//! | `client.rs` | the same where they are descriptors 0 and 1 |
//! | `patience.rs` | how long a client is waited for |
//! | `clock.rs` | time and waiting, handed in |
//! | `signer.rs` | asking for a signature: this process has no private key |
#![forbid(unsafe_code)]

mod client;
mod clock;
mod ends;
mod line;
mod patience;
mod shell;
mod signer;
#[cfg(test)]
mod tests;

pub use client::{Client, last_reply};
pub use clock::{Clock, Monotonic};
pub use ends::Ends;
pub use gatepost_sys::wait::Want;
pub use patience::Patience;
pub use shell::{Dialogue, Interruption, Lost, Next, Output, Shell, Times};
pub use signer::{KeyholderEnd, Signer};
