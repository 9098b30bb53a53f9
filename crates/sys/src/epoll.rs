//! Waiting for many descriptors at a cost that does not grow with their number, without a runtime.

use nix::errno::Errno;
use nix::sys::epoll::{Epoll as Raw, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// What a descriptor is waited for. That it has been hung up is always reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Until {
    Readable,
    Writable,
    Either,
}

impl Until {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Readable => EpollFlags::EPOLLIN,
            Self::Writable => EpollFlags::EPOLLOUT,
            Self::Either => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
        }
    }
}

/// A level-triggered set of descriptors, waited for until they are [`Until::Readable`] if nothing else is said, each
/// known by a token.
#[derive(Debug)]
pub struct Epoll {
    raw: Raw,
    events: Vec<EpollEvent>,
}

impl Epoll {
    /// An empty set that reports at most `batch` descriptors at once.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new(batch: usize) -> io::Result<Self> {
        let raw = Raw::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { raw, events: vec![EpollEvent::empty(); batch.max(1)] })
    }

    /// Adds a descriptor. Its token is reported while it can be read or has been hung up.
    ///
    /// # Errors
    /// EEXIST, ENOSPC beyond the user's watches, ENOMEM.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.add_until(fd, token, Until::Readable)
    }

    /// As [`Epoll::add`], to be waited for until that.
    ///
    /// # Errors
    /// As [`Epoll::add`].
    pub fn add_until(&self, fd: BorrowedFd<'_>, token: u64, until: Until) -> io::Result<()> {
        Ok(self.raw.add(fd, EpollEvent::new(until.flags(), token))?)
    }

    /// Changes what a descriptor of the set is waited for.
    ///
    /// # Errors
    /// ENOENT when it is not in the set.
    pub fn change(&self, fd: BorrowedFd<'_>, token: u64, until: Until) -> io::Result<()> {
        Ok(self.raw.modify(fd, &mut EpollEvent::new(until.flags(), token))?)
    }

    /// Removes a descriptor. Closing it is not enough: while another process holds a copy, it would still be reported.
    ///
    /// # Errors
    /// ENOENT when it was not in the set.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(self.raw.delete(fd)?)
    }

    /// Waits until a descriptor is ready or `timeout` has passed, and puts the tokens of those ready into `ready`.
    /// None, too, when a signal came first.
    ///
    /// # Errors
    /// None in practice.
    pub fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            Some(wait) if wait.is_zero() => EpollTimeout::ZERO,
            Some(wait) => EpollTimeout::try_from(wait.as_millis().saturating_add(1)).unwrap_or(EpollTimeout::MAX),
        };
        let count = match self.raw.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(e) => return Err(e.into()),
        };
        ready.extend(self.events.iter().take(count).map(EpollEvent::data));
        Ok(())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.0.as_fd()
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.raw.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::Seq;
    use std::time::Instant;

    #[test]
    fn reports_what_is_ready_and_nothing_removed() {
        let mut epoll = Epoll::new(8).unwrap();
        let (a, far_a) = Seq::pair().unwrap();
        let (b, far_b) = Seq::pair().unwrap();
        epoll.add(a.as_fd(), 7).unwrap();
        epoll.add(b.as_fd(), u64::MAX).unwrap();
        let mut ready = vec![1];
        epoll.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert!(ready.is_empty());
        far_b.send(b"x", &[]).unwrap();
        epoll.wait(None, &mut ready).unwrap();
        assert_eq!(ready, [u64::MAX]);
        drop(far_a);
        // A process that another test forks has a copy of it for a moment.
        let until = Instant::now() + Duration::from_secs(10);
        while ready.len() < 2 && Instant::now() < until {
            epoll.wait(None, &mut ready).unwrap();
        }
        ready.sort_unstable();
        assert_eq!(ready, [7, u64::MAX]);
        epoll.remove(a.as_fd()).unwrap();
        assert!(epoll.remove(a.as_fd()).is_err());
        epoll.wait(None, &mut ready).unwrap();
        assert_eq!(ready, [u64::MAX]);
    }

    #[test]
    fn waits_for_what_it_was_told_to() {
        let mut epoll = Epoll::new(8).unwrap();
        let (a, far) = Seq::pair().unwrap();
        far.send(b"x", &[]).unwrap();
        epoll.add(a.as_fd(), 7).unwrap();
        a.set_nonblocking(true).unwrap();
        while a.send(&[0; 4096], &[]).is_ok() {}
        let mut ready = Vec::new();
        epoll.change(a.as_fd(), 7, Until::Writable).unwrap();
        epoll.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert!(ready.is_empty(), "readable, but full");
        epoll.change(a.as_fd(), 7, Until::Readable).unwrap();
        epoll.wait(None, &mut ready).unwrap();
        assert_eq!(ready, [7]);
    }

    #[test]
    fn a_full_batch_hides_nobody_for_ever() {
        let mut epoll = Epoll::new(1).unwrap();
        let pairs: Vec<_> = (0..3).map(|_| Seq::pair().unwrap()).collect();
        for (token, (near, far)) in (0..).zip(&pairs) {
            epoll.add(near.as_fd(), token).unwrap();
            far.send(b"x", &[]).unwrap();
        }
        let mut seen = [false; 3];
        let mut ready = Vec::new();
        for _ in 0..3 {
            epoll.wait(None, &mut ready).unwrap();
            assert_eq!(ready.len(), 1);
            seen[usize::try_from(ready[0]).unwrap()] = true;
        }
        assert_eq!(seen, [true; 3]);
    }
}
