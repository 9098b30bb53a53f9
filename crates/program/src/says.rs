//! Descriptor 2 of a program that is run for a client: a pipe, and what of it is for the log.

use gatepost_sys::fds;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd};

/// Octets and lines that are told of what one program says.
const SAID_MAX: usize = 2048;
/// See [`Says::lines`].
pub const LINES_MAX: usize = 8;

/// A descriptor 2 that is not ours: what a program leaves behind may live for long, and whoever has our descriptor 2 keeps the observer
/// from its end.
#[derive(Debug)]
pub struct Says {
    heard: PipeReader,
    stderr: PipeWriter,
}

impl Says {
    /// One for one program.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new() -> io::Result<Self> {
        let (heard, stderr) = io::pipe()?;
        // What finds it full is lost, and nobody waits.
        fds::set_nonblocking(heard.as_fd(), true)?;
        fds::set_nonblocking(stderr.as_fd(), true)?;
        Ok(Self { heard, stderr })
    }

    /// The program's.
    #[must_use]
    pub fn stderr(&self) -> BorrowedFd<'_> {
        self.stderr.as_fd()
    }

    /// What is in the pipe now, as far as it is told: [`LINES_MAX`] lines with something in them.
    #[must_use]
    pub fn lines(mut self) -> Vec<String> {
        let mut text = [0; SAID_MAX];
        let length = self.heard.read(&mut text).unwrap_or_default();
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        text.lines().filter(|line| !line.trim().is_empty()).take(LINES_MAX).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn p14_a_program_that_says_much_is_told_in_eight_lines_and_waits_for_nobody() {
        let says = Says::new().unwrap();
        let mut program = says.stderr.try_clone().unwrap();
        let written = (0..100_000).take_while(|n| program.write_all(format!("\n{n}\n").as_bytes()).is_ok()).count();
        assert!(written < 100_000, "the pipe is full");
        assert_eq!(says.lines(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
        assert_eq!(Says::new().unwrap().lines(), [""; 0]);
        let says = Says::new().unwrap();
        (&says.stderr).write_all(&[b'x'; SAID_MAX + 1]).unwrap();
        assert_eq!(says.lines(), ["x".repeat(SAID_MAX)]);
    }
}
