//! The rules' file, opened anew for each connection, as far as anybody can tell: a file that has not changed is not opened twice.

use gatepost_rules::Rules as Open;
use gatepost_sys::fds;
use gatepost_ucspi::rules::{Peer, Verdict};
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What tells a file from one that has taken its place, and from itself after a change.
type Identity = (u64, u64, u64, (i64, i64), (i64, i64));

fn identity(seen: &Metadata) -> Identity {
    (seen.dev(), seen.ino(), seen.size(), (seen.mtime(), seen.mtime_nsec()), (seen.ctime(), seen.ctime_nsec()))
}

/// The file under its name.
#[derive(Debug)]
pub(crate) struct Rules {
    path: PathBuf,
    open: Option<(Identity, File, Open)>,
}

/// What a look at the name has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A file that is not the one of last time.
    New,
    /// The same.
    Same,
}

impl Rules {
    pub(crate) fn new(path: Vec<u8>) -> Self {
        Self { path: OsString::from_vec(path).into(), open: None }
    }

    /// Its name, as it was given.
    pub(crate) fn path(&self) -> &[u8] {
        self.path.as_os_str().as_bytes()
    }

    /// Forgets the file: it is new when it is looked at again.
    pub(crate) fn forget(&mut self) {
        self.open = None;
    }

    /// Looks at the name, and opens what is there now.
    ///
    /// # Errors
    /// There is nothing, or nothing that can be read; the empty file is an invalid argument, as the original finds.
    pub(crate) fn look(&mut self) -> io::Result<Seen> {
        let seen = std::fs::metadata(&self.path).inspect_err(|_| self.open = None)?;
        if self.open.as_ref().is_some_and(|(known, ..)| *known == identity(&seen)) {
            return Ok(Seen::Same);
        }
        self.open = None;
        let file = fds::open_file(&self.path)?;
        self.open = Some((identity(&file.metadata()?), file.try_clone()?, Open::over(file)?));
        Ok(Seen::New)
    }

    /// The file, to be handed over.
    pub(crate) fn file(&self) -> io::Result<&File> {
        self.open.as_ref().map(|(_, file, _)| file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What the file that was last looked at says of this peer; where there is none, nothing.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn judge(&self, peer: &Peer<'_>) -> io::Result<Verdict> {
        self.open.as_ref().map_or(Ok(Verdict::NoRule), |(.., rules)| rules.judge(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn issue_11_a_file_that_has_changed_is_seen_at_once() {
        let directory = std::env::temp_dir().join(format!("gatepost-rules-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (path, next) = (directory.join("cdb"), directory.join("tmp"));
        let mut rules = Rules::new(path.clone().into_os_string().into_vec());
        assert_eq!(rules.look().unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, [0; 2048]).unwrap();
        assert_eq!((rules.look().unwrap(), rules.look().unwrap()), (Seen::New, Seen::Same));
        fs::write(&next, [0; 2048]).unwrap();
        fs::rename(&next, &path).unwrap();
        assert_eq!((rules.look().unwrap(), rules.look().unwrap()), (Seen::New, Seen::Same));
        rules.forget();
        assert_eq!(rules.look().unwrap(), Seen::New);
        fs::write(&path, b"").unwrap();
        assert_eq!(rules.look().unwrap_err().kind(), io::ErrorKind::InvalidInput);
        fs::remove_file(&path).unwrap();
        assert_eq!(rules.look().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(rules.file().is_err());
        fs::create_dir(&path).unwrap();
        assert_eq!(rules.look().unwrap_err().kind(), io::ErrorKind::IsADirectory);
        fs::remove_dir_all(&directory).unwrap();
    }
}
