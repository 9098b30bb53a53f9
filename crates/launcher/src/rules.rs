//! The file of `rules` in `[admission]`, for the listener, which can see no file: it gets the octets in sealed memory, and again when
//! another file is moved to the name. They are an admin's, and are not looked at here.

use gatepost_config::RULES_MAX;
use gatepost_sys::{as_owner, process};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Shortest time between two looks at the file.
const PAUSE: Duration = Duration::from_secs(1);

/// By what a changed file is known: device, inode, length, time of its last change.
pub(crate) type Stamp = (u64, u64, u64, i64, i64);

/// How it looks now.
pub(crate) fn stamp(about: &std::fs::Metadata) -> Stamp {
    (about.dev(), about.ino(), about.len(), about.ctime(), about.ctime_nsec())
}

/// The file's octets.
///
/// # Errors
/// The file's; it is too large, empty or no file, or was written to meanwhile: half of it may be the old one.
pub(crate) fn memory(path: &Path) -> io::Result<OwnedFd> {
    // Before it is opened: the open(2) of a FIFO waits for a writer.
    let about = as_owner::metadata(path)?;
    let limit = u64::try_from(RULES_MAX).unwrap_or(u64::MAX);
    if !about.is_file() || about.len() == 0 || about.len() > limit {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("no file of 1 to {limit} octets")));
    }
    let file = as_owner::open(path)?;
    let before = stamp(&file.metadata()?);
    let mut octets = Vec::new();
    (&file).take(limit).read_to_end(&mut octets)?;
    if stamp(&file.metadata()?) != before {
        return Err(io::Error::other("it is being written to; make another file and move it there"));
    }
    let mut memory = process::memory()?;
    memory.write_all(&octets)?;
    process::seal(memory)
}

/// Looks at a file from time to time.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: Option<Stamp>,
    next: Instant,
}

impl Watch {
    /// From how it is now.
    pub(crate) fn new(path: Option<&Path>) -> Self {
        Self { seen: seen(path), next: Instant::now() + PAUSE }
    }

    /// As if another had been there before: what is there now is read again at the first look.
    pub(crate) fn unseen() -> Self {
        Self { seen: None, next: Instant::now() + PAUSE }
    }

    /// When to look again, where there is a file.
    pub(crate) fn next_due(&self) -> Instant {
        self.next
    }

    /// Whether there is another file now.
    pub(crate) fn has_changed(&mut self, path: &Path, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + PAUSE;
        let before = std::mem::replace(&mut self.seen, seen(Some(path)));
        self.seen != before
    }
}

fn seen(path: Option<&Path>) -> Option<Stamp> {
    Some(stamp(&as_owner::metadata(path?).ok()?))
}
