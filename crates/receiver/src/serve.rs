//! The loop: one thread, one epoll, many connections. Handoff keeps one open for each session, most of them idle.

use crate::lmtp::{Event, Receiver, Stored};
use crate::maildir::{Delivery, Maildir};
use gatepost_role::{Control, Phase, RoleError, Step};
use gatepost_sys::epoll::{Epoll, Until};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Tokens of the two descriptors that are not connections; connections count on from them, and no number comes twice.
const CONTROL: u64 = 0;
const LISTENER: u64 = 1;
/// Descriptors that are looked at between two waits.
const BATCH: usize = 64;
/// Octets that are read at once.
const READ: usize = 32 * 1024;
/// Reads from one connection before the others have their turn.
const TURN: usize = 8;
/// Octets of replies to make before they must be sent: commands wait for a peer that doesn't read.
const OUTPUT_MAX: usize = 4 * 1024;
/// Silence after which a connection is closed: longer than any session of handoff's lives by default.
const IDLE: Duration = Duration::from_secs(2 * 3600);
/// How often silence is looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// The socket and what listens on it.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    /// None once no new connections are taken.
    listener: Option<UnixListener>,
    /// New connections are waited for.
    accepting: bool,
    epoll: Epoll,
    hostname: String,
    maildir: Maildir,
    connections: BTreeMap<u64, Connection>,
    last: u64,
    most: usize,
    buffer: Box<[u8]>,
    swept: Instant,
}

impl Server {
    /// Makes the socket, in place of one that an earlier receiver left behind. `most`: connections at once.
    pub(crate) fn bind(path: PathBuf, hostname: String, maildir: Maildir, most: usize) -> Result<Self, RoleError> {
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(RoleError::system("remove the socket left behind")(e));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(RoleError::system("make the socket"))?;
        listener.set_nonblocking(true).map_err(RoleError::system("make the socket"))?;
        // Who gets here is for the directory to say; the jail's umask would leave handoff out.
        fs::set_permissions(&path, Permissions::from_mode(0o666))
            .map_err(RoleError::system("open the socket to others"))?;
        Ok(Self {
            path,
            listener: Some(listener),
            accepting: false,
            epoll: Epoll::new(BATCH).map_err(RoleError::system("make an epoll"))?,
            hostname,
            maildir,
            connections: BTreeMap::new(),
            last: LISTENER,
            most,
            buffer: vec![0; READ].into_boxed_slice(),
            swept: Instant::now(),
        })
    }

    /// Waits for `Go`, then serves until drained. The socket is gone afterwards.
    pub(crate) fn serve(mut self, mut control: Control) -> Result<(), RoleError> {
        let result = self.run(&mut control);
        let _ = fs::remove_file(&self.path);
        result
    }

    fn run(&mut self, control: &mut Control) -> Result<(), RoleError> {
        self.epoll.add(control.as_fd(), CONTROL).map_err(RoleError::system("watch the launcher"))?;
        let mut ready = Vec::new();
        while !(control.phase() == Phase::Draining && self.connections.is_empty()) {
            self.epoll.wait(Some(SWEEP), &mut ready).map_err(RoleError::system("wait for connections"))?;
            for token in &ready {
                match *token {
                    CONTROL => self.obey(control)?,
                    LISTENER => self.accept()?,
                    token => self.attend(token)?,
                }
            }
            self.sweep()?;
        }
        Ok(())
    }

    fn obey(&mut self, control: &mut Control) -> Result<(), RoleError> {
        match control.order()? {
            Step::Begin => {
                self.listen(true)?;
                control.ready()?;
            }
            Step::Drain => {
                self.listen(false)?;
                self.listener = None;
                let open: Vec<u64> = self.connections.keys().copied().collect();
                for token in open {
                    self.with(token, Receiver::drain)?;
                }
            }
            Step::Link(..) | Step::Special(_) | Step::Noted => {}
        }
        Ok(())
    }

    /// Begins or ceases to wait for new connections; those that nobody waits for queue in the socket's backlog.
    fn listen(&mut self, wanted: bool) -> Result<(), RoleError> {
        let Some(listener) = &self.listener else { return Ok(()) };
        match (self.accepting, wanted) {
            (false, true) => self.epoll.add(listener.as_fd(), LISTENER),
            (true, false) => self.epoll.remove(listener.as_fd()),
            _ => Ok(()),
        }
        .map_err(RoleError::system("watch the socket"))?;
        self.accepting = wanted;
        Ok(())
    }

    fn accept(&mut self) -> Result<(), RoleError> {
        while let (true, Some(listener)) = (self.accepting, &self.listener) {
            if self.connections.len() >= self.most {
                return self.listen(false);
            }
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream)?,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                // Out of descriptors or memory: what ends a connection makes room again.
                Err(_) if !self.connections.is_empty() => return self.listen(false),
                Err(e) => return Err(RoleError::system("take a connection")(e)),
            }
        }
        Ok(())
    }

    fn admit(&mut self, stream: UnixStream) -> Result<(), RoleError> {
        stream.set_nonblocking(true).map_err(RoleError::system("set up a connection"))?;
        self.last = self.last.saturating_add(1);
        self.epoll.add(stream.as_fd(), self.last).map_err(RoleError::system("watch a connection"))?;
        self.connections.insert(self.last, Connection::new(stream, &self.hostname));
        self.attend(self.last)
    }

    /// Goes on with one connection as far as it goes without waiting.
    fn attend(&mut self, token: u64) -> Result<(), RoleError> {
        // One that was closed in this round may still be reported in it.
        let Some(connection) = self.connections.get_mut(&token) else { return Ok(()) };
        let watching = RoleError::system("watch a connection");
        match connection.pump(&mut self.buffer, &mut self.maildir) {
            Some(until) if until == connection.until => Ok(()),
            Some(until) => {
                connection.until = until;
                self.epoll.change(connection.stream.as_fd(), token, until).map_err(watching)
            }
            None => {
                self.epoll.remove(connection.stream.as_fd()).map_err(watching)?;
                self.connections.remove(&token);
                self.listen(true)
            }
        }
    }

    fn with(&mut self, token: u64, act: fn(&mut Receiver)) -> Result<(), RoleError> {
        if let Some(connection) = self.connections.get_mut(&token) {
            act(&mut connection.receiver);
        }
        self.attend(token)
    }

    /// Closes what has been silent for too long.
    fn sweep(&mut self) -> Result<(), RoleError> {
        if self.swept.elapsed() < SWEEP {
            return Ok(());
        }
        self.swept = Instant::now();
        let silent: Vec<u64> =
            self.connections.iter().filter(|(_, c)| c.heard.elapsed() >= IDLE).map(|(token, _)| *token).collect();
        for token in silent {
            self.with(token, Receiver::timeout)?;
            // One that does not even read is not waited for.
            if let Some(connection) = self.connections.remove(&token) {
                self.epoll.remove(connection.stream.as_fd()).map_err(RoleError::system("watch a connection"))?;
                self.listen(true)?;
            }
        }
        Ok(())
    }
}

/// One peer.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    receiver: Receiver,
    /// What was read and waits for room in the output.
    rest: Vec<u8>,
    /// The message under way, or why it came to nothing.
    message: Option<Result<Delivery, Stored>>,
    /// What it is waited for.
    until: Until,
    heard: Instant,
}

impl Connection {
    fn new(stream: UnixStream, hostname: &str) -> Self {
        Self {
            stream,
            receiver: Receiver::new(hostname),
            rest: Vec::new(),
            message: None,
            until: Until::Readable,
            heard: Instant::now(),
        }
    }

    /// Reads, obeys and replies until something must be waited for; None: the connection is over.
    fn pump(&mut self, buffer: &mut [u8], maildir: &mut Maildir) -> Option<Until> {
        let mut turns = 0;
        loop {
            if !self.flush()? {
                return Some(Until::Writable);
            }
            if self.receiver.is_closed() {
                return None;
            }
            let rest = std::mem::take(&mut self.rest);
            if !rest.is_empty() {
                self.feed(&rest, maildir);
                continue;
            }
            if turns == TURN {
                return Some(Until::Readable);
            }
            turns += 1;
            match self.stream.read(buffer) {
                Ok(0) => return None,
                Ok(n) => {
                    self.heard = Instant::now();
                    self.feed(buffer.get(..n).unwrap_or_default(), maildir);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Some(Until::Readable),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends what is to be sent. False: there is more than the peer takes now. None: it is gone.
    fn flush(&mut self) -> Option<bool> {
        while !self.receiver.output().is_empty() {
            match self.stream.write(self.receiver.output()) {
                Ok(n) => self.receiver.sent(n),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Some(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(true)
    }

    /// Gives octets to the protocol and does what it says. What must wait for replies to be read is kept.
    fn feed(&mut self, input: &[u8], maildir: &mut Maildir) {
        let mut rest = input;
        while self.receiver.output().len() < OUTPUT_MAX {
            let (taken, event) = self.receiver.read(rest);
            rest = rest.get(taken..).unwrap_or_default();
            match event {
                Event::Starved => break,
                Event::Begin => {
                    let begun = self.receiver.envelope().map_or(Err(Stored::Failed), |e| maildir.begin(e));
                    self.receiver.answer(begun.as_ref().err().copied().unwrap_or(Stored::Done));
                    self.message = begun.ok().map(Ok);
                }
                Event::Content(octets) => self.write(octets),
                Event::End => {
                    let stored = self.commit(maildir);
                    self.receiver.answer(stored);
                }
                Event::Abandon => self.message = None,
                Event::Close => return,
            }
        }
        self.rest.extend_from_slice(rest);
    }

    /// After a failure the rest of the content is read for its end alone, and the file is gone already.
    fn write(&mut self, octets: &[u8]) {
        if let Some(Ok(delivery)) = &mut self.message
            && let Err(why) = delivery.write(octets)
        {
            self.message = Some(Err(why));
        }
    }

    fn commit(&mut self, maildir: &Maildir) -> Stored {
        match self.message.take() {
            Some(Ok(delivery)) => match maildir.commit(delivery) {
                Ok(name) => {
                    tracing::info!(file = name, "mail stored");
                    Stored::Done
                }
                Err(why) => why,
            },
            Some(Err(why)) => why,
            None => Stored::Failed,
        }
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
