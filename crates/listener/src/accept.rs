//! The accept loop: many connections a wake-up, never a spin.

use crate::front::Front;
use crate::gate::Gate;
use gatepost_sys::net;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

/// Connections taken from one socket before the others, and what the nursery has to say, get their turn.
const BATCH: u32 = 64;

/// First and longest wait after an accept(2) that failed for want of descriptors or memory. Level-triggered readiness
/// would otherwise spin.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Where a connection came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Socket {
    /// Index of its `[[listen]]`.
    pub(crate) index: u8,
    /// The address that the client came to, where the connection itself need not be asked.
    pub(crate) local: Option<SocketAddr>,
}

impl Socket {
    /// The address that `client` came to.
    pub(crate) fn local(&self, client: &OwnedFd) -> io::Result<SocketAddr> {
        self.local.map_or_else(|| net::local_addr(client.as_fd()), Ok)
    }
}

/// A listening socket of the configuration.
#[derive(Debug)]
struct Listening {
    listener: AsyncFd<TcpListener>,
    socket: Socket,
}

impl Listening {
    #[allow(deprecated)] // Objected to for types that may give their descriptor away; a TcpListener owns its own.
    fn new(index: u8, fd: OwnedFd) -> io::Result<Self> {
        // accepted sockets inherit it: one call here instead of one a connection.
        net::set_nodelay(&fd)?;
        let listener = TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        let local = net::local_addr(listener.as_fd())?;
        let local = (!local.ip().is_unspecified()).then_some(local);
        let listener = AsyncFd::with_interest(listener, Interest::READABLE)?;
        Ok(Self { listener, socket: Socket { index, local } })
    }

    async fn accept(&self) -> io::Result<(OwnedFd, SocketAddr)> {
        self.listener.async_io(Interest::READABLE, |listener| net::accept(listener.as_fd())).await
    }
}

/// The listening sockets, and a task for each that is open.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    closed: Vec<(Rc<Gate>, Rc<Front>, Listening)>,
    tasks: Vec<JoinHandle<()>>,
    open: bool,
}

impl Sockets {
    /// Takes a socket; accepts from it now if already open, else at [`Sockets::open`].
    pub(crate) fn add(&mut self, gate: &Rc<Gate>, front: &Rc<Front>, index: u8, fd: OwnedFd) -> io::Result<()> {
        self.closed.push((Rc::clone(gate), Rc::clone(front), Listening::new(index, fd)?));
        if self.open {
            self.open();
        }
        Ok(())
    }

    /// Begins to accept.
    pub(crate) fn open(&mut self) {
        self.open = true;
        let closed = self.closed.drain(..);
        self.tasks.extend(closed.map(|(gate, front, from)| tokio::task::spawn_local(take_all(gate, front, from))));
    }

    /// Closes them all. A connection that is just being handed out is closed too: its client has heard nothing yet.
    pub(crate) fn close(&mut self) {
        self.closed.clear();
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

async fn take_all(gate: Rc<Gate>, front: Rc<Front>, listening: Listening) {
    let socket = listening.socket;
    let mut wait = BACK_OFF.0;
    let mut taken = 0_u32;
    loop {
        match listening.accept().await {
            Ok((client, from)) => {
                wait = BACK_OFF.0;
                if front.expects(socket.index, from.ip()) {
                    front.receive(&gate, socket, client, from);
                } else {
                    front.meet(&gate, socket, client, from).await;
                }
            }
            // The client has given up in the queue, or its address is none of ours: its affair alone.
            Err(e) if is_clients(&e) => {}
            Err(e) => {
                if wait == BACK_OFF.0 {
                    tracing::warn!(error = %e, listener = socket.index, "cannot accept; trying again with back-off");
                }
                tokio::time::sleep(wait).await;
                wait = wait.saturating_mul(2).min(BACK_OFF.1);
            }
        }
        taken = taken.saturating_add(1);
        if taken >= BATCH {
            taken = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Whether a failed accept(2) says something about that connection only; see accept(2), "Error handling".
fn is_clients(e: &io::Error) -> bool {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionAborted, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable, TimedOut,
    };
    matches!(
        e.kind(),
        ConnectionAborted
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | HostUnreachable
            | AddrNotAvailable
            | TimedOut
    )
}
