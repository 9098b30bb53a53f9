//! What a program says on a pipe: read as it comes so that the program never waits for us, kept up to a limit.

use gatepost_sys::fds;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};

/// One read.
const PIECE: usize = 4096;
/// Reads in a row, so that a program that never stops talking cannot hold us here.
const ROUNDS: usize = 32;

/// The reading end of such a pipe.
#[derive(Debug)]
pub(crate) struct Text {
    pipe: Option<PipeReader>,
    kept: Vec<u8>,
    limit: usize,
    cut: bool,
}

impl Text {
    /// Keeps at most `limit` octets of what comes; the rest is read and dropped.
    pub(crate) fn new(pipe: PipeReader, limit: usize) -> io::Result<Self> {
        fds::set_nonblocking(pipe.as_fd(), true)?;
        Ok(Self { pipe: Some(pipe), kept: Vec::new(), limit, cut: false })
    }

    /// Of nobody.
    pub(crate) fn silent() -> Self {
        Self { pipe: None, kept: Vec::new(), limit: 0, cut: false }
    }

    /// What to wait for; None after the end.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads what is there.
    pub(crate) fn drain(&mut self) {
        let mut piece = [0; PIECE];
        for _ in 0..ROUNDS {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut piece) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    let wanted = length.min(self.limit.saturating_sub(self.kept.len()));
                    self.kept.extend(piece.iter().take(wanted));
                    self.cut |= wanted < length;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    /// What was kept, and whether that is not all.
    pub(crate) fn into_parts(self) -> (Vec<u8>, bool) {
        (self.kept, self.cut)
    }
}
