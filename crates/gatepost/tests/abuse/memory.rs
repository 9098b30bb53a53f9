//! Memory of handoff.

use crate::crowd::{Attacker, good_mail, open_networks, v4, v6};
use crate::gate::{Gate, config, rogue};
use gatepost_testkit::host;
use gatepost_testkit::rogue::Speaks;

const MORE: &str = "[limits]\nsessions_per_address = 40";

/// Row 3: accepted recipients by the thousand, and then silence: everybody else heard 452.
#[test]
fn p13_long_envelopes_do_not_take_the_memory_away() {
    let Some(host) = host::for_test("p13_long_envelopes_do_not_take_the_memory_away", &["openssl"]) else { return };
    open_networks(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, MORE));
    let name = "a".repeat(60);
    let mut recipients = String::new();
    for n in 0..1000 {
        recipients.push_str(&format!("RCPT TO:<{n}.{name}@{name}.{name}.{name}.ok.test>\r\n"));
    }
    let mut attackers: Vec<Attacker> = (0..186).filter_map(|n| Attacker::connect(&host, v4(1, n % 10))).collect();
    for attacker in &mut attackers {
        attacker.send(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\n");
        attacker.send(recipients.as_bytes());
        attacker.replies(1003);
    }
    for n in 0..5 {
        good_mail(&host, v4(200, n), "alice@ok.test").unwrap();
    }
    assert_eq!(mta.count(), 5);
    gate.stop();
}

/// Row 3: unfinished content just small enough to be kept in memory, from one /48.
#[test]
fn p13_unfinished_content_does_not_take_the_memory_away() {
    let Some(host) = host::for_test("p13_unfinished_content_does_not_take_the_memory_away", &["openssl"]) else {
        return;
    };
    open_networks(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, MORE));
    let line = format!("{}\r\n", "x".repeat(130));
    let content = line.repeat(132 * 1024 / line.len());
    let mut attackers: Vec<Attacker> = (0..900).filter_map(|n| Attacker::connect(&host, v6(n))).collect();
    for attacker in &mut attackers {
        attacker.send(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<alice@ok.test>\r\nDATA\r\n");
        attacker.replies(5);
        attacker.send(content.as_bytes());
    }
    for n in 0..5 {
        good_mail(&host, v4(200, n), "alice@ok.test").unwrap();
    }
    assert_eq!(mta.count(), 5);
    gate.stop();
}

/// Row 2: as many deliveries at once as there are clients; handoff reached RLIMIT_DATA and all sessions heard 421.
#[test]
fn p13_deliveries_at_once_do_not_end_handoff() {
    let Some(host) = host::for_test("p13_deliveries_at_once_do_not_end_handoff", &["openssl"]) else { return };
    open_networks(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, MORE));
    let handoff = gate.roles()["gp-handoff"];
    let line = format!("{}\r\n", "x".repeat(130));
    let content = line.repeat(120 * 1024 / line.len());
    let mut attackers: Vec<Attacker> = (0..800).filter_map(|n| Attacker::connect(&host, v6(n))).collect();
    for attacker in &mut attackers {
        attacker.send(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<alice@ok.test>\r\nDATA\r\n");
        attacker.replies(5);
        attacker.send(content.as_bytes());
    }
    for attacker in &mut attackers {
        attacker.send(b".\r\n");
    }
    good_mail(&host, v4(200, 1), "alice@ok.test").unwrap();
    let heard: Vec<String> = attackers.iter_mut().flat_map(|attacker| attacker.replies(1)).collect();
    let taken = heard.iter().filter(|reply| reply.starts_with("250")).count();
    assert!(heard.iter().all(|reply| reply.starts_with('2') || reply.starts_with('4')), "{heard:?}");
    assert_eq!(mta.count(), taken + 1, "each 250 is a message, and no other is one");
    assert_eq!(gate.roles()["gp-handoff"], handoff, "it is the same process still");
    gate.stop();
}
