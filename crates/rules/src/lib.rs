//! Files of rules as they lie on a disk: opened and looked up while somebody replaces them, and made by tcprules. What they mean
//! is in `ucspi`.
#![forbid(unsafe_code)]

pub mod access;
pub mod tcprules;
pub mod tcprulescheck;

pub use gatepost_ucspi::rules::{Peer, Rule, RuleDecision};

use crate::access::Access;
use gatepost_sys::fds;
use gatepost_ucspi::cdb::{Cdb, ReadAt};
use gatepost_ucspi::rules::find;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Octets at an offset of a file.
#[derive(Debug)]
pub struct AtOffset(pub File);

impl ReadAt for AtOffset {
    fn read_at(&self, offset: u32, buf: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(&self.0, buf, u64::from(offset))
    }
}

/// A compiled file of rules, open. It is what it was when it was opened: whoever wants to see a file that was moved to its
/// name meanwhile opens anew, as tcpserver does for each connection.
#[derive(Debug)]
pub struct Rules {
    cdb: Cdb<AtOffset>,
}

impl Rules {
    /// Opens it.
    ///
    /// # Errors
    /// The file's; `InvalidInput` for an empty file and for what is neither file nor directory, as the original has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::over(fds::open_file(path)?)
    }

    /// Over a file that somebody else has opened.
    ///
    /// # Errors
    /// As [`Rules::open`].
    pub fn over(file: File) -> io::Result<Self> {
        is_database(&file.metadata()?)?;
        Ok(Self { cdb: Cdb::new(AtOffset(file)) })
    }

    /// The rule for this peer.
    ///
    /// # Errors
    /// The file's, `InvalidData` where it is damaged, or is written to again and again: nothing is known then, and the
    /// connection must be dropped.
    pub fn find(&self, peer: &Peer<'_>) -> io::Result<Option<Rule>> {
        steady(|| self.state(), || find(&self.cdb, peer))
    }

    /// What the rules say of this peer.
    ///
    /// # Errors
    /// As [`Rules::find`].
    pub fn judge(&self, peer: &Peer<'_>) -> io::Result<RuleDecision> {
        self.find(peer).map(RuleDecision::from)
    }

    /// What the rules say of a client of an SMTP server.
    #[must_use]
    pub fn access(&self, ip: IpAddr) -> Access {
        Access::found(|peer| self.find(peer), ip)
    }

    /// What changes when something is written to the file.
    fn state(&self) -> io::Result<(u64, i64, i64, i64, i64)> {
        let about = self.cdb.file().0.metadata()?;
        Ok((about.len(), about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()))
    }
}

/// What `look` finds while nothing changes. Who copies over a file, instead of moving a new one to its place, leaves half of the old
/// one for a while, and a rule that denies may be missing from what is seen then.
fn steady<S: PartialEq, T>(
    state: impl Fn() -> io::Result<S>,
    mut look: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    const TRIES: usize = 3;
    for _ in 0..TRIES {
        let before = state()?;
        let found = look();
        if before == state()? {
            return found;
        }
    }
    Err(ErrorKind::InvalidData.into())
}

fn is_database(about: &Metadata) -> io::Result<()> {
    if about.is_dir() {
        Err(ErrorKind::IsADirectory.into())
    } else if about.len() == 0 || !about.is_file() {
        Err(ErrorKind::InvalidInput.into())
    } else {
        Ok(())
    }
}

/// Writes a line to a standard output. Who can't be told isn't told.
fn say(mut to: impl io::Write, line: &[u8]) {
    let _ = to.write_all(line);
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_ucspi::rules::source::compile;
    use std::cell::Cell;
    use std::fs;

    #[test]
    fn issue_11_what_changes_meanwhile_is_looked_at_again_but_not_for_ever() {
        // How many times it is written to, each time during a look.
        for (changes, found) in [(0, Some(1)), (1, Some(2)), (2, Some(3)), (3, None)] {
            let (written, looks) = (Cell::new(0), Cell::new(0));
            let look = || {
                looks.set(looks.get() + 1);
                written.set(looks.get().min(changes));
                Ok(looks.get())
            };
            let answer = steady(|| Ok(written.get()), look);
            assert_eq!(answer.map_err(|e| e.kind()), found.ok_or(ErrorKind::InvalidData), "{changes}");
        }
    }

    #[test]
    fn issue_11_an_open_file_is_what_it_was_and_a_new_one_what_it_is() {
        let dir = std::env::temp_dir().join(format!("gatepost-rules-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (cdb, tmp) = (dir.join("cdb"), dir.join("tmp"));
        let put = |path, source: &str| fs::write(path, compile(source.as_bytes()).unwrap().file().unwrap()).unwrap();
        let peer = Peer { ip: b"1.2.3.4", ..Peer::default() };
        put(&cdb, "1.2.3.4:deny\n");
        let before = Rules::open(&cdb).unwrap();
        put(&tmp, "1.2.3.:allow\n");
        fs::rename(&tmp, &cdb).unwrap();
        assert_eq!(before.judge(&peer).unwrap(), RuleDecision::Deny);
        assert_eq!(Rules::open(&cdb).unwrap().judge(&peer).unwrap(), RuleDecision::Allow(Vec::new()));
        assert!(std::process::Command::new("mkfifo").arg(dir.join("fifo")).status().unwrap().success());
        for (what, kind) in [
            ("fifo", ErrorKind::InvalidInput),
            ("", ErrorKind::IsADirectory),
            ("none", ErrorKind::NotFound),
            ("/dev/null", ErrorKind::InvalidInput),
            ("/dev/zero", ErrorKind::InvalidInput),
        ] {
            assert_eq!(Rules::open(&dir.join(what)).unwrap_err().kind(), kind, "{what}");
        }
        fs::write(&cdb, "").unwrap();
        assert_eq!(Rules::open(&cdb).unwrap_err().kind(), ErrorKind::InvalidInput);
        fs::remove_dir_all(&dir).unwrap();
    }
}
