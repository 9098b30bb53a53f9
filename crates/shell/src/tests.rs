//! The loop with a dialogue that only collects, on clocks of the tests' own.

use crate::{Clock, Dialogue, Ends, Interruption, Lost, Next, Output, Patience, Shell, Times, Want};
use gatepost_smtp::envelope::CloseReason;
use gatepost_sys::wait;
use gatepost_tls::server::AskSignature;
use gatepost_tls::sign::Keys;
use gatepost_wire::slice::Chain;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::error::Error;
use std::io::{self, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);

fn times() -> Times {
    Times {
        patience: Patience::each_read(LONG, None),
        write: LONG,
        handshake: LONG,
        session: LONG,
        content: Duration::ZERO,
    }
}

/// Lets no wait last: what is not ready at once comes too late.
#[derive(Debug, Default)]
struct Hasty {
    /// How much later it is than it is.
    late: Duration,
}

impl Clock for Hasty {
    fn now(&self) -> Instant {
        Instant::now() + self.late
    }

    fn wait(&mut self, wanted: &[(BorrowedFd<'_>, Want)], _: Instant) -> io::Result<Option<usize>> {
        let ready = wait::ready(wanted, Some(Instant::now()))?;
        Ok(ready.iter().position(|ready| *ready))
    }
}

/// The process's clock, and counts.
#[derive(Debug, Default)]
struct Counting {
    /// Waits for the client to send something.
    reads: usize,
}

impl Clock for Counting {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&mut self, wanted: &[(BorrowedFd<'_>, Want)], until: Instant) -> io::Result<Option<usize>> {
        self.reads += usize::from(wanted.iter().any(|(_, want)| *want == Want::Read));
        Ok(wait::ready(wanted, Some(until))?.iter().position(|ready| *ready))
    }
}

/// Collects what it hears until that ends with `.`; wants TLS before anything else if it has a configuration.
#[derive(Default)]
struct Collector {
    heard: Vec<u8>,
    output: Vec<u8>,
    content: bool,
    interrupted: Vec<Interruption>,
    tls: Option<Arc<gatepost_tls::ServerConfig>>,
}

impl Output for Collector {
    fn output(&self) -> &[u8] {
        &self.output
    }

    fn sent(&mut self, octets: usize) {
        self.output.drain(..octets);
    }
}

impl Dialogue for Collector {
    fn advance(&mut self, input: &[u8]) -> (usize, Next) {
        if self.tls.is_some() {
            return (0, Next::StartTls);
        }
        self.heard.extend_from_slice(input);
        let over = self.heard.ends_with(b".") || self.interrupted.last().is_some_and(|why| *why != Interruption::Drain);
        (input.len(), if over { Next::Close(CloseReason::Quit) } else { Next::Read })
    }

    fn in_content(&self) -> bool {
        self.content
    }

    fn interrupt(&mut self, why: Interruption) {
        self.interrupted.push(why);
    }

    fn start_tls<C: Clock>(&mut self, shell: &mut Shell<C>) -> Result<(), Lost> {
        let Some(config) = self.tls.take() else { return Err(Lost(CloseReason::Internal)) };
        shell.handshake(config).map(drop)
    }
}

/// A client and the ends that it is served by.
fn connection() -> (UnixStream, Ends) {
    let (client, served) = UnixStream::pair().unwrap();
    served.set_nonblocking(true).unwrap();
    (client, Ends::of_socket(served.into()))
}

#[test]
fn p6_a_pipe_that_nobody_reads_holds_no_session() {
    let (input, _client) = io::pipe().unwrap();
    // Larger than any pipe.
    for octets in [1 << 20, 100 << 20] {
        let (_unread, output) = io::pipe().unwrap();
        let ends = Ends::new(input.try_clone().unwrap().into(), OwnedFd::from(output));
        let mut shell = Shell::new(ends, times(), Hasty::default(), None);
        assert_eq!(shell.send(&mut vec![b'x'; octets].as_slice()), Err(Lost(CloseReason::Timeout)));
    }
}

#[test]
fn what_is_larger_than_a_pipe_arrives_whole() {
    let (input, _client) = io::pipe().unwrap();
    let (mut heard, output) = io::pipe().unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        heard.read_to_end(&mut all).unwrap();
        all
    });
    let mut shell = Shell::new(Ends::new(input.into(), output.into()), times(), Counting::default(), None);
    shell.send(&mut sent.as_slice()).unwrap();
    drop(shell);
    assert!(reader.join().unwrap() == sent);
}

#[test]
fn a_drain_is_told_once_and_not_within_content() {
    let (mut client, ends) = connection();
    let (drained, drain) = io::pipe().unwrap();
    drop(drain);
    let mut shell = Shell::new(ends, times(), Hasty::default(), Some(drained));
    let mut collector = Collector { content: true, ..Collector::default() };
    assert_eq!(shell.serve(&mut collector), Ok(CloseReason::Quit));
    assert_eq!(collector.interrupted, [Interruption::Timeout]);
    // What the client has sent goes first.
    client.write_all(b"x").unwrap();
    let mut collector = Collector::default();
    assert_eq!(shell.serve(&mut collector), Ok(CloseReason::Quit));
    assert_eq!(collector.interrupted, [Interruption::Drain, Interruption::Timeout]);
    assert_eq!(collector.heard, b"x");
}

#[test]
fn p6_a_session_ends_with_its_time_though_its_client_always_sends() {
    let (mut client, ends) = connection();
    client.write_all(&[b'x'; 100_000]).unwrap();
    let mut shell = Shell::new(ends, times(), Hasty::default(), None);
    shell.clock_mut().late = LONG;
    let mut collector = Collector::default();
    assert_eq!(shell.serve(&mut collector), Ok(CloseReason::Quit));
    assert_eq!((collector.interrupted.as_slice(), collector.heard.len()), ([Interruption::SessionTime].as_slice(), 0));
}

#[test]
fn a_last_reply_arrives_though_its_client_still_sends() {
    let (mut client, ends) = connection();
    let mut shell = Shell::new(ends, times(), Counting::default(), None);
    shell.send(&mut b"421\r\n".as_slice()).unwrap();
    client.write_all(&[b'x'; 100_000]).unwrap();
    let closing = thread::spawn(move || shell.close(true));
    let mut heard = Vec::new();
    // Our half ends while the client's is still read.
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"421\r\n");
    client.write_all(b"more").unwrap();
    drop(client);
    closing.join().unwrap();
}

#[test]
fn issue_11_a_client_at_the_other_end_of_a_pipe_is_not_waited_for() {
    let ((input, _client), (_heard, output)) = (io::pipe().unwrap(), io::pipe().unwrap());
    let mut shell = Shell::new(Ends::new(input.into(), output.into()), times(), Counting::default(), None);
    shell.send(&mut b"421\r\n".as_slice()).unwrap();
    shell.close(true);
    assert_eq!(shell.clock_mut().reads, 0);
}

/// Signs with a key in this process.
#[derive(Debug)]
struct Own(Keys);

impl AskSignature for Own {
    fn sign(&self, pair: u8, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.sign(pair, scheme, message)?)
    }
}

/// A server's configuration, and one of a client that trusts it.
fn tls() -> (Arc<gatepost_tls::ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
    let keys = Keys::load(gatepost_tls::recognise::Party::Server, vec![made.signing_key.serialize_pem().into_bytes()])
        .unwrap();
    let chain = Chain { names: Vec::new(), certificates: vec![made.cert.der().to_vec()] };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(made.cert.der().to_vec())).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (gatepost_tls::server::config(&[chain], false, Box::new(Own(keys))).unwrap(), Arc::new(client))
}

#[test]
fn records_that_are_read_at_once_are_one_wait() {
    let (config, trusting) = tls();
    let (client, ends) = connection();
    let served = thread::spawn(move || {
        let mut shell = Shell::new(ends, times(), Counting::default(), None);
        let mut collector = Collector { tls: Some(config), ..Collector::default() };
        let closed = shell.serve(&mut collector);
        shell.send(&mut vec![b'y'; 300_000].as_slice()).unwrap();
        shell.close(false);
        (closed, collector.heard, shell.clock_mut().reads)
    });
    let name = ServerName::try_from("mx.example.org").unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(trusting, name).unwrap(), client);
    stream.conn.complete_io(&mut stream.sock).unwrap();
    for piece in [b"one ".as_slice(), b"two ", b"three."] {
        stream.conn.writer().write_all(piece).unwrap();
    }
    // All of them in one segment.
    let mut records = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut records).unwrap();
    }
    stream.sock.write_all(&records).unwrap();
    let mut said = Vec::new();
    // Until close_notify: without one this is an error.
    stream.read_to_end(&mut said).unwrap();
    assert!(said == vec![b'y'; 300_000]);
    let (closed, heard, reads) = served.join().unwrap();
    assert_eq!((closed, heard.as_slice()), (Ok(CloseReason::Quit), b"one two three.".as_slice()));
    assert!(reads <= 4, "waited {reads} times: twice in the handshake, and then?");
}

#[test]
fn what_is_no_tls_is_answered_by_an_alert() {
    let (config, _) = tls();
    let (mut client, ends) = connection();
    client.write_all(b"GET / HTTP/1.1\r\nHost: mx.example.org\r\n\r\n").unwrap();
    let mut shell = Shell::new(ends, times(), Hasty::default(), None);
    let mut collector = Collector { tls: Some(config), ..Collector::default() };
    assert_eq!(shell.serve(&mut collector), Err(Lost(CloseReason::TlsFailed)));
    drop(shell);
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    // Content type alert, RFC 8446 §5.1.
    assert_eq!(heard.first(), Some(&0x15), "{heard:?}");
}
