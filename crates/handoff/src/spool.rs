//! Content files: at most one for each session, without a name in the directory. How large they grow: [`crate::disk`].

use crate::disk::{Disk, Quota};
use gatepost_policy::share::Origin;
use gatepost_sys::fds;
use gatepost_wire::slice::HandoffSlice;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Beginning of the name that a content file has until it is opened.
const PREFIX: &str = "content-";
/// Names to try.
const NAMES: u32 = 16;

/// The directory for content files.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    random: RandomState,
    disk: Disk,
    /// An empty file: what is free where it is.
    probe: OnceLock<File>,
}

/// A file that a session may append to and only we can read.
#[derive(Debug)]
pub(crate) struct ContentFile {
    reader: Arc<File>,
    writer: File,
    quota: Quota,
}

impl Spool {
    pub(crate) fn new(slice: &HandoffSlice) -> Self {
        Self {
            directory: PathBuf::from(&slice.spool),
            random: RandomState::new(),
            disk: Disk::new(slice.spool_size, slice.spool_free),
            probe: OnceLock::new(),
        }
    }

    /// Removes files of a process that was killed before it had removed their names. Gives how many.
    ///
    /// # Errors
    /// The directory cannot be read or changed.
    pub(crate) fn clean(&self) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                remove_name(&entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Octets that are free on the file system, those for root alone not counted.
    ///
    /// # Errors
    /// No content file can be made.
    pub(crate) fn free(&self) -> io::Result<u64> {
        let probe = match self.probe.get() {
            Some(probe) => probe,
            None => {
                let (probe, _) = self.open()?;
                self.probe.get_or_init(|| probe)
            }
        };
        fds::free_space(probe)
    }

    /// Whether a message of `announced` octets has room, of a client at `origin`: see [`Disk::has_room`].
    pub(crate) fn has_room(&self, origin: Origin, announced: Option<u64>) -> io::Result<bool> {
        Ok(self.disk.has_room(origin, announced, self.free()?))
    }

    /// A new, empty file, for content of a client at `origin`. It must not grow before [`Spool::grow`].
    ///
    /// # Errors
    /// No space, no descriptors, no permission.
    pub(crate) fn file(&self, origin: Origin) -> io::Result<ContentFile> {
        let (reader, writer) = self.open()?;
        Ok(ContentFile { reader: Arc::new(reader), writer, quota: self.disk.quota(origin) })
    }

    /// How many octets more may be written to the file, of a message of `announced` octets.
    ///
    /// # Errors
    /// StorageFull: none.
    pub(crate) fn grow(&self, file: &mut ContentFile, announced: Option<u64>) -> io::Result<u64> {
        let (length, free) = (file.length()?, self.free()?);
        self.disk.grow(&mut file.quota, length, announced, free).ok_or_else(|| io::ErrorKind::StorageFull.into())
    }

    /// A reader and a writer of a new, empty file that has no name.
    fn open(&self) -> io::Result<(File, File)> {
        for _ in 0..NAMES {
            let path = self.directory.join(format!("{PREFIX}{:016x}", self.label()));
            let reader = match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other?,
            };
            // A second open file description: the session must not move the position of ours, and must not read.
            let writer = OpenOptions::new().append(true).open(&path);
            remove_name(&path)?;
            return Ok((reader, writer?));
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// A number that nobody can predict.
    fn label(&self) -> u64 {
        let mut hasher = self.random.build_hasher();
        hasher.write_u128(std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos()));
        hasher.finish()
    }
}

/// During a reload two processes use the directory, and each may remove the names of the other.
fn remove_name(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

impl ContentFile {
    /// Empties the file for the next transaction. The session's descriptor is still of this one file, so asking for a file
    /// again and again does not fill the disk.
    pub(crate) fn empty(&mut self) -> io::Result<()> {
        self.reader.set_len(0)?;
        self.quota.release();
        Ok(())
    }

    /// Octets that may be in it.
    pub(crate) fn granted(&self) -> u64 {
        self.quota.granted()
    }

    /// The session is writing it: see [`Quota::park`].
    pub(crate) fn park(&mut self) {
        self.quota.park(&self.reader);
    }

    /// The session has asked something: see [`Quota::resume`].
    #[must_use]
    pub(crate) fn resume(&mut self) -> bool {
        self.quota.resume()
    }

    /// The session writes no more to it.
    pub(crate) fn complete(&mut self) {
        self.quota.complete();
    }

    /// Its length now.
    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(self.reader.metadata()?.len())
    }

    /// The last two octets, if there are two. Then it is at its start.
    pub(crate) fn tail(&mut self) -> io::Result<[u8; 2]> {
        let mut tail = [0; 2];
        if self.length()? >= 2 {
            (&*self.reader).seek(SeekFrom::End(-2))?;
            (&*self.reader).read_exact(&mut tail)?;
            (&*self.reader).rewind()?;
        }
        Ok(tail)
    }

    /// Back to the start.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        (&*self.reader).rewind()
    }

    /// The next octets; 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.reader).read(buffer)
    }

    /// Appends octets of our own.
    pub(crate) fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.writer.write_all(octets)
    }

    /// What the queue role gets: it reads from where this end stands.
    pub(crate) fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// What the session gets: write-only, at the end of the file.
    pub(crate) fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}
