//! Time and waiting, handed in: a test's clock stands still until it is waited on.

use gatepost_sys::wait::{self, Want};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// What tells a shell the time and lets it wait.
pub trait Clock {
    /// The present moment.
    fn now(&self) -> Instant;

    /// Waits until one of `wanted` is ready or at its end; the index of the first that is. None: `until` has come.
    ///
    /// # Errors
    /// The system's, when it does not let us wait.
    fn wait(&mut self, wanted: &[(BorrowedFd<'_>, Want)], until: Instant) -> io::Result<Option<usize>>;
}

/// CLOCK_MONOTONIC and poll(2).
#[derive(Debug, Clone, Copy, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&mut self, wanted: &[(BorrowedFd<'_>, Want)], until: Instant) -> io::Result<Option<usize>> {
        Ok(wait::ready(wanted, Some(until))?.iter().position(|ready| *ready))
    }
}
