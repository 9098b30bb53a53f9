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
}

impl Clock {
    /// A deadline `wait` from now.
    pub(crate) fn new(wait: Duration) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(wait)) }
    }

    /// Moves the deadline to `wait` from now.
    pub(crate) fn set(&mut self, wait: Duration) {
        // A wait that no clock can hold is no deadline; a year is as good.
        let far = || Instant::now() + Duration::from_secs(365 * 86_400);
        self.sleep.as_mut().reset(Instant::now().checked_add(wait).unwrap_or_else(far));
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
