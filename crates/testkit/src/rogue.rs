//! A scripted backend: a small SMTP or LMTP server that behaves until it is told at which stage to do what wrong, and
//! that keeps every complete message it got, acknowledged or not.

mod dialogue;
pub mod qmqpd;

pub(crate) use dialogue::path;

use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Which protocol it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// RFC 5321.
    Smtp,
    /// RFC 2033.
    Lmtp,
}

/// Where in a session it misbehaves, in place of the reply that is due there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The greeting.
    Greeting,
    /// The first EHLO or LHLO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// XCLIENT.
    Xclient,
    /// EHLO or LHLO after XCLIENT.
    HelloAgain,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, or the first BDAT.
    Data,
    /// Within the content, after its first octets.
    Content,
    /// The end of the content: the message is complete.
    End,
    /// RSET.
    Reset,
}

impl Stage {
    /// All of a session in clear text, in its order.
    pub const ALL: [Stage; 10] = [
        Stage::Greeting,
        Stage::Hello,
        Stage::Xclient,
        Stage::HelloAgain,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Content,
        Stage::End,
        Stage::Reset,
    ];
}

/// What it does wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Sends these octets instead, whatever they are.
    Answer(&'static str),
    /// Closes the connection without a word.
    Close,
    /// Sends so many octets of the right reply, then closes.
    Cut(usize),
    /// Says nothing and keeps the connection open.
    Hang,
    /// Sends the right reply octet by octet, with such a pause before each.
    Drip(Duration),
    /// Sends octets without an end and without a line end.
    Flood,
}

/// A complete message that it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The client's address: XCLIENT's, else the connection's; empty for a unix socket.
    pub peer: String,
    /// The reverse-path, without brackets.
    pub from: String,
    /// The forward-paths that it had accepted, without brackets.
    pub to: Vec<String>,
    /// The content, dots unstuffed, bad UTF-8 replaced.
    pub content: String,
    /// Its reply was a whole 2yz; whether that could be sent to the end is another matter.
    pub acknowledged: bool,
}

#[derive(Debug)]
struct State {
    speaks: Speaks,
    extensions: Vec<String>,
    deeds: BTreeMap<Stage, Deed>,
    taken: Vec<Taken>,
    lines: Vec<String>,
    connections: usize,
    streams: Vec<Stream>,
    over: bool,
    tls: Option<(Tls, Arc<ServerConfig>)>,
}

/// When it speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// After STARTTLS, which it lists.
    StartTls,
    /// From the first octet, or from the first behind a PROXY v2 header.
    Implicit,
}

/// The state as its threads share it. A thread that panicked has already said why: the lock stays usable.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running backend. Ends when dropped.
#[derive(Debug)]
pub struct Mta {
    shared: Shared,
    thread: Option<JoinHandle<()>>,
}

impl Mta {
    /// Serves a TCP listener, such as [`crate::host::Host::listen`] gives.
    ///
    /// # Panics
    /// When the listener takes no options.
    #[must_use]
    pub fn tcp(listener: TcpListener, speaks: Speaks) -> Mta {
        listener.set_nonblocking(true).unwrap();
        Self::serve(speaks, move || {
            let (stream, peer) = listener.accept()?;
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
            Ok((Stream::Tcp(stream), peer.ip().to_string()))
        })
    }

    /// Serves a unix socket made at `path`, open to everybody.
    ///
    /// # Panics
    /// When the socket cannot be made.
    #[must_use]
    pub fn unix(path: &Path, speaks: Speaks) -> Mta {
        let listener = UnixListener::bind(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self::serve(speaks, move || {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(false)?;
            Ok((Stream::Unix(stream), String::new()))
        })
    }

    fn serve(speaks: Speaks, mut accept: impl FnMut() -> io::Result<(Stream, String)> + Send + 'static) -> Mta {
        let mut extensions = vec!["PIPELINING".to_owned(), "8BITMIME".to_owned(), "ENHANCEDSTATUSCODES".to_owned()];
        if speaks == Speaks::Smtp {
            extensions.push("SIZE 52428800".to_owned());
            extensions.push("XCLIENT NAME ADDR PORT PROTO HELO".to_owned());
        }
        let shared = Shared(Arc::new(Mutex::new(State {
            speaks,
            extensions,
            deeds: BTreeMap::new(),
            taken: Vec::new(),
            lines: Vec::new(),
            connections: 0,
            streams: Vec::new(),
            over: false,
            tls: None,
        })));
        let ours = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut children = Vec::new();
            while !ours.lock().over {
                match accept() {
                    Ok((stream, peer)) => {
                        let mut state = ours.lock();
                        state.connections += 1;
                        state.streams.retain(Stream::is_open);
                        state.streams.extend(stream.try_clone());
                        let shared = ours.clone();
                        children.push(std::thread::spawn(move || dialogue::serve(&shared, stream, peer)));
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::park_timeout(Duration::from_millis(2)),
                    Err(e) => panic!("accept: {e}"),
                }
            }
            for stream in &ours.lock().streams {
                stream.shutdown();
            }
            for child in children {
                let _ = child.join();
            }
        });
        Mta { shared, thread: Some(thread) }
    }

    /// From now on it speaks TLS on new connections.
    pub fn secure(&self, tls: Tls, config: Arc<ServerConfig>) {
        self.shared.lock().tls = Some((tls, config));
    }

    /// From now on it does `deed` at `stage`, each time, on open connections too.
    pub fn misbehave(&self, stage: Stage, deed: Deed) {
        self.shared.lock().deeds.insert(stage, deed);
    }

    /// From now on it behaves.
    pub fn behave(&self) {
        self.shared.lock().deeds.clear();
    }

    /// Closes all open connections at once, whatever is under way on them.
    pub fn hang_up(&self) {
        self.shared.lock().streams.drain(..).for_each(|stream| stream.shutdown());
    }

    /// The EHLO keywords it offers from now on.
    pub fn offer(&self, extensions: &[&str]) {
        self.shared.lock().extensions = extensions.iter().map(|&line| line.to_owned()).collect();
    }

    /// Every complete message so far, in the order in which they were complete.
    #[must_use]
    pub fn taken(&self) -> Vec<Taken> {
        self.shared.lock().taken.clone()
    }

    /// Complete messages so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.lock().taken.len()
    }

    /// Every command line so far, of all connections; one that came by TLS begins with `tls: `.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.shared.lock().lines.clone()
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }
}

impl Drop for Mta {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if std::thread::panicking() {
            let lines = self.lines();
            let last = &lines[lines.len().saturating_sub(20)..];
            eprintln!("--- the scripted backend was told last:\n{}\n---", last.join("\n"));
        }
    }
}

/// A connection of either kind.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn try_clone(&self) -> io::Result<Stream> {
        Ok(match self {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
        })
    }

    fn shutdown(&self) {
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    fn is_open(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().is_ok(),
            Stream::Unix(stream) => stream.peer_addr().is_ok(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(octets),
            Stream::Unix(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
