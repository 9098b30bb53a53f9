//! The header of a message that was submitted, read before any of it is sent.

use crate::content::HEADER_MAX;
use crate::spool::ContentFile;
use gatepost_smtp::submission::Header;
use std::io;

/// Octets of a file that are read at once.
const PIECE: usize = 16 * 1024;

/// The header of content that is complete: `inline`, then the first `length` octets of a file. One that has no end within
/// [`HEADER_MAX`] is not over; such content is not sent at all. A session can append to its file, and change nothing in it: what is read
/// here is what will be sent.
///
/// # Errors
/// The file can't be read.
pub(crate) fn header_of(inline: &[u8], file: Option<(&mut ContentFile, u64)>) -> io::Result<Header> {
    let mut header = Header::default();
    header.push(inline);
    let Some((file, length)) = file else { return Ok(header) };
    let mut left = length.min(HEADER_MAX);
    let mut buffer = [0; PIECE];
    file.rewind()?;
    while left > 0 && !header.is_over() {
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let read = file.read(buffer.get_mut(..most).unwrap_or_default())?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        header.push(buffer.get(..read).unwrap_or_default());
        left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
    }
    Ok(header)
}
