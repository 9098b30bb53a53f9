//! Running the programs that a mail admin names: queue programs, recipient checks, plugins, password checkers.
//!
//! They run outside the jail, with the ids, environment and working directory of the process that was started, and with
//! limits of their own ([`Inherited`]): set-id files work, and a queue program may need the memory that a session must not
//! have. What they are told is decided elsewhere; here it is seen to that none of them can keep us for ever, reach the
//! client's connection, or find an envelope complete that nobody committed.
//!
//! | program | its descriptors | its time |
//! |---|---|---|
//! | [`QueueProgram`] | 0 message, 1 envelope, 4 and 6 custom error | ours to wait, never to kill |
//! | [`run_check`] | 0 and 1 nothing | killed when over |
//! | [`run_plugin`] | 0 nothing, 1 what it says | killed when over |
//! | [`check_password`] | 0 and 1 nothing, 3 the name and password | killed when over |
//!
//! The calling process must have one thread.
#![forbid(unsafe_code)]

mod check;
mod queue;
mod says;
pub mod softlimit;
mod text;

pub use check::{Ended, Plugin, PluginCommand, check_password, run_check, run_plugin};
pub use gatepost_sys::limits::Inherited;
pub use gatepost_sys::process::End;
pub use queue::{Finished, Patience, QueueProgram, Verdict};
pub use says::{LINES_MAX, Says};

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

/// What a program finds around itself.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Its whole environment: `NAME=value`.
    pub env: &'a [CString],
    /// Its working directory: the qmail home.
    pub directory: &'a CStr,
    /// Its limits.
    pub limits: &'a Inherited,
    /// Its descriptor 2; None: ours.
    pub stderr: Option<BorrowedFd<'a>>,
}

impl<'a> Surroundings<'a> {
    /// The value of `NAME=`, given with its equals sign.
    fn variable(&self, name: &str) -> Option<&'a [u8]> {
        self.env.iter().find_map(|entry| entry.to_bytes().strip_prefix(name.as_bytes()))
    }

    /// A descriptor plan, with descriptor 2 in it where that is not ours.
    fn plan(&self, fds: &[(i32, BorrowedFd<'a>)]) -> Vec<(i32, BorrowedFd<'a>)> {
        fds.iter().copied().chain(self.stderr.map(|fd| (2, fd))).collect()
    }
}
