//! An owned role: jailed as the real one is, it makes one attempt, says in the log what came of it, and ends.

use crate::hostile::Outcome;
use crate::system;
use gatepost_jail::Unjailed;
use gatepost_role::{Control, RoleError, Step};
use gatepost_sys::{escape, net};
use gatepost_wire::control::Role;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

/// Here the test leaves `ROLE: ATTEMPT: ARGUMENT` for the next process of that role.
const ORDER: &str = "/var/lib/escape-room/order";

/// An attempt: its name, and what it does with its argument.
type Attempt = (&'static str, fn(&str) -> Outcome);

const ATTEMPTS: &[Attempt] = &[
    ("open a file", |path| File::open(path).map(drop).into()),
    ("write a file", |path| fs::write(path, b"x").into()),
    ("list a directory", |path| fs::read_dir(path).map(drop).into()),
    ("connect by TCP", |address| by_tcp(address).into()),
    ("send by UDP", |address| UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", address)).into()),
    ("listen", |address| TcpListener::bind(address).map(drop).into()),
    ("connect to a path", |path| net::begin_unix(path.as_ref()).map(drop).into()),
    ("connect to an abstract name", |name| escape::begin_abstract(name).map(drop).into()),
    ("execute", |_| system::process_command().into()),
    ("fork", |_| gatepost_sys::process::fork().map(drop).into()),
    ("make a thread", |_| system::make_thread().into()),
];

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
    let jailed = unjailed.enter(role)?.seal()?;
    // The launcher has looked at it then, and is content.
    let mut control = Control::new(role, jailed.control);
    while !matches!(control.order()?, Step::Begin) {}
    let (name, argument) = order.split_once(": ").unwrap_or((order, ""));
    let outcome = match ATTEMPTS.iter().find(|(known, _)| *known == name) {
        Some((_, attempt)) => attempt(argument),
        None => Outcome::Says("no such attempt".to_owned()),
    };
    tracing::error!("owned, {order}: {outcome};");
    Ok(())
}
