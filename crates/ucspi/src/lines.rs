//! Lines that every program of that family writes to standard error.

use crate::words;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// A program's voice: each of its lines begins with its name.
#[derive(Debug, Clone, Copy)]
pub struct Says {
    program: &'static str,
}

/// The octets of an argument or a path.
#[must_use]
pub fn raw(text: &OsStr) -> &[u8] {
    text.as_bytes()
}

impl Says {
    /// Of the program with this name.
    #[must_use]
    pub const fn of(program: &'static str) -> Self {
        Self { program }
    }

    /// `PROGRAM: …`, these parts together.
    #[must_use]
    pub fn line(&self, parts: &[&[u8]]) -> Vec<u8> {
        [self.program.as_bytes(), b": ", &parts.concat(), b"\n"].concat()
    }

    /// `PROGRAM: fatal: …`.
    #[must_use]
    pub fn fatal(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.line(&[b"fatal: ", &parts.concat()])
    }

    /// `PROGRAM: fatal: …: ` and the words for the error.
    #[must_use]
    pub fn failed(&self, parts: &[&[u8]], error: &io::Error) -> Vec<u8> {
        self.fatal(&[&parts.concat(), b": ", words::of(error).as_bytes()])
    }

    /// `PROGRAM: warning: …`.
    #[must_use]
    pub fn warning(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.line(&[b"warning: ", &parts.concat()])
    }

    /// `PROGRAM: usage: PROGRAM …`.
    #[must_use]
    pub fn usage(&self, arguments: &str) -> Vec<u8> {
        self.line(&[b"usage: ", self.program.as_bytes(), b" ", arguments.as_bytes()])
    }
}
