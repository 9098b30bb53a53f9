//! The same ends for roles that serve many peers at once on a tokio runtime.

use crate::{ChannelError, End, Inbox, messages};
use gatepost_sys::seq::Seq;
use gatepost_wire::{Direction, Frame, Messages, WireError};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers something with the runtime that runs the caller. It must own its descriptor, and keep it.
///
/// # Errors
/// The system's, when the runtime's epoll takes no more.
// Deprecated because a type may give its descriptor away while it is registered. What replaces it is unsafe.
#[allow(deprecated)]
pub fn watch<T: AsRawFd>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(owner, interest)
}

/// An end that waits on the runtime instead of blocking.
pub struct AsyncEnd<Out, In> {
    seq: AsyncFd<Seq>,
    directions: PhantomData<(Out, In)>,
}

impl<Out, In> fmt::Debug for AsyncEnd<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsyncEnd({})", self.seq.get_ref().as_raw_fd())
    }
}

impl<Out: Direction, In: Direction> AsyncEnd<Out, In> {
    /// Registers an end with the runtime that runs the caller.
    ///
    /// # Errors
    /// The system's, when the runtime's epoll takes no more.
    pub fn new(end: End<Out, In>) -> io::Result<Self> {
        let seq = end.into_seq();
        seq.set_nonblocking(true)?;
        Ok(Self { seq: watch(seq, Interest::READABLE)?, directions: PhantomData })
    }

    /// As [`AsyncEnd::new`], from a bare descriptor that came with a message saying what it is.
    ///
    /// # Errors
    /// As [`AsyncEnd::new`].
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Self::new(End::from_fd(fd))
    }

    /// Says that nothing more will be sent on this end; the peer can still send.
    ///
    /// # Errors
    /// [`ChannelError::Io`] when the peer is gone.
    pub fn finish(&self) -> Result<(), ChannelError> {
        Ok(self.seq.get_ref().finish()?)
    }

    /// Sends one message.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] when the peer is gone; [`ChannelError::Unsendable`].
    pub async fn tell(&self, message: &Out::Message<'_>) -> Result<(), ChannelError> {
        self.tell_with(message, &[]).await
    }

    /// Sends one message with descriptors beside it, if there is room for it.
    ///
    /// # Errors
    /// [`ChannelError::WouldBlock`] when there is none; else as [`AsyncEnd::tell`].
    pub fn try_tell_with(&self, message: &Out::Message<'_>, fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let frame = Frame::of(message).map_err(ChannelError::Unsendable)?;
        Ok(self.seq.get_ref().send(frame.bytes(), fds)?)
    }

    /// Sends one message with descriptors beside it.
    ///
    /// # Errors
    /// As [`AsyncEnd::tell`].
    pub async fn tell_with(&self, message: &Out::Message<'_>, fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let frame = Frame::of(message).map_err(ChannelError::Unsendable)?;
        match self.seq.get_ref().send(frame.bytes(), fds) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.send_when_there_is_room(frame.bytes(), fds).await,
            sent => Ok(sent?),
        }
    }

    /// Only an end that is full is watched for room: else every frame that the peer takes would wake us for nothing.
    async fn send_when_there_is_room(&self, frame: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let copy = self.seq.get_ref().as_fd().try_clone_to_owned()?;
        let room = watch(copy, Interest::WRITABLE)?;
        loop {
            let mut guard = room.writable().await?;
            if let Ok(sent) = guard.try_io(|_| self.seq.get_ref().send(frame, fds)) {
                return Ok(sent?);
            }
        }
    }

    /// Waits for a frame; read its messages from the inbox with [`messages`] or [`AsyncEnd::recv`].
    ///
    /// # Errors
    /// Closed or hostile.
    pub async fn fill(&self, inbox: &mut Inbox) -> Result<(), ChannelError> {
        loop {
            let filled = {
                let mut guard = self.seq.readable().await?;
                match inbox.fill(guard.get_inner()) {
                    // Nothing is there: it is waited for.
                    Err(ChannelError::WouldBlock) => {
                        guard.clear_ready();
                        continue;
                    }
                    other => other,
                }
            };
            return filled;
        }
    }

    /// Waits until a frame may have come or the peer may be gone; then [`AsyncEnd::try_fill`] says which. Between the
    /// two calls no inbox is borrowed, so that the ends of one process can share one.
    ///
    /// # Errors
    /// The system's, when the runtime is going down.
    pub async fn readable(&self) -> Result<(), ChannelError> {
        self.seq.readable().await?.retain_ready();
        Ok(())
    }

    /// Takes the next frame into `inbox` if there is one. False: not yet.
    ///
    /// # Errors
    /// Closed or hostile.
    pub fn try_fill(&self, inbox: &mut Inbox) -> Result<bool, ChannelError> {
        let mut filled = Ok(());
        let attempt = self.seq.try_io(Interest::READABLE, |seq| {
            filled = inbox.fill(seq);
            match filled {
                Err(ChannelError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        match attempt {
            Ok(()) => filled.map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits for a frame that holds one message, without descriptors.
    ///
    /// # Errors
    /// Closed or hostile.
    pub async fn recv<'i>(&self, inbox: &'i mut Inbox) -> Result<In::Message<'i>, ChannelError> {
        self.fill(inbox).await?;
        inbox.no_fds()?;
        Ok(Messages::<In::Message<'i>>::one(inbox.bytes())?)
    }

    /// Waits for a frame that holds one message; gives its descriptors too.
    ///
    /// # Errors
    /// Closed or hostile.
    pub async fn recv_with<'i>(&self, inbox: &'i mut Inbox) -> Result<(In::Message<'i>, Vec<OwnedFd>), ChannelError> {
        self.fill(inbox).await?;
        let fds = inbox.take_fds();
        Ok((Messages::<In::Message<'i>>::one(inbox.bytes())?, fds))
    }

    /// As [`AsyncEnd::recv`], for messages that come with one descriptor each.
    ///
    /// # Errors
    /// Closed or hostile: it has no descriptor, or more than one.
    pub async fn recv_with_one<'i>(&self, inbox: &'i mut Inbox) -> Result<(In::Message<'i>, OwnedFd), ChannelError> {
        let (message, fds) = self.recv_with(inbox).await?;
        let [fd] = <[OwnedFd; 1]>::try_from(fds).map_err(|_| WireError::Value("descriptors"))?;
        Ok((message, fd))
    }

    /// All messages of the frame in `inbox`, for directions that send several in one.
    pub fn messages<'i>(inbox: &'i Inbox) -> Messages<'i, In::Message<'i>> {
        messages::<In>(inbox)
    }
}

impl<Out, In> AsFd for AsyncEnd<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.seq.get_ref().as_fd()
    }
}
