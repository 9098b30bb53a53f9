//! The client's line: two descriptors, in clear or in TLS. Blocking, and never longer than it is told.

use gatepost_smtp::envelope::Tls;
use gatepost_sys::wait::{self, Want};
use gatepost_sys::{fds, net};
use gatepost_tls::{ServerConfig, ServerConnection};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Octets written at once to what is no socket: as many as a pipe that is ready takes without blocking, pipe(7).
const PIPE_TAKES: usize = 4096;

/// Octets of the longest file of replies.
const TRANSCRIPT_MAX: u64 = 1 << 20;

/// Where the client is heard and where it is spoken to: descriptors 0 and 1, sockets or pipes.
#[derive(Debug)]
pub(crate) struct Ends {
    input: File,
    output: File,
    /// Octets that may be written at once when the output is ready.
    takes: usize,
}

impl Ends {
    /// A socket belongs to this connection alone, so it may be made non-blocking; a pipe may be shared with others.
    pub(crate) fn new(input: OwnedFd, output: OwnedFd) -> Self {
        let mut takes = PIPE_TAKES;
        for fd in [&input, &output] {
            // What belongs together is written together: waiting for more would only stall the client (Nagle).
            if net::set_nodelay(fd).is_ok() {
                takes = usize::MAX;
            }
        }
        if takes == usize::MAX {
            let made = [&input, &output].map(|fd| fds::set_nonblocking(fd.as_fd(), true));
            if made.iter().any(Result::is_err) {
                takes = PIPE_TAKES;
            }
        }
        Self { input: input.into(), output: output.into(), takes }
    }

    /// Both descriptors.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.input.as_fd(), self.output.as_fd()]
    }

    /// Octets that may be written, where replies go into a file: somebody tries it out by hand.
    pub(crate) fn file_size(&self) -> u64 {
        if fds::is_file(&self.output) { TRANSCRIPT_MAX } else { 0 }
    }

    fn wait_readable(&self, deadline: Instant) -> io::Result<()> {
        in_time((self.input.as_fd(), Want::Read), deadline)
    }

    fn wait_writable(&self, deadline: Instant) -> io::Result<()> {
        in_time((self.output.as_fd(), Want::Write), deadline)
    }
}

/// Waits for one descriptor; TimedOut at `deadline`.
fn in_time(wanted: (BorrowedFd<'_>, Want), deadline: Instant) -> io::Result<()> {
    let ready = wait::ready(&[wanted], Some(deadline))?;
    if ready.contains(&true) { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
}

/// WouldBlock and Interrupted mean: wait again.
fn again(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A line to the client.
#[derive(Debug)]
pub(crate) struct Line {
    ends: Ends,
    tls: Option<Box<ServerConnection>>,
}

impl Line {
    pub(crate) fn new(ends: Ends) -> Self {
        Self { ends, tls: None }
    }

    /// Reads some octets. Zero at the end of the client's side; a TLS line that is cut off is an error.
    ///
    /// # Errors
    /// TimedOut at `deadline`.
    pub(crate) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            let read = match &mut self.tls {
                None => {
                    self.ends.wait_readable(deadline)?;
                    self.ends.input.read(buffer)
                }
                Some(tls) => match tls.reader().read(buffer) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        self.ends.take_in(tls, deadline)?;
                        continue;
                    }
                    read => read,
                },
            };
            match read {
                Err(e) if again(&e) => {}
                read => return read,
            }
        }
    }

    /// Whether the client has something to say within `time`, before it was greeted.
    pub(crate) fn speaks_within(&self, time: Duration) -> bool {
        self.ends.wait_readable(later(time)).is_ok()
    }

    /// Writes all of `octets`.
    ///
    /// # Errors
    /// TimedOut when the client has not taken any for `patience`.
    pub(crate) fn write(&mut self, octets: &[u8], patience: Duration) -> io::Result<()> {
        match &mut self.tls {
            None => self.ends.write_all(octets, patience),
            Some(tls) => {
                tls.writer().write_all(octets)?;
                self.ends.give_out(tls, patience)
            }
        }
    }

    /// TLS from here on, negotiated here. Must hold no octet that the client sent before.
    ///
    /// # Errors
    /// The handshake failed, or `deadline` passed.
    pub(crate) fn start_tls(&mut self, config: Arc<ServerConfig>, deadline: Instant) -> io::Result<Tls> {
        let mut tls = Box::new(ServerConnection::new(config).map_err(io::Error::other)?);
        while tls.is_handshaking() {
            self.ends.give_out(&mut tls, deadline.saturating_duration_since(Instant::now()))?;
            if tls.is_handshaking() {
                self.ends.take_in(&mut tls, deadline)?;
            }
        }
        self.ends.give_out(&mut tls, deadline.saturating_duration_since(Instant::now()))?;
        let version = tls.protocol_version().map(u16::from).unwrap_or_default();
        let suite = tls.negotiated_cipher_suite().map(|s| u16::from(s.suite())).unwrap_or_default();
        self.tls = Some(tls);
        Ok(Tls { version, suite })
    }

    /// TLS from here on, spoken by the superserver behind these ends.
    pub(crate) fn move_to(&mut self, ends: Ends) {
        self.ends = ends;
    }

    /// Tells the client that no more will come.
    pub(crate) fn finish(&mut self, patience: Duration) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.ends.give_out(tls, patience);
        }
    }
}

impl Ends {
    fn write_all(&mut self, mut octets: &[u8], patience: Duration) -> io::Result<()> {
        while !octets.is_empty() {
            self.wait_writable(later(patience))?;
            let (now, _) = octets.split_at_checked(self.takes).unwrap_or((octets, &[]));
            match self.output.write(now) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => octets = octets.get(written..).unwrap_or_default(),
                Err(e) if again(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Reads what the client sent and has TLS look at it.
    fn take_in(&mut self, tls: &mut ServerConnection, deadline: Instant) -> io::Result<()> {
        self.wait_readable(deadline)?;
        match tls.read_tls(&mut self.input) {
            Ok(0) if tls.is_handshaking() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(e) if again(&e) => return Ok(()),
            Err(e) => return Err(e),
        }
        let looked = tls.process_new_packets().map(drop);
        if looked.is_err() {
            // The alert that says why.
            let _ = self.give_out(tls, Duration::from_secs(1));
        }
        looked.map_err(io::Error::other)
    }

    /// Sends what TLS holds.
    fn give_out(&mut self, tls: &mut ServerConnection, patience: Duration) -> io::Result<()> {
        while tls.wants_write() {
            self.wait_writable(later(patience))?;
            let mut piece = Piece { output: &mut self.output, takes: self.takes };
            match tls.write_tls(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if again(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// An output that takes no more at once than it takes without blocking.
struct Piece<'a> {
    output: &'a mut File,
    takes: usize,
}

impl Write for Piece<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.output.write(octets.get(..self.takes).unwrap_or(octets))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The moment `wait` from now.
pub(super) fn later(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or(now)
}
