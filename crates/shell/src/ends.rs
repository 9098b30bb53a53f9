//! The client's descriptors.

use gatepost_sys::{fds, net};
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Octets written at once to what may block: as many as a pipe that is ready takes, pipe(7).
const PIPE_TAKES: usize = 4096;

/// Where a client is read and where it is written to: one socket, or two descriptors of any kind.
///
/// They are read and written by read(2) and write(2), whatever they are: the system call filter of a session then needs
/// no call that could do more with a socket. SIGPIPE must be ignored, as it is in every Rust program.
#[derive(Debug)]
pub struct Ends {
    input: File,
    /// None: the input is written to, too.
    output: Option<File>,
    /// Reads and writes may block: some end is no socket, and may be shared with other processes.
    blocks: bool,
}

impl Ends {
    /// A connected socket that is non-blocking already.
    #[must_use]
    pub fn of_socket(client: OwnedFd) -> Self {
        Self { input: client.into(), output: None, blocks: false }
    }

    /// Two descriptors, each a socket, a pipe or a file. Sockets belong to this connection alone, so they are made
    /// non-blocking, and send at once: what belongs together is written together, and waiting for more would only stall
    /// the client (Nagle).
    #[must_use]
    pub fn new(input: OwnedFd, output: OwnedFd) -> Self {
        let both = [&input, &output];
        let sockets = both.into_iter().filter(|fd| net::set_nodelay(fd).is_ok()).count() == both.len();
        let made = sockets && both.into_iter().all(|fd| fds::set_nonblocking(fd.as_fd(), true).is_ok());
        Self { input: input.into(), output: Some(output.into()), blocks: !made }
    }

    /// Both descriptors.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.input(), self.output()]
    }

    /// Where the client is read.
    #[must_use]
    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// Where it is written to.
    #[must_use]
    pub fn output(&self) -> BorrowedFd<'_> {
        self.writer().as_fd()
    }

    /// What the client is read from, as it is: for who speaks with it in another way.
    #[must_use]
    pub fn into_input(self) -> OwnedFd {
        self.input.into()
    }

    /// A read or write may block when it was not waited for.
    pub(crate) fn blocks(&self) -> bool {
        self.blocks
    }

    /// Ends our half of a connection. False: there is none, because the client is gone or is written to by a pipe.
    pub(crate) fn finish(&self) -> bool {
        net::finish(self.output()).is_ok()
    }

    fn writer(&self) -> &File {
        self.output.as_ref().unwrap_or(&self.input)
    }
}

impl Ends {
    /// Reads once, in the place of what `octets` holds, at most `most` octets: how many.
    pub(crate) fn read_into(&self, octets: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        fds::read_into(self.input(), octets, most)
    }
}

impl Read for &Ends {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        (&self.input).read(octets)
    }
}

impl Write for &Ends {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let takes = if self.blocks { PIPE_TAKES } else { octets.len() };
        self.writer().write(octets.get(..takes).unwrap_or(octets))
    }

    /// One call for all records of a flight, where nothing blocks.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.blocks {
            return self.write(pieces.iter().find(|piece| !piece.is_empty()).map_or(&[], |piece| piece));
        }
        self.writer().write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
