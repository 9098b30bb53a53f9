//! tcpserver's listener and its runner: the one accepts, looks names up and judges, the other executes programs. The listener names
//! facts and no program, no variable and no file; the runner takes a rule's variables from the file itself.

use crate::codec::{Maybe, NoNul, Octets};
use crate::declare::{fields, tagged};
use std::net::SocketAddr;

/// Longest name of a host or user, octets: a host name, or an answer by RFC 1413.
pub const NAME_MAX: usize = 257;
/// Longest text about a limit, octets.
pub(crate) const LIMIT_MAX: usize = 64;
/// Longest text about the jail, octets.
pub const TEXT_MAX: usize = 1024;

tagged! {
    /// What becomes of a connection.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum ConnectionDecision<'a> {
        /// A program is executed for it.
        0 => Serve,
        /// The rules deny it.
        1 => Deny,
        /// A limit of the limits patch denies it, which is added to the line.
        2 => Limit(limit: &'a [u8] as NoNul<LIMIT_MAX>),
        /// The rules can't be read, for this reason, as errno(3).
        3 => Unreadable {
            /// Why.
            errno: u16,
        },
    }

    /// Listener to runner.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Ask<'a> {
        /// The first message: whether the jail was entered.
        1 => Jail {
            /// It was; else the listener ends.
            entered: bool,
            /// Why not.
            text: &'a [u8] as Octets<TEXT_MAX>,
        },
        /// The rules, as they are now.
        2 => Rules,
        /// A connection with its decision. One descriptor: the connection.
        3 => Start(connection: Connection<'a>),
    }

    /// Runner to listener.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Answer {
        /// To `Rules`. One descriptor: the file.
        1 => Rules,
        /// To `Rules`: they are as they were.
        2 => SameRules,
        /// To `Rules`: they can't be read.
        3 => NoRules {
            /// Why, as errno(3).
            errno: u16,
        },
        /// The process of a connection has ended.
        4 => Ended {
            /// Which connection.
            number: u32,
            /// Its process.
            pid: u32,
            /// How, as wait(2) has it.
            status: u32,
        },
        /// No process could be made for a connection.
        5 => NotStarted {
            /// Which.
            number: u32,
        },
        /// Take no connection any more, and end when all have ended.
        6 => Stop,
    }
}

fields! {
    /// A connection, with what was found out about it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Connection<'a> {
        /// Identifies it in [`Answer`].
        pub number: u32,
        /// The address it came to.
        pub local: SocketAddr,
        /// The address it came from.
        pub remote: SocketAddr,
        /// Our name, unless the command line says it.
        pub local_host: Option<&'a [u8]> as Maybe<NoNul<NAME_MAX>>,
        /// The peer's name.
        pub remote_host: Option<&'a [u8]> as Maybe<NoNul<NAME_MAX>>,
        /// The user's name.
        pub info: Option<&'a [u8]> as Maybe<NoNul<NAME_MAX>>,
        /// What becomes of it.
        pub decision: ConnectionDecision<'a>,
    }
}
