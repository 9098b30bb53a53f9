//! Files are read whole, up to a size.

use std::io::{self, Read as _};
use std::path::Path;

/// Largest configuration and largest `domains_file`, octets. More is a wrong file, or one without end.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// Reads a file that the configuration names; none: such files are not read.
pub(crate) type Read = Option<fn(&Path) -> io::Result<Vec<u8>>>;

/// What is in the file at `path`.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = gatepost_sys::fds::open_file(path)?;
    file.take(FILE_MAX.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 64 MiB"));
    }
    Ok(bytes)
}
