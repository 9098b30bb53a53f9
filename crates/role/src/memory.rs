//! Memory that the launcher hands over, by read(2) alone.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

/// All octets of memory that the launcher hands over.
///
/// # Errors
/// It can't be read.
pub fn octets(memory: OwnedFd) -> io::Result<Vec<u8>> {
    let (mut memory, mut octets, mut piece) = (File::from(memory), Vec::new(), vec![0; 64 * 1024]);
    // Not by `read_to_end`, which asks the file system for its size: a call that this role may not make.
    while let length @ 1.. = memory.read(&mut piece)? {
        octets.extend_from_slice(piece.get(..length).unwrap_or_default());
    }
    Ok(octets)
}
