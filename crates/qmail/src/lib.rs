//! What qmail's users know by heart, octet-exact and without a descriptor or a clock: the SMTP dialect of qmail-smtpd, its
//! control files and environment, the interface of qmail-queue and of the programs beside it, QMQP.
//!
//! | file | what |
//! |---|---|
//! | `replies.rs` | everything that a client of the drop-in is ever told |
//! | `engine/` | qmail-smtpd's dialect: octets in, events and replies out |
//! | `cdb.rs` | constant databases, read with distrust, and written |
//! | `control.rs` | how a control file is read, and what to warn of |
//! | `environment.rs` | the UCSPI environment, and the work of tcp-env |
//! | `patterns.rs` | POSIX patterns of badhelo, badmailfrom and badrcptto |
//! | `rcpthosts.rs` | who may be written to |
//! | `recipients.rs` | validrcptto, brtlimit, maxrcpt, tarpit |
//! | `senders.rs` | badmailfrom |
//! | `switches.rs` | every safe choice that differs from qmail, and its switch |
//! | `text.rs` | hostile text, cleaned |
#![forbid(unsafe_code)]

pub mod cdb;
pub mod control;
pub mod engine;
pub mod environment;
pub mod patterns;
pub mod rcpthosts;
pub mod recipients;
pub mod replies;
pub mod senders;
pub mod switches;
pub mod text;
