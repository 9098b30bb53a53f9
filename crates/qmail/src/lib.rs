//! What qmail's users rely on, octet-exact and without a descriptor or a clock: the SMTP dialect of qmail-smtpd, its
//! control files and environment, the interface of qmail-queue and of the programs beside it, QMQP.
//!
//! | file | what |
//! |---|---|
//! | `replies.rs` | everything that a client of the drop-in is ever told |
//! | `engine/` | qmail-smtpd's dialect: octets in, events and replies out |
//! | `auth.rs` | SMTPAUTH, the checker's argv, and what it reads on fd 3 |
//! | `control.rs` | how a control file is read, and what to warn of |
//! | `controls.rs` | all control files of one connection |
//! | `environment.rs` | the UCSPI environment, and the work of tcp-env |
//! | `list.rs` | control files that are lists, looked up where they lie |
//! | `literal.rs` | `[d.d.d.d]` that means this host |
//! | `log.rs` | one line a session |
//! | `program.rs` | how a program that was started has ended |
//! | `qmqp.rs` | QMQP, the client's side |
//! | `queue.rs` | qmail-queue's envelope, exit statuses and custom texts |
//! | `rcptcheck.rs` | RCPTCHECK |
//! | `rcpthosts.rs` | who may be written to |
//! | `received.rs` | the Received field |
//! | `recipients.rs` | validrcptto, brtlimit, maxrcpt, tarpit |
//! | `senders.rs` | badmailfrom |
//! | `spp.rs` | qmail-spp: the file, the plugins' words, the decision |
//! | `switches.rs` | every safe choice that differs from qmail, and its switch |
//! | `text.rs` | hostile text, cleaned |
#![forbid(unsafe_code)]

pub mod auth;
pub mod control;
pub mod controls;
pub mod engine;
pub mod environment;
pub mod list;
pub mod literal;
pub mod log;
pub mod program;
pub mod qmqp;
pub mod queue;
pub mod rcptcheck;
pub mod rcpthosts;
pub mod received;
pub mod recipients;
pub mod replies;
pub mod senders;
pub mod spp;
pub mod switches;
pub mod text;

/// Splits off the first `n` octets; all of them when there are fewer.
fn split(octets: &[u8], n: usize) -> (&[u8], &[u8]) {
    octets.split_at_checked(n).unwrap_or((octets, &[]))
}
