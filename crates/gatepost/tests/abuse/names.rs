//! Clients whose name servers don't answer.

use crate::crowd::{Attacker, config, open_networks_beside, send_good_mail, v4};
use crate::gate::{Gate, rogue};
use gatepost_testkit::host;
use gatepost_testkit::name_server::{NameServer, Rcode, Said, nothing, said};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::wait::{SOON, holds};
use std::collections::BTreeSet;

/// Questions that the resolver has under way at once.
const AT_ONCE: usize = 256;
/// More than that.
const CONNECTIONS: u16 = 400;
const SERVERS: [&str; 3] = ["127.0.0.1:5300", "127.0.0.2:5300", "127.0.0.3:5300"];
/// A client that holds nothing, and the questions that lead to its name.
const GOOD: &str = "10.99.0.1";
const NAME: &str = "mx.good.test";

/// Each of their look-ups had its turn for ten seconds, in which no other client had a name: its mail came without one, and DNS lists
/// by name were left out.
#[test]
fn p13_look_ups_without_an_answer_keep_no_other_client_from_its_name() {
    let name = "p13_look_ups_without_an_answer_keep_no_other_client_from_its_name";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    open_networks_beside(&host);
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let zone = [
        ("1.0.99.10.in-addr.arpa PTR", said(&[&format!("1.0.99.10.in-addr.arpa 60 PTR {NAME}")])),
        ("mx.good.test A", said(&[&format!("{NAME} 60 A {GOOD}")])),
        // What tells that the server is there.
        ("1.0.0.127.in-addr.arpa PTR", nothing(Rcode::NXDOMAIN, Some(60))),
    ];
    let silent = Said { silent: true, ..Said::default() };
    // So many that a look-up goes on for all the time that it may.
    let names = SERVERS.map(|server| host.inside(|| NameServer::at(server.parse().unwrap(), &zone, &silent)));
    let more = format!("[names]\nservers = {SERVERS:?}\n[log]\nformat = \"json\"");
    let gate = Gate::start(&host, &config(&backend, &more));
    let attackers: Vec<Attacker> = (0..CONNECTIONS)
        .filter_map(|n| {
            // Of so many networks that none has more than its share of slots.
            let mut attacker = Attacker::connect(&host, v4(n.to_le_bytes()[0] % 40, n))?;
            attacker.send(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\n");
            Some(attacker)
        })
        .collect();
    assert_eq!(attackers.len(), usize::from(CONNECTIONS));
    holds("their look-ups to take all turns", SOON, || {
        let asked: BTreeSet<String> = names.iter().flat_map(NameServer::asked).collect();
        asked.len() >= AT_ONCE
    });
    send_good_mail(&host, GOOD.parse().unwrap(), "alice@ok.test", "with a name").unwrap();
    let named = || gate.process.said().lines().any(|line| line.contains(GOOD) && line.contains(NAME));
    holds("the name of who holds nothing, in the log", SOON, named);
    drop(attackers);
    gate.stop();
}
