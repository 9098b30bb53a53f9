//! A scripted SMTP client: it sends exactly the octets that a test gives, in the pieces that it gives, and reads replies strictly.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a read waits before the test fails because no reply came.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A reply: its code and its lines, without code and line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// One text a line.
    pub lines: Vec<String>,
}

impl Reply {
    /// All lines in one.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The first digit: 2 done, 3 go on, 4 later, 5 never.
    #[must_use]
    pub fn class(&self) -> u16 {
        self.code / 100
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join(" / "))
    }
}

enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, Records>>),
}

/// The connection under TLS, which gives rustls nothing but TLS records. After a close_notify Exim goes on without TLS, and
/// rustls must not see those octets.
struct Records {
    tcp: TcpStream,
    /// What has been read of a record's first five octets: its type, version and length.
    head: Vec<u8>,
    /// What is still to come of the record behind them.
    left: usize,
    /// Something else has come.
    ended: bool,
}

impl Records {
    /// How many of these octets, the next to come, belong to records.
    fn within(&mut self, octets: &[u8]) -> usize {
        let mut at = 0;
        while at < octets.len() {
            if self.left > 0 {
                let n = self.left.min(octets.len() - at);
                self.left -= n;
                at += n;
                continue;
            }
            if self.head.is_empty() && !(20..=24).contains(&octets[at]) {
                break;
            }
            self.head.push(octets[at]);
            at += 1;
            if let &[_, _, _, high, low] = self.head.as_slice() {
                self.left = usize::from(u16::from_be_bytes([high, low]));
                self.head.clear();
            }
        }
        at
    }
}

impl Read for Records {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = if self.ended { 0 } else { self.tcp.read(into)? };
        let good = self.within(&into[..n]);
        self.ended |= good < n;
        if self.ended && good == 0 {
            return Err(io::Error::new(ErrorKind::InvalidData, "octets that are no TLS"));
        }
        Ok(good)
    }
}

impl Write for Records {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.tcp.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// A connection to an SMTP or LMTP server.
pub struct Client {
    transport: Transport,
    unread: Vec<u8>,
    /// Octets that are no TLS record came where TLS was due.
    broken: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} octets unread)", self.unread.len())
    }
}

impl Client {
    /// Speaks over a TCP connection, such as [`crate::host::Host::connect`] gives.
    ///
    /// # Panics
    /// When the socket takes no options.
    #[must_use]
    pub fn over(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { transport: Transport::Tcp(stream), unread: Vec::new(), broken: false }
    }

    /// Connects to a unix socket.
    ///
    /// # Errors
    /// connect(2)'s.
    pub fn unix(path: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { transport: Transport::Unix(stream), unread: Vec::new(), broken: false })
    }

    /// Does a TLS handshake at once; any certificate will do.
    ///
    /// # Errors
    /// The handshake's.
    pub fn tls(stream: TcpStream, name: &str) -> io::Result<Client> {
        let mut client = Client::over(stream);
        client.handshake(name)?;
        Ok(client)
    }

    /// Says STARTTLS, expects 220 and does the handshake; any certificate will do.
    ///
    /// # Panics
    /// When it is refused.
    pub fn starttls(&mut self, name: &str) {
        self.ask("STARTTLS", 220);
        assert!(self.unread.is_empty(), "plain octets after the 220 to STARTTLS");
        self.handshake(name).expect("TLS handshake");
    }

    /// Says STARTTLS and does the handshake; any certificate will do.
    ///
    /// # Errors
    /// The connection's or the handshake's; Other when it is refused.
    pub fn try_starttls(&mut self, name: &str) -> io::Result<()> {
        let reply = self.try_ask("STARTTLS")?;
        if reply.code == 220 { self.handshake(name) } else { Err(io::Error::other(reply.to_string())) }
    }

    /// Does the handshake on a plain connection.
    ///
    /// # Errors
    /// The handshake's.
    pub fn handshake(&mut self, name: &str) -> io::Result<()> {
        self.handshake_as(name, any_certificate(ring::default_provider()))
    }

    /// As [`Client::handshake`], offering these exchanges of keys, the first of them with its share.
    ///
    /// # Errors
    /// The handshake's.
    pub fn handshake_by(&mut self, name: &str, exchanges: Vec<&'static dyn SupportedKxGroup>) -> io::Result<()> {
        let provider = CryptoProvider { kx_groups: exchanges, ..ring::default_provider() };
        self.handshake_as(name, any_certificate(provider))
    }

    fn handshake_as(&mut self, name: &str, config: ClientConfig) -> io::Result<()> {
        let Transport::Tcp(tcp) = &self.transport else { return Err(io::Error::other("not a plain TCP connection")) };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let records = Records { tcp: tcp.try_clone()?, head: Vec::new(), left: 0, ended: false };
        let mut stream = Box::new(StreamOwned::new(connection, records));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        self.transport = Transport::Tls(stream);
        Ok(())
    }

    /// The certificate that the server showed, once inside TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<Vec<u8>> {
        match &self.transport {
            Transport::Tls(stream) => Some(stream.conn.peer_certificates()?.first()?.to_vec()),
            _ => None,
        }
    }

    /// What both ends of the TLS connection can derive from it (RFC 9266), once inside TLS.
    #[must_use]
    pub fn binding(&self) -> Option<Vec<u8>> {
        let Transport::Tls(stream) = &self.transport else { return None };
        stream.conn.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).ok()
    }

    /// How long a read may take from now on.
    ///
    /// # Panics
    /// For a zero time.
    pub fn set_patience(&mut self, patience: Duration) {
        match &self.transport {
            Transport::Tcp(stream) => stream.set_read_timeout(Some(patience)),
            Transport::Unix(stream) => stream.set_read_timeout(Some(patience)),
            Transport::Tls(stream) => stream.sock.tcp.set_read_timeout(Some(patience)),
        }
        .unwrap();
    }

    /// How long a write may take from now on.
    ///
    /// # Panics
    /// For a zero time.
    pub fn set_patience_to_write(&mut self, patience: Duration) {
        match &self.transport {
            Transport::Tcp(stream) => stream.set_write_timeout(Some(patience)),
            Transport::Unix(stream) => stream.set_write_timeout(Some(patience)),
            Transport::Tls(stream) => stream.sock.tcp.set_write_timeout(Some(patience)),
        }
        .unwrap();
    }

    /// Writes octets as they are, in one piece.
    ///
    /// # Errors
    /// The connection's.
    pub fn try_write(&mut self, octets: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let stream: &mut dyn Write = match &mut self.transport {
            Transport::Tcp(stream) => stream,
            Transport::Unix(stream) => stream,
            Transport::Tls(stream) => stream,
        };
        stream.write_all(octets)?;
        stream.flush()
    }

    /// Writes octets as they are, in one piece.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn write(&mut self, octets: &[u8]) {
        self.try_write(octets).unwrap_or_else(|e| panic!("writing {:?}: {e}", String::from_utf8_lossy(octets)));
    }

    /// Writes octets in pieces that end at the offsets `cuts`, each a segment (or a TLS record) of its own.
    ///
    /// # Panics
    /// When the connection is gone or a cut lies outside.
    pub fn write_cut(&mut self, octets: &[u8], cuts: &[usize]) {
        let mut from = 0;
        for to in cuts.iter().copied().chain([octets.len()]) {
            self.write(&octets[from..to]);
            from = to;
        }
    }

    /// Sends a line; the CRLF is added.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn send(&mut self, line: &str) {
        self.write(format!("{line}\r\n").as_bytes());
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut some = [0; 4096];
        let stream: &mut dyn Read = match &mut self.transport {
            Transport::Tcp(stream) => stream,
            Transport::Unix(stream) => stream,
            Transport::Tls(stream) => stream,
        };
        if self.broken {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let n = match stream.read(&mut some) {
            Ok(n) => n,
            // A read with a time limit also ends with EINTR after SIGSTOP and SIGCONT, without a handler (signal(7)).
            Err(e) if e.kind() == ErrorKind::Interrupted => return self.fill(),
            Err(e) => {
                // After octets that are no TLS rustls must not be read again.
                self.broken = e.kind() == ErrorKind::InvalidData;
                return Err(e);
            }
        };
        self.unread.extend_from_slice(&some[..n]);
        Ok(n)
    }

    fn try_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return String::from_utf8(line[..end].to_vec()).map_err(io::Error::other);
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// The connection's; InvalidData for what is no reply.
    pub fn try_reply(&mut self) -> io::Result<Reply> {
        let mut reply = Reply { code: 0, lines: Vec::new() };
        loop {
            let line = self.try_line()?;
            let bad = || io::Error::new(ErrorKind::InvalidData, format!("no reply line: {line:?}"));
            let code: u16 = line.get(..3).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
            if !reply.lines.is_empty() && code != reply.code {
                return Err(bad());
            }
            reply.code = code;
            reply.lines.push(line.get(4..).unwrap_or_default().to_owned());
            match line.as_bytes().get(3) {
                Some(b'-') => {}
                Some(b' ') | None => return Ok(reply),
                Some(_) => return Err(bad()),
            }
        }
    }

    /// Reads one reply; none when the connection is at its end.
    ///
    /// # Errors
    /// In words: no reply in time, or what is none.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, String> {
        match self.try_reply() {
            Ok(reply) => Ok(Some(reply)),
            Err(e) if is_end(&e) && self.unread.is_empty() => Ok(None),
            Err(e) => Err(format!("no reply: {e}; unread: {:?}", String::from_utf8_lossy(&self.unread))),
        }
    }

    /// Closes its direction of the connection and goes on reading.
    pub fn finish(&mut self) {
        // It fails when the peer is gone already, which is no failure of the test.
        let _ = match &mut self.transport {
            Transport::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Transport::Unix(stream) => stream.shutdown(Shutdown::Write),
            Transport::Tls(stream) => {
                if self.broken {
                    return;
                }
                stream.conn.send_close_notify();
                self.broken = stream.flush().is_err_and(|e| e.kind() == ErrorKind::InvalidData);
                stream.sock.tcp.shutdown(Shutdown::Write)
            }
        };
    }

    /// Reads one reply.
    ///
    /// # Panics
    /// When none comes.
    pub fn reply(&mut self) -> Reply {
        self.try_reply()
            .unwrap_or_else(|e| panic!("no reply: {e}; unread: {:?}", String::from_utf8_lossy(&self.unread)))
    }

    /// Reads one reply, which must have this code.
    ///
    /// # Panics
    /// When it has not.
    pub fn expect(&mut self, code: u16) -> Reply {
        let reply = self.reply();
        assert_eq!(reply.code, code, "got {reply}");
        reply
    }

    /// Sends a line and reads its reply.
    ///
    /// # Errors
    /// The connection's; InvalidData for what is no reply.
    pub fn try_ask(&mut self, line: &str) -> io::Result<Reply> {
        self.try_write(format!("{line}\r\n").as_bytes())?;
        self.try_reply()
    }

    /// Sends a line and reads its reply, which must have this code.
    ///
    /// # Panics
    /// When it has not.
    pub fn ask(&mut self, line: &str, code: u16) -> Reply {
        let reply = self.try_ask(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(reply.code, code, "{line}: got {reply}");
        reply
    }

    /// Takes the greeting and says EHLO.
    ///
    /// # Errors
    /// The connection's; Other when either is refused.
    pub fn try_hello(&mut self, name: &str) -> io::Result<Vec<String>> {
        let greeting = self.try_reply()?;
        if greeting.code != 220 {
            return Err(io::Error::other(greeting.to_string()));
        }
        let reply = self.try_ask(&format!("EHLO {name}"))?;
        if reply.code == 250 { Ok(reply.lines) } else { Err(io::Error::other(reply.to_string())) }
    }

    /// Takes the greeting, says EHLO and returns the reply's lines.
    ///
    /// # Panics
    /// When either is refused.
    pub fn hello(&mut self, name: &str) -> Vec<String> {
        self.try_hello(name).unwrap_or_else(|e| panic!("hello: {e}"))
    }

    /// One transaction with one recipient; `content` is canonical and stuffed but for the final dot. The reply that
    /// decided it: the first that refused, or the one to the content's end.
    ///
    /// # Errors
    /// The connection's.
    pub fn try_deliver(&mut self, from: &str, to: &str, content: &str) -> io::Result<Reply> {
        for line in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"), "DATA".to_owned()] {
            let reply = self.try_ask(&line)?;
            if reply.class() > 3 {
                return Ok(reply);
            }
        }
        self.try_write(content.as_bytes())?;
        self.try_write(b".\r\n")?;
        self.try_reply()
    }

    /// As [`Client::try_deliver`], and the message must be taken.
    ///
    /// # Panics
    /// When it is not.
    pub fn deliver(&mut self, from: &str, to: &str, content: &str) {
        let reply = self.try_deliver(from, to, content).unwrap_or_else(|e| panic!("delivering: {e}"));
        assert_eq!(reply.code, 250, "delivering: got {reply}");
    }

    /// MAIL, RCPT and DATA: the content of a message is to follow.
    ///
    /// # Panics
    /// When one of them is refused.
    pub fn begin(&mut self, from: &str, to: &str) {
        self.ask(&format!("MAIL FROM:<{from}>"), 250);
        self.ask(&format!("RCPT TO:<{to}>"), 250);
        self.ask("DATA", 354);
    }

    /// Waits for the end of the connection and returns what came before it.
    ///
    /// # Panics
    /// When it stays open.
    pub fn rest(&mut self) -> String {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if is_end(&e) => break,
                Err(e) => panic!("the connection stays open: {e}"),
            }
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }
}

/// A peer that closes with our octets unread resets; a TLS peer may close without saying so.
fn is_end(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe)
}

/// The first message of a TLS handshake, in its record.
///
/// # Panics
/// When `name` is no host's.
#[must_use]
pub fn client_hello(name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).expect("a host's name");
    let mut connection =
        ClientConnection::new(Arc::new(any_certificate(ring::default_provider())), name).expect("a client");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("a ClientHello");
    hello
}

fn any_certificate(provider: CryptoProvider) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("ring has both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth()
}

/// Trusts any certificate but still checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
