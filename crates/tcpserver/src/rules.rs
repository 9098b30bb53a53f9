//! The rules' file, opened anew for each connection, as far as anybody can tell: a file that has not changed is not opened twice.

use gatepost_rules::Rules as Open;
use gatepost_sys::fds;
use gatepost_ucspi::rules::{Peer, RuleDecision};
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What tells a file from one that has taken its place, and from itself after a change.
type Identity = (u64, u64, u64, (i64, i64), (i64, i64));

/// ENOENT of Linux (asm-generic/errno-base.h).
const NO_ENTRY: i32 = 2;

fn identity(seen: &Metadata) -> Identity {
    (seen.dev(), seen.ino(), seen.size(), (seen.mtime(), seen.mtime_nsec()), (seen.ctime(), seen.ctime_nsec()))
}

/// The file under its name.
#[derive(Debug)]
pub(crate) struct Rules {
    path: PathBuf,
    /// Where there is no file, everybody comes in.
    missing_allow: bool,
    /// What was there when the name was last looked at; no identity: it is to be opened again.
    open: Option<(Option<Identity>, File, Open)>,
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
    pub(crate) fn new(path: Vec<u8>, missing_allow: bool) -> Self {
        Self { path: OsString::from_vec(path).into(), missing_allow, open: None }
    }

    /// Its name, as it was given.
    pub(crate) fn path(&self) -> &[u8] {
        self.path.as_os_str().as_bytes()
    }

    /// Forgets which file it was: it is new when it is looked at again. Until then it stays open, since connections that were judged by
    /// it may still be on their way here.
    pub(crate) fn forget(&mut self) {
        if let Some((known, ..)) = &mut self.open {
            *known = None;
        }
    }

    /// Looks at the name, and opens what is there now.
    ///
    /// # Errors
    /// There is nothing, or nothing that can be read; the empty file is an invalid argument, as the original finds.
    pub(crate) fn look(&mut self) -> io::Result<Seen> {
        let seen = std::fs::metadata(&self.path).inspect_err(|_| self.open = None)?;
        if self.open.as_ref().is_some_and(|(known, ..)| *known == Some(identity(&seen))) {
            return Ok(Seen::Same);
        }
        self.open = None;
        let file = fds::open_file(&self.path)?;
        self.open = Some((Some(identity(&file.metadata()?)), file.try_clone()?, Open::over(file)?));
        Ok(Seen::New)
    }

    /// The file, to be handed over.
    pub(crate) fn file(&self) -> io::Result<&File> {
        self.open.as_ref().map(|(_, file, _)| file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What the file that was last looked at says of this peer.
    ///
    /// # Errors
    /// It can't be read, or there is none and there must be: without its variables a program would serve what the rules forbid.
    pub(crate) fn judge(&self, peer: &Peer<'_>) -> io::Result<RuleDecision> {
        match &self.open {
            Some((.., rules)) => rules.judge(peer),
            None if self.missing_allow => Ok(RuleDecision::NoRule),
            None => Err(io::Error::from_raw_os_error(NO_ENTRY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_ucspi::rules::source::compile;
    use std::fs;

    #[test]
    fn issue_11_what_the_listener_has_judged_before_hup_has_its_variables() {
        let directory = std::env::temp_dir().join(format!("gatepost-judged-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("cdb");
        let compiled = compile(b":allow,RBLSMTPD=\"no\"\n").ok().unwrap();
        fs::write(&path, compiled.file().unwrap()).unwrap();
        let mut rules = Rules::new(path.clone().into_os_string().into_vec(), false);
        let has_rule = |rules: &Rules| {
            let judged = rules.judge(&Peer { ip: b"192.0.2.7", host: None, info: None });
            judged.map(|decision| matches!(decision, RuleDecision::Allow(variables) if variables.len() == 1)).ok()
        };
        assert_eq!(has_rule(&rules), None, "there was no look");
        rules.look().unwrap();
        assert_eq!(has_rule(&rules), Some(true));
        rules.forget();
        assert_eq!(has_rule(&rules), Some(true));
        assert_eq!(rules.look().unwrap(), Seen::New);
        fs::remove_file(&path).unwrap();
        rules.look().unwrap_err();
        assert_eq!(has_rule(&rules), None, "nothing is there to be judged by");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn issue_11_a_file_that_has_changed_is_seen_at_once() {
        let directory = std::env::temp_dir().join(format!("gatepost-rules-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (path, next) = (directory.join("cdb"), directory.join("tmp"));
        let mut rules = Rules::new(path.clone().into_os_string().into_vec(), false);
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
