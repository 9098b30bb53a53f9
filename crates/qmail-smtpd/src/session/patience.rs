//! How long a session waits for its client: `timeoutsmtpd` for each single read, as qmail-smtpd does, and for content a minimum
//! rate where the admin asks for one.

use std::time::Duration;

/// The time over which the rate of content is averaged: a sender may pause so long, or send nothing at first.
const WINDOW: Duration = Duration::from_secs(300);

/// Time that the client may still take. For the rate a leaky bucket: waiting empties it, content fills it up to [`WINDOW`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    timeout: Duration,
    /// What one octet of content adds; None: no minimum rate.
    per_octet: Option<Duration>,
    left: Duration,
    content: bool,
}

impl Patience {
    /// `timeout` for each read; `rate` in octets a second for content, 0 like None.
    pub(crate) fn new(timeout: Duration, rate: Option<u32>) -> Self {
        let per_octet = rate.and_then(|rate| Duration::from_secs(1).checked_div(rate));
        Self { timeout, per_octet, left: WINDOW, content: false }
    }

    /// The longest that the next read may take.
    pub(crate) fn left(&self) -> Duration {
        if self.content && self.per_octet.is_some() { self.timeout.min(self.left) } else { self.timeout }
    }

    /// What is waited for next. Each message's content begins with a full window.
    pub(crate) fn wait_for(&mut self, content: bool) {
        if content && !self.content {
            self.left = WINDOW;
        }
        self.content = content;
    }

    /// A read took `waited` and brought `octets`.
    pub(crate) fn spend(&mut self, waited: Duration, octets: usize) {
        if let Some(per_octet) = self.per_octet.filter(|_| self.content) {
            let earned = per_octet.saturating_mul(u32::try_from(octets).unwrap_or(u32::MAX));
            self.left = self.left.saturating_sub(waited).saturating_add(earned).min(WINDOW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads of (seconds, octets) until one would take longer than it may, and `most` at most.
    fn reads(timeout: u64, rate: Option<u32>, each: (u64, usize), most: usize) -> usize {
        let mut patience = Patience::new(Duration::from_secs(timeout), rate);
        let wait = Duration::from_secs(each.0);
        let served = (0..most).take_while(|_| {
            patience.wait_for(true);
            let in_time = wait < patience.left();
            patience.spend(wait, each.1);
            in_time
        });
        served.count()
    }

    #[test]
    fn issue_10_a_slow_sender_is_cut_by_timeoutsmtpd_alone() {
        // 300 octets a second for an hour, an octet a minute, silences of nearly twenty minutes: all go on for ever.
        for each in [(1, 300), (60, 1), (1199, 1)] {
            assert_eq!(reads(1200, None, each, 3600), 3600, "{each:?}");
        }
        assert_eq!(reads(1200, None, (1200, 1), 3600), 0);
        assert_eq!(reads(5, None, (4, 1), 3600), 3600);
        let mut patience = Patience::new(Duration::from_secs(1200), Some(500));
        patience.wait_for(false);
        patience.spend(Duration::from_secs(1199), 1);
        assert_eq!(patience.left(), Duration::from_secs(1200), "a command has no rate");
    }

    #[test]
    fn issue_10_a_minimum_rate_is_an_average_over_minutes() {
        for (rate, each, served) in [
            // At the rate, and above it with pauses of minutes.
            (500, (1, 500), 3600),
            (500, (240, 500 * 240), 3600),
            // Below it, as long as the window makes up for what is missing.
            (500, (1, 250), 599),
            (500, (10, 0), 29),
            (500, (1, 0), 299),
        ] {
            let got = reads(1200, Some(rate), each, 3600);
            assert!(got.abs_diff(served) <= 1, "{rate} {each:?}: {got}");
        }
        assert_eq!(reads(1200, Some(0), (1, 0), 3600), 3600, "0 is none");
    }
}
