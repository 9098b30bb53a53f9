//! Pure decisions: who is admitted, what may be relayed. Facts in, a verdict out.
//!
//! No descriptor, no clock, no randomness: a caller passes the time in, and the same questions always get the same
//! answers. Handoff owns a [`relay::Relay`], the listener an [`admission::Admission`]; neither parses what a client
//! wrote beyond the address it is asked about (P4).
#![forbid(unsafe_code)]

pub mod admission;
mod bounded;
pub mod conduct;
pub mod entry;
pub mod fair_queue;
pub mod flood;
pub mod guesses;
pub mod lists;
pub mod local_part;
pub mod locals;
pub mod networks;
pub mod partial_deliveries;
pub mod patterns;
pub mod proxy;
pub mod rate;
pub mod recent;
pub mod relay;
pub mod senders;
pub mod share;
mod sorted;
pub mod tables;
pub mod tally;
pub mod turns;
