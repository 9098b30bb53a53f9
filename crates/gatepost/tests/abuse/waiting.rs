//! Connections that wait before the greeting: what each costs the listener.

use crate::crowd::{Attacker, open_networks, v4};
use crate::gate::{self, Gate, rogue};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::wait::{SOON, holds};
use gatepost_testkit::{facts, host};

/// So many at once.
const CONNECTIONS: u16 = 10_000;
/// From so many addresses.
const ADDRESSES: u16 = 2_000;
/// Memory that each may cost, KiB.
const KIB: u64 = 8;

#[test]
fn issue_12_a_connection_that_waits_costs_a_few_kib() {
    let Some(host) = host::for_test("issue_12_a_connection_that_waits_costs_a_few_kib", &["openssl"]) else { return };
    open_networks(&host);
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &gate::config(&backend, "[admission]\npause = \"30s\""));
    let listener = gate.roles()["gp-listener"];
    let memory = || {
        let kib = facts::status(listener)["RssAnon"].split(' ').next().and_then(|kib| kib.parse::<u64>().ok());
        kib.expect("RssAnon in KiB")
    };
    let before = memory();
    // Of eight networks.
    let waiting: Vec<_> = (0..CONNECTIONS)
        .map(|n| n % ADDRESSES)
        .filter_map(|n| Attacker::connect(&host, v4(n.to_le_bytes()[0] % 8, n / 8 + 1)))
        .collect();
    assert_eq!(waiting.len(), usize::from(CONNECTIONS));
    holds("all of them to wait", SOON, || facts::descriptors(listener).len() >= waiting.len());
    let each = (memory() - before) * 1024 / u64::from(CONNECTIONS);
    println!("{each} octets for a connection that waits");
    assert!(each < KIB * 1024, "{each} octets for a connection that waits");
    drop(waiting);
    gate.stop();
}
