//! What earlier connections of `gatepost inetd` have learned of the backends: kept in a file beside the content files, so that a
//! backend is not asked for each connection whether it relays for strangers. Each question leaves refusals in its log.

use gatepost_wire::known::{Known, KnownBackend};
use gatepost_wire::slice::{HandoffSlice, Slice};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// The file's name.
const NAME: &str = "backends";
/// Octets of the largest file that is read.
const LARGEST: u64 = 16 * 1024;
/// How long a backend is believed, seconds.
const FRESH: u64 = 600;

/// The file, for one configuration.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    of: u64,
}

impl Memory {
    /// Of the configuration in `slice`: whatever is changed in it, the backends are asked anew.
    pub(crate) fn new(slice: &HandoffSlice) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(&slice.to_bytes().unwrap_or_default());
        Self { path: PathBuf::from(&slice.spool).join(NAME), of: hasher.finish() }
    }

    /// What is known, if it is still believed.
    pub(crate) fn recall(&self) -> Option<Vec<KnownBackend>> {
        let mut octets = Vec::new();
        File::open(&self.path).ok()?.take(LARGEST).read_to_end(&mut octets).ok()?;
        let known = Known::from_bytes(&octets).ok()?;
        let age = now().checked_sub(known.asked)?;
        (known.of == self.of && age < FRESH).then_some(known.backends)
    }

    /// Writes down what is known now. Whoever reads it half written asks for himself.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn keep(&self, backends: Vec<KnownBackend>) -> io::Result<()> {
        let known = Known { of: self.of, asked: now(), backends };
        fs::write(&self.path, known.to_bytes().map_err(io::Error::other)?)
    }
}

fn now() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::known::KnownExtensions;

    #[test]
    fn p7_what_is_old_damaged_or_of_another_configuration_is_not_known() {
        let directory = std::env::temp_dir().join(format!("gatepost-known-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let memory = Memory { path: directory.join(NAME), of: 7 };
        assert_eq!(memory.recall(), None);
        let listed = KnownExtensions { size: Some(9), eight_bit: true, smtputf8: false, dsn: true, rcptmax: None };
        let backends =
            vec![KnownBackend { proved: true, listed: Some(listed) }, KnownBackend { proved: false, listed: None }];
        memory.keep(backends.clone()).unwrap();
        assert_eq!(memory.recall(), Some(backends.clone()));
        assert_eq!(Memory { of: 8, ..Memory { path: memory.path.clone(), of: 0 } }.recall(), None);
        for asked in [now() - FRESH, now() + 100, 0, u64::MAX] {
            let known = Known { of: 7, asked, backends: backends.clone() };
            fs::write(&memory.path, known.to_bytes().unwrap()).unwrap();
            assert_eq!(memory.recall(), None, "{asked}");
        }
        memory.keep(backends).unwrap();
        let whole = fs::read(&memory.path).unwrap();
        for length in 0..whole.len() {
            fs::write(&memory.path, &whole[..length]).unwrap();
            assert_eq!(memory.recall(), None, "cut to {length}");
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
