//! A limit on the memory that all sessions together make this process hold (P6).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Octets of envelopes and inline content over all sessions.
pub(crate) const TOTAL: u64 = 64 * 1024 * 1024;

/// A part of the total, which is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: Arc<AtomicU64>,
    taken: u64,
}

impl Allowance {
    /// A total of `octets`.
    pub(crate) fn new(octets: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(octets)), taken: 0 }
    }

    /// An empty part of the same total.
    pub(crate) fn share(&self) -> Self {
        Self { left: self.left.clone(), taken: 0 }
    }

    /// Takes `octets` more. False when the total has no room for them.
    #[must_use]
    pub(crate) fn take(&mut self, octets: usize) -> bool {
        let octets = u64::try_from(octets).unwrap_or(u64::MAX);
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(octets)).is_ok();
        if taken {
            self.taken = self.taken.saturating_add(octets);
        }
        taken
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.left.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_shares_never_exceed_the_total_and_come_back() {
        let total = Allowance::new(10);
        let mut first = total.share();
        let mut second = total.share();
        assert!(first.take(6));
        assert!(!second.take(5));
        assert!(second.take(4));
        assert!(!first.take(1));
        drop(first);
        assert!(second.take(6));
        assert!(!second.take(1));
    }
}
