//! SMTP as the whole binary speaks it: the table of dialogues, smuggling, relaying, memory, real senders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod conformance;
#[allow(dead_code, reason = "the other tests of the binary need more of it")]
#[path = "../whole/gate.rs"]
mod gate;
mod honest;
mod memory;
mod peers;
mod relay;
mod senders;
mod site;
mod smuggling;
