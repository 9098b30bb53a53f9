//! Descriptors that one program leaves to the next: by their numbers, see [`gatepost_wire::resume`].

use gatepost_sys::fds;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The number of a descriptor, for the next program.
pub(crate) fn number(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().unsigned_abs()
}

/// The descriptor that an earlier program has left by this number.
///
/// # Errors
/// It is not open.
pub(crate) fn kept(number: u32) -> io::Result<OwnedFd> {
    let fd = fds::inherited(i32::try_from(number).map_err(io::Error::other)?)?;
    fds::set_cloexec(&fd, true)?;
    Ok(fd)
}
