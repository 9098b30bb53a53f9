//! accept(2) and admission; makes each session's private channels.
//!
//! The listener parses nothing but addresses. It decides who gets a session, makes the session's channels, and gives
//! each end to the role it belongs to: handoff learns who the client is from here, never from the session (P4).
//!
//! | file | what |
//! |---|---|
//! | `lib.rs` | the life of the role: orders, links, draining |
//! | `gate.rs` | one connection: admit, make channels, hand out |
//! | `accept.rs` | the accept loop and its back-off |
//! | `roster.rs` | sessions under way, by nursery |
#![forbid(unsafe_code)]

mod accept;
mod gate;
mod roster;
#[cfg(test)]
mod tests;

use gate::Gate;
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_jail::{ControlEnd, JailError, Newborn};
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::slice::ListenerSlice;
use gatepost_wire::{
    LauncherToRole, ListenerToHandoff, ListenerToKeyholder, ListenerToNursery, Nothing, NurseryToListener,
    RoleToLauncher,
};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use tokio::task::LocalSet;

type Control = AsyncEnd<RoleToLauncher, LauncherToRole>;
type NurseryLink = AsyncEnd<ListenerToNursery, NurseryToListener>;
type HandoffLink = AsyncEnd<ListenerToHandoff, Nothing>;
type KeyholderLink = AsyncEnd<ListenerToKeyholder, Nothing>;

/// Octets of the longest frame that the launcher or a nursery sends here.
const SHORT_FRAME: usize = 256;

/// Why the listener cannot go on. All of these are ours, none is a client's.
#[derive(Debug)]
pub enum ListenerError {
    /// Confinement failed.
    Jail(JailError),
    /// No runtime, or no room in it for a descriptor.
    Runtime(io::Error),
    /// The launcher is gone or broke the protocol.
    Launcher(ChannelError),
    /// An order that must bring one descriptor brought another number, or an order made no sense.
    Order(Order),
}

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jail(e) => write!(f, "listener: {e}"),
            Self::Runtime(e) => write!(f, "listener: runtime: {e}"),
            Self::Launcher(e) => write!(f, "listener: launcher: {e}"),
            Self::Order(order) => write!(f, "listener: cannot follow {order:?}"),
        }
    }
}

impl std::error::Error for ListenerError {}

impl From<JailError> for ListenerError {
    fn from(e: JailError) -> Self {
        Self::Jail(e)
    }
}

impl From<ChannelError> for ListenerError {
    fn from(e: ChannelError) -> Self {
        Self::Launcher(e)
    }
}

/// The listener's whole life: jail, orders, connections, drain.
///
/// # Errors
/// [`ListenerError`]: nothing that a client does is among them.
pub fn run(newborn: Newborn) -> Result<(), ListenerError> {
    let slice: ListenerSlice = newborn.slice()?;
    let entered = newborn.enter(Role::Listener)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(ListenerError::Runtime)?;
    let jailed = entered.seal()?;
    LocalSet::new().block_on(&runtime, serve(jailed.control, slice))
}

/// Follows the launcher's orders until a drain has finished.
async fn serve(control: ControlEnd, slice: ListenerSlice) -> Result<(), ListenerError> {
    let control = Control::new(control).map_err(ListenerError::Runtime)?;
    let gate = Rc::new(Gate::new(slice));
    let mut sockets = accept::Sockets::default();
    let mut inbox = Inbox::new(SHORT_FRAME);
    loop {
        let (order, fds) = control.recv_with(&mut inbox).await?;
        match order {
            Order::Peer(role) => link(&gate, role, sole(order, fds)?)?,
            Order::Socket(index) => sockets.add(&gate, index, sole(order, fds)?).map_err(ListenerError::Runtime)?,
            Order::Go => {
                sockets.open();
                control.tell(&Report::Ready).await?;
            }
            Order::Drain => break,
        }
    }
    sockets.close();
    gate.quiet().await;
    Ok(())
}

/// The one descriptor that must come with `order`.
fn sole(order: Order, fds: Vec<OwnedFd>) -> Result<OwnedFd, ListenerError> {
    <[OwnedFd; 1]>::try_from(fds).map(|[fd]| fd).map_err(|_| ListenerError::Order(order))
}

/// Takes a fresh link into use.
fn link(gate: &Rc<Gate>, role: Role, fd: OwnedFd) -> Result<(), ListenerError> {
    let runtime = ListenerError::Runtime;
    match role {
        Role::Handoff => gate.set_handoff(HandoffLink::from_fd(fd).map_err(runtime)?),
        Role::Keyholder => gate.set_keyholder(KeyholderLink::from_fd(fd).map_err(runtime)?),
        Role::Nursery => {
            let link = Rc::new(NurseryLink::from_fd(fd).map_err(runtime)?);
            let nursery = gate.set_nursery(Rc::clone(&link));
            tokio::task::spawn_local(follow(Rc::clone(gate), nursery, link));
        }
        Role::Listener | Role::Receiver | Role::Queue => return Err(ListenerError::Order(Order::Peer(role))),
    }
    Ok(())
}

/// Hears what becomes of one nursery's sessions, until the nursery is gone. A nursery that has been replaced is heard
/// to its end: its sessions still count.
async fn follow(gate: Rc<Gate>, nursery: roster::Nursery, link: Rc<NurseryLink>) {
    let mut inbox = Inbox::new(SHORT_FRAME);
    loop {
        match link.recv(&mut inbox).await {
            Ok(ended) => gate.ended(nursery, ended),
            Err(ChannelError::Closed) => break,
            Err(e) => {
                tracing::error!(error = %e, "nursery link dropped");
                break;
            }
        }
    }
    gate.nursery_gone(nursery);
}
