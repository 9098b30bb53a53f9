//! What qmail's users know by heart, octet-exact and without a descriptor or a clock: the SMTP dialect of qmail-smtpd, its
//! control files and environment, the interface of qmail-queue and of the programs beside it, QMQP.
//!
//! | file | what |
//! |---|---|
//! | `replies.rs` | everything that a client of the drop-in is ever told |
//! | `engine/` | qmail-smtpd's dialect: octets in, events and replies out |
#![forbid(unsafe_code)]

pub mod engine;
pub mod replies;

/// Splits off the first `n` octets; all of them when there are fewer.
fn split(octets: &[u8], n: usize) -> (&[u8], &[u8]) {
    octets.split_at_checked(n).unwrap_or((octets, &[]))
}
