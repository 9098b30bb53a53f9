//! The client of a process that inetd, tcpserver or systemd has started: descriptors 0 and 1.

use gatepost_sys::fds;
use gatepost_sys::wait::{self, Want};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Longest wait for a client that does not read.
const LAST_REPLY_TIME: Duration = Duration::from_secs(1);

/// The client's descriptors.
#[derive(Debug)]
pub struct Client {
    /// Descriptor 0.
    pub input: File,
    /// Descriptor 1.
    pub output: File,
    /// Descriptor 2 is the client too, as under inetd: nothing may be written there.
    pub hears_stderr: bool,
}

impl Client {
    /// Takes both, once.
    ///
    /// # Errors
    /// EBADF when one of them is not open.
    pub fn take() -> io::Result<Self> {
        let (input, output) = (fds::inherited(0)?, fds::inherited(1)?);
        let stderr = io::stderr();
        let hears_stderr = [&input, &output].iter().any(|fd| fds::same_file(stderr.as_fd(), fd.as_fd()));
        Ok(Self { input: input.into(), output: output.into(), hears_stderr })
    }
}

/// A last reply in clear, by whoever is left to say it, if there is room for it. A session may have left a pipe behind that is
/// full and that nobody reads.
pub fn last_reply(client: &mut File, lines: &[u8]) {
    let until = Instant::now().checked_add(LAST_REPLY_TIME);
    if wait::ready(&[(client.as_fd(), Want::Write)], until).is_ok_and(|ready| ready.contains(&true)) {
        let _ = client.write_all(lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn p3_a_session_that_dies_behind_a_full_pipe_does_not_hold_the_parent() {
        let (_nobody_reads, full) = io::pipe().unwrap();
        let mut full = File::from(std::os::fd::OwnedFd::from(full));
        fds::set_nonblocking(full.as_fd(), true).unwrap();
        while full.write(&[b'x'; 4096]).is_ok() {}
        fds::set_nonblocking(full.as_fd(), false).unwrap();
        let (done, told) = mpsc::channel();
        std::thread::spawn(move || {
            last_reply(&mut full, b"421\r\n");
            done.send(()).unwrap();
        });
        told.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}
