//! Listening sockets: inherited ones first (LISTEN_FDS, sd_listen_fds(3)), the rest bound here.

use crate::error::LauncherError;
use crate::plan::Listen;
use gatepost_sys::{fds, net};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

/// Connections that may wait in the kernel while all slots are taken.
const BACKLOG: i32 = 1024;

/// One socket for each listener, in the order of the configuration.
///
/// # Errors
/// An address that cannot be bound.
pub(crate) fn open(listen: &[Listen], mut ready: Vec<(SocketAddr, OwnedFd)>) -> Result<Vec<OwnedFd>, LauncherError> {
    // First those that have just the wanted address, so that the others may be given out in order.
    let mut taken: Vec<Option<OwnedFd>> = listen
        .iter()
        .map(|l| ready.iter().position(|(a, _)| *a == l.address).map(|at| ready.swap_remove(at).1))
        .collect();
    for (slot, wanted) in taken.iter_mut().zip(listen) {
        if slot.is_none() && !ready.is_empty() {
            let (address, fd) = ready.remove(0);
            tracing::info!(%address, listen = %wanted.address, "inherited socket takes the place of a configured address");
            *slot = Some(fd);
        }
    }
    for (address, _) in &ready {
        tracing::warn!(%address, "inherited socket has no [[listen]] of its own and is closed");
    }
    let bound = taken.into_iter().zip(listen).map(|(slot, wanted)| match slot {
        Some(fd) => Ok(fd),
        None => net::listen_tcp(wanted.address, BACKLOG).map_err(|e| LauncherError::Bind(wanted.address, e)),
    });
    bound.collect()
}

/// The sockets that systemd handed over, with their addresses.
///
/// # Errors
/// A descriptor that was announced but is not open or not a listening internet socket.
pub(crate) fn inherited() -> Result<Vec<(SocketAddr, OwnedFd)>, LauncherError> {
    let failed = |e| LauncherError::System("take the sockets that LISTEN_FDS announces", e);
    let numbers = sd_notify::listen_fds().map_err(failed)?;
    numbers
        .map(|number| {
            let fd = fds::inherited(number).map_err(failed)?;
            fds::set_cloexec(&fd, true).map_err(failed)?;
            fds::set_nonblocking(fd.as_fd(), true).map_err(failed)?;
            let address = net::local_addr(fd.as_fd()).map_err(failed)?;
            if net::is_listening(fd.as_fd()) {
                Ok((address, fd))
            } else {
                Err(failed(std::io::Error::other("a descriptor is not a listening socket; use Accept=no")))
            }
        })
        .collect()
}
