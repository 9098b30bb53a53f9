//! A scripted QMQP server: takes one message a connection until it is told to do otherwise, and keeps every complete one.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// What it does with each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Hears the whole message and says this.
    Answer(&'static str),
    /// Says this to whoever connects, and closes.
    Unasked(&'static str),
    /// Says this when the first octets are there, and hears the rest.
    Early(&'static str),
    /// Hears so many octets, and dies.
    Die(usize),
    /// Hears the whole message, says so many octets of the right answer, and dies.
    Cut(usize),
    /// Hears the whole message and says nothing, until the client leaves.
    Hang,
}

/// The right answer.
pub const TAKEN: &str = "23:Kok 1795313256 qp 18322,";

/// A complete message that it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Octets of all of it, netstrings included.
    pub octets: usize,
    /// The content, octet for octet.
    pub content: Vec<u8>,
    /// The sender.
    pub from: Vec<u8>,
    /// The recipients.
    pub to: Vec<Vec<u8>>,
    /// A whole `K` was said, and the client was there to hear it.
    pub acknowledged: bool,
}

#[derive(Debug)]
struct State {
    act: Act,
    messages: Vec<Message>,
    connections: usize,
    over: bool,
}

#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server. Ends when dropped.
#[derive(Debug)]
pub struct Qmqpd {
    shared: Shared,
    path: std::path::PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Qmqpd {
    /// Serves a unix socket made at `path`, open to everybody.
    ///
    /// # Panics
    /// When the socket cannot be made.
    #[must_use]
    pub fn unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let state = State { act: Act::Answer(TAKEN), messages: Vec::new(), connections: 0, over: false };
        let shared = Shared(Arc::new(Mutex::new(state)));
        let ours = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut children = Vec::new();
            for stream in listener.incoming() {
                let mut state = ours.lock();
                if state.over {
                    break;
                }
                state.connections += 1;
                drop(state);
                let (shared, stream) = (ours.clone(), stream.unwrap());
                children.push(std::thread::spawn(move || drop(serve(&shared, stream))));
            }
            for child in children {
                let _ = child.join();
            }
        });
        Self { shared, path: path.to_owned(), thread: Some(thread) }
    }

    /// What it does from now on.
    pub fn act(&self, act: Act) {
        self.shared.lock().act = act;
    }

    /// Every complete message so far.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.shared.lock().messages.clone()
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }
}

impl Drop for Qmqpd {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        // Somebody has to knock, or the end is never seen.
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(shared: &Shared, mut stream: UnixStream) -> io::Result<()> {
    let act = shared.lock().act;
    let mut heard = Vec::new();
    let answer = match act {
        Act::Unasked(text) => return stream.write_all(text.as_bytes()),
        Act::Die(most) => {
            let left = u64::try_from(most).unwrap_or(u64::MAX);
            return stream.take(left).read_to_end(&mut heard).map(drop);
        }
        Act::Answer(text) | Act::Early(text) => text,
        Act::Cut(most) => &TAKEN[..most],
        Act::Hang => "",
    };
    let mut piece = [0; 4096];
    let message = loop {
        let n = stream.read(&mut piece)?;
        if n == 0 {
            return Ok(());
        }
        if let (Act::Early(text), true) = (act, heard.is_empty()) {
            stream.write_all(text.as_bytes())?;
        }
        heard.extend_from_slice(&piece[..n]);
        if let Some(message) = parse(&heard) {
            break message;
        }
    };
    let mut state = shared.lock();
    let index = state.messages.len();
    state.messages.push(message);
    drop(state);
    if let Act::Early(_) = act {
        return Ok(());
    }
    stream.write_all(answer.as_bytes())?;
    let whole = answer
        .strip_prefix(|c: char| c.is_ascii_digit())
        .is_some_and(|rest| rest.contains(":K") && rest.ends_with(','));
    shared.lock().messages[index].acknowledged = whole;
    if act == Act::Hang {
        let _ = stream.read(&mut piece)?;
    }
    Ok(())
}

/// The message, when it is complete.
///
/// # Panics
/// When what came is no netstring of netstrings: nobody may send that.
fn parse(heard: &[u8]) -> Option<Message> {
    let (whole, rest) = netstring(heard)?;
    assert!(rest.is_empty(), "more than a message: {}", rest.escape_ascii());
    let mut inner = Vec::new();
    let mut rest = whole;
    while !rest.is_empty() {
        let (one, more) = netstring(rest).expect("a whole netstring inside");
        inner.push(one.to_vec());
        rest = more;
    }
    let mut inner = inner.into_iter();
    let (content, from) = (inner.next().expect("content"), inner.next().expect("a sender"));
    Some(Message { octets: heard.len(), content, from, to: inner.collect(), acknowledged: false })
}

fn netstring(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = octets.iter().position(|octet| *octet == b':')?;
    let length: usize = std::str::from_utf8(&octets[..colon]).unwrap().parse().expect("a length");
    let end = colon + 1 + length;
    let comma = octets.get(end)?;
    assert_eq!(*comma, b',', "a netstring ends in a comma");
    Some((&octets[colon + 1..end], &octets[end + 1..]))
}
