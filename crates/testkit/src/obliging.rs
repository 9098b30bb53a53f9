//! The server behind the dialogues (see their README): it judges by local part and content, lists what it is told to
//! list, and keeps every complete message it got.

use crate::mta::DOMAIN;
use crate::rogue::path;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// EHLO keywords of a server that supports everything that we can offer, CHUNKING excepted: content comes by DATA.
pub const EVERYTHING: &[&str] =
    &["PIPELINING", "SIZE 1000000000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"];

/// A complete message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The reverse-path, without brackets.
    pub from: String,
    /// The forward-paths, without brackets.
    pub to: Vec<String>,
    /// The content, dots unstuffed.
    pub content: Vec<u8>,
    /// The reply to it was 250.
    pub accepted: bool,
}

#[derive(Debug)]
struct State {
    extensions: Vec<String>,
    messages: Vec<Message>,
    over: bool,
}

/// A running server. Ends when dropped; connections that are open then end with their clients.
#[derive(Debug)]
pub struct Obliging {
    state: Arc<Mutex<State>>,
    socket: std::path::PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Obliging {
    /// Serves a unix socket made at `path`, open to everybody.
    ///
    /// # Panics
    /// When the socket cannot be made.
    #[must_use]
    pub fn unix(path: &Path, extensions: &[&str]) -> Obliging {
        let listener = UnixListener::bind(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let extensions = extensions.iter().map(|&line| line.to_owned()).collect();
        let state = Arc::new(Mutex::new(State { extensions, messages: Vec::new(), over: false }));
        let ours = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if lock(&ours).over {
                    break;
                }
                let (Ok(stream), state) = (stream, Arc::clone(&ours)) else { continue };
                // A panic ends that connection alone.
                std::thread::spawn(move || Dialogue::serve(&state, stream));
            }
        });
        Obliging { state, socket: path.to_owned(), thread: Some(thread) }
    }

    /// Complete messages so far, accepted or not.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.state).messages.len()
    }

    /// The complete messages from number `from` on, in the order in which they were complete.
    #[must_use]
    pub fn messages(&self, from: usize) -> Vec<Message> {
        lock(&self.state).messages[from..].to_vec()
    }
}

impl Drop for Obliging {
    fn drop(&mut self) {
        lock(&self.state).over = true;
        // Wakes its accept.
        let woken = UnixStream::connect(&self.socket).is_ok();
        if let (true, Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// A thread that panicked has already said why: the lock stays usable.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Dialogue<'s> {
    state: &'s Mutex<State>,
    reader: BufReader<UnixStream>,
    stream: UnixStream,
    from: Option<String>,
    to: Vec<String>,
    chunks: Vec<u8>,
}

impl Dialogue<'_> {
    fn serve(state: &Mutex<State>, stream: UnixStream) {
        let Ok(reader) = stream.try_clone() else { return };
        let (from, to, chunks) = (None, Vec::new(), Vec::new());
        let mut dialogue = Dialogue { state, reader: BufReader::new(reader), stream, from, to, chunks };
        let _ = dialogue.run();
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\r\n").as_bytes())
    }

    fn run(&mut self) -> io::Result<()> {
        self.say("220 backend.test ESMTP")?;
        loop {
            let line = self.line()?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => self.ehlo()?,
                "MAIL" => {
                    self.from = Some(path(&line));
                    self.say("250 2.1.0 Ok")?;
                }
                "RCPT" => self.rcpt(path(&line))?,
                "DATA" if self.to.is_empty() => self.say("503 5.5.1 RCPT first")?,
                "DATA" => self.data()?,
                "BDAT" => self.bdat(&line)?,
                "RSET" => {
                    self.reset();
                    self.say("250 2.0.0 Ok")?;
                }
                "QUIT" => return self.say("221 2.0.0 Bye"),
                _ => self.say("502 5.5.2 Unknown")?,
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut octets = Vec::new();
        self.reader.read_until(b'\n', &mut octets)?;
        match octets.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn ehlo(&mut self) -> io::Result<()> {
        self.reset();
        let extensions = lock(self.state).extensions.clone();
        let mut said = String::from("250-backend.test");
        for line in extensions {
            said.push_str("\r\n250-");
            said.push_str(&line);
        }
        let last = said.rfind("250-").unwrap_or_default();
        said.replace_range(last + 3..last + 4, " ");
        self.say(&said)
    }

    fn rcpt(&mut self, to: String) -> io::Result<()> {
        let judgement = match to.rsplit_once('@') {
            _ if self.from.as_deref() == Some("bad@client.test") => "550 5.7.1 Sender refused",
            None if to.eq_ignore_ascii_case("postmaster") => "250 2.1.5 Ok",
            Some((local, domain)) if domain.eq_ignore_ascii_case(DOMAIN) => match local {
                _ if local.starts_with("no") => "550 5.1.1 No such user",
                _ if local.starts_with("later") => "451 4.3.0 Later",
                _ if local.starts_with("many") => "452 4.5.3 Too many",
                _ if local.starts_with("bye") => "421 4.3.2 Closing",
                _ => "250 2.1.5 Ok",
            },
            _ => "550 5.7.1 Relay access denied",
        };
        if judgement.starts_with('2') {
            self.to.push(to);
        }
        self.say(judgement)
    }

    fn data(&mut self) -> io::Result<()> {
        self.say("354 Go")?;
        let mut content = Vec::new();
        loop {
            let before = content.len();
            // Lines end with CRLF and with nothing else.
            loop {
                if self.reader.read_until(b'\n', &mut content)? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                if content.ends_with(b"\r\n") {
                    break;
                }
            }
            if content[before..] == *b".\r\n" {
                content.truncate(before);
                return self.complete(content);
            }
            if content.get(before) == Some(&b'.') {
                content.remove(before);
            }
        }
    }

    fn bdat(&mut self, line: &str) -> io::Result<()> {
        let mut words = line.split(' ').skip(1);
        let length: usize = words.next().and_then(|word| word.parse().ok()).ok_or(ErrorKind::InvalidData)?;
        let before = self.chunks.len();
        self.chunks.resize(before + length, 0);
        self.reader.read_exact(&mut self.chunks[before..])?;
        if words.next().is_some_and(|word| word.eq_ignore_ascii_case("LAST")) {
            let content = std::mem::take(&mut self.chunks);
            return self.complete(content);
        }
        self.say("250 2.0.0 Chunk")
    }

    fn complete(&mut self, content: Vec<u8>) -> io::Result<()> {
        let says = |word: &[u8]| content.split(|octet| *octet == b'\n').any(|line| line == word);
        let judgement = match () {
            () if says(b"refuse\r") => "554 5.6.0 Refused",
            () if says(b"defer\r") => "451 4.3.0 Later",
            () => "250 2.0.0 Taken",
        };
        let accepted = judgement.starts_with('2');
        let (from, to) = (self.from.take().unwrap_or_default(), std::mem::take(&mut self.to));
        lock(self.state).messages.push(Message { from, to, content, accepted });
        self.reset();
        self.say(judgement)
    }

    fn reset(&mut self) {
        self.from = None;
        self.to.clear();
        self.chunks.clear();
    }
}
