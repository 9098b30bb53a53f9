//! How long a session waits: for a command, for content at a minimum rate, for its client to read.
//!
//! Only waiting for the client costs patience. Time spent waiting for handoff and the backend does not.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// What a client has when content begins, before its rate counts.
const GRACE: Duration = Duration::from_secs(60);
/// Waiting that one octet of content pays for: 500 octets a second.
const PER_OCTET: Duration = Duration::from_millis(2);

/// Time that the client may still take. A leaky bucket: waiting empties it, what is waited for fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    command: Duration,
    left: Duration,
    content: bool,
}

impl Patience {
    /// Patience for the first command. `command` is the wait for each.
    #[must_use]
    pub fn new(command: Duration) -> Self {
        Self { command, left: command, content: false }
    }

    /// Time left before the next read.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.left
    }

    /// What is waited for next. Coming from a command to content or back begins anew.
    pub fn wait_for(&mut self, content: bool) {
        if content != self.content {
            self.content = content;
            self.left = if content { GRACE.min(self.command) } else { self.command };
        }
    }

    /// The client has been answered: it has the whole time for its next command. Single octets of one command earn
    /// nothing, or a client could make one last for ever.
    pub fn answered(&mut self) {
        if !self.content {
            self.left = self.command;
        }
    }

    /// A read took `waited` and gave `octets`. Content fills the bucket up to the command timeout, so a fast client
    /// may pause as long as RFC 5321 §4.5.3.2 wants, but only by having been fast.
    pub fn spend(&mut self, waited: Duration, octets: usize) {
        self.left = self.left.saturating_sub(waited);
        if self.content {
            let earned = PER_OCTET.saturating_mul(u32::try_from(octets).unwrap_or(u32::MAX));
            self.left = self.left.saturating_add(earned).min(self.command);
        }
    }
}

/// The one timer of a session. Moving a deadline back costs nothing: the timer stays where it is and is looked at again
/// when it goes off.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    /// A timer on the running runtime, first set to `deadline`.
    pub(crate) fn new(deadline: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(deadline)) }
    }

    /// Ready when `deadline` has passed.
    pub(crate) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(deadline);
        }
    }

    /// What `work` gives, or None when `deadline` passes first.
    pub(crate) async fn within<T>(&mut self, deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll(deadline, cx).map(|()| None),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: Duration = Duration::from_secs(300);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn single_octets_of_a_command_buy_no_time() {
        let mut patience = Patience::new(COMMAND);
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
    fn content_slower_than_500_octets_a_second_runs_out() {
        // (octets a read, seconds a read, reads until nothing is left)
        for (octets, wait, reads) in [(1, 1, 60_u32), (0, 60, 1), (400, 1, 296), (250, 1, 119), (16_384, 33, 117)] {
            let mut patience = Patience::new(COMMAND);
            patience.wait_for(true);
            let lasted = (1..10_000_u32).find(|_| {
                let over = patience.left() <= seconds(wait);
                patience.spend(seconds(wait), octets);
                over
            });
            let lasted: u32 = lasted.expect("ends");
            assert!(lasted.abs_diff(reads) <= reads / 50 + 2, "{octets} octets in {wait} s: {lasted} reads");
        }
    }

    #[test]
    fn content_at_the_minimum_rate_never_runs_out() {
        let mut patience = Patience::new(COMMAND);
        patience.wait_for(true);
        for _ in 0..100_000 {
            patience.spend(seconds(1), 500);
            assert_eq!(patience.left(), GRACE);
        }
    }

    #[test]
    fn a_fast_client_may_pause_but_not_hoard() {
        let mut patience = Patience::new(COMMAND);
        patience.wait_for(true);
        patience.spend(Duration::ZERO, 50_000_000);
        assert_eq!(patience.left(), COMMAND);
    }

    #[test]
    fn an_answer_in_the_middle_of_content_buys_no_time() {
        let mut patience = Patience::new(COMMAND);
        patience.wait_for(true);
        patience.spend(seconds(59), 0);
        patience.answered();
        patience.wait_for(true);
        assert_eq!(patience.left(), seconds(1));
        patience.wait_for(false);
        assert_eq!(patience.left(), COMMAND);
    }
}
