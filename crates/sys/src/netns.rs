//! Entering another network namespace.

use nix::sched::{CloneFlags, setns};
use std::io;
use std::os::fd::BorrowedFd;

/// Moves the calling thread, and no other, into the network namespace behind `fd`. Sockets that it makes from then on
/// belong there, whichever thread uses them later.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN over that namespace; EINVAL when `fd` is none.
pub fn join(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setns(fd, CloneFlags::CLONE_NEWNET)?)
}
