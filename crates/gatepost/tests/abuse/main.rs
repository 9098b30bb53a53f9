//! P13 and P14: what strangers and broken logs can do to everybody else's mail, on the real binary (issue 9).
//!
//! Each test is a row of the table in issue 9: an attack that stopped other people's mail once. Good mail comes from a
//! network that holds nothing, while the attack goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod backend;
mod crowd;
mod disk;
#[allow(dead_code)] // Shared with the other suites on the whole binary.
#[path = "../whole/gate.rs"]
mod gate;
mod guesses;
mod log;
mod memory;
mod names;
mod slots;
mod syslog;
mod together;
mod waiting;
