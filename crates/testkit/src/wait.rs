//! Waiting for a condition that can be observed, never for time to pass.

use std::time::{Duration, Instant};

/// A deadline for things that take a moment on an idle machine: generous, because machines are not always idle.
pub const SOON: Duration = Duration::from_secs(30);

/// Calls `probe` until it gives a value, and returns that.
///
/// # Panics
/// When `within` has passed: "`what` did not happen within ...".
pub fn until<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    poll(within, &mut probe).unwrap_or_else(|| panic!("{what}: did not happen within {within:?}"))
}

/// As [`until`] for a plain condition.
///
/// # Panics
/// As [`until`].
pub fn holds(what: &str, within: Duration, mut probe: impl FnMut() -> bool) {
    until(what, within, || probe().then_some(()));
}

/// Calls `probe` until it gives a value or `within` has passed.
pub fn poll<T>(within: Duration, probe: &mut dyn FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if begin.elapsed() >= within {
            return None;
        }
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
