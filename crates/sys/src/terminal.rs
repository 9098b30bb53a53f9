//! A terminal, while a password is typed.

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// A terminal that shows nothing of what is typed, until this is dropped.
#[derive(Debug)]
pub struct Hidden<'f> {
    terminal: BorrowedFd<'f>,
    before: Termios,
}

impl<'f> Hidden<'f> {
    /// None where `terminal` is none.
    ///
    /// # Errors
    /// It is one, and can't be told to.
    pub fn begin(terminal: &'f impl AsFd) -> io::Result<Option<Self>> {
        let terminal = terminal.as_fd();
        let Ok(before) = tcgetattr(terminal) else { return Ok(None) };
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        hidden.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &hidden)?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}
