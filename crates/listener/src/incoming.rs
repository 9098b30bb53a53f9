//! Connections that have no session yet.
//!
//! What is read of one before anything is judged is the PROXY header of a peer that must send one: it says who the client is, for
//! limits, lists, handoff, log and backend alike. Then a client may have to wait for its greeting.

use crate::connection::Socket;
use crate::listener::Listener;
use crate::screen::{Screen, Tests, Ungreeted};
use crate::waiting::Waiting;
use gatepost_policy::flood::{Flood, Line};
use gatepost_policy::proxy::{Arrival, BadHeader, Header};
use gatepost_policy::share::Origin;
use gatepost_wire::event::Turned;
use gatepost_wire::network::Network;
use gatepost_wire::slice::ListenerSlice;
use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::Interest;

/// Longest wait for a whole header. A load balancer sends it at once; a packet of it may be lost on the way and sent again.
const HEADER_WAIT: Duration = Duration::from_secs(10);
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

/// Connections without a session.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Peers that must send a header, by the index of the `[[listen]]`.
    proxies: Vec<Vec<Network>>,
    screen: Screen,
    waiting: RefCell<Waiting>,
    flood: RefCell<Flood>,
    begun: Instant,
    wait: Duration,
}

/// The right to wait, given back when it is dropped.
struct Claim {
    incoming: Rc<Incoming>,
    id: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.incoming.waiting.borrow_mut().release(self.id, self.incoming.now());
    }
}

impl Incoming {
    pub(crate) fn new(slice: &ListenerSlice) -> Self {
        Self {
            proxies: slice.proxy_from.clone(),
            screen: Screen::new(slice.screen.clone()),
            waiting: RefCell::new(Waiting::new(slice.screen.waiting)),
            flood: RefCell::default(),
            begun: Instant::now(),
            wait: HEADER_WAIT,
        }
    }

    /// A new link with the resolver.
    pub(crate) fn link(&self, fd: OwnedFd) -> io::Result<()> {
        self.screen.lists.link(fd)
    }

    /// The peer must send a header.
    pub(crate) fn expects(&self, listener: u8, peer: IpAddr) -> bool {
        let proxies = self.proxies.get(usize::from(listener));
        proxies.is_some_and(|proxies| proxies.iter().any(|network| network.contains(peer)))
    }

    /// Reads the header of a connection, and goes on with the client that it names.
    pub(crate) fn receive(self: &Rc<Self>, listener: &Rc<Listener>, socket: Socket, client: OwnedFd, peer: SocketAddr) {
        let (incoming, admitting) = (Rc::clone(self), Rc::clone(listener));
        self.let_wait(listener, peer, async move { incoming.after_header(&admitting, socket, client, peer).await });
    }

    /// Admits a client when it has passed the tests.
    pub(crate) async fn test(
        self: &Rc<Self>,
        listener: &Rc<Listener>,
        socket: Socket,
        client: OwnedFd,
        from: SocketAddr,
    ) {
        let Some(connection) = listener.look_up(&socket, client, from) else { return };
        match self.screen.tests(&connection) {
            Tests::None => listener.admit(connection).await,
            Tests::Peek => {
                if let Some(connection) = self.screen.peek(listener, connection) {
                    listener.admit(connection).await;
                }
            }
            Tests::Wait => match Ungreeted::new(listener, connection) {
                Ok(ungreeted) => {
                    let (incoming, admitting) = (Rc::clone(self), Rc::clone(listener));
                    self.let_wait(listener, from, async move {
                        if let Some(connection) = incoming.screen.test_waiting(ungreeted).await {
                            // In memory of its own: most only wait.
                            Box::pin(admitting.admit(connection)).await;
                        }
                    });
                }
                Err(e) => tracing::warn!(client = %from, error = %e, "cannot watch a connection"),
            },
        }
    }

    /// Has `task` wait for something of a client's, unless too many wait. Of each client that may not wait, or not any longer, is told.
    fn let_wait(self: &Rc<Self>, listener: &Listener, client: SocketAddr, task: impl Future<Output = ()> + 'static) {
        let (claim, mut closed) = self.waiting.borrow_mut().claim(client, self.now());
        closed.extend(claim.is_none().then_some(client));
        for client in closed {
            listener.tell_turned(client, Turned::Waiting);
        }
        let Some(id) = claim else { return };
        let claim = Claim { incoming: Rc::clone(self), id };
        let task = tokio::task::spawn_local(async move {
            task.await;
            drop(claim);
        });
        self.waiting.borrow_mut().set_task(id, client, task.abort_handle());
    }

    /// Closes all that wait.
    pub(crate) fn close(&self) {
        self.waiting.borrow_mut().close();
    }

    async fn after_header(self: &Rc<Self>, listener: &Rc<Listener>, socket: Socket, client: OwnedFd, peer: SocketAddr) {
        let read = tokio::time::timeout(self.wait, read(client)).await.unwrap_or(Err(Closed::Late));
        match read {
            // A check that connects and closes, and whoever was sent here by mistake and went away.
            Ok(None) => tracing::debug!(%peer, "closed without a PROXY header"),
            // A check of the load balancer's own, which may say what it likes, and when.
            Ok(Some((Arrival::Peer, client))) => {
                if let Some(connection) = listener.look_up(&socket, client, peer) {
                    Box::pin(listener.admit(connection)).await;
                }
            }
            Ok(Some((Arrival::Client { from, to }, client))) => {
                Box::pin(self.test(listener, Socket { local: Some(to), ..socket }, client, from)).await;
            }
            Err(closed) => {
                let line = self.flood.borrow_mut().line(Origin::of(peer.ip()), self.now());
                if let Line::Write(kept) = line {
                    tracing::warn!(
                        %peer, listener = socket.index, reason = %closed, kept,
                        "closed: peers in proxy_from of this [[listen]] must begin with a PROXY header"
                    );
                }
            }
        }
    }

    /// Milliseconds of a clock that does not go back.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Reads a header and not an octet behind it. None: the connection ended before it began.
async fn read(client: OwnedFd) -> Result<Option<(Arrival, OwnedFd)>, Closed> {
    // Read by read(2): recvfrom(2) is not one of this role's calls.
    let client = gatepost_channel::watch(File::from(client), Interest::READABLE).map_err(Closed::Io)?;
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
