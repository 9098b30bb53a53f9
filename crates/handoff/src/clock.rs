//! Waiting, with an end to it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The time was up first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// A deadline that is moved from wait to wait. One timer per connection rather than one per wait: moving it to a later
/// time costs next to nothing.
#[derive(Debug)]
pub(crate) struct Clock {
    sleep: Pin<Box<Sleep>>,
    /// No wait lasts longer, until another end is set.
    until: Instant,
}

/// The moment `wait` from now. A wait that no clock can hold is no deadline; a year is as good.
pub(crate) fn later(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or_else(|| now + Duration::from_secs(365 * 86_400))
}

impl Clock {
    /// For waits that all end by `until`.
    pub(crate) fn new(until: Instant) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(until)), until }
    }

    /// Moves the end of all waits.
    pub(crate) fn end(&mut self, until: Instant) {
        self.until = until;
    }

    /// Moves the deadline to `wait` from now, or to the end of all waits.
    pub(crate) fn set(&mut self, wait: Duration) {
        self.sleep.as_mut().reset(later(wait).min(self.until));
    }

    /// Runs `work` until it is done or the deadline is there, whichever is first.
    pub(crate) async fn bound<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
        })
        .await
    }
}
