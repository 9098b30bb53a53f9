//! How many sessions are how far, for who looks on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Between two transactions.
    Idle,
    /// In a transaction.
    Transaction,
    /// Its message is being delivered.
    Delivering,
}

/// The sessions of each stage.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    idle: AtomicU32,
    transaction: AtomicU32,
    delivering: AtomicU32,
}

impl Stages {
    /// In the order of [`Stage`].
    pub(crate) fn count(&self) -> [u32; 3] {
        [&self.idle, &self.transaction, &self.delivering].map(|count| count.load(Ordering::Relaxed))
    }

    fn at(&self, stage: Stage) -> &AtomicU32 {
        match stage {
            Stage::Idle => &self.idle,
            Stage::Transaction => &self.transaction,
            Stage::Delivering => &self.delivering,
        }
    }
}

/// A session that is counted, until it ends.
#[derive(Debug)]
pub(crate) struct AtStage {
    stages: Arc<Stages>,
    now: Stage,
}

impl AtStage {
    /// One that begins.
    pub(crate) fn begin(stages: &Arc<Stages>) -> Self {
        stages.at(Stage::Idle).fetch_add(1, Ordering::Relaxed);
        Self { stages: stages.clone(), now: Stage::Idle }
    }

    /// It is so far now.
    pub(crate) fn set(&mut self, stage: Stage) {
        if stage != self.now {
            self.stages.at(self.now).fetch_sub(1, Ordering::Relaxed);
            self.stages.at(stage).fetch_add(1, Ordering::Relaxed);
            self.now = stage;
        }
    }
}

impl Drop for AtStage {
    fn drop(&mut self) {
        self.stages.at(self.now).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_13_each_session_is_counted_where_it_is_and_nowhere_when_it_has_ended() {
        let stages = Arc::default();
        let mut one = AtStage::begin(&stages);
        let other = AtStage::begin(&stages);
        assert_eq!(stages.count(), [2, 0, 0]);
        one.set(Stage::Transaction);
        one.set(Stage::Delivering);
        assert_eq!(stages.count(), [1, 0, 1]);
        drop(one);
        drop(other);
        assert_eq!(stages.count(), [0, 0, 0]);
    }
}
