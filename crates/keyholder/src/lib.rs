//! Signs TLS handshakes, counted, and nothing else.
//!
//! The only process that has a private key once the launcher has wiped its copy (P5). It reads three kinds of frame of
//! a few octets each, reaches no network and no file, and answers one question: a signature over something that
//! [`gatepost_tls::recognise`] knows as a part of a TLS handshake. Whoever asks for anything else, or too often, loses
//! the channel it asked along.
#![forbid(unsafe_code)]

pub mod desk;
mod serve;

use gatepost_channel::ChannelError;
use gatepost_jail::{JailError, Newborn};
use gatepost_sys::epoll::Epoll;
use gatepost_sys::limits::{self, Limit};
use gatepost_tls::TlsError;
use gatepost_tls::sign::Keys;
use gatepost_wire::control::Role;
use gatepost_wire::slice::KeyholderSlice;
use std::fmt;
use std::io;

/// Sessions that may have a channel at once, however many descriptors are allowed.
pub const SESSIONS_MAX: usize = 8192;
/// Descriptors that are not sessions' channels: the standard ones, launcher, epoll, links, and those that a hostile
/// frame may bring along until it is refused.
const OTHER_DESCRIPTORS: u64 = 24;
/// Descriptors that are looked at between two system calls that wait.
const BATCH: usize = 64;

/// Why the keyholder ended. Never a session's doing.
#[derive(Debug)]
pub enum KeyholderError {
    /// It could not be confined.
    Jail(JailError),
    /// A key that it was given cannot be used.
    Keys(TlsError),
    /// The launcher is gone.
    Launcher(ChannelError),
    /// The launcher gave an order that is not for this role, or not as it should.
    Order(&'static str),
    /// The system refused something that it must not.
    System {
        /// What was to be done.
        step: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

impl fmt::Display for KeyholderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jail(e) => e.fmt(f),
            Self::Keys(e) => e.fmt(f),
            Self::Launcher(e) => write!(f, "launcher: {e}"),
            Self::Order(what) => write!(f, "launcher: {what}"),
            Self::System { step, cause } => write!(f, "cannot {step}: {cause}"),
        }
    }
}

impl std::error::Error for KeyholderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Jail(e) => Some(e),
            Self::Keys(e) => Some(e),
            Self::Launcher(e) => Some(e),
            Self::Order(_) => None,
            Self::System { cause, .. } => Some(cause),
        }
    }
}

impl From<JailError> for KeyholderError {
    fn from(e: JailError) -> Self {
        Self::Jail(e)
    }
}

/// The keyholder, from birth to its end. Returns when it has been drained.
///
/// # Errors
/// [`KeyholderError`]: it cannot begin or must not go on.
pub fn run(newborn: Newborn) -> Result<(), KeyholderError> {
    let slice: KeyholderSlice = newborn.slice()?;
    let keys = Keys::load(slice.keys).map_err(KeyholderError::Keys)?;
    let entered = newborn.enter(Role::Keyholder)?;
    // Both need system calls that the filter takes away.
    let system = |step| move |cause| KeyholderError::System { step, cause };
    let (descriptors, _) = limits::get(Limit::OpenFiles).map_err(system("read the limit of open files"))?;
    let epoll = Epoll::new(BATCH).map_err(system("make an epoll"))?;
    let most = usize::try_from(descriptors.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(usize::MAX);
    let jailed = entered.seal()?;
    serve::serve(&jailed.control, keys, epoll, most.min(SESSIONS_MAX))
}
