//! What every role and the launcher tell the observer: events, and lines of free text. Nothing comes back: the observer can ask
//! nothing.

use crate::declare::tagged;
use crate::event::Event;
use crate::gauge::Gauges;
use crate::line::Line;

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
