//! How much there is of something now: told to the observer every few seconds, whole numbers and not changes of them, so that one that
//! is lost costs nothing.

use crate::declare::tagged;

tagged! {
    /// What one process has of what is counted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Gauges {
        /// From the listener.
        1 => Listener {
            /// Slots that are taken, by sessions.
            sessions: u32,
            /// All slots.
            slots: u32,
            /// Clients that wait for a slot.
            waiting: u32,
            /// Addresses that are greeted late or turned away.
            penalties: u32,
        },
        /// From handoff.
        2 => Handoff {
            /// Sessions between two transactions.
            idle: u32,
            /// Sessions in a transaction: envelope, or content on its way.
            transaction: u32,
            /// Sessions whose message is being delivered.
            delivering: u32,
            /// Connections to backends.
            connections: u32,
            /// As many as there may be.
            connections_max: u32,
            /// Sessions that wait for one.
            waiting: u32,
        },
        /// From the launcher.
        3 => Launcher {
            /// Roles that serve.
            roles_up: u32,
            /// Roles that there should be.
            roles: u32,
            /// Generations, the one that serves included.
            generations: u32,
            /// All backends have passed their proof.
            proved: bool,
            /// A name server answers.
            names: bool,
        },
    }
}
