//! accept(2) and admission; makes each session's private channels.
//!
//! The listener parses nothing but addresses, and a PROXY header from peers that must send one. It decides who gets a session,
//! makes the session's channels, and gives each end to the role it belongs to: handoff learns who the client is from here, never
//! from the session (P4).
//!
//! | file | what |
//! |---|---|
//! | `lib.rs` | the life of the role: orders, links, draining |
//! | `accept.rs` | the accept loop and its back-off |
//! | `connection.rs` | a connection without a session, and where it came in |
//! | `listener.rs` | what all connections share |
//! | `admit.rs` | the rules and the limits: a session, a wait for a slot, or neither |
//! | `start.rs` | a session begins: its channels are made and handed out |
//! | `ended.rs` | a session is over: its slot, and what it tells of its client |
//! | `keys.rs` | when the keyholder hears of a session |
//! | `unasked.rs` | channels to the keyholder that no session has spoken on |
//! | `slots.rs` | slots that are given to others |
//! | `slot_waits.rs` | who waits for a slot, and who has been asked to leave one |
//! | `links.rs` | the links with the other roles |
//! | `incoming.rs` | connections without a session: PROXY headers, and who has to wait |
//! | `waiting.rs` | how many wait, and who is closed for others |
//! | `screen.rs` | clients that speak before the greeting, or are on DNS lists |
//! | `lists.rs` | what DNS lists say, by the resolver |
//! | `rules.rs` | the rules, in memory that the launcher hands over |
//! | `turned.rs` | who gets no session: what he hears, and what is told |
//! | `sessions.rs` | the table of sessions under way, by nursery |
//! | `admin.rs` | what an admin wishes: sessions that end, an address that is forgiven; gauges |
#![forbid(unsafe_code)]

mod accept;
mod admin;
mod admit;
mod connection;
mod ended;
mod incoming;
mod keys;
mod links;
mod listener;
mod lists;
mod rules;
mod screen;
mod sessions;
mod slot_waits;
mod slots;
mod start;
#[cfg(test)]
mod tests;
mod turned;
mod unasked;
mod waiting;

use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_jail::{ControlEnd, Unjailed};
use gatepost_policy::networks::Networks;
use gatepost_role::{AsyncControl, First, Heard, RoleError, SHORT_FRAME, Special, Step, first};
use gatepost_sys::epoll::Epoll;
use gatepost_wire::auth::Offers;
use gatepost_wire::control::Role;
use gatepost_wire::slice::{ListenerSlice, Slice};
use gatepost_wire::terms::NetworksSlice;
use gatepost_wire::{
    AuthToListener, HandoffToListener, ListenerToAuth, ListenerToHandoff, ListenerToKeyholder, ListenerToNursery,
    ListenerToResolver, Nothing, NurseryToListener, ResolverToListener,
};
use incoming::Incoming;
use listener::Listener;
use rules::Rules;
use slot_waits::Waits;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use tokio::task::{JoinError, LocalSet};
use unasked::Keys;

type NurseryLink = AsyncEnd<ListenerToNursery, NurseryToListener>;
type HandoffLink = AsyncEnd<ListenerToHandoff, HandoffToListener>;
type KeyholderLink = AsyncEnd<ListenerToKeyholder, Nothing>;
type AuthLink = AsyncEnd<ListenerToAuth, AuthToListener>;
type ResolverLink = AsyncEnd<ListenerToResolver, ResolverToListener>;

/// The listener's whole life: jail, orders, connections, drain.
///
/// # Errors
/// [`RoleError`].
pub fn run(unjailed: Unjailed) -> Result<(), RoleError> {
    let slice: ListenerSlice = unjailed.slice()?;
    let entered = unjailed.enter(Role::Listener)?;
    let runtime = gatepost_role::runtime()?;
    let epoll = unasked::watch().map_err(RoleError::system("make an epoll"))?;
    let jailed = entered.seal()?;
    LocalSet::new().block_on(&runtime, serve(jailed.control, slice, epoll, Waits::default()))
}

/// Follows the launcher's orders until a drain has finished.
async fn serve(control: ControlEnd, slice: ListenerSlice, epoll: Epoll, waits: Waits) -> Result<(), RoleError> {
    let keys = Keys::new(epoll).map_err(RoleError::system("watch sessions"))?;
    follow(control, slice, keys, waits).await
}

async fn follow(control: ControlEnd, slice: ListenerSlice, keys: Keys, waits: Waits) -> Result<(), RoleError> {
    let mut control = AsyncControl::new(Role::Listener, control)?;
    let incoming = Rc::new(Incoming::new(&slice));
    let listener = Rc::new(Listener::new(slice, keys, waits));
    let mut passing = tokio::task::spawn_local(Rc::clone(&listener).pass_keys_on());
    tokio::task::spawn_local(Rc::clone(&listener).reassign_slots());
    tokio::task::spawn_local(Rc::clone(&listener).tell_of_refusals());
    let mut sockets = accept::Sockets::default();
    loop {
        let step = match control.order_or(&mut passing).await? {
            Heard::Order(step) => step,
            Heard::Other(ended) => return Err(unwatched(ended)),
        };
        match step {
            Step::Link(Role::Resolver, fd) => incoming.link(fd).map_err(RoleError::system("watch a link"))?,
            Step::Link(role, fd) => link(&listener, role, fd)?,
            Step::Special(Special::Socket(index, fd)) => {
                sockets.add(&listener, &incoming, index, fd).map_err(RoleError::system("watch a listening socket"))?;
            }
            Step::Begin => {
                sockets.open();
                control.ready().await?;
            }
            Step::Special(Special::Rules(memory)) => {
                listener.set_rules(Rules::read(memory).map_err(RoleError::system("read the rules"))?);
            }
            Step::Special(Special::Networks(memory)) => {
                let octets = gatepost_role::octets(memory).map_err(RoleError::system("read the networks"))?;
                let slice = NetworksSlice::from_bytes(&octets).map_err(RoleError::given("the networks"))?;
                listener.set_networks(Networks::new(slice));
            }
            Step::Drain => break,
            Step::Noted => listener.tell_gauges(),
            Step::Special(Special::Admin(order, admin)) => listener.carry_out(order, admin),
            Step::Special(_) => {}
        }
    }
    sockets.close();
    listener.close();
    incoming.close();
    loop {
        match control.order_or(first(listener.idle(), &mut passing)).await? {
            Heard::Other(First::One(())) => {
                listener.tell_rest();
                return Ok(());
            }
            Heard::Other(First::Other(ended)) => return Err(unwatched(ended)),
            Heard::Order(Step::Special(Special::Cut)) => {
                listener.tell_rest();
                listener.name_all();
                return Ok(());
            }
            Heard::Order(Step::Noted) => listener.tell_gauges(),
            Heard::Order(Step::Special(Special::Admin(order, admin))) => listener.carry_out(order, admin),
            Heard::Order(_) => {}
        }
    }
}

/// Sessions that ask for signatures are seen no more.
fn unwatched(ended: Result<io::Error, JoinError>) -> RoleError {
    RoleError::system("watch sessions")(ended.unwrap_or_else(io::Error::other))
}

/// Takes a fresh link into use.
fn link(listener: &Rc<Listener>, role: Role, fd: OwnedFd) -> Result<(), RoleError> {
    let runtime = RoleError::system("watch a link");
    match role {
        Role::Handoff => {
            let link = Rc::new(HandoffLink::from_fd(fd).map_err(&runtime)?);
            let number = listener.set_handoff(Rc::clone(&link));
            tokio::task::spawn_local(follow_handoff(Rc::clone(listener), number, link));
        }
        Role::Auth => {
            let link = Rc::new(AuthLink::from_fd(fd).map_err(&runtime)?);
            let number = listener.set_auth(Rc::clone(&link));
            tokio::task::spawn_local(hear_auth(Rc::clone(listener), number, link));
        }
        Role::Keyholder => listener.set_keyholder(KeyholderLink::from_fd(fd).map_err(&runtime)?),
        Role::Nursery => {
            let link = Rc::new(NurseryLink::from_fd(fd).map_err(&runtime)?);
            let nursery = listener.set_nursery(Rc::clone(&link));
            tokio::task::spawn_local(follow_nursery(Rc::clone(listener), nursery, link));
        }
        // Not linked with the listener.
        _ => {}
    }
    Ok(())
}

/// Hears what becomes of one nursery's sessions, until the nursery is gone. A nursery that has been replaced is heard
/// to its end: its sessions still count.
async fn follow_nursery(listener: Rc<Listener>, nursery: sessions::Nursery, link: Rc<NurseryLink>) {
    let mut inbox = Inbox::new(SHORT_FRAME);
    loop {
        match link.recv(&mut inbox).await {
            Ok(ended) => listener.ended(nursery, ended),
            Err(ChannelError::Closed) => break,
            Err(e) => {
                tracing::error!(error = %e, "nursery link dropped");
                break;
            }
        }
    }
    listener.nursery_gone(nursery);
}

/// Hears what auth offers to all sessions, which is all that it ever says here.
async fn hear_auth(listener: Rc<Listener>, number: u64, link: Rc<AuthLink>) {
    match link.recv(&mut Inbox::new(SHORT_FRAME)).await {
        Ok(Offers { mechanisms }) => listener.set_offer(number, mechanisms),
        // The next session that wants to log in tells.
        Err(ChannelError::Closed) => {}
        Err(e) => tracing::error!(error = %e, "auth's offer was not heard: it tells each session itself"),
    }
}

/// Hears what comes of telling sessions to leave, until handoff is gone.
async fn follow_handoff(listener: Rc<Listener>, number: u64, link: Rc<HandoffLink>) {
    let mut inbox = Inbox::new(SHORT_FRAME);
    loop {
        match link.recv(&mut inbox).await {
            Ok(left) => listener.left(left),
            Err(ChannelError::Closed) => break,
            Err(e) => {
                tracing::error!(error = %e, "handoff link dropped");
                break;
            }
        }
    }
    listener.handoff_gone(number);
}
