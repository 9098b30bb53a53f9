//! Frames, and the encoding of values. Integers are little-endian; octets, text and lists have their length before them.

use crate::{FRAME_MAX, VERSION};
use gatepost_smtp::names::{Found, HOST_NAME_MAX, HostName};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use zeroize::Zeroize as _;

/// Why a frame or a slice cannot be read, or a value cannot be written. Always the fault of who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// The frame or a field ends early.
    Short,
    /// The frame does not begin with [`VERSION`].
    Version,
    /// No message of this direction, or no variant of this field, has that tag.
    Tag(u8),
    /// This field holds a value outside its set.
    Value(&'static str),
    /// This field is longer than its bound.
    Long(&'static str),
    /// Octets are left after the last field of a message.
    Trailing,
    /// More than one message where one was due, or none.
    Count,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("frame ends early"),
            Self::Version => f.write_str("frame has another version"),
            Self::Tag(tag) => write!(f, "no message or variant with tag {tag}"),
            Self::Value(field) => write!(f, "value out of range in field {field}"),
            Self::Long(field) => write!(f, "field {field} is too long"),
            Self::Trailing => f.write_str("octets left after the message"),
            Self::Count => f.write_str("wrong number of messages in the frame"),
        }
    }
}

impl std::error::Error for WireError {}

/// What can be sent between processes: a message, a slice, or a field of one.
pub trait Value<'a>: Sized {
    /// Octets of the largest one; `usize::MAX`: no bound, so it cannot be part of a message.
    const MAX: usize;
    /// Appends it to `out`. `field` is its name, for errors.
    ///
    /// # Errors
    /// [`WireError`] for what its reader would refuse. `out` is then of no use.
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError>;
    /// Reads one, and leaves the rest in `r`.
    ///
    /// # Errors
    /// [`WireError`] for an unknown tag, a short body or a value outside its set.
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, WireError>;
}

/// An encoding of a `T` that a field names in its declaration, `field: T as Coding`, instead of the type's own.
#[allow(missing_docs)] // As in [`Value`].
pub trait Coding<'a, T> {
    const MAX: usize;
    #[allow(clippy::missing_errors_doc)]
    fn write(value: &T, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError>;
    #[allow(clippy::missing_errors_doc)]
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<T, WireError>;
}

/// The encoding of [`Value`].
#[derive(Debug)]
pub enum Plain {}
/// At most `MAX` octets.
#[derive(Debug)]
pub enum Octets<const MAX: usize> {}
/// At most `MAX` octets without NUL: they may become a part of an environment or an envelope, where NUL ends a string.
#[derive(Debug)]
pub enum NoNul<const MAX: usize> {}
/// A presence octet, then the encoding `C`.
#[derive(Debug)]
pub struct Maybe<C>(std::marker::PhantomData<C>);
/// The encoding of [`Value`], of at most `MAX` octets.
#[derive(Debug)]
pub enum Within<const MAX: usize> {}

impl<'a, T: Value<'a>> Coding<'a, T> for Plain {
    const MAX: usize = T::MAX;
    fn write(value: &T, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        value.write(out, field)
    }
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<T, WireError> {
        T::read(r, field)
    }
}

impl<'a, const MAX: usize> Coding<'a, &'a [u8]> for Octets<MAX> {
    const MAX: usize = 2 + MAX;
    fn write(value: &&'a [u8], out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        let length = u16::try_from(value.len()).map_err(|_| WireError::Long(field))?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(value);
        if value.len() > MAX { Err(WireError::Long(field)) } else { Ok(()) }
    }
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8], WireError> {
        let length = usize::from(u16::read(r, field)?);
        if length > MAX { Err(WireError::Long(field)) } else { r.take(length) }
    }
}

impl<'a, const MAX: usize> Coding<'a, &'a [u8]> for NoNul<MAX> {
    const MAX: usize = <Octets<MAX> as Coding<'a, &'a [u8]>>::MAX;
    fn write(value: &&'a [u8], out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        if value.contains(&0) { Err(WireError::Value(field)) } else { Octets::<MAX>::write(value, out, field) }
    }
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8], WireError> {
        let octets = Octets::<MAX>::read(r, field)?;
        if octets.contains(&0) { Err(WireError::Value(field)) } else { Ok(octets) }
    }
}

impl<'a, T, C: Coding<'a, T>> Coding<'a, Option<T>> for Maybe<C> {
    const MAX: usize = C::MAX.saturating_add(1);
    fn write(value: &Option<T>, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        value.is_some().write(out, field)?;
        value.as_ref().map_or(Ok(()), |value| C::write(value, out, field))
    }
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Option<T>, WireError> {
        if bool::read(r, field)? { C::read(r, field).map(Some) } else { Ok(None) }
    }
}

impl<'a, T: Value<'a>, const MAX: usize> Coding<'a, T> for Within<MAX> {
    const MAX: usize = MAX;
    fn write(value: &T, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        let before = out.len();
        value.write(out, field)?;
        if out.len().saturating_sub(before) > MAX { Err(WireError::Long(field)) } else { Ok(()) }
    }
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<T, WireError> {
        let before = r.0.len();
        let value = T::read(r, field)?;
        if before.saturating_sub(r.0.len()) > MAX { Err(WireError::Long(field)) } else { Ok(value) }
    }
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Value<'_> for $type {
            const MAX: usize = size_of::<$type>();
            fn write(&self, out: &mut Vec<u8>, _: &'static str) -> Result<(), WireError> {
                out.extend_from_slice(&self.to_le_bytes());
                Ok(())
            }
            fn read(r: &mut Reader<'_>, _: &'static str) -> Result<Self, WireError> {
                Ok(Self::from_le_bytes(r.array()?))
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 }

/// 0 or 1, nothing else.
impl Value<'_> for bool {
    const MAX: usize = 1;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        u8::from(*self).write(out, field)
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        match u8::read(r, field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Value(field)),
        }
    }
}

impl<'a, T: Value<'a>> Value<'a> for Option<T> {
    const MAX: usize = <Maybe<Plain> as Coding<'a, Option<T>>>::MAX;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        Maybe::<Plain>::write(self, out, field)
    }
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, WireError> {
        Maybe::<Plain>::read(r, field)
    }
}

/// Their number in four octets, then one after the other.
impl<'a, T: Value<'a>> Value<'a> for Vec<T> {
    const MAX: usize = usize::MAX;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        u32::try_from(self.len()).map_err(|_| WireError::Long(field))?.write(out, field)?;
        self.iter().try_for_each(|item| item.write(out, field))
    }
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, WireError> {
        let count = u32::read(r, field)?;
        (0..count).map(|_| T::read(r, field)).collect()
    }
}

/// UTF-8.
impl Value<'_> for String {
    const MAX: usize = usize::MAX;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        u32::try_from(self.len()).map_err(|_| WireError::Long(field))?.write(out, field)?;
        out.extend_from_slice(self.as_bytes());
        Ok(())
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        let length = u32::read(r, field)?;
        let octets = r.take(usize::try_from(length).map_err(|_| WireError::Short)?)?;
        Ok(std::str::from_utf8(octets).map_err(|_| WireError::Value(field))?.to_owned())
    }
}

/// Its octets behind one with their number. Whatever is not a host's name is refused.
impl Value<'_> for HostName {
    const MAX: usize = 1 + HOST_NAME_MAX;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        u8::try_from(self.as_str().len()).map_err(|_| WireError::Long(field))?.write(out, field)?;
        out.extend_from_slice(self.as_str().as_bytes());
        Ok(())
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        let length = usize::from(u8::read(r, field)?);
        let octets = r.take(length)?;
        HostName::parse(octets).filter(|name| name.as_str().as_bytes() == octets).ok_or(WireError::Value(field))
    }
}

/// 0: none, 1: temporary, 2: known, which follows.
impl<'a, T: Value<'a>> Value<'a> for Found<T> {
    const MAX: usize = sum(&[1, T::MAX]);
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        match self {
            Self::None => 0_u8.write(out, field),
            Self::Temporary => 1_u8.write(out, field),
            Self::Known(known) => {
                2_u8.write(out, field)?;
                known.write(out, field)
            }
        }
    }
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, WireError> {
        match u8::read(r, field)? {
            0 => Ok(Self::None),
            1 => Ok(Self::Temporary),
            2 => T::read(r, field).map(Self::Known),
            _ => Err(WireError::Value(field)),
        }
    }
}

/// Its octets, UTF-8 as in the configuration.
impl Value<'_> for PathBuf {
    const MAX: usize = usize::MAX;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        self.to_str().ok_or(WireError::Value(field))?.to_owned().write(out, field)
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        String::read(r, field).map(Self::from)
    }
}

impl<'a, A: Value<'a>, B: Value<'a>, C: Value<'a>> Value<'a> for (A, B, C) {
    const MAX: usize = sum(&[A::MAX, B::MAX, C::MAX]);
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        self.0.write(out, field)?;
        self.1.write(out, field)?;
        self.2.write(out, field)
    }
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, WireError> {
        Ok((A::read(r, field)?, B::read(r, field)?, C::read(r, field)?))
    }
}

/// 4 or 6, then its octets.
impl Value<'_> for IpAddr {
    const MAX: usize = 1 + 16;
    fn write(&self, out: &mut Vec<u8>, _: &'static str) -> Result<(), WireError> {
        match self {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        Ok(())
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        match u8::read(r, field)? {
            4 => Ok(IpAddr::V4(Ipv4Addr::from(r.array::<4>()?))),
            6 => Ok(IpAddr::V6(Ipv6Addr::from(r.array::<16>()?))),
            _ => Err(WireError::Value(field)),
        }
    }
}

/// Address and port; scope and flow of IPv6 are not sent.
impl Value<'_> for SocketAddr {
    const MAX: usize = IpAddr::MAX + 2;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        self.ip().write(out, field)?;
        self.port().write(out, field)
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        Ok(SocketAddr::new(IpAddr::read(r, field)?, u16::read(r, field)?))
    }
}

/// The octets of all parts together.
pub(crate) const fn sum(parts: &[usize]) -> usize {
    match parts {
        [] => 0,
        [first, rest @ ..] => first.saturating_add(sum(rest)),
    }
}

/// The octets of the largest part.
pub(crate) const fn largest(parts: &[usize]) -> usize {
    match parts {
        [] => 0,
        [first, rest @ ..] => {
            let others = largest(rest);
            if *first > others { *first } else { others }
        }
    }
}

/// What has not been read yet of a frame or slice.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(WireError::Short)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| WireError::Short)
    }
}

/// The value that `octets` are, all of them.
///
/// # Errors
/// As [`Value::read`]; [`WireError::Trailing`] when something is left.
pub fn read_all<'a, T: Value<'a>>(octets: &'a [u8]) -> Result<T, WireError> {
    let mut r = Reader(octets);
    let value = T::read(&mut r, "value")?;
    if r.0.is_empty() { Ok(value) } else { Err(WireError::Trailing) }
}

/// Octets of a message's length.
const LENGTH: usize = 2;
/// Octets of the largest message, which is one that fills a frame.
pub const MESSAGE_MAX: usize = FRAME_MAX - 1 - LENGTH;
const _: () = assert!(MESSAGE_MAX <= u16::MAX as usize);

/// Octets of the largest frame with one `T`.
#[must_use]
pub(crate) const fn frame_max<'a, T: Value<'a>>() -> usize {
    sum(&[1, LENGTH, T::MAX])
}

/// A frame being put together. Reusable: its buffer is kept between frames.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
}

impl Default for Frame {
    fn default() -> Self {
        Self { bytes: vec![VERSION] }
    }
}

impl Frame {
    /// A frame that holds one message.
    ///
    /// # Errors
    /// [`WireError`] for a message that its receiver would refuse.
    pub fn of<'a>(message: &impl Value<'a>) -> Result<Self, WireError> {
        let mut frame = Self::default();
        frame.push(message)?;
        Ok(frame)
    }

    /// As [`Frame::of`], for a message that holds a secret: no copy of it is left behind when [`Frame::wipe`] has been called.
    ///
    /// # Errors
    /// As [`Frame::of`].
    pub fn of_secret<'a, T: Value<'a>>(message: &T) -> Result<Self, WireError> {
        // At its full size from the start: growing would leave copies behind.
        let mut frame = Self { bytes: Vec::with_capacity(frame_max::<T>().min(FRAME_MAX)) };
        frame.bytes.push(VERSION);
        frame.push(message)?;
        Ok(frame)
    }

    /// Overwrites all of it.
    pub fn wipe(&mut self) {
        self.bytes.zeroize();
        self.bytes.push(VERSION);
    }

    /// Appends a message. False, and the frame unchanged, when there is no room for it behind the others.
    ///
    /// # Errors
    /// [`WireError`], and the frame unchanged, for a message that its receiver would refuse.
    pub fn push<'a, T: Value<'a>>(&mut self, message: &T) -> Result<bool, WireError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH]);
        let body = self.bytes.len();
        let written = message.write(&mut self.bytes, "message");
        let length = u16::try_from(self.bytes.len().saturating_sub(body)).map_err(|_| WireError::Long("message"));
        let fits = self.bytes.len() <= FRAME_MAX;
        match (written.and(length), self.bytes.get_mut(start..body)) {
            (Ok(length), Some(field)) if fits => field.copy_from_slice(&length.to_le_bytes()),
            (result, _) => {
                self.bytes.truncate(start);
                return result.map(|_| false);
            }
        }
        Ok(true)
    }

    /// True while no message has been added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.len() <= 1
    }

    /// The longest byte string that still fits, in a message of a tag and nothing else.
    #[must_use]
    pub fn room(&self) -> usize {
        FRAME_MAX.saturating_sub(self.bytes.len()).saturating_sub(LENGTH + 1 + 2)
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

impl<'a, M: Value<'a>> Messages<'a, M> {
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
        let length = u16::read(&mut r, "length")?;
        let body = r.take(usize::from(length))?;
        self.rest = r.0;
        read_all(body)
    }
}

impl<'a, M: Value<'a>> Iterator for Messages<'a, M> {
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
