//! One connection in qmail-smtpd's place: tcpserver, inetd, systemd or a pipe starts it, it serves its client and ends.
//!
//! | process | is | may |
//! |---|---|---|
//! | parent | the one that was started | all that qmail-smtpd might: it reads control files, holds the key, runs the queue program |
//! | session | its forked child, jailed | talk to the client and to the parent |
//!
//! The session parses every octet of the client's and decides nothing; the parent decides, and hears of the client only in
//! typed, bounded messages ([`gatepost_wire::parent`]). There is no runtime: each of them waits for one thing at a time.
//!
//! | file | what |
//! |---|---|
//! | `run.rs` | from the start to the fork, and the end |
//! | `help.rs` | what `--help` says |
//! | `settings.rs` | what the session is told |
//! | `record.rs` | the line in the log |
//! | `home.rs` | control files and tables |
//! | `session/` | the jailed child: the engine, and the parent that answers it; [`gatepost_shell`] carries the client's octets |
//! | `parent/` | the parent: envelope, queue program, plugins, AUTH, TLS |
#![forbid(unsafe_code)]

mod help;
mod home;
mod parent;
mod record;
mod run;
mod session;
mod settings;

pub use run::run;

use gatepost_channel::End;
use gatepost_wire::{ParentToSession, SessionToParent};

/// The session's end towards the parent.
pub(crate) type ParentEnd = End<SessionToParent, ParentToSession>;
/// The parent's end towards the session.
pub(crate) type SessionEnd = End<ParentToSession, SessionToParent>;
