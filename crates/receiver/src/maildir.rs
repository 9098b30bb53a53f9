//! One message into one file of a Maildir: written under `tmp`, on the disk, then linked into `new`.
//!
//! All recipients of a transaction have the same Maildir, so one file serves them all; it names each of them.

use crate::lmtp::{Envelope, Stored};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Octets of a message that wait to be written together.
const BUFFER: usize = 16 * 1024;

/// A Maildir that this process alone delivers into.
#[derive(Debug)]
pub struct Maildir {
    tmp: PathBuf,
    new: PathBuf,
    /// `new`, open, so that its entries can be put on the disk.
    entries: File,
    /// Told apart from what an earlier process delivered in the same second.
    process: u64,
    deliveries: u64,
    host: String,
}

impl Maildir {
    /// Opens the Maildir at `path`, makes what is missing of it, and removes what an earlier receiver began and did not
    /// finish: none of that was acknowledged. `host` becomes part of file names.
    ///
    /// # Errors
    /// The system's, with the path in question.
    pub fn open(path: &Path, host: &str) -> io::Result<Self> {
        let named = |path: &Path, e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        for name in ["tmp", "new", "cur"] {
            let path = path.join(name);
            fs::create_dir_all(&path).map_err(|e| named(&path, e))?;
        }
        let (tmp, new) = (path.join("tmp"), path.join("new"));
        sweep(&tmp).map_err(|e| named(&tmp, e))?;
        let entries = File::open(&new).map_err(|e| named(&new, e))?;
        let host = host.chars().filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect();
        Ok(Self { tmp, new, entries, process: RandomState::new().hash_one(path), deliveries: 0, host })
    }

    /// Begins a message: its file, and the lines that a delivery agent puts on top (RFC 5321 §4.4).
    ///
    /// # Errors
    /// Why there can be none.
    pub fn begin(&mut self, envelope: &Envelope) -> Result<Delivery, Stored> {
        self.deliveries = self.deliveries.saturating_add(1);
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let name = format!("{seconds}.R{:016x}Q{}.{}", self.process, self.deliveries, self.host);
        let tmp = self.tmp.join(&name);
        let file = OpenOptions::new().write(true).create_new(true).open(&tmp).map_err(|e| stored(&e))?;
        let file = BufWriter::with_capacity(BUFFER, file);
        let mut delivery = Delivery { file, tmp, new: self.new.join(&name), name };
        delivery.put(&trace(envelope))?;
        Ok(delivery)
    }

    /// Gives a message its final name. When this returns, it is on the disk under that name.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn commit(&self, mut delivery: Delivery) -> Result<String, Stored> {
        let done = (|| {
            delivery.file.flush()?;
            delivery.file.get_ref().sync_all()?;
            // A link, not a rename: never over a message that is there already.
            fs::hard_link(&delivery.tmp, &delivery.new)
        })();
        done.map_err(|e| stored(&e))?;
        self.entries.sync_all().map_err(|e| {
            // It may be found there or not: the sender will come again, and should not make two of it.
            let _ = fs::remove_file(&delivery.new);
            stored(&e)
        })?;
        Ok(std::mem::take(&mut delivery.name))
    }
}

/// A message that is being written. Dropped, it leaves nothing behind but what was committed.
#[derive(Debug)]
pub struct Delivery {
    file: BufWriter<File>,
    tmp: PathBuf,
    new: PathBuf,
    name: String,
}

impl Delivery {
    /// Appends canonical content: CRLF becomes LF, as files in a Maildir have it.
    ///
    /// # Errors
    /// Why it could not be written.
    pub fn write(&mut self, content: &[u8]) -> Result<(), Stored> {
        // In canonical content CR stands nowhere but before LF.
        content.split(|octet| *octet == b'\r').try_for_each(|piece| self.put(piece))
    }

    fn put(&mut self, octets: &[u8]) -> Result<(), Stored> {
        self.file.write_all(octets).map_err(|e| stored(&e))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.tmp);
    }
}

fn trace(envelope: &Envelope) -> Vec<u8> {
    let mut lines = [b"Return-Path: <", envelope.reverse_path.as_bytes(), b">\n"].concat();
    for forward_path in &envelope.forward_paths {
        lines.extend([b"Delivered-To: ", forward_path.as_bytes(), b"\n"].concat());
    }
    lines
}

fn stored(e: &io::Error) -> Stored {
    match e.kind() {
        io::ErrorKind::FileTooLarge => Stored::TooLarge,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Stored::DiskFull,
        _ => Stored::Failed,
    }
}

/// Removes the files of this program's making from `tmp`.
fn sweep(tmp: &Path) -> io::Result<()> {
    for entry in fs::read_dir(tmp)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_ours) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Names as [`Maildir::begin`] makes them: `SECONDS.R<16 hex digits>Q<number>.HOST`.
fn is_ours(name: &str) -> bool {
    let mut parts = name.splitn(3, '.');
    let (Some(seconds), Some(unique)) = (parts.next(), parts.next()) else { return false };
    let Some((process, number)) = unique.strip_prefix('R').and_then(|unique| unique.split_once('Q')) else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    digits(seconds) && digits(number) && process.len() == 16 && process.bytes().all(|octet| octet.is_ascii_hexdigit())
}
