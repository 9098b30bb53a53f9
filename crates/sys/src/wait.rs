//! Waiting for several descriptors at once, without a runtime.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

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

/// What a descriptor is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Octets, an end of file, the end of a pidfd's process.
    Read,
    /// Room to write, or nobody left who would read.
    Write,
    /// The end of what the other side of a socket sends.
    End,
}

/// Waits until one of `fds` is ready for its [`Want`], or has been hung up, or `until` has passed. True at the index of each that
/// is ready; all false when `until` has passed.
///
/// # Errors
/// EINVAL for more descriptors than RLIMIT_NOFILE, ENOMEM.
pub fn ready(fds: &[(BorrowedFd<'_>, Want)], until: Option<Instant>) -> io::Result<Vec<bool>> {
    let flag = |want| match want {
        Want::Read => PollFlags::POLLIN,
        Want::Write => PollFlags::POLLOUT,
        // nix has no name for it.
        Want::End => PollFlags::from_bits_retain(libc::POLLRDHUP),
    };
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|(fd, want)| PollFd::new(*fd, flag(*want))).collect();
    loop {
        let timeout = match until {
            None => PollTimeout::NONE,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                // Rounded up: a wait of less than a millisecond must not become a loop.
                PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut polled, timeout) {
            Ok(0) if until.is_none_or(|until| until > Instant::now()) => {}
            // None: a flag that nix has no name for.
            Ok(_) => return Ok(polled.iter().map(|p| p.any().unwrap_or(true)).collect()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Whether the other side of the socket `fd` sends nothing more.
#[must_use]
pub fn has_ended(fd: BorrowedFd<'_>) -> bool {
    ready(&[(fd, Want::End)], Some(Instant::now())).is_ok_and(|ready| ready.contains(&true))
}

/// Whether the other side of `fd` is closed in both directions, not merely finished with sending.
#[must_use]
pub fn hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::empty())];
    let asked = poll(&mut polled, PollTimeout::ZERO);
    asked.is_ok() && polled.iter().any(|p| p.revents().is_some_and(|r| r.contains(PollFlags::POLLHUP)))
}
