//! Listener and the roles that serve sessions. These messages, and no others, tell who the client is (P4): a session can send no
//! message with an address.

use crate::declare::{fields, foreign, tagged};
use gatepost_smtp::envelope::CloseReason;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Identifies a session in logs, in replies and between processes. Unique while gatepost runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub u64);

foreign! { SessionId { 0: u64, } }

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

fields! {
    /// Listener to nursery: begin a session. Descriptors: the client, the session's end towards handoff and, when `tls`,
    /// its end towards the keyholder.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Start {
        /// The new session.
        pub id: SessionId,
        /// Index of the `[[listen]]` through which the client came.
        pub listener: u8,
        /// The descriptors include a keyholder end.
        pub tls: bool,
        /// Slots are scarce: the session has lower limits and shorter timeouts.
        pub stress: bool,
    }
}

fields! {
    /// Nursery to listener: a session is over and its process reaped.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Ended {
        /// Which session.
        pub id: SessionId,
        /// How its process ended.
        pub how: End,
    }
}

tagged! {
    /// How a session's process ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum End {
        /// With this exit status; see [`exit_status`].
        0 => Exit(status: u8),
        /// By this signal: a crash, which earns the peer a penalty.
        1 => Signal(signal: u8),
    }
}

/// The exit status of a session that was closed for `reason`. A session that fails before it has begun exits with that of
/// [`CloseReason::Internal`].
#[must_use]
pub const fn exit_status(reason: CloseReason) -> u8 {
    match reason {
        CloseReason::Internal => 111,
        other => other as u8,
    }
}

/// Why a session with this exit status was closed.
#[must_use]
pub fn close_reason(status: u8) -> Option<CloseReason> {
    CloseReason::ALL.into_iter().find(|reason| exit_status(*reason) == status)
}

fields! {
    /// Listener to handoff: a session begins; handoff's end of its channel is the descriptor. The channel is the identity:
    /// whatever arrives on it is from this client.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Open {
        /// The new session.
        pub id: SessionId,
        /// The client, as accept(2) gave it; IPv4-mapped addresses already made IPv4.
        pub client: SocketAddr,
        /// The address it came to.
        pub local: SocketAddr,
        /// Index of the `[[listen]]` through which the client came.
        pub listener: u8,
    }
}

fields! {
    /// Listener to keyholder: a session that may ask for signatures; the keyholder's end of its channel is the descriptor.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct OpenKey {
        /// The new session.
        pub id: SessionId,
        /// Its client, among whose network's sessions it waits for its turn.
        pub client: IpAddr,
    }
}
