//! The frame and its fields. Integers are little-endian; byte strings carry a length of two or four octets.

use crate::{FRAME_MAX, VERSION};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why a frame was refused. Always the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// The frame or a field ends early.
    Short,
    /// The frame does not begin with [`VERSION`].
    Version,
    /// No message of this direction has that tag.
    Tag(u8),
    /// A field holds a value outside its set.
    Value(&'static str),
    /// Bytes are left after the last field of a message.
    Trailing,
    /// More than one message where one was due, or none.
    Count,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("frame ends early"),
            Self::Version => f.write_str("frame has another version"),
            Self::Tag(tag) => write!(f, "no message with tag {tag} in this direction"),
            Self::Value(field) => write!(f, "value out of range in field {field}"),
            Self::Trailing => f.write_str("bytes left after the message"),
            Self::Count => f.write_str("wrong number of messages in the frame"),
        }
    }
}

impl std::error::Error for WireError {}

/// A message that can be written into a frame and read from one.
pub trait Message<'a>: Sized {
    /// The tag that tells this message from the others of its direction.
    fn tag(&self) -> u8;
    /// Writes the fields.
    fn write(&self, w: &mut Writer<'_>);
    /// Reads the fields of the message with `tag`; must consume all of `r`.
    ///
    /// # Errors
    /// [`WireError`] for an unknown tag, a short body or a value outside its set.
    fn read(tag: u8, r: &mut Reader<'a>) -> Result<Self, WireError>;
}

/// A frame being put together. Reusable: its buffer is kept between frames.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

impl Frame {
    /// An empty frame: the version byte alone.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![VERSION] }
    }

    /// A frame that holds one message.
    #[must_use]
    pub fn of<'a>(message: &impl Message<'a>) -> Self {
        let mut frame = Self::new();
        frame.push(message);
        frame
    }

    /// Appends a message. False, and the frame unchanged, when it would outgrow [`FRAME_MAX`].
    pub fn push<'a>(&mut self, message: &impl Message<'a>) -> bool {
        let start = self.bytes.len();
        self.bytes.push(message.tag());
        self.bytes.extend_from_slice(&[0; 4]);
        let body = self.bytes.len();
        message.write(&mut Writer(&mut self.bytes));
        let length = self.bytes.len().saturating_sub(body);
        if self.bytes.len() > FRAME_MAX {
            self.bytes.truncate(start);
            return false;
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(field) = self.bytes.get_mut(start.saturating_add(1)..body) {
            field.copy_from_slice(&length);
        }
        true
    }

    /// True while no message has been added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.len() <= 1
    }

    /// Octets that a `Content`-like message of one byte string can still hold.
    #[must_use]
    pub fn room(&self) -> usize {
        FRAME_MAX.saturating_sub(self.bytes.len()).saturating_sub(1 + 4 + 4)
    }

    /// The octets to send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Back to an empty frame.
    pub fn clear(&mut self) {
        self.bytes.truncate(1);
    }
}

/// The messages of a received frame, in order. Ends after the first error.
#[derive(Debug)]
pub struct Messages<'a, M> {
    rest: &'a [u8],
    failed: Option<WireError>,
    kind: std::marker::PhantomData<M>,
}

impl<'a, M: Message<'a>> Messages<'a, M> {
    /// Reads `frame` as a sequence of `M`.
    #[must_use]
    pub fn of(frame: &'a [u8]) -> Self {
        let (rest, failed) = match frame.split_first() {
            None => (frame, Some(WireError::Short)),
            Some((&VERSION, rest)) => (rest, None),
            Some(_) => (frame, Some(WireError::Version)),
        };
        Self { rest, failed, kind: std::marker::PhantomData }
    }

    /// The one message of a frame that must hold just one.
    ///
    /// # Errors
    /// [`WireError::Count`] for none or several; else what is wrong with it.
    pub fn one(frame: &'a [u8]) -> Result<M, WireError> {
        let mut all = Self::of(frame);
        let first = all.next().ok_or(WireError::Count)??;
        match all.next() {
            None => Ok(first),
            Some(_) => Err(WireError::Count),
        }
    }

    fn message(&mut self) -> Result<M, WireError> {
        let mut r = Reader(self.rest);
        let tag = r.u8()?;
        let body = r.bytes32()?;
        self.rest = r.0;
        let mut body = Reader(body);
        let message = M::read(tag, &mut body)?;
        if body.0.is_empty() { Ok(message) } else { Err(WireError::Trailing) }
    }
}

impl<'a, M: Message<'a>> Iterator for Messages<'a, M> {
    type Item = Result<M, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.rest = &[];
            return Some(Err(error));
        }
        if self.rest.is_empty() {
            return None;
        }
        let item = self.message();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

/// Appends fields to a buffer.
#[derive(Debug)]
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    /// One octet.
    pub fn u8(&mut self, v: u8) {
        self.0.push(v);
    }
    /// A truth value as 0 or 1.
    pub fn bool(&mut self, v: bool) {
        self.u8(u8::from(v));
    }
    /// Two octets.
    pub fn u16(&mut self, v: u16) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    /// Four octets.
    pub fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    /// Eight octets.
    pub fn u64(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    /// A byte string of at most 65 535 octets; a longer one is cut, which its reader's own checks then refuse.
    pub fn bytes16(&mut self, v: &[u8]) {
        let length = u16::try_from(v.len()).unwrap_or(u16::MAX);
        self.u16(length);
        self.0.extend_from_slice(v.get(..usize::from(length)).unwrap_or(v));
    }
    /// A byte string with a length of four octets.
    pub fn bytes32(&mut self, v: &[u8]) {
        self.u32(u32::try_from(v.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(v);
    }
    /// A presence octet, then the value.
    pub fn option<T>(&mut self, v: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(v.is_some());
        if let Some(v) = v {
            write(self, v);
        }
    }
    /// One octet: the value's place among `all`.
    pub fn code<T: PartialEq>(&mut self, all: &[T], v: T) {
        let place = all.iter().position(|one| *one == v).unwrap_or(usize::MAX);
        self.u8(u8::try_from(place).unwrap_or(u8::MAX));
    }
    /// An address and port.
    pub fn socket_addr(&mut self, v: SocketAddr) {
        match v.ip() {
            IpAddr::V4(ip) => {
                self.u8(4);
                self.0.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.u8(6);
                self.0.extend_from_slice(&ip.octets());
            }
        }
        self.u16(v.port());
    }
}

/// Takes fields from a body. Every method fails with [`WireError::Short`] when the body ends early.
#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8]);

#[allow(clippy::missing_errors_doc)] // Said once, above.
impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(WireError::Short)?;
        self.0 = tail;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| WireError::Short)
    }
    /// True when nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// One octet.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(u8::from_le_bytes(self.array()?))
    }
    /// 0 or 1, nothing else.
    pub fn bool(&mut self) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Value("bool")),
        }
    }
    /// Two octets.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    /// Four octets.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    /// Eight octets.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    /// A byte string with a length of two octets.
    pub fn bytes16(&mut self) -> Result<&'a [u8], WireError> {
        let n = self.u16()?;
        self.take(usize::from(n))
    }
    /// A byte string with a length of four octets.
    pub fn bytes32(&mut self) -> Result<&'a [u8], WireError> {
        let n = self.u32()?;
        self.take(usize::try_from(n).map_err(|_| WireError::Short)?)
    }
    /// UTF-8 text with a length of two octets.
    pub fn text16(&mut self) -> Result<String, WireError> {
        let bytes = self.bytes16()?;
        Ok(std::str::from_utf8(bytes).map_err(|_| WireError::Value("text"))?.to_owned())
    }
    /// A value behind a presence octet.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, WireError>) -> Result<Option<T>, WireError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }
    /// A value of `all` by its place in it.
    pub fn code<T: Copy>(&mut self, all: &[T], field: &'static str) -> Result<T, WireError> {
        all.get(usize::from(self.u8()?)).copied().ok_or(WireError::Value(field))
    }
    /// An address and port.
    pub fn socket_addr(&mut self) -> Result<SocketAddr, WireError> {
        let ip = match self.u8()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)),
            _ => return Err(WireError::Value("address family")),
        };
        Ok(SocketAddr::new(ip, self.u16()?))
    }
}
