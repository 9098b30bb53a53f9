//! The service manager's watchdog (`WatchdogSec=`, sd_watchdog_enabled(3)): it is told that we are alive as long as all roles are.

use std::time::{Duration, Instant};

/// When it is to be told next.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// Half of what it waits, as sd_watchdog_enabled(3) recommends; None: it is not there.
    every: Option<Duration>,
    next: Instant,
}

impl Watchdog {
    /// One that ends us when it has heard nothing for `patience`.
    pub(crate) fn new(patience: Option<Duration>, now: Instant) -> Self {
        Self { every: patience.map(|patience| patience / 2), next: now }
    }

    /// Whether it is to be told now.
    pub(crate) fn is_due(&mut self, all_alive: bool, now: Instant) -> bool {
        let Some(every) = self.every.filter(|_| all_alive && now >= self.next) else { return false };
        self.next = now + every;
        true
    }

    /// When it is to be told next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.every.map(|_| self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_9_the_watchdog_is_fed_in_time_and_only_when_all_roles_answer() {
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let mut watchdog = Watchdog::new(Some(10 * second), begun);
        for (after, alive, fed) in [
            (0, true, true),
            (4, true, false),
            (5, true, true),
            (10, false, false),
            (14, false, false),
            (15, true, true),
            (16, true, false),
        ] {
            assert_eq!(watchdog.is_due(alive, begun + after * second), fed, "after {after} s");
        }
        let mut none = Watchdog::new(None, begun);
        assert!(!none.is_due(true, begun + 100 * second) && none.next_due().is_none());
    }
}
