//! What a connection's ends are called, and who the user is. Each look-up has a bound, and none holds up another connection.

use gatepost_resolver::Resolver;
use gatepost_smtp::names::HostName;
use gatepost_ucspi::tcpserver::ident::{self, Answer};
use gatepost_ucspi::tcpserver::options::Names;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

/// RFC 1413's port.
const IDENT: u16 = 113;

/// What was found out.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) local_host: Option<Vec<u8>>,
    pub(super) remote_host: Option<Vec<u8>>,
    pub(super) info: Option<Vec<u8>>,
}

/// Finds out what the command line asks for, one after the other.
pub(super) async fn find(names: &Names, resolver: &Resolver, local: SocketAddr, remote: SocketAddr) -> Found {
    let local_host = match names.local {
        Some(_) => None,
        None => octets(resolver.reverse(local.ip()).await.known()),
    };
    let remote_host = if names.remote { peer(names.paranoid, resolver, remote.ip()).await } else { None };
    let info =
        if names.ident { user(local, remote, Duration::from_secs(names.ident_timeout)).await.ok() } else { None };
    Found { local_host, remote_host, info }
}

fn octets(name: Option<&HostName>) -> Option<Vec<u8>> {
    name.map(|name| name.as_str().as_bytes().to_vec())
}

async fn peer(paranoid: bool, resolver: &Resolver, ip: IpAddr) -> Option<Vec<u8>> {
    if paranoid {
        return octets(resolver.client(ip).await.confirmed.known());
    }
    octets(resolver.reverse(ip).await.known())
}

/// Who the peer's host says that it is.
async fn user(local: SocketAddr, remote: SocketAddr, time: Duration) -> io::Result<Vec<u8>> {
    timeout(time, ask(local, remote)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn ask(local: SocketAddr, remote: SocketAddr) -> io::Result<Vec<u8>> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A host with several addresses asks from the one that the connection came to, where the jail can let it: landlock may not.
    let _ = socket.bind(SocketAddr::new(local.ip(), 0));
    let mut stream = socket.connect(SocketAddr::new(remote.ip(), IDENT)).await?;
    stream.write_all(&ident::question(remote.port(), local.port())).await?;
    let mut answer = Answer::default();
    let mut octets = [0; 512];
    loop {
        let count = stream.read(&mut octets).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(name) = answer.take(octets.get(..count).unwrap_or_default()) {
            return Ok(name);
        }
    }
}
