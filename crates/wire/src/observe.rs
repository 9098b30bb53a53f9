//! What every role and the launcher tell the observer: events, and lines of free text. Nothing comes back: the observer can ask
//! nothing.

use crate::codec::Octets;
use crate::declare::{codes, fields, tagged};
use crate::event::Event;
use crate::gauge::Gauges;
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

codes! { Level }

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
    #[allow(clippy::large_enum_variant)] // Made where it is written, and read in place: none is stored.
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
        /// How much there is now. Not counted as lost where it cannot be sent: the next one says it anew.
        3 => Gauges(gauges: Gauges),
    }
}
