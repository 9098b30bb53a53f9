//! One connection of the scripted backend.

use super::{Deed, Shared, Speaks, Stage, Stream, Taken, Tls};
use crate::mta::DOMAIN;
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};

/// The octets of content after which the stage "in the midst of it" begins.
const FIRST: usize = 64;

pub(super) fn serve(shared: &Shared, stream: Stream, peer: String) {
    let Ok(socket) = stream.try_clone() else { return };
    let mut dialogue = Dialogue {
        shared,
        reader: BufReader::new(Wire::Clear(stream)),
        socket,
        peer,
        identified: false,
        from: None,
        to: Vec::new(),
        chunks: Vec::new(),
    };
    // Any error, ours on purpose or the peer's, ends the connection and nothing else.
    let _ = dialogue.run();
    dialogue.socket.shutdown();
}

/// A connection, in clear text or not.
enum Wire {
    Clear(Stream),
    Tls(Box<StreamOwned<ServerConnection, Stream>>),
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Clear(stream) => stream.read(into),
            Wire::Tls(stream) => stream.read(into),
        }
    }
}

/// A PROXY v2 header without its addresses.
const PROXY: usize = 16;

struct Dialogue<'s> {
    shared: &'s Shared,
    reader: BufReader<Wire>,
    socket: Stream,
    peer: String,
    identified: bool,
    from: Option<String>,
    to: Vec<String>,
    chunks: Vec<u8>,
}

impl Dialogue<'_> {
    fn run(&mut self) -> io::Result<()> {
        if self.tls() == Some(Tls::Implicit) {
            self.proxy_header()?;
            self.secure()?;
        }
        self.reply(Stage::Greeting, "220 backend.test ESMTP\r\n")?;
        loop {
            let line = self.line()?;
            let mark = if self.is_secure() { "tls: " } else { "" };
            self.shared.lock().lines.push(format!("{mark}{line}"));
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" | "LHLO" | "HELO" => self.hello()?,
                "STARTTLS" if self.tls() == Some(Tls::StartTls) => self.starttls()?,
                "XCLIENT" => self.xclient(&line)?,
                "MAIL" => {
                    self.from = Some(path(&line));
                    self.reply(Stage::Mail, "250 2.1.0 Ok\r\n")?;
                }
                "RCPT" => self.rcpt(&line)?,
                "DATA" => self.data()?,
                "BDAT" => self.bdat(&line)?,
                "RSET" => {
                    self.end_transaction();
                    self.reply(Stage::Reset, "250 2.0.0 Ok\r\n")?;
                }
                "NOOP" => self.write(b"250 2.0.0 Ok\r\n")?,
                "QUIT" => return self.write(b"221 2.0.0 Bye\r\n"),
                _ => self.write(b"502 5.5.2 Unknown\r\n")?,
            }
        }
    }

    fn tls(&self) -> Option<Tls> {
        self.shared.lock().tls.as_ref().map(|(tls, _)| *tls)
    }

    fn is_secure(&self) -> bool {
        matches!(self.reader.get_ref(), Wire::Tls(_))
    }

    /// Notes a PROXY v2 header, if there is one, as `PROXY` and its octets behind the signature.
    fn proxy_header(&mut self) -> io::Result<()> {
        if self.reader.fill_buf()?.first() != Some(&b'\r') {
            return Ok(());
        }
        let mut header = vec![0; PROXY];
        self.reader.read_exact(&mut header)?;
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        header.resize(PROXY + length, 0);
        self.reader.read_exact(&mut header[PROXY..])?;
        let hex: String = header[12..].iter().map(|octet| format!("{octet:02x}")).collect();
        self.shared.lock().lines.push(format!("PROXY {hex}"));
        Ok(())
    }

    fn starttls(&mut self) -> io::Result<()> {
        let refused = match self.shared.lock().deeds.get(&Stage::StartTls) {
            Some(Deed::Answer(text)) => !text.starts_with("220"),
            _ => false,
        };
        self.reply(Stage::StartTls, "220 2.0.0 Go\r\n")?;
        if refused { Ok(()) } else { self.secure() }
    }

    /// Changes to TLS, and forgets what was before (RFC 3207 §4.2).
    fn secure(&mut self) -> io::Result<()> {
        let Some((_, config)) = self.shared.lock().tls.clone() else { return Ok(()) };
        let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut hello = self.reader.buffer();
        while !hello.is_empty() {
            connection.read_tls(&mut hello)?;
        }
        let mut stream = StreamOwned::new(connection, self.socket.try_clone()?);
        stream.conn.process_new_packets().map_err(io::Error::other)?;
        stream.flush()?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        self.reader = BufReader::new(Wire::Tls(Box::new(stream)));
        self.end_transaction();
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self.reader.get_mut() {
            Wire::Clear(stream) => stream.write_all(octets),
            Wire::Tls(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut octets = Vec::new();
        self.reader.read_until(b'\n', &mut octets)?;
        if !octets.ends_with(b"\r\n") {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        octets.truncate(octets.len() - 2);
        Ok(String::from_utf8_lossy(&octets).into_owned())
    }

    /// Does the stage's deed, or gives the reply that is due.
    fn reply(&mut self, stage: Stage, due: &str) -> io::Result<()> {
        let deed = self.shared.lock().deeds.get(&stage).cloned();
        match deed {
            None => self.write(due.as_bytes()),
            Some(Deed::Answer(other)) => self.write(other.as_bytes()),
            Some(Deed::Close) => Err(ErrorKind::ConnectionAborted.into()),
            Some(Deed::Cut(length)) => {
                self.write(&due.as_bytes()[..length.min(due.len())])?;
                Err(ErrorKind::ConnectionAborted.into())
            }
            Some(Deed::Hang) => self.hang(),
            Some(Deed::Drip(pause)) => due.as_bytes().iter().try_for_each(|octet| {
                std::thread::park_timeout(pause);
                self.write(&[*octet])
            }),
            Some(Deed::Flood) => loop {
                self.write(&[b'2'; 4096])?;
            },
        }
    }

    /// Reads and forgets until the peer has had enough.
    fn hang(&mut self) -> io::Result<()> {
        while self.reader.read(&mut [0; 4096])? > 0 {}
        Err(ErrorKind::ConnectionAborted.into())
    }

    fn hello(&mut self) -> io::Result<()> {
        self.end_transaction();
        let mut extensions = self.shared.lock().extensions.clone();
        if self.tls() == Some(Tls::StartTls) && !self.is_secure() {
            extensions.push("STARTTLS".to_owned());
        }
        // XCLIENT is offered until it has been used.
        let offered = extensions.iter().filter(|line| !(self.identified && line.starts_with("XCLIENT")));
        let lines: Vec<&str> = std::iter::once("backend.test").chain(offered.map(String::as_str)).collect();
        let mut due = String::new();
        for (number, line) in lines.iter().enumerate() {
            let mark = if number + 1 == lines.len() { ' ' } else { '-' };
            due.push_str(&format!("250{mark}{line}\r\n"));
        }
        self.reply(if self.identified { Stage::HelloAgain } else { Stage::Hello }, &due)
    }

    fn xclient(&mut self, line: &str) -> io::Result<()> {
        let address = line.split(' ').find_map(|word| word.strip_prefix("ADDR="));
        self.peer = address.unwrap_or_default().trim_start_matches("IPV6:").to_owned();
        self.identified = true;
        self.end_transaction();
        self.reply(Stage::Xclient, "220 backend.test ESMTP\r\n")
    }

    fn rcpt(&mut self, line: &str) -> io::Result<()> {
        let path = path(line);
        let due = match path.rsplit_once('@') {
            _ if self.from.is_none() => "503 5.5.1 MAIL first\r\n",
            Some(("nobody", DOMAIN)) => "550 5.1.1 No such user\r\n",
            Some((_, DOMAIN)) => "250 2.1.5 Ok\r\n",
            _ => "554 5.7.1 Relay access denied\r\n",
        };
        if due.starts_with('2') {
            self.to.push(path);
        }
        self.reply(Stage::Rcpt, due)
    }

    fn data(&mut self) -> io::Result<()> {
        if self.to.is_empty() {
            return self.write(b"503 5.5.1 RCPT first\r\n");
        }
        let refused = match self.shared.lock().deeds.get(&Stage::Data) {
            Some(Deed::Answer(text)) => !text.starts_with("354"),
            _ => false,
        };
        self.reply(Stage::Data, "354 Go\r\n")?;
        if refused {
            return Ok(());
        }
        let mut content = Vec::new();
        loop {
            let before = content.len();
            self.reader.read_until(b'\n', &mut content)?;
            let line = &content[before..];
            if line == b".\r\n" {
                content.truncate(before);
                return self.complete(&content);
            }
            if line.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if line.first() == Some(&b'.') {
                content.remove(before);
            }
            if before < FIRST && content.len() >= FIRST {
                self.in_the_midst()?;
            }
        }
    }

    fn bdat(&mut self, line: &str) -> io::Result<()> {
        let mut words = line.split(' ').skip(1);
        let length: usize = words.next().and_then(|word| word.parse().ok()).ok_or(ErrorKind::InvalidData)?;
        let last = words.next().is_some_and(|word| word.eq_ignore_ascii_case("LAST"));
        let first = self.chunks.is_empty();
        let mut chunk = vec![0; length];
        let (head, tail) = chunk.split_at_mut(FIRST.min(length));
        self.reader.read_exact(head)?;
        if first && !head.is_empty() {
            self.in_the_midst()?;
        }
        self.reader.read_exact(tail)?;
        self.chunks.extend_from_slice(&chunk);
        if last {
            let content = std::mem::take(&mut self.chunks);
            return self.complete(&content);
        }
        self.reply(Stage::Data, "250 2.0.0 Chunk\r\n")
    }

    /// A deed in the midst of the content; by itself nothing is due there.
    fn in_the_midst(&mut self) -> io::Result<()> {
        self.reply(Stage::Content, "")
    }

    fn complete(&mut self, content: &[u8]) -> io::Result<()> {
        let replies = match self.shared.lock().speaks {
            Speaks::Smtp => 1,
            Speaks::Lmtp => self.to.len(),
        };
        let acknowledged = match self.shared.lock().deeds.get(&Stage::End) {
            None | Some(Deed::Drip(_)) => true,
            // A whole reply: one line that is the last.
            Some(Deed::Answer(text)) => text.starts_with('2') && text.as_bytes().get(3) == Some(&b' '),
            Some(_) => false,
        };
        // Noted before it is said: who hears the reply and then asks must find it here.
        self.shared.lock().taken.push(Taken {
            peer: self.peer.clone(),
            from: self.from.clone().unwrap_or_default(),
            to: self.to.clone(),
            content: String::from_utf8_lossy(content).into_owned(),
            acknowledged,
        });
        self.end_transaction();
        self.reply(Stage::End, &"250 2.0.0 Taken\r\n".repeat(replies))
    }

    fn end_transaction(&mut self) {
        self.from = None;
        self.to.clear();
        self.chunks.clear();
    }
}

/// What stands between the angle brackets.
pub(crate) fn path(line: &str) -> String {
    let from = line.find('<').map_or(line.len(), |at| at + 1);
    let to = line.rfind('>').unwrap_or(line.len());
    line.get(from..to).unwrap_or_default().to_owned()
}
