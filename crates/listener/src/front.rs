//! What is read of a connection before anything is judged: the PROXY header of a peer that must send one. It says who the client
//! is, for limits, lists, handoff, log and backend alike.

use crate::accept::Socket;
use crate::gate::Gate;
use gatepost_policy::flood::{Flood, Line};
use gatepost_policy::proxy::{Arrival, BadHeader, Header};
use gatepost_policy::share::Origin;
use gatepost_wire::network::Network;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

/// Longest wait for a whole header. A load balancer sends it at once; a packet of it may be lost on the way and sent again.
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// Connections whose header is awaited. Beyond that the one that has waited longest is closed.
const WAITING_MAX: usize = 64;
/// Octets of one read.
const PIECE: usize = 256;

/// Why a connection of a load balancer is closed.
enum Closed {
    Bad(BadHeader),
    /// It ended within the header.
    Short,
    /// The header did not come in time.
    Late,
    Io(io::Error),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(bad) => bad.fmt(f),
            Self::Short => f.write_str("it ended within its PROXY header"),
            Self::Late => write!(f, "no whole PROXY header in {} s", HEADER_WAIT.as_secs()),
            Self::Io(e) => e.fmt(f),
        }
    }
}

/// Connections whose header is awaited.
#[derive(Debug)]
pub(crate) struct Front {
    /// Peers that must send one, by the index of the `[[listen]]`.
    proxies: Vec<Vec<Network>>,
    /// The oldest first.
    waiting: RefCell<VecDeque<AbortHandle>>,
    flood: RefCell<Flood>,
    begun: Instant,
    wait: Duration,
}

impl Front {
    pub(crate) fn new(proxies: Vec<Vec<Network>>) -> Self {
        Self {
            proxies,
            waiting: RefCell::default(),
            flood: RefCell::default(),
            begun: Instant::now(),
            wait: HEADER_WAIT,
        }
    }

    /// The peer must send a header.
    pub(crate) fn expects(&self, listener: u8, peer: IpAddr) -> bool {
        let proxies = self.proxies.get(usize::from(listener));
        proxies.is_some_and(|proxies| proxies.iter().any(|network| network.contains(peer)))
    }

    /// Reads the header of a connection, and gives it to the gate as one of the client that it names.
    pub(crate) fn receive(self: &Rc<Self>, gate: &Rc<Gate>, socket: Socket, client: OwnedFd, peer: SocketAddr) {
        let (front, gate) = (Rc::clone(self), Rc::clone(gate));
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|task| !task.is_finished());
        if waiting.len() >= WAITING_MAX
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.abort();
        }
        let task = tokio::task::spawn_local(async move { front.arrive(&gate, socket, client, peer).await });
        waiting.push_back(task.abort_handle());
    }

    /// Closes all whose header is awaited.
    pub(crate) fn close(&self) {
        self.waiting.borrow_mut().drain(..).for_each(|task| task.abort());
    }

    async fn arrive(&self, gate: &Rc<Gate>, socket: Socket, client: OwnedFd, peer: SocketAddr) {
        let read = tokio::time::timeout(self.wait, read(client)).await.unwrap_or(Err(Closed::Late));
        match read {
            // A check that connects and closes, and whoever was sent here by mistake and went away.
            Ok(None) => tracing::debug!(%peer, "closed without a PROXY header"),
            Ok(Some((Arrival::Peer, client))) => gate.welcome(&socket, client, peer).await,
            Ok(Some((Arrival::Client { from, to }, client))) => {
                gate.welcome(&Socket { local: Some(to), ..socket }, client, from).await;
            }
            Err(closed) => {
                let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                let line = self.flood.borrow_mut().line(Origin::of(peer.ip()), now);
                if let Line::Write(kept) = line {
                    tracing::warn!(
                        %peer, listener = socket.index, reason = %closed, kept,
                        "closed: peers in proxy_from of this [[listen]] must begin with a PROXY header"
                    );
                }
            }
        }
    }
}

#[allow(deprecated)] // Objected to for types that may give their descriptor away; a File owns its own.
/// Reads a header and not an octet behind it. None: the connection ended before it began.
async fn read(client: OwnedFd) -> Result<Option<(Arrival, OwnedFd)>, Closed> {
    // Read by read(2): recvfrom(2) is not one of this role's calls.
    let client = AsyncFd::with_interest(File::from(client), Interest::READABLE).map_err(Closed::Io)?;
    let mut header = Header::default();
    let mut buffer = [0; PIECE];
    let mut begun = false;
    loop {
        let most = header.want().min(PIECE);
        let piece = buffer.get_mut(..most).unwrap_or_default();
        let octets = client.async_io(Interest::READABLE, |mut file| file.read(piece)).await.map_err(Closed::Io)?;
        if octets == 0 {
            return if begun { Err(Closed::Short) } else { Ok(None) };
        }
        begun = true;
        if let Some(arrival) = header.push(buffer.get(..octets).unwrap_or_default()).map_err(Closed::Bad)? {
            return Ok(Some((arrival, client.into_inner().into())));
        }
    }
}
