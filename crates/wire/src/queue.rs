//! Handoff and the queue role: whole messages for a queue program, and what became of them. The queue role runs the program and
//! decides nothing: what it is sent is complete, checked and written by handoff.

use crate::codec::Octets;
use crate::declare::{codes, fields, tagged};
use crate::session::PATH_MAX;
use gatepost_smtp::envelope::Class;
use std::net::SocketAddr;

tagged! {
    /// Handoff to queue. A message is a `Begin`, its recipients and a `Commit`, without anything else between them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Submit<'a> {
        /// A message begins.
        1 => Begin {
            /// Identifies the message in [`Done`].
            ticket: u32,
            /// The client, for the program's environment.
            client: SocketAddr,
            /// The address it came to.
            local: SocketAddr,
            /// The sender as qmail's envelopes have it, without NUL.
            sender: &'a [u8] as Octets<PATH_MAX>,
        },
        /// A recipient, likewise.
        2 => Recipient(recipient: &'a [u8] as Octets<PATH_MAX>),
        /// One descriptor: the content, lines ended by LF, read from where it stands. The envelope is complete: queue it. If
        /// handoff ends before this, nothing is queued.
        3 => Commit,
    }

    /// How a queue program ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum End {
        /// With this exit status.
        0 => Exit(status: u8),
        /// By this signal.
        1 => Signal(signal: u8),
        /// Not in time: it may or may not have the message.
        2 => Late,
        /// The process that waited for it died: likewise.
        3 => Unknown,
        /// It could not be started.
        4 => NotRun,
    }
}

fields! {
    /// Queue to handoff: what became of a message.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Done {
        /// Which message.
        pub ticket: u32,
        /// What that means for the message, by qmail's table of exit statuses.
        pub class: Class,
        /// How the program ended, for the log.
        pub end: End,
        /// The program's process id, qmail's `qp`; 0: there was no process.
        pub pid: u32,
    }
}

codes! { Class }
