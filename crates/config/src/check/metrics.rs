//! `[metrics]`.

use crate::fault::{Page, Wrong};
use crate::keys::Kind::OneOrList;
use crate::keys::Unset::Is;
use crate::keys::{Table, keys};
use crate::section::{Section, plain};
use crate::value;
use gatepost_wire::slice::Connect;
use std::net::SocketAddr;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "metrics",
    repeated: false,
    text: "Counters for Prometheus, by HTTP.",
    keys: keys! {
        /// Where they are read: unix sockets, or ports of a loopback address. Who reaches the socket may read. 16 at most.
        "listen" = OneOrList("`unix:PATH` or `tcp:ADDRESS:PORT`"), Is("[]"), since "0.1", as "\"unix:/run/gatepost/metrics.sock\"";
    },
};

/// Sockets at most: the observer has room for so many.
const SOCKETS_MAX: usize = 16;

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Vec<Connect> {
    let section = root.one(page, "metrics");
    let mut listen = section.one_or_list(page, "listen", place);
    if let Some(first) = listen.get(SOCKETS_MAX) {
        let wrong = Wrong::new(
            format!("there are {} sockets, and room for {SOCKETS_MAX}", listen.len()),
            "take out those that nobody reads",
        );
        section.fault(page, "listen", first, wrong);
        listen.truncate(SOCKETS_MAX);
    }
    plain(listen)
}

/// Anybody who reaches the socket may read: so a path, with its permissions, or this machine alone.
fn place(text: &str) -> Result<Connect, Wrong> {
    let address = text.strip_prefix("tcp:").and_then(|address| address.parse::<SocketAddr>().ok());
    if address.is_some_and(|address| !address.ip().is_loopback()) {
        return Err(Wrong::new(
            format!("\"{text}\" can be reached from other machines, and asks nobody for a password"),
            "write \"tcp:127.0.0.1:9125\" or \"unix:/run/gatepost/metrics.sock\", and let a web server with TLS pass it on",
        ));
    }
    value::connect(text)
}
