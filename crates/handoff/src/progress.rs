//! How many sessions are how far, for who looks on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Between two transactions.
    Idle,
    /// In a transaction.
    Transaction,
    /// Its message is being delivered.
    Delivering,
}

/// How many sessions are how far.
#[derive(Debug, Default)]
pub(crate) struct ProgressCounts {
    idle: AtomicU32,
    transaction: AtomicU32,
    delivering: AtomicU32,
}

impl ProgressCounts {
    /// In the order of [`Progress`].
    pub(crate) fn count(&self) -> [u32; 3] {
        [&self.idle, &self.transaction, &self.delivering].map(|count| count.load(Ordering::Relaxed))
    }

    fn at(&self, progress: Progress) -> &AtomicU32 {
        match progress {
            Progress::Idle => &self.idle,
            Progress::Transaction => &self.transaction,
            Progress::Delivering => &self.delivering,
        }
    }
}

/// A session that is counted, until it ends.
#[derive(Debug)]
pub(crate) struct SessionProgress {
    counts: Arc<ProgressCounts>,
    now: Progress,
}

impl SessionProgress {
    /// One that begins.
    pub(crate) fn begin(counts: &Arc<ProgressCounts>) -> Self {
        counts.at(Progress::Idle).fetch_add(1, Ordering::Relaxed);
        Self { counts: counts.clone(), now: Progress::Idle }
    }

    /// It is so far now.
    pub(crate) fn set(&mut self, progress: Progress) {
        if progress != self.now {
            self.counts.at(self.now).fetch_sub(1, Ordering::Relaxed);
            self.counts.at(progress).fetch_add(1, Ordering::Relaxed);
            self.now = progress;
        }
    }
}

impl Drop for SessionProgress {
    fn drop(&mut self) {
        self.counts.at(self.now).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_13_each_session_is_counted_where_it_is_and_nowhere_when_it_has_ended() {
        let counts = Arc::default();
        let mut one = SessionProgress::begin(&counts);
        let other = SessionProgress::begin(&counts);
        assert_eq!(counts.count(), [2, 0, 0]);
        one.set(Progress::Transaction);
        one.set(Progress::Delivering);
        assert_eq!(counts.count(), [1, 0, 1]);
        drop(one);
        drop(other);
        assert_eq!(counts.count(), [0, 0, 0]);
    }
}
