//! Descriptor 2: the lines that the verbosity lets pass. A reader that is slow holds us up, as it does the original.

use gatepost_ucspi::tcpserver::lines::SAYS;
use gatepost_ucspi::tcpserver::options::Verbosity;
use gatepost_ucspi::words;
use std::io::{self, IoSlice, Write};

/// What may be said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Say(pub(crate) Verbosity);

/// Why there is no server, as it is said after `tcpserver: fatal: `.
#[derive(Debug)]
pub(crate) struct Fatal(pub(crate) Vec<u8>);

impl Fatal {
    pub(crate) fn new(parts: &[&[u8]]) -> Self {
        Self(parts.concat())
    }

    /// With the words for an error of the system.
    pub(crate) fn system(what: &str, error: &io::Error) -> Self {
        Self::new(&[what.as_bytes(), b": ", words::of(error).as_bytes()])
    }
}

impl Say {
    /// What concerns one connection, with `-v`.
    pub(crate) fn detail(self, line: impl AsRef<[u8]>) {
        self.at(Verbosity::All, line.as_ref());
    }

    /// What somebody should see.
    pub(crate) fn warn(self, line: impl AsRef<[u8]>) {
        self.at(Verbosity::Errors, line.as_ref());
    }

    /// Why the server ends.
    pub(crate) fn fatal(self, why: &Fatal) {
        self.warn(SAYS.fatal(&[&why.0]));
    }

    /// Whether [`Say::detail`] says anything.
    pub(crate) fn all(self) -> bool {
        self.0 >= Verbosity::All
    }

    /// Lines in pieces, in one call: no process's lines get between those of another.
    pub(crate) fn pieces(self, pieces: [&[u8]; 5]) {
        if self.all() {
            // A pipe takes up to PIPE_BUF octets whole or not at all, and a line of ours has less. Nobody can be told that it took none.
            let _ = io::stderr().write_vectored(&pieces.map(IoSlice::new));
        }
    }

    fn at(self, verbosity: Verbosity, line: &[u8]) {
        if self.0 >= verbosity {
            let _ = io::stderr().write_all(line);
        }
    }
}
