//! Syslog's socket, for the observer, which can open none: it gets one that is connected, and another when somebody else listens
//! there, as after a restart of syslogd. Nothing is read from it.

use crate::rules::{Stamp, stamp};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// Shortest time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks at the socket's name from time to time.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Of the socket that the observer has.
    given: Option<Stamp>,
    next: Instant,
}

impl Watch {
    /// As if nobody had one.
    pub(crate) fn new() -> Self {
        Self { given: None, next: Instant::now() }
    }

    /// When to look again.
    pub(crate) fn next_due(&self) -> Instant {
        self.next
    }

    /// A new observer has none.
    pub(crate) fn forget(&mut self) {
        *self = Self::new();
    }

    /// A connected socket, where it is time to look, and another one than before listens there.
    pub(crate) fn another(&mut self, now: Instant) -> Option<UnixDatagram> {
        if now < self.next {
            return None;
        }
        self.next = now + PAUSE;
        let seen = std::fs::metadata(gatepost_log::SYSLOG).ok().map(|about| stamp(&about))?;
        if self.given == Some(seen) {
            return None;
        }
        // Somebody who is starting may listen there soon.
        let socket = gatepost_log::syslog().ok()?;
        self.given = Some(seen);
        Some(socket)
    }
}
