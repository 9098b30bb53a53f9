//! How long a session waits for its client to send something. Only that costs patience: time spent waiting for others, or for
//! the client to read, does not.

use std::time::Duration;

/// The time over which the rate of content is averaged: a sender may pause so long, or send nothing at first.
const WINDOW: Duration = Duration::from_secs(300);

/// Time that the client may still take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a command.
    command: Duration,
    /// Each read of a command has all of that. Else the command has it once, however many octets it comes in.
    each_read: bool,
    /// For each read of content.
    silence: Duration,
    /// The rate that content must have.
    rate: Option<Rate>,
    left: Duration,
    content: bool,
}

/// A leaky bucket of time, full when content begins: waiting empties it, content fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    /// What an octet adds.
    per_octet: Duration,
    /// What it holds.
    most: Duration,
}

impl Patience {
    /// `command` for each command. Within content `silence` for each read, and `rate` octets a second on the average of five
    /// minutes, so that neither can be made to last; 0: at any rate.
    #[must_use]
    pub fn new(command: Duration, silence: Duration, rate: u32) -> Self {
        let rate = Duration::from_secs(1).checked_div(rate).map(|per_octet| Rate { per_octet, most: WINDOW });
        Self { command, each_read: false, silence, rate, left: command, content: false }
    }

    /// `timeout` for each single read, as qmail-smtpd has it. Content at `rate` octets a second as in [`Patience::new`]; None:
    /// at any.
    #[must_use]
    pub fn each_read(timeout: Duration, rate: Option<u32>) -> Self {
        Self { each_read: true, ..Self::new(timeout, timeout, rate.unwrap_or(0)) }
    }

    /// The same with `time` at most for a command or a silence, and as the time that the rate is averaged over.
    #[must_use]
    pub fn at_most(self, time: Duration) -> Self {
        let rate = self.rate.map(|rate| Rate { most: rate.most.min(time), ..rate });
        let command = self.command.min(time);
        Self { command, silence: self.silence.min(time), rate, left: self.left.min(time), ..self }
    }

    /// The longest that the next read may take.
    #[must_use]
    pub fn left(&self) -> Duration {
        match (self.content, self.rate) {
            (true, Some(_)) => self.left.min(self.silence),
            (true, None) => self.silence,
            (false, _) if self.each_read => self.command,
            (false, _) => self.left,
        }
    }

    /// What is waited for next. Coming from a command to content or back begins anew.
    pub(crate) fn wait_for(&mut self, content: bool) {
        if content != self.content {
            self.content = content;
            self.left = self.rate.filter(|_| content).map_or(self.command, |rate| rate.most);
        }
    }

    /// The client has been answered: it has the whole time for its next command. Single octets of one command earn
    /// nothing, or a client could make one last for ever.
    pub fn answered(&mut self) {
        if !self.content {
            self.left = self.command;
        }
    }

    /// A read took `waited` and gave `octets`.
    pub fn spend(&mut self, waited: Duration, octets: usize) {
        self.left = self.left.saturating_sub(waited);
        if let Some(rate) = self.rate.filter(|_| self.content) {
            let earned = rate.per_octet.saturating_mul(u32::try_from(octets).unwrap_or(u32::MAX));
            self.left = self.left.saturating_add(earned).min(rate.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: Duration = Duration::from_secs(300);
    const SILENCE: Duration = Duration::from_secs(200);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Before content, at 100 octets a second.
    fn content() -> Patience {
        let mut patience = Patience::new(COMMAND, SILENCE, 100);
        patience.wait_for(true);
        patience
    }

    #[test]
    fn single_octets_of_a_command_buy_no_time() {
        let mut patience = Patience::new(COMMAND, SILENCE, 100);
        for _ in 0..29 {
            patience.spend(seconds(10), 1);
        }
        assert_eq!(patience.left(), seconds(10));
        patience.spend(seconds(10), 1);
        assert_eq!(patience.left(), Duration::ZERO);
        patience.answered();
        assert_eq!(patience.left(), COMMAND);
    }

    #[test]
    fn issue_10_content_slower_than_its_rate_runs_out() {
        // (octets a read, seconds a read, reads until nothing is left)
        for (octets, wait, reads) in
            [(1, 1, 302_u32), (0, 200, 0), (0, 100, 2), (80, 1, 1496), (50, 1, 599), (1000, 33, 13)]
        {
            let mut patience = content();
            let lasted = (0..10_000_u32).find(|_| {
                let over = patience.left() <= seconds(wait);
                patience.spend(seconds(wait), octets);
                over
            });
            let lasted: u32 = lasted.expect("ends");
            assert!(lasted.abs_diff(reads) <= reads / 50 + 1, "{octets} octets in {wait} s: {lasted} reads");
        }
    }

    #[test]
    fn content_at_its_rate_never_runs_out() {
        let mut patience = content();
        for _ in 0..100_000 {
            patience.spend(seconds(1), 100);
            assert_eq!(patience.left(), SILENCE);
        }
    }

    #[test]
    fn a_fast_client_may_pause_but_not_hoard() {
        let mut patience = content();
        patience.spend(Duration::ZERO, 50_000_000);
        assert_eq!(patience.left(), SILENCE);
        patience.spend(seconds(199), 1);
        assert_eq!(patience.left(), seconds(101) + Duration::from_millis(10));
    }

    #[test]
    fn without_a_rate_only_silence_ends_content() {
        let mut patience = Patience::new(COMMAND, SILENCE, 0);
        patience.wait_for(true);
        for _ in 0..1000 {
            patience.spend(seconds(199), 1);
            assert_eq!(patience.left(), SILENCE);
        }
    }

    #[test]
    fn under_stress_everything_is_shorter() {
        let mut patience = Patience::new(COMMAND, SILENCE, 100).at_most(seconds(10));
        assert_eq!(patience.left(), seconds(10));
        patience.answered();
        assert_eq!(patience.left(), seconds(10));
        patience.wait_for(true);
        patience.spend(seconds(9), 0);
        assert_eq!(patience.left(), seconds(1));
        patience.spend(Duration::ZERO, 1 << 20);
        assert_eq!(patience.left(), seconds(10));
    }

    #[test]
    fn an_answer_in_the_middle_of_content_buys_no_time() {
        let mut patience = content();
        patience.spend(seconds(199), 0);
        patience.answered();
        patience.wait_for(true);
        assert_eq!(patience.left(), seconds(101));
        patience.wait_for(false);
        assert_eq!(patience.left(), COMMAND);
    }

    /// Reads of (seconds, octets) until one would take longer than it may, and `most` at most.
    fn reads(timeout: u64, rate: Option<u32>, each: (u64, usize), most: usize) -> usize {
        let mut patience = Patience::each_read(Duration::from_secs(timeout), rate);
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
        let mut patience = Patience::each_read(Duration::from_secs(1200), Some(500));
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
