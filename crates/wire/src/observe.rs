//! What every role and the launcher tell the observer: events, and lines of free text. Nothing comes back: the observer can ask
//! nothing.

use crate::codec::Octets;
use crate::declare::{codes, fields, tagged};
use crate::event::Event;
use gatepost_smtp::enumeration;

/// Longest text of a line, octets. A longer one is cut.
pub const TEXT_MAX: usize = 4096;

enumeration! {
    /// How much a line matters, as syslog(3) counts it.
    pub enum Level {
        /// Something that somebody has to mend.
        Error,
        /// Something that somebody should look at.
        Warning,
        /// What happens every day.
        Info,
    }
}

enumeration! {
    /// What a role says how much there is of it, from time to time.
    pub enum Gauge {
        /// Sessions.
        Sessions,
        /// How many sessions there may be.
        SessionsLimit,
        /// Clients that wait for a slot.
        Waiting,
        /// Addresses with a penalty.
        Penalties,
        /// Connections to backends.
        Connections,
        /// How many connections to backends there may be.
        ConnectionsLimit,
        /// Octets of envelopes and content in handoff's memory.
        Memory,
        /// How many of these there may be.
        MemoryLimit,
        /// Signatures since the keyholder began.
        Signatures,
    }
}

impl Gauge {
    /// Its name in what is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::SessionsLimit => "sessions_limit",
            Self::Waiting => "waiting_clients",
            Self::Penalties => "penalties",
            Self::Connections => "backend_connections",
            Self::ConnectionsLimit => "backend_connections_limit",
            Self::Memory => "handoff_memory_bytes",
            Self::MemoryLimit => "handoff_memory_bytes_limit",
            Self::Signatures => "signatures",
        }
    }
}

codes! { Gauge Level }

fields! {
    /// One line.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Line<'a> {
        /// How much it matters.
        pub level: Level,
        /// Lines before this one that the sender could not send.
        pub lost: u32,
        /// What happened. May hold anything: the observer makes one printable line of it.
        pub text: &'a [u8] as Octets<TEXT_MAX>,
    }
}

tagged! {
    /// Any role to the observer.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Tell<'a> {
        /// Free text: failures of ours, and what an operator reads once.
        1 => Line(line: Line<'a>),
        /// Something that is counted, and written with its fields.
        2 => Event {
            /// What the sender could not send before this.
            lost: u32,
            /// What happened.
            event: Event<'a>,
        },
        /// How much there is of something now. Counted, not written.
        3 => Gauge {
            /// Of what.
            gauge: Gauge,
            /// How much.
            value: u64,
        },
    }
}
