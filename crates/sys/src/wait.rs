//! Waiting for several descriptors at once, without a runtime.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Waits until one of `fds` can be read, or has been hung up, or `timeout` has passed. True at the place of each that
/// is ready.
///
/// # Errors
/// EINVAL for more descriptors than RLIMIT_NOFILE, ENOMEM.
pub fn readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let timeout = match timeout {
        None => PollTimeout::NONE,
        Some(wait) => PollTimeout::try_from(wait.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX),
    };
    match poll(&mut polled, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(polled.iter().map(|p| p.any().unwrap_or(false)).collect())
}

/// Whether the other side of `fd` is closed in both directions, not merely finished with sending.
#[must_use]
pub fn hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::empty())];
    let asked = poll(&mut polled, PollTimeout::ZERO);
    asked.is_ok() && polled.iter().any(|p| p.revents().is_some_and(|r| r.contains(PollFlags::POLLHUP)))
}
