//! How many lines about clients are written, where what they tell of came to nothing: a client could have any number of them.

use gatepost_policy::flood::{Flood, Line};
use gatepost_policy::share::Origin;
use gatepost_wire::event;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What was written lately, by network.
#[derive(Debug)]
pub(crate) struct LogLimit {
    flood: Mutex<Flood>,
    begun: Instant,
}

impl LogLimit {
    pub(crate) fn new() -> Self {
        Self { flood: Mutex::new(Flood::new()), begun: Instant::now() }
    }

    /// Whether one more line about a client at `ip` is written, one about something that came to nothing. How many were not
    /// is told with the next that is.
    pub(crate) fn permits(&self, ip: IpAddr) -> bool {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let line = self.flood.lock().unwrap_or_else(PoisonError::into_inner).line(Origin::of(ip), now);
        if let Line::Write(kept @ 1..) = line {
            gatepost_log::tell(event::Kept { client: ip, lines: kept });
        }
        line != Line::Keep
    }
}
