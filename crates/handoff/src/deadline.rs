//! Waiting, with an end to it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The deadline came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// A deadline that is set anew for each wait. There is one timer per connection and not one per wait: setting it to a
/// later time costs next to nothing.
#[derive(Debug)]
pub(crate) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    /// No wait ends later than this.
    limit: Instant,
}

/// The moment `wait` from now. A moment that no clock can hold is as good as one in a year.
pub(crate) fn later(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or_else(|| now + Duration::from_secs(365 * 86_400))
}

impl Deadline {
    /// For waits that all end by `limit`.
    pub(crate) fn new(limit: Instant) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(limit)), limit }
    }

    /// All waits from now on end by `limit`.
    pub(crate) fn limit(&mut self, limit: Instant) {
        self.limit = limit;
    }

    /// Sets the deadline to `wait` from now, or to the limit if that is earlier.
    pub(crate) fn set(&mut self, wait: Duration) {
        self.sleep.as_mut().reset(later(wait).min(self.limit));
    }

    /// How long it is until then.
    pub(crate) fn left(&self) -> Duration {
        self.sleep.deadline().saturating_duration_since(Instant::now())
    }

    /// Sets deadline and limit to `wait` from now.
    pub(crate) fn park(&mut self, wait: Duration) {
        self.limit = later(wait);
        self.set(wait);
    }

    /// Runs `work` until it is done or the deadline is reached.
    pub(crate) async fn bound<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
        })
        .await
    }
}
