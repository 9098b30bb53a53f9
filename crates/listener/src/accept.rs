//! The accept loop: many connections a wake-up, never a spin.

use crate::connection::Socket;
use crate::incoming::Incoming;
use crate::listener::Listener;
use gatepost_sys::{fds, net, peer};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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

/// Who has connected.
enum Who {
    Address(SocketAddr),
    /// A program of this user's on this machine.
    User(u32),
}

/// A listening socket of the configuration.
#[derive(Debug)]
struct Listening {
    fd: AsyncFd<OwnedFd>,
    socket: Socket,
    /// It is for programs of this machine.
    of_users: bool,
}

/// What stands for the address of a program of this machine.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Listening {
    fn new(index: u8, fd: OwnedFd, of_users: bool) -> io::Result<Self> {
        let local = if of_users {
            Some(LOOPBACK)
        } else {
            // accepted sockets inherit it: one call here instead of one a connection.
            net::set_nodelay(&fd)?;
            Some(net::local_addr(fd.as_fd())?).filter(|local| !local.ip().is_unspecified())
        };
        fds::set_nonblocking(fd.as_fd(), true)?;
        let fd = gatepost_channel::watch(fd, Interest::READABLE)?;
        Ok(Self { fd, socket: Socket { index, local }, of_users })
    }

    async fn accept(&self) -> io::Result<(OwnedFd, Who)> {
        self.fd
            .async_io(Interest::READABLE, |socket| match self.of_users {
                false => net::accept(socket.as_fd()).map(|(client, from)| (client, Who::Address(from))),
                true => {
                    let client = net::accept_any(socket.as_fd())?;
                    let uid = peer::uid(client.as_fd())?;
                    Ok((client, Who::User(uid)))
                }
            })
            .await
    }
}

/// The listening sockets, and a task for each that is open.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    closed: Vec<(Rc<Listener>, Rc<Incoming>, Listening)>,
    tasks: Vec<JoinHandle<()>>,
    open: bool,
}

impl Sockets {
    /// Takes a socket; accepts from it now if already open, else at [`Sockets::open`].
    pub(crate) fn add(
        &mut self,
        listener: &Rc<Listener>,
        incoming: &Rc<Incoming>,
        index: u8,
        fd: OwnedFd,
    ) -> io::Result<()> {
        self.closed.push((
            Rc::clone(listener),
            Rc::clone(incoming),
            Listening::new(index, fd, listener.is_for_users(index))?,
        ));
        if self.open {
            self.open();
        }
        Ok(())
    }

    /// Begins to accept.
    pub(crate) fn open(&mut self) {
        self.open = true;
        let closed = self.closed.drain(..);
        self.tasks.extend(
            closed.map(|(listener, incoming, from)| tokio::task::spawn_local(take_all(listener, incoming, from))),
        );
    }

    /// Closes them all. A connection that is just being handed out is closed too: its client has heard nothing yet.
    pub(crate) fn close(&mut self) {
        self.closed.clear();
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

async fn take_all(listener: Rc<Listener>, incoming: Rc<Incoming>, listening: Listening) {
    let socket = listening.socket;
    let mut wait = BACK_OFF.0;
    let mut taken = 0_u32;
    loop {
        match taken_or_waited(listening.accept().await, &mut wait, socket.index).await {
            // Nobody is asked about a user of this machine, and his programs are not waited for.
            Some((client, Who::User(uid))) => listener.admit_user(&socket, client, uid).await,
            Some((client, Who::Address(from))) if incoming.expects(socket.index, from.ip()) => {
                incoming.receive(&listener, socket, client, from);
            }
            Some((client, Who::Address(from))) => incoming.test(&listener, socket, client, from).await,
            None => {}
        }
        taken = taken.saturating_add(1);
        if taken >= BATCH {
            taken = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// What was accepted, after which the next failure is a first one. None: nothing was, and a failure of ours has had its `wait`.
async fn taken_or_waited<T>(accepted: io::Result<T>, wait: &mut Duration, listener: u8) -> Option<T> {
    match accepted {
        Ok(accepted) => {
            *wait = BACK_OFF.0;
            return Some(accepted);
        }
        // The client has given up in the queue, or its address is none of ours: its affair alone.
        Err(e) if is_clients(&e) => {}
        Err(e) => {
            if *wait == BACK_OFF.0 {
                tracing::warn!(error = %e, listener, "cannot accept; trying again with back-off");
            }
            tokio::time::sleep(*wait).await;
            *wait = wait.saturating_mul(2).min(BACK_OFF.1);
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn p13_whoever_is_accepted_ends_the_back_off() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut wait = BACK_OFF.0;
            for (accepted, next) in [
                (Err(ErrorKind::OutOfMemory), 2),
                (Err(ErrorKind::OutOfMemory), 4),
                // It says nothing of us.
                (Err(ErrorKind::ConnectionAborted), 4),
                (Ok(()), 1),
                (Err(ErrorKind::OutOfMemory), 2),
            ] {
                let taken = taken_or_waited(accepted.map_err(io::Error::from), &mut wait, 0).await;
                assert_eq!((taken, wait), (accepted.ok(), BACK_OFF.0 * next), "{accepted:?}");
            }
        });
    }
}
