//! `SOCK_SEQPACKET` pairs: whole frames, in order, with descriptors beside them.

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, sendmsg, setsockopt, shutdown, socketpair,
    sockopt,
};
use nix::sys::time::TimeVal;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Most descriptors beside one frame.
pub(crate) const FDS_MAX: usize = 4;

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

    /// Sends one frame with at most `FDS_MAX` descriptors beside it.
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
    /// InvalidData when the frame or its descriptors were cut because the sender sent more than is allowed; EMFILE when this process
    /// has no place for its descriptors, and the frame is lost; WouldBlock; else the system's.
    pub fn recv_with(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        // SAFETY: octets that are initialised may be written to as if they were not.
        self.receive(unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) })
    }

    /// As [`Seq::recv_with`], in the place of what `buffer` holds, at most `most` octets. Memory for them is taken once, and no page of
    /// it is touched that the frame does not reach.
    ///
    /// # Errors
    /// As [`Seq::recv_with`].
    pub fn recv_into(&self, buffer: &mut Vec<u8>, most: usize) -> io::Result<Vec<OwnedFd>> {
        buffer.clear();
        buffer.reserve_exact(most);
        let (length, fds) = self.receive(buffer.spare_capacity_mut().get_mut(..most).unwrap_or_default())?;
        // SAFETY: the kernel has written `length` octets, which lie within what was reserved.
        unsafe { buffer.set_len(length) };
        Ok(fds)
    }

    fn receive(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut space = [0_u64; CONTROL_SPACE / 8];
        let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: all zeros is a valid msghdr: no name, no buffers.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut iov;
        header.msg_iovlen = 1;
        header.msg_control = space.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_SPACE;
        let mut once = || {
            retry(|| {
                // SAFETY: header points to buffer and space, both alive and as long as it says.
                let length = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
                nix::errno::Errno::result(length)
            })
        };
        // That the other end went away without having read all is said once, before the frames that it had sent.
        let length = match once() {
            Err(nix::errno::Errno::ECONNRESET) => once()?,
            length => length?,
        };
        // First of all: descriptors that were installed have to be closed, even when the frame is refused below.
        let fds = received(&header);
        match (header.msg_flags & libc::MSG_TRUNC != 0, header.msg_flags & libc::MSG_CTRUNC != 0) {
            (false, false) => {}
            // There was room for more: it is this process that may have no more descriptors, and no fault of the sender.
            (false, true) if fds.len() < FDS_MAX => return Err(nix::errno::Errno::EMFILE.into()),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok((usize::try_from(length).unwrap_or_default(), fds))
    }
}

/// Octets that hold [`FDS_MAX`] descriptors with their header.
// SAFETY: arithmetic on a length.
const CONTROL_SPACE: usize = unsafe { libc::CMSG_SPACE((FDS_MAX * size_of::<RawFd>()) as u32) } as usize;

/// The descriptors that recvmsg(2) has just installed, also when more were sent than there was room for.
fn received(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled the control buffer of `header`; CMSG_FIRSTHDR and CMSG_NXTHDR stay within it.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: not null, so it points to a whole header within the buffer, aligned as the buffer is.
        let head = unsafe { control.read() };
        if (head.cmsg_level, head.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: as above.
            let data = unsafe { libc::CMSG_DATA(control) };
            let octets = head.cmsg_len.saturating_sub(data as usize - control as usize);
            for index in 0..octets / size_of::<RawFd>() {
                // SAFETY: `octets` of data follow the header; the kernel has installed each of these descriptors for us,
                // and nobody else owns them.
                fds.push(unsafe { OwnedFd::from_raw_fd(data.cast::<RawFd>().add(index).read_unaligned()) });
            }
        }
        // SAFETY: as for the first.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    fds
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

/// Whether a frame was lost because this process has as many descriptors as RLIMIT_NOFILE allows (EMFILE): later ones can be received.
#[must_use]
pub fn is_out_of_descriptors(e: &io::Error) -> bool {
    e.raw_os_error() == Some(libc::EMFILE)
}

/// Whether a send failed because more descriptors of this user are under way than RLIMIT_NOFILE allows (ETOOMANYREFS):
/// the receivers have not taken them yet, so a later try can succeed.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_13_what_was_sent_before_an_end_is_heard_though_that_end_has_not_read_all() {
        let (one, other) = Seq::pair().unwrap();
        one.send(b"unread", &[]).unwrap();
        other.send(b"bye", &[]).unwrap();
        drop(other);
        let mut buffer = [0; 16];
        assert_eq!(one.recv(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"bye");
        assert_eq!(one.recv(&mut buffer).unwrap(), 0);
    }

    /// A descriptor that leads nowhere else: its other end tells whether any copy of it is left.
    fn told_apart() -> io::Result<(OwnedFd, Seq)> {
        let (sent, watch) = Seq::pair()?;
        Ok((sent.into_fd(), watch))
    }

    /// Gives the words of `work` from a process of its own, of which no other test's fork can keep a copy of a descriptor.
    fn alone(work: fn() -> Result<(), String>) {
        let heard = crate::process::apart(|| work().err().unwrap_or_default().into_bytes());
        assert_eq!(String::from_utf8(heard.unwrap()).unwrap(), "");
    }

    /// Sends `octets` and `count` descriptors to a buffer of eight octets: whether the frame was taken, and whether a copy is left.
    fn taken(octets: &[u8], count: usize) -> io::Result<(Result<(), io::ErrorKind>, bool)> {
        let (near, far) = Seq::pair()?;
        let (sent, watch) = told_apart()?;
        far.send(octets, &vec![sent.as_fd(); count])?;
        drop(sent);
        let taken = near.recv_with(&mut [0; 8]).map(drop).map_err(|e| e.kind());
        Ok((taken, !crate::wait::hung_up(watch.as_fd())))
    }

    #[test]
    fn p13_a_frame_without_a_place_for_its_descriptor_is_lost_and_no_fault_of_its_sender() {
        alone(|| {
            let (near, far) = Seq::pair().map_err(|e| e.to_string())?;
            far.send(b"x", &[far.as_fd()]).and_then(|()| far.send(b"y", &[])).map_err(|e| e.to_string())?;
            let lowest = far.as_fd().try_clone_to_owned().map_err(|e| e.to_string())?;
            let limit = u64::try_from(lowest.as_raw_fd()).map_err(|e| e.to_string())?;
            crate::limits::set_soft(crate::limits::Limit::OpenFiles, limit).map_err(|e| e.to_string())?;
            let lost = near.recv_with(&mut [0; 8]);
            let next = near.recv(&mut [0; 8]);
            match (lost, next) {
                (Err(e), Ok(1)) if is_out_of_descriptors(&e) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    #[test]
    fn p6_descriptors_beyond_the_limit_are_not_kept() {
        alone(|| {
            for count in [FDS_MAX, FDS_MAX + 1, 64] {
                let expected = if count <= FDS_MAX { Ok(()) } else { Err(io::ErrorKind::InvalidData) };
                let seen = taken(b"x", count).map_err(|e| e.to_string())?;
                if seen != (expected, false) {
                    return Err(format!("{count} descriptors: taken and a copy left: {seen:?}"));
                }
            }
            Ok(())
        });
    }

    #[test]
    fn p6_descriptors_beside_a_cut_frame_are_not_kept() {
        alone(|| match taken(&[1; 64], 1).map_err(|e| e.to_string())? {
            (Err(io::ErrorKind::InvalidData), false) => Ok(()),
            seen => Err(format!("taken and a copy left: {seen:?}")),
        });
    }
}
