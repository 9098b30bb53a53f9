//! A day at the edge beside Postfix with postscreen, what a session costs beside thousands of idle ones, and the exchange of keys
//! X25519MLKEM768.

#[path = "../../crates/tls/tests/common/hybrid.rs"]
#[allow(clippy::unwrap_used)] // It is a test's.
mod hybrid;

use crate::account::Memory;
use crate::load::{self, WORKS, Way};
use crate::server::{self, Kind, Listener, Server, Sink};
use crate::table::{self, Row, median, number, verdict};
use crate::{cost, machine};
use gatepost_sys::limits::{self, Limit};
use gatepost_sys::net;
use gatepost_testkit::client::Client;
use gatepost_testkit::host::Host;
use hybrid::Hybrid;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::ring::kx_group::X25519;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;

/// Rounds of each measurement, after one that isn't counted.
const ROUNDS: usize = 7;
/// Connections of one round at the edge, by so many clients at once, from so many addresses in turn.
const CONNECTIONS: u32 = 100;
const CLIENTS: u32 = 10;
const ADDRESSES: u32 = 5000;
/// Octets of a message there.
const SIZE: usize = 20 << 10;
/// As long as postscreen's, for clients that it has not seen before, which all of them are.
const PAUSE: &str = "\n[admission]\npause = \"1s\"\n";
/// What gatepost may use of that, relative to Postfix.
const AIM: f64 = 0.35;
/// Idle connections beside a session, and how much dearer the session may be with the most of them.
const IDLE: [u32; 4] = [0, 200, 1000, 4000];
const GROWTH: f64 = 1.15;
/// Descriptors that handoff needs besides those for sessions.
const RESERVED: u64 = 128;
/// Sessions, and connections in memory, by each exchange of keys.
const HANDSHAKES: u32 = 100;

/// What a client does at the edge.
#[derive(Debug, Clone, Copy)]
enum Visit {
    /// Connects, and is gone.
    Go,
    /// Speaks before it is greeted.
    Early,
    /// Is refused at RCPT.
    Refused,
    Deliver,
    DeliverByTls,
}

/// Of 20 connections 12 go or talk early, 5 are refused, 3 deliver.
const VISITS: [Visit; 20] = {
    use Visit::{Deliver, DeliverByTls, Early, Go, Refused};
    [
        Go,
        Early,
        Refused,
        DeliverByTls,
        Go,
        Early,
        Refused,
        Go,
        Early,
        Deliver,
        Go,
        Early,
        Refused,
        Go,
        Early,
        Refused,
        Go,
        Early,
        Refused,
        DeliverByTls,
    ]
};

/// Measures and prints.
pub(crate) fn run(host: &Host, gatepost: &Path) -> io::Result<()> {
    server::prepare(host);
    let _sink = Sink::start(host);
    machine::print();
    day(host, gatepost)?;
    keys(host, gatepost)?;
    growth(host, gatepost)?;
    machine::print_load();
    Ok(())
}

/// The address of the nth client: no two of them in one /24.
fn address(n: u32) -> Ipv4Addr {
    let [.., upper, lower] = (n % ADDRESSES).to_be_bytes();
    Ipv4Addr::new(127, 1 + lower % 125, upper.wrapping_mul(3).wrapping_add(lower / 125), 7)
}

/// A connection of the nth client's.
fn connect(n: u32, listener: &Listener) -> io::Result<Client> {
    Ok(Client::over(TcpStream::from(net::connect_from(IpAddr::V4(address(n)), listener.address)?)))
}

fn visit(n: u32, listener: &Listener, content: &[u8]) -> io::Result<()> {
    let what = VISITS.get(n as usize % VISITS.len()).copied().unwrap_or(Visit::Go);
    let mut client = connect(n, listener)?;
    match what {
        Visit::Go => return Ok(()),
        Visit::Early => {
            client.try_write(b"EHLO road.test\r\n")?;
            // Whatever it hears, it goes then.
            let _ = client.try_reply();
            return Ok(());
        }
        Visit::Refused => {
            client.try_hello("road.test")?;
            load::ask(&mut client, load::FROM, 250)?;
            let reply = client.try_ask("RCPT TO:<bob@elsewhere.test>")?;
            if reply.code < 400 {
                return Err(io::Error::other(format!("a stranger may relay: {reply}")));
            }
        }
        Visit::Deliver | Visit::DeliverByTls => {
            client.try_hello("road.test")?;
            if matches!(what, Visit::DeliverByTls) {
                load::secure(&mut client, listener)?;
                load::ask(&mut client, "EHLO road.test", 250)?;
            }
            load::message(&mut client, content)?;
        }
    }
    load::close(client)
}

/// The connections from the nth on, by several clients at once: whoever is new to postscreen waits.
fn visits(first: u32, listener: &Listener) -> io::Result<()> {
    let content = load::content(SIZE);
    let each = CONNECTIONS / CLIENTS;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let content = &content;
                scope.spawn(move || {
                    let first = first + client * each;
                    (first..first + each).try_for_each(|n| {
                        visit(n, listener, content).map_err(|e| io::Error::other(format!("connection {n}: {e}")))
                    })
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap_or_else(|_| Err(io::Error::other("a client"))))
    })
}

fn day(host: &Host, gatepost: &Path) -> io::Result<()> {
    let usual = host.read(server::GATEPOST);
    host.write(server::GATEPOST, &format!("{usual}{PAUSE}"));
    let servers = [Server::start(host, Kind::Postfix, gatepost)?, Server::start(host, Kind::Gatepost, gatepost)?];
    let mut spent = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (server, spent) in servers.iter().zip(&mut spent) {
            let first = u32::try_from(round).unwrap_or_default() * CONNECTIONS;
            let before = server.used()?;
            host.inside(|| visits(first, &server.listeners.edge))
                .map_err(|e| io::Error::other(format!("{}: {e}", server.kind.name())))?;
            let used = server.used()?.saturating_sub(before);
            if round > 0 {
                spent.push(used.as_secs_f64() * 1000.0);
            }
        }
    }
    servers.into_iter().for_each(Server::stop);
    host.write(server::GATEPOST, &usual);
    let [postfix, ours] = spent.map(|spent| median(&spent));
    let ratio = ours / postfix;
    println!(
        "\na day at the edge, server CPU, ms for {CONNECTIONS} connections (median of {ROUNDS} rounds): 60 go or talk early, 25 are refused \
         at RCPT,\n15 deliver 20 KiB, 10 of them by STARTTLS; from {ADDRESSES} addresses"
    );
    let row = vec![
        "of 100 connections".to_owned(),
        number(postfix, 2),
        number(ours, 2),
        number(ratio, 2),
        format!("<= {AIM:.2}"),
        verdict(ratio, AIM),
    ];
    table::print(&["", "postscreen", "gatepost", "ratio", "aim", ""], &[row]);
    Ok(())
}

/// A session in TLS, by this exchange of keys.
fn shaken(listener: &Listener, exchange: &'static dyn SupportedKxGroup) -> io::Result<Client> {
    let mut client = Client::over(TcpStream::connect(listener.address)?);
    client.try_hello("road.test")?;
    load::ask(&mut client, "STARTTLS", 220)?;
    client.handshake_by(listener.name, vec![exchange])?;
    load::ask(&mut client, "EHLO road.test", 250)?;
    Ok(client)
}

fn keys(host: &Host, gatepost: &Path) -> io::Result<()> {
    let exchanges: [(&str, &'static dyn SupportedKxGroup); 2] = [("X25519", X25519), ("X25519MLKEM768", &Hybrid)];
    let mut spent = [Vec::new(), Vec::new()];
    let mut memory = [Vec::new(), Vec::new()];
    let server = Server::start(host, Kind::Gatepost, gatepost)?;
    let listener = server.listeners.ecdsa;
    for round in 0..=ROUNDS {
        for ((name, exchange), (spent, memory)) in exchanges.iter().zip(spent.iter_mut().zip(&mut memory)) {
            let failed = |e| io::Error::other(format!("{name}: {e}"));
            let before = server.used()?;
            host.inside(|| (0..HANDSHAKES).try_for_each(|_| load::close(shaken(&listener, *exchange)?)))
                .map_err(failed)?;
            let used = server.used()?.saturating_sub(before);
            let before = Memory::of(server.pid())?;
            let clients: Vec<_> = host
                .inside(|| (0..HANDSHAKES).map(|_| shaken(&listener, *exchange)).collect::<io::Result<_>>())
                .map_err(failed)?;
            server.used()?;
            let after = Memory::of(server.pid())?;
            drop(clients);
            server.used()?;
            if round > 0 {
                spent.push(used.as_secs_f64() * 1000.0 / f64::from(HANDSHAKES));
                memory.push((after.user as f64 - before.user as f64) / f64::from(HANDSHAKES));
            }
        }
    }
    server.stop();
    println!("\nSTARTTLS, EHLO, QUIT by each exchange of keys (median of {ROUNDS} rounds, ECDSA)");
    let rows: Vec<Row> = exchanges
        .iter()
        .zip(spent.iter().zip(&memory))
        .map(|((name, _), (spent, memory))| {
            vec![(*name).to_owned(), number(median(spent), 3), number(median(memory), 1)]
        })
        .collect();
    table::print(&["", "CPU, ms", "PSS of an idle one, KiB"], &rows);
    Ok(())
}

/// Idle clients that so many slots have room for: with more than three quarters taken, sessions begin with little patience.
fn room(slots: u32) -> u32 {
    slots / 4 * 3 - 8
}

/// Slots for the most idle clients, or for as many as the hard limit of descriptors allows: handoff has four for each.
fn slots() -> io::Result<u32> {
    let most = IDLE.iter().max().copied().unwrap_or_default();
    let (_, hard) = limits::get(Limit::OpenFiles)?;
    let allowed = u32::try_from(hard.saturating_sub(RESERVED) / 4).unwrap_or(u32::MAX);
    Ok((2 * most).min(allowed))
}

fn growth(host: &Host, gatepost: &Path) -> io::Result<()> {
    let sessions = slots()?;
    let text = host.read(server::GATEPOST).replace("[limits]\n", &format!("[limits]\nsessions = {sessions}\n"));
    host.write(server::GATEPOST, &text);
    let server = Server::start(host, Kind::Gatepost, gatepost)?;
    let work = WORKS.iter().find(|work| work.way == Way::Sessions).ok_or_else(|| io::Error::other("no such work"))?;
    let mut clients = Vec::new();
    let mut least = None;
    let mut rows = Vec::new();
    // Where there are no descriptors for so many: as many as there are.
    for idle in IDLE.map(|idle| idle.min(room(sessions))) {
        let from = u32::try_from(clients.len()).unwrap_or(u32::MAX);
        let more = host.inside(|| {
            (from..idle)
                .map(|n| {
                    let mut client = connect(n, &server.listeners.ecdsa)?;
                    client.try_hello("road.test")?;
                    Ok(client)
                })
                .collect::<io::Result<Vec<_>>>()
        })?;
        clients.extend(more);
        cost(host, &server, work, work.count)?;
        let times = (0..ROUNDS)
            .map(|_| Ok(cost(host, &server, work, work.count)?.processor))
            .collect::<io::Result<Vec<_>>>()?;
        let time = median(&times);
        let ratio = time / *least.get_or_insert(time);
        rows.push(vec![
            format!("{idle} idle connections"),
            number(time, 3),
            number(ratio, 2),
            format!("<= {GROWTH:.2}"),
            verdict(ratio, GROWTH),
        ]);
    }
    drop(clients);
    server.stop();
    println!(
        "\nserver CPU, ms of a session with one 1 KiB message beside connections that have said EHLO (median of {ROUNDS} rounds)"
    );
    table::print(&["", "gatepost", "ratio", "aim", ""], &rows);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn issue_14_of_a_hundred_connections_sixty_come_to_nothing_and_fifteen_deliver() {
        let count = |wanted: fn(&Visit) -> bool| VISITS.iter().filter(|visit| wanted(visit)).count() * 5;
        assert_eq!(count(|visit| matches!(visit, Visit::Go | Visit::Early)), 60);
        assert_eq!(count(|visit| matches!(visit, Visit::Refused)), 25);
        assert_eq!(count(|visit| matches!(visit, Visit::Deliver | Visit::DeliverByTls)), 15);
        assert_eq!(count(|visit| matches!(visit, Visit::DeliverByTls)), 10);
    }

    #[test]
    fn issue_14_each_client_has_a_network_of_its_own() {
        let networks: BTreeSet<[u8; 3]> = (0..ADDRESSES)
            .map(|n| {
                let [a, b, c, _] = address(n).octets();
                [a, b, c]
            })
            .collect();
        assert_eq!(networks.len(), usize::try_from(ADDRESSES).unwrap());
    }
}
