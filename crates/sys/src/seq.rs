//! `SOCK_SEQPACKET` pairs: frames with edges, kept in order, with descriptors beside them.

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, recvmsg, sendmsg,
    setsockopt, shutdown, socketpair, sockopt,
};
use nix::sys::time::TimeVal;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Descriptors that may ride beside one frame.
pub const FDS_MAX: usize = 4;

/// One end of a pair.
#[derive(Debug)]
pub struct Seq {
    fd: OwnedFd,
}

impl Seq {
    /// Two connected ends, closed on exec, blocking.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn pair() -> io::Result<(Seq, Seq)> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Seq { fd: a }, Seq { fd: b }))
    }

    /// Takes an end that was inherited or received.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Seq {
        Seq { fd }
    }

    /// Gives the descriptor up, to be sent to another process.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Makes calls return [`io::ErrorKind::WouldBlock`] instead of waiting.
    ///
    /// # Errors
    /// None in practice: the descriptor is ours.
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        crate::fds::set_nonblocking(self.as_fd(), on)
    }

    /// Longest wait in [`Seq::recv`] and [`Seq::send`]; afterwards they fail with [`io::ErrorKind::WouldBlock`].
    ///
    /// # Errors
    /// EINVAL for a negative value, which `Duration` cannot be.
    pub fn set_timeout(&self, wait: Duration) -> io::Result<()> {
        let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
        let value = TimeVal::new(seconds, i64::from(wait.subsec_micros()));
        setsockopt(&self.fd, sockopt::ReceiveTimeout, &value)?;
        setsockopt(&self.fd, sockopt::SendTimeout, &value)?;
        Ok(())
    }

    /// Says that nothing more will be sent; the other end reads to the end and can still send.
    ///
    /// # Errors
    /// ENOTCONN when the other end is gone.
    pub fn finish(&self) -> io::Result<()> {
        Ok(shutdown(self.fd.as_raw_fd(), Shutdown::Write)?)
    }

    /// Sends one frame with at most [`FDS_MAX`] descriptors beside it.
    ///
    /// # Errors
    /// EPIPE when the other end is gone (never SIGPIPE), WouldBlock when full, EMSGSIZE when the frame is too large.
    pub fn send(&self, frame: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let raw: Vec<RawFd>;
        let rights: [ControlMessage<'_>; 1];
        let control: &[ControlMessage<'_>] = if fds.is_empty() {
            &[]
        } else {
            raw = fds.iter().map(AsRawFd::as_raw_fd).collect();
            rights = [ControlMessage::ScmRights(&raw)];
            &rights
        };
        let sent = retry(|| {
            sendmsg::<()>(self.fd.as_raw_fd(), &[IoSlice::new(frame)], control, MsgFlags::MSG_NOSIGNAL, None)
        })?;
        if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Receives one frame into `buffer` and drops any descriptors beside it. 0: the other end is gone.
    ///
    /// # Errors
    /// As [`Seq::recv_with`].
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_with(buffer)?.0)
    }

    /// Receives one frame and the descriptors beside it, closed on exec. 0: the other end is gone.
    ///
    /// # Errors
    /// InvalidData when the frame or its descriptors were cut: the sender overstepped; WouldBlock; else the system's.
    pub fn recv_with(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut space = nix::cmsg_space!([RawFd; FDS_MAX]);
        let mut iov = [IoSliceMut::new(buffer)];
        let message = loop {
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(self.fd.as_raw_fd(), &mut iov, Some(&mut space), flags) {
                Err(nix::errno::Errno::EINTR) => {}
                other => break other?,
            }
        };
        let mut fds = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // SAFETY: the kernel has just installed these descriptors for us; nobody else owns them.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        if message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok((message.bytes, fds))
    }
}

impl AsFd for Seq {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Seq {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Whether a send failed because more descriptors of this user are under way than RLIMIT_NOFILE allows (ETOOMANYREFS):
/// the receivers are behind, and a later try will do.
#[must_use]
pub fn is_crowded(e: &io::Error) -> bool {
    e.raw_os_error() == Some(libc::ETOOMANYREFS)
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(nix::errno::Errno::EINTR) => {}
            other => return other,
        }
    }
}
