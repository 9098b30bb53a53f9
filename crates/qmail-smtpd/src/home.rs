//! qmail's home as files: read once per connection, so that an edit holds for the next one.

use gatepost_qmail::cdb::{Cdb, ReadAt};
use gatepost_qmail::control::Home;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Octets of the largest control file that is read whole; larger tables belong into a cdb.
const FILE_MAX: u64 = 4 * 1024 * 1024;

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

    /// A constant database; None where there is none.
    pub(crate) fn cdb(&self, name: &str) -> io::Result<Option<Cdb<Database>>> {
        match File::open(self.path(name)) {
            Ok(file) => Ok(Some(Cdb::new(Database(file)))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl Home for Control {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        read(&self.path(name))
    }

    fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }
}

/// A whole file; None where there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Ok(file) => file.take(FILE_MAX.saturating_add(1)),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut octets = Vec::new();
    file.read_to_end(&mut octets)?;
    if file.limit() == 0 { Err(ErrorKind::FileTooLarge.into()) } else { Ok(Some(octets)) }
}

/// A constant database in a file.
#[derive(Debug)]
pub(crate) struct Database(File);

impl ReadAt for Database {
    fn read_at(&self, offset: u32, buf: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(&self.0, buf, u64::from(offset))
    }
}
