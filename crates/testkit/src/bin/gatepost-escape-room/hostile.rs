//! An owned session: it reads one order of its client, makes the attempt, reports the result, and ends.
//!
//! An order is a line `NAME` or `NAME ARGUMENT`, with the name of an attempt in one of the tables. What came of it is a
//! line, too; the test knows which one must come. No line at all: the process did not survive the attempt.

use crate::{auth, handoff, keyholder, system};
use gatepost_jail::JailedSession;
use gatepost_session::{NewSession, SessionExit, Shared};
use gatepost_smtp::envelope::CloseReason;
use gatepost_sys::seq::Seq;
use gatepost_sys::wait::{self, Want};
use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;

/// Index of the `[[listen]]` whose sessions are honest.
const HONEST: u8 = 0;

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
pub(crate) struct Prisoner {
    pub(crate) client: File,
    pub(crate) handoff: Seq,
    pub(crate) keyholder: Seq,
    /// Where mail is submitted.
    pub(crate) auth: Option<Seq>,
}

impl Prisoner {
    /// Reads what the client says, once it says something: no permitted call makes its socket block.
    pub(crate) fn hear(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        wait::ready(&[(self.client.as_fd(), Want::Read)], None)?;
        self.client.read(octets)
    }
}

/// An attempt: its name, and what it does with its argument.
pub(crate) type Attempt = (&'static str, fn(&mut Prisoner, &str) -> Outcome);

/// What a session does once it is jailed.
pub(crate) fn life(jailed: JailedSession, new: NewSession, drained: PipeReader, shared: &Shared) -> SessionExit {
    if new.listener == HONEST {
        return gatepost_session::serve(jailed, new, drained, shared);
    }
    let exit = |reason| SessionExit { reason, delivered: false };
    let NewSession { client, handoff, keyholder: Some(keyholder), auth, .. } = new else {
        return exit(CloseReason::Internal);
    };
    let prisoner = Prisoner {
        client: File::from(client.into_input()),
        handoff: handoff.into_seq(),
        keyholder: keyholder.into_seq(),
        auth: auth.map(|auth| auth.into_seq()),
    };
    match obey(prisoner) {
        Ok(()) => exit(CloseReason::Quit),
        Err(_) => exit(CloseReason::ClientGone),
    }
}

fn obey(mut prisoner: Prisoner) -> io::Result<()> {
    let mut order = Vec::new();
    while !order.ends_with(b"\n") {
        let mut piece = [0; 4096];
        match prisoner.hear(&mut piece)? {
            0 => break,
            octets => order.extend_from_slice(&piece[..octets]),
        }
    }
    let order = String::from_utf8(order).map_err(|_| io::ErrorKind::InvalidData)?;
    let order = order.trim_end();
    let (name, argument) = order.split_once(": ").unwrap_or((order, ""));
    let tables = [system::ATTEMPTS, handoff::ATTEMPTS, keyholder::ATTEMPTS, auth::ATTEMPTS];
    let outcome = match tables.into_iter().flatten().find(|(known, _)| *known == name) {
        Some((_, attempt)) => attempt(&mut prisoner, argument),
        None => Outcome::Says("no such attempt".to_owned()),
    };
    writeln!(&prisoner.client, "{outcome}\r")
}
