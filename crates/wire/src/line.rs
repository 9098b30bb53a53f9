//! A line of free text for the log, and how much any line matters.

use crate::codec::Octets;
use crate::declare::{codes, fields};
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
