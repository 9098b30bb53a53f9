//! Typed ends of the private channels.
//!
//! An [`End`] can send the messages of one direction and receive those of the other: a role cannot name a message that
//! it must not send. Each role's crate gives its ends a name by a type alias, one alias a peer.
#![forbid(unsafe_code)]

use gatepost_sys::seq::{Seq, is_out_of_descriptors};
use gatepost_wire::{Direction, FRAME_MAX, Frame, Messages, WireError};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use zeroize::Zeroize as _;

#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(feature = "tokio")]
pub use asynchronous::{AsyncEnd, watch};

/// Why a channel is of no more use.
#[derive(Debug)]
pub enum ChannelError {
    /// The other end is gone.
    Closed,
    /// The other end sent something that is not allowed: drop the channel, and with it the session.
    Hostile(WireError),
    /// What was to be sent is nothing that the other end would accept. A fault of ours; the channel is as it was.
    Unsendable(WireError),
    /// Nothing came, or there was no room for what was to be sent: in time where the end blocks, at once where it does not.
    WouldBlock,
    /// The system refused.
    Io(io::Error),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other end of the channel is gone"),
            Self::Hostile(e) => write!(f, "the other end of the channel broke its rules: {e}"),
            Self::Unsendable(e) => write!(f, "a message cannot be sent: {e}"),
            Self::WouldBlock => f.write_str("no answer in time on the channel"),
            Self::Io(e) => write!(f, "channel: {e}"),
        }
    }
}

impl std::error::Error for ChannelError {}

impl ChannelError {
    /// A frame was lost because this process has no place for its descriptors. The channel is as it was.
    #[must_use]
    pub fn is_out_of_descriptors(&self) -> bool {
        matches!(self, Self::Io(e) if is_out_of_descriptors(e))
    }
}

impl From<WireError> for ChannelError {
    fn from(e: WireError) -> Self {
        Self::Hostile(e)
    }
}

impl From<io::Error> for ChannelError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            io::ErrorKind::WouldBlock => Self::WouldBlock,
            io::ErrorKind::InvalidData => Self::Hostile(WireError::Short),
            _ => Self::Io(e),
        }
    }
}

/// A buffer for one received frame. A process needs one.
pub struct Inbox {
    buffer: Vec<u8>,
    size: usize,
    fds: Vec<OwnedFd>,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbox({} octets, {} descriptors)", self.buffer.len(), self.fds.len())
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new(FRAME_MAX)
    }
}

impl Inbox {
    /// A buffer for frames of at most `size` octets: a role that only gets short ones need not hold 32 KiB.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { buffer: Vec::new(), size, fds: Vec::new() }
    }

    /// A buffer for frames with one message of this direction.
    #[must_use]
    pub fn of<In: Direction>() -> Self {
        Self::new(In::FRAME_MAX)
    }

    /// The octets of the frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Overwrites the frame, which held a secret.
    pub fn wipe(&mut self) {
        // All of it, also what is beyond this frame.
        self.buffer.zeroize();
    }

    /// Refuses the descriptors that came beside the frame. They are closed at once: kept in the inbox of somebody who says nothing more,
    /// a few of many owned sessions would be all that the receiver may have.
    ///
    /// # Errors
    /// There are some: hostile.
    pub fn no_fds(&mut self) -> Result<(), ChannelError> {
        if self.take_fds().is_empty() { Ok(()) } else { Err(WireError::Value("descriptors").into()) }
    }

    /// Takes the descriptors that came beside the frame.
    pub fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    fn fill(&mut self, seq: &Seq) -> Result<(), ChannelError> {
        self.fds.clear();
        self.fds = seq.recv_into(&mut self.buffer, self.size)?;
        if self.buffer.is_empty() { Err(ChannelError::Closed) } else { Ok(()) }
    }
}

/// An end that blocks, with an optional timeout set on its descriptor.
pub struct End<Out, In> {
    seq: Seq,
    directions: PhantomData<(Out, In)>,
}

impl<Out, In> fmt::Debug for End<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "End({})", self.seq.as_raw_fd())
    }
}

impl<Out: Direction, In: Direction> End<Out, In> {
    /// Both ends of a fresh channel: ours and the peer's.
    ///
    /// # Errors
    /// No descriptors or memory left.
    pub fn pair() -> io::Result<(End<Out, In>, End<In, Out>)> {
        let (a, b) = Seq::pair()?;
        Ok((End::from_seq(a), End::from_seq(b)))
    }

    /// Claims that `seq` is an end of such a channel. Whoever handed it over said so by the message it came with.
    #[must_use]
    pub fn from_seq(seq: Seq) -> Self {
        Self { seq, directions: PhantomData }
    }

    /// As [`End::from_seq`], from a bare descriptor.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self::from_seq(Seq::from_fd(fd))
    }

    /// The socket, to be sent away or given an asynchronous face.
    #[must_use]
    pub fn into_seq(self) -> Seq {
        self.seq
    }

    /// The socket, for options.
    #[must_use]
    pub fn seq(&self) -> &Seq {
        &self.seq
    }

    /// Sends one message.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] when the peer is gone; [`ChannelError::WouldBlock`] when a non-blocking end is full;
    /// [`ChannelError::Unsendable`].
    pub fn tell(&self, message: &Out::Message<'_>) -> Result<(), ChannelError> {
        self.tell_with(message, &[])
    }

    /// Sends one message with descriptors beside it.
    ///
    /// # Errors
    /// As [`End::tell`].
    pub fn tell_with(&self, message: &Out::Message<'_>, fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let frame = Frame::of(message).map_err(ChannelError::Unsendable)?;
        Ok(self.seq.send(frame.bytes(), fds)?)
    }

    /// Sends one message that holds a secret, and overwrites its copy here.
    ///
    /// # Errors
    /// As [`End::tell`].
    pub fn tell_secret(&self, message: &Out::Message<'_>) -> Result<(), ChannelError> {
        let mut frame = Frame::of_secret(message).map_err(ChannelError::Unsendable)?;
        let sent = self.seq.send(frame.bytes(), &[]);
        frame.wipe();
        Ok(sent?)
    }

    /// Adds a message to `outbox`, and sends first what is in it when there is no room.
    ///
    /// # Errors
    /// As [`End::tell`].
    pub fn queue(&self, outbox: &mut Outbox<Out>, message: &Out::Message<'_>) -> Result<(), ChannelError> {
        if outbox.push(message)? {
            return Ok(());
        }
        self.flush(outbox)?;
        // Any message has room in an empty frame.
        outbox.push(message).map(|_| ())
    }

    /// Sends a frame of messages put together with [`Outbox`].
    ///
    /// # Errors
    /// As [`End::tell`].
    pub fn flush(&self, outbox: &mut Outbox<Out>) -> Result<(), ChannelError> {
        if outbox.frame.is_empty() {
            return Ok(());
        }
        self.seq.send(outbox.frame.bytes(), &[])?;
        outbox.frame.clear();
        Ok(())
    }

    /// Waits for a frame that holds one message, without descriptors.
    ///
    /// # Errors
    /// Closed, hostile, timed out.
    pub fn recv<'i>(&self, inbox: &'i mut Inbox) -> Result<In::Message<'i>, ChannelError> {
        inbox.fill(&self.seq)?;
        inbox.no_fds()?;
        Ok(Messages::<In::Message<'i>>::one(&inbox.buffer)?)
    }

    /// Waits for a frame of any number of messages, to be read with [`messages`].
    ///
    /// # Errors
    /// Closed, timed out.
    pub fn fill(&self, inbox: &mut Inbox) -> Result<(), ChannelError> {
        inbox.fill(&self.seq)
    }

    /// As [`End::recv`], and gives the descriptors that came beside the message.
    ///
    /// # Errors
    /// As [`End::recv`].
    pub fn recv_with<'i>(&self, inbox: &'i mut Inbox) -> Result<(In::Message<'i>, Vec<OwnedFd>), ChannelError> {
        inbox.fill(&self.seq)?;
        let fds = inbox.take_fds();
        Ok((Messages::<In::Message<'i>>::one(&inbox.buffer)?, fds))
    }
}

impl<Out, In> AsFd for End<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.seq.as_fd()
    }
}

impl<Out, In> AsRawFd for End<Out, In> {
    fn as_raw_fd(&self) -> RawFd {
        self.seq.as_raw_fd()
    }
}

/// A frame of several messages of one direction, sent together: one system call and one wake-up instead of many.
pub struct Outbox<Out> {
    frame: Frame,
    direction: PhantomData<Out>,
}

impl<Out> fmt::Debug for Outbox<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbox({} octets)", self.frame.bytes().len())
    }
}

impl<Out> Default for Outbox<Out> {
    fn default() -> Self {
        Self { frame: Frame::default(), direction: PhantomData }
    }
}

impl<Out: Direction> Outbox<Out> {
    /// Adds a message. False when there is no room for it: flush, then add again.
    ///
    /// # Errors
    /// [`ChannelError::Unsendable`].
    pub fn push(&mut self, message: &Out::Message<'_>) -> Result<bool, ChannelError> {
        self.frame.push(message).map_err(ChannelError::Unsendable)
    }

    /// Octets that a message of one byte string can still hold.
    #[must_use]
    pub fn room(&self) -> usize {
        self.frame.room()
    }

    /// Forgets what has not been sent.
    pub fn clear(&mut self) {
        self.frame.clear();
    }
}

/// Reads all messages of a frame that may hold several.
#[must_use]
pub fn messages<In: Direction>(inbox: &Inbox) -> Messages<'_, In::Message<'_>> {
    Messages::of(inbox.bytes())
}
