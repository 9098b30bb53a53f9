//! qmail's home as files. Small ones are read once per connection, so that an edit holds for the next one; lists and
//! databases stay where they are.

use gatepost_qmail::control::Home;
use gatepost_rules::AtOffset;
use gatepost_ucspi::cdb::{Cdb, Lookup};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Octets of the largest file that is read whole: a name, a number, plugins, a certificate chain with its key.
const FILE_MAX: u64 = 256 * 1024;

/// The directory `control` below the home. The process is in the home already, so paths are relative, as qmail's are.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    directory: PathBuf,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self { directory: PathBuf::from("control") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The file; None where there is none.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

impl Home for Control {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        read(&self.path(name))
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        Ok(open(&self.path(name))?.map(|file| Box::new(file) as Box<dyn Read>))
    }

    fn cdb(&self, name: &str) -> io::Result<Option<Box<dyn Lookup + '_>>> {
        Ok(open(&self.path(name))?.map(|file| Box::new(Cdb::new(AtOffset(file))) as Box<dyn Lookup>))
    }

    fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }
}

/// A whole small file; None where there is none.
///
/// # Errors
/// Those of the file; FileTooLarge, OutOfMemory.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut octets = Vec::new();
    // Gives OutOfMemory, and does not end the process, where that is so.
    let mut file = file.take(FILE_MAX.saturating_add(1));
    file.read_to_end(&mut octets)?;
    if file.limit() == 0 { Err(ErrorKind::FileTooLarge.into()) } else { Ok(Some(octets)) }
}
