//! Who is at the other end of a unix socket.

use nix::sys::socket::{getsockopt, sockopt};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Groups that are asked for; who is in more is seen in his first one alone.
const GROUPS: usize = 1024;

/// The user who connected, as he was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// His effective user id.
    pub uid: u32,
    /// His effective group id, and his supplementary groups.
    pub gids: Vec<u32>,
}

/// The peer of a connected unix stream socket: SO_PEERCRED and SO_PEERGROUPS, unix(7).
///
/// # Errors
/// ENOTCONN; not a unix socket.
pub fn of(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let credentials = getsockopt(&socket, sockopt::PeerCredentials)?;
    let mut gids = vec![0_u32; GROUPS];
    let mut length = libc::socklen_t::try_from(size_of_val(gids.as_slice())).unwrap_or_default();
    // SAFETY: the buffer is `length` octets long; the kernel writes no more, and says how much it wrote.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            gids.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let count = if got == 0 { usize::try_from(length).unwrap_or_default() / size_of::<u32>() } else { 0 };
    gids.truncate(count);
    gids.push(credentials.gid());
    Ok(Peer { uid: credentials.uid(), gids })
}

/// The effective user id alone of the peer of a connected unix stream socket, as it was when it connected.
///
/// # Errors
/// As [`of`].
pub fn uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(getsockopt(&socket, sockopt::PeerCredentials)?.uid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn issue_13_a_socket_tells_who_connected() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = of(one.as_fd()).unwrap();
        let (uid, gid) = crate::process::effective_ids();
        assert_eq!((peer.uid, peer.gids.last()), (uid, Some(&gid)));
        let (pipe, _end) = io::pipe().unwrap();
        assert!(of(pipe.as_fd()).is_err());
    }
}
