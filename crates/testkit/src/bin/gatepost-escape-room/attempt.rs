//! What is attempted: by an owned session with all that it has, and what came of it.

use gatepost_sys::seq::Seq;
use gatepost_sys::wait::{self, Want};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

/// What came of an attempt.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The kernel refused, with this error.
    Refused(io::Error),
    /// The channel that was misused is closed, without an answer.
    Dropped,
    /// It is for the test to judge what this means.
    Says(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(e) => write!(f, "refused {}", e.raw_os_error().unwrap_or_default()),
            Self::Dropped => f.write_str("dropped"),
            Self::Says(words) => f.write_str(words),
        }
    }
}

impl<T: fmt::Debug> From<io::Result<T>> for Outcome {
    fn from(result: io::Result<T>) -> Self {
        match result {
            Ok(got) => Self::Says(format!("done {got:?}")),
            Err(e) => Self::Refused(e),
        }
    }
}

/// Everything that an owned session has.
#[derive(Debug)]
pub(crate) struct OwnedSession {
    pub(crate) client: File,
    pub(crate) handoff: Seq,
    pub(crate) keyholder: Seq,
    /// Where mail is submitted.
    pub(crate) auth: Option<Seq>,
}

impl OwnedSession {
    /// Reads what the client says, once it says something: no permitted call makes its socket block.
    pub(crate) fn hear(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        wait::ready(&[(self.client.as_fd(), Want::Read)], None)?;
        self.client.read(octets)
    }
}

/// An attempt: its name, and what it does with its argument.
pub(crate) type Attempt = (&'static str, fn(&mut OwnedSession, &str) -> Outcome);
