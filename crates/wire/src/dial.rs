//! Connections: handoff's to the configured backends, auth's to the source of logins. The dialer is told a number and no address, and
//! gives back a connected socket.

use crate::declare::{fields, tagged};
use std::time::Duration;

fields! {
    /// To the dialer: a connection is wanted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Dial {
        /// Identifies the request in [`Dialed`].
        pub number: u32,
        /// Handoff: which backend, its place in `backend.connect`. Auth: 0.
        pub backend: u32,
        /// How long to try, milliseconds.
        pub patience: u32,
    }
}

impl Dial {
    /// For a request that waits for so long at most.
    #[must_use]
    pub fn new(number: u32, backend: usize, patience: Duration) -> Self {
        let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        Self { number, backend: u32::try_from(backend).unwrap_or(u32::MAX), patience: milliseconds }
    }
}

tagged! {
    /// From the dialer: what became of a request. Each is answered once.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Dialed {
        /// One descriptor: the connection. The dialer keeps no copy of it.
        0 => Connected {
            /// Which request.
            number: u32,
        },
        /// There is none.
        1 => Failed {
            /// Which request.
            number: u32,
            /// Why, as errno(3); ETIMEDOUT: not in time.
            errno: u16,
        },
    }
}

impl Dialed {
    /// Which request it answers.
    #[must_use]
    pub const fn number(&self) -> u32 {
        match self {
            Self::Connected { number } | Self::Failed { number, .. } => *number,
        }
    }
}
