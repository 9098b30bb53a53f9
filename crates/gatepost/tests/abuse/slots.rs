//! Session slots, and penalties.

use crate::crowd::{Attacker, good_mail, open_networks, v4, v6};
use crate::gate::{Gate, config, rogue};
use gatepost_testkit::host;
use gatepost_testkit::rogue::Speaks;
use std::net::IpAddr;

/// Row 12: one /48, or one /40, held 900 to 999 of 1000 slots.
#[test]
fn p13_one_network_cannot_hold_the_slots() {
    let Some(host) = host::for_test("p13_one_network_cannot_hold_the_slots", &["openssl"]) else { return };
    open_networks(&host);
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, "[limits]\nsessions = 100\nsessions_per_address = 100"));
    for (name, addresses) in [
        ("one /48", (0..120).map(v6).collect::<Vec<IpAddr>>()),
        ("one /16", (0..120).map(|n| v4(1, n * 256)).collect()),
    ] {
        let mut attackers: Vec<Attacker> = addresses.iter().filter_map(|ip| Attacker::connect(&host, *ip)).collect();
        for attacker in &mut attackers {
            attacker.replies(1);
        }
        // Forty newcomers at once, each of a network of its own, and each stays.
        let mut newcomers: Vec<Attacker> = (0..40).filter_map(|n| Attacker::connect(&host, v4(100 + n, 1))).collect();
        for (n, newcomer) in newcomers.iter_mut().enumerate() {
            let greeting = newcomer.replies(1);
            assert!(
                greeting.iter().all(|g| g.starts_with("220")) && !greeting.is_empty(),
                "{name}: newcomer {n}: {greeting:?}"
            );
        }
        good_mail(&host, v4(200, 1), "alice@ok.test").unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(newcomers.iter_mut().all(|newcomer| !newcomer.is_cut()), "{name}: a newcomer lost its slot");
        assert!(attackers.iter_mut().any(Attacker::is_cut));
    }
    gate.stop();
}

/// Row 11: a neighbour behind the same address or in the same /64 who ends badly locked the others out, longer each time.
#[test]
fn p13_a_neighbour_who_misbehaves_does_not_lock_out_the_others() {
    let Some(host) = host::for_test("p13_a_neighbour_who_misbehaves_does_not_lock_out_the_others", &["openssl"]) else {
        return;
    };
    open_networks(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, ""));
    let shared = v4(1, 1);
    good_mail(&host, shared, "alice@ok.test").unwrap();
    for _ in 0..46 {
        if let Some(mut attacker) = Attacker::connect(&host, shared) {
            attacker.send("NONSENSE\r\n".repeat(25).as_bytes());
            attacker.replies(30);
        }
    }
    for _ in 0..5 {
        good_mail(&host, shared, "alice@ok.test").unwrap();
    }
    assert_eq!(mta.count(), 6);
    gate.stop();
}
