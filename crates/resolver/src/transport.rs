//! One query to one server, by UDP or TCP. An answer is what comes from that server, with the query's id and question; everything else is
//! passed over.

use crate::question::Question;
use domain::base::Message;
use domain::base::iana::Rcode;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Octets of an answer by UDP that is asked for: not cut into fragments on any way (RFC 9715).
const UDP_MAX: u16 = 1232;
/// Datagrams for one query that are no answer to it, before it is given up: whoever guesses must not have many tries (RFC 5452 §9).
const WRONG_MAX: u32 = 64;

/// An answer's octets.
pub(crate) type Octets = Vec<u8>;

/// A query, with an id that nobody can guess: the standard library's hash is keyed by the system's random octets.
fn query(question: &Question, edns: bool) -> io::Result<Message<Octets>> {
    let id = RandomState::new().build_hasher().finish();
    let id = u16::try_from(id & 0xffff).unwrap_or_default();
    question.query(id, edns.then_some(UDP_MAX)).ok_or_else(|| ErrorKind::InvalidInput.into())
}

/// Whether `octets` answer `query`. A server that fails may leave out the question, and then everything else.
fn answers(octets: &[u8], query: &Message<Octets>) -> bool {
    let Ok(message) = Message::from_slice(octets) else { return false };
    let (header, counts) = (message.header(), message.header_counts());
    let nothing = [counts.qdcount(), counts.ancount(), counts.nscount(), counts.arcount()] == [0; 4];
    let failed = header.qr() && header.id() == query.header().id() && header.rcode() != Rcode::NOERROR && nothing;
    failed || message.is_answer(query)
}

/// By UDP. A socket of its own for each query, connected: the kernel gives it a random port, drops what comes from elsewhere, and
/// tells when there is no server.
///
/// # Errors
/// The network's. Waits for as long as it is let.
pub(crate) async fn by_udp(server: SocketAddr, question: &Question, edns: bool) -> io::Result<Octets> {
    let query = query(question, edns)?;
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query.as_slice()).await?;
    // Room for more than is asked for: some servers don't look.
    let mut octets = vec![0; 4096];
    for _ in 0..WRONG_MAX {
        let length = socket.recv(&mut octets).await?;
        if octets.get(..length).is_some_and(|octets| answers(octets, &query)) {
            octets.truncate(length);
            return Ok(octets);
        }
    }
    Err(io::Error::other("too much that is no answer"))
}

/// By TCP (RFC 7766), on a connection of its own.
///
/// # Errors
/// The network's; what came is no answer.
pub(crate) async fn by_tcp(server: SocketAddr, question: &Question) -> io::Result<Octets> {
    let query = query(question, true)?;
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.as_slice().len()).map_err(|_| ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat()).await?;
    let mut octets = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut octets).await?;
    if answers(&octets, &query) { Ok(octets) } else { Err(io::Error::other("what came is no answer")) }
}
