//! An owned role: jailed as the real one is, it makes one attempt, says in the log what came of it, and ends.

use crate::attempt::Outcome;
use crate::{checking, handoff, system};
use gatepost_jail::{ControlEnd, Unjailed};
use gatepost_role::{Control, RoleError, Step};
use gatepost_sys::seq::Seq;
use gatepost_sys::{escape, net};
use gatepost_wire::auth::{LoggedIn, Noted};
use gatepost_wire::control::Role;
use gatepost_wire::link::SessionId;
use gatepost_wire::slice::CheckerSlice;
use gatepost_wire::{Frame, Messages};
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

/// Here the test leaves `ROLE: ATTEMPT: ARGUMENT` for the next process of that role.
const ORDER: &str = "/var/lib/escape-room/order";

/// An attempt: its name, and what it does with its argument and its links.
pub(crate) type Attempt = (&'static str, fn(&str, &Links) -> Outcome);

/// The links of an owned role.
pub(crate) struct Links(Vec<(Role, OwnedFd)>);

impl Links {
    /// The first one with that role.
    pub(crate) fn with(&self, role: Role) -> Seq {
        let link = self.0.iter().find(|(peer, _)| *peer == role).map(|(_, link)| link);
        Seq::from_fd(link.expect("a link").try_clone().expect("one more"))
    }
}

const ATTEMPTS: &[Attempt] = &[
    ("open a file", |path, _| File::open(path).map(drop).into()),
    ("write a file", |path, _| fs::write(path, b"x").into()),
    ("list a directory", |path, _| fs::read_dir(path).map(drop).into()),
    ("connect by TCP", |address, _| by_tcp(address).into()),
    ("send by UDP", |address, _| UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", address)).into()),
    ("listen", |address, _| TcpListener::bind(address).map(drop).into()),
    ("connect to a path", |path, _| net::begin_unix(path.as_ref()).map(drop).into()),
    ("connect to an abstract name", |name, _| escape::begin_abstract(name).map(drop).into()),
    ("execute", |_, _| system::process_command().into()),
    ("fork", |_, _| gatepost_sys::process::fork().map(drop).into()),
    ("make a thread", |_, _| system::make_thread().into()),
    ("tell handoff of a login", |id, links| {
        let login = LoggedIn { id: SessionId(id.parse().expect("a number")), login: b"joe@ok.test" };
        told(links, Frame::of(&login).unwrap().bytes())
    }),
    ("tell handoff a login with a line end", |_, links| {
        told(links, Frame::of(&LoggedIn { id: SessionId(1), login: b"joe\r\nRSET" }).unwrap().bytes())
    }),
    ("tell handoff garbage", |_, links| told(links, &[0x5a; 3000])),
    ("tell handoff to open a session", |_, links| told(links, Frame::of(&handoff::another()).unwrap().bytes())),
];

/// What handoff answers to a frame.
fn told(links: &Links, frame: &[u8]) -> Outcome {
    let link = links.with(Role::Handoff);
    let mut buffer = [0; 256];
    match link.send(frame, &[]).and_then(|()| link.recv_with(&mut buffer)) {
        Ok((0, _)) => Outcome::Dropped,
        Ok((length, _)) => match Messages::<Noted>::one(&buffer[..length]) {
            Ok(Noted { noted, .. }) => Outcome::Says(if noted { "noted" } else { "not noted" }.to_owned()),
            Err(e) => Outcome::Says(e.to_string()),
        },
        Err(e) if handoff::is_gone(&e) => Outcome::Dropped,
        Err(e) => Outcome::Refused(e),
    }
}

/// By the kind of socket that a dialer may make. To this machine a connection is there, or refused, at once.
fn by_tcp(address: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().expect("an address and port");
    net::connected(net::begin_tcp(address)?.socket.as_fd())
}

/// Takes the order for this role, if there is one: it counts for one process.
pub(crate) fn order(role: Role) -> Option<String> {
    let text = fs::read_to_string(ORDER).ok()?;
    let order = text.strip_prefix(role.name())?.strip_prefix(": ")?.to_owned();
    fs::remove_file(ORDER).expect("an order is taken once");
    Some(order)
}

/// Enters the role's jail, is let serve, and does what it was told.
pub(crate) fn life(role: Role, unjailed: Unjailed, order: &str) -> Result<(), RoleError> {
    // The launcher has looked at it then, and is content.
    let mut control = Control::new(role, confined(role, unjailed)?);
    let mut links = Links(Vec::new());
    loop {
        match control.order()? {
            Step::Begin => break,
            Step::Link(peer, link) => links.0.push((peer, link)),
            _ => {}
        }
    }
    if role == Role::Checker {
        // It is asked something only when it serves.
        control.ready()?;
    }
    let (name, argument) = order.split_once(": ").unwrap_or((order, ""));
    let outcome = match ATTEMPTS.iter().chain(checking::ATTEMPTS).find(|(known, _)| *known == name) {
        Some((_, attempt)) => attempt(argument, &links),
        None => Outcome::Says("no such attempt".to_owned()),
    };
    tracing::error!("owned, {order}: {outcome};");
    Ok(())
}

/// As the real one is confined.
fn confined(role: Role, unjailed: Unjailed) -> Result<ControlEnd, RoleError> {
    if role == Role::Checker {
        let CheckerSlice { uid, .. } = unjailed.slice()?;
        return Ok(unjailed.stay_outside(uid)?.control);
    }
    Ok(unjailed.enter(role)?.seal()?.control)
}
