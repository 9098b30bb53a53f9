//! Connections of the backend.

use crate::crowd::{Attacker, config, good_mail, open_networks_beside, v4};
use crate::gate::Gate;
use gatepost_testkit::host;
use gatepost_testkit::mta::Postfix;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Between two RCPTs of a session, as in the report: a connection never waits for long.
const PACE: Duration = Duration::from_millis(4500);
/// Each session asks twice in it, once more when its connection could have been taken back.
const ATTACK: Duration = Duration::from_secs(6);

/// Row 1: sessions that ask the backend just often enough to keep its connections held every process of a Postfix with its
/// default process limit: every other client's RCPT heard 451 after 30 s.
#[test]
fn p13_slow_recipients_do_not_take_the_backend_away() {
    let Some(host) = host::for_test("p13_slow_recipients_do_not_take_the_backend_away", &["postfix", "openssl"]) else {
        return;
    };
    open_networks_beside(&host);
    let _postfix = Postfix::start(&host);
    let backend = "profile = \"postfix\"\nconnect = \"unix:/var/spool/postfix/public/gatepost\"";
    let gate = Gate::start(&host, &config(backend, "[limits]\nsessions_per_address = 40"));
    for (round, sessions, addresses) in [(0_u8, 104_u16, 6_u16), (1, 208, 12)] {
        let mut attackers: Vec<Attacker> =
            (0..sessions).filter_map(|n| Attacker::connect(&host, v4(1 + round, n % addresses))).collect();
        for attacker in &mut attackers {
            attacker.replies(1);
            attacker.send(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\n");
            attacker.replies(2);
        }
        let (asked, over) = (&AtomicBool::new(false), &AtomicBool::new(false));
        let good = thread::scope(|scope| {
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let turn = Instant::now();
                    attackers.iter_mut().for_each(|attacker| attacker.send(b"RCPT TO:<alice@ok.test>\r\n"));
                    asked.store(true, Ordering::Relaxed);
                    while turn.elapsed() < PACE && !over.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(50));
                    }
                }
            });
            while !asked.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let begun = Instant::now();
            let mut good = 0;
            let mut served = Ok(());
            while served.is_ok() && begun.elapsed() < ATTACK {
                served = good_mail(&host, v4(200 + round, good), "alice@ok.test");
                good += 1;
            }
            over.store(true, Ordering::Relaxed);
            served.unwrap_or_else(|why| panic!("round {round}: {why}"));
            good
        });
        println!("{sessions} sessions: {good} good mails beside them");
        assert!(good > 5, "only {good} good mails in the time of the attack");
    }
    gate.stop();
}

/// Between two RCPTs of a session that never lets its connection be idle.
const BUSY: Duration = Duration::from_millis(100);
/// Connections to the backend, and networks each of which would have one.
const CONNECTIONS: u16 = 6;
const NETWORKS: u8 = 9;

/// As many networks as there are connections, each of which has one and uses it all the time, kept them from everybody else: who
/// rents an IPv6 /32 has 256 such networks.
#[test]
fn p13_networks_without_number_take_turns_at_the_backend() {
    let Some(host) = host::for_test("p13_networks_without_number_take_turns_at_the_backend", &["postfix", "openssl"])
    else {
        return;
    };
    open_networks_beside(&host);
    let _postfix = Postfix::start(&host);
    let backend = format!("profile = \"postfix\"\nconnect = \"unix:{}\"\nconnections = {CONNECTIONS}", Postfix::SOCKET);
    let gate = Gate::start(&host, &config(&backend, ""));
    let mut attackers: Vec<Attacker> = (0..NETWORKS).filter_map(|n| Attacker::connect(&host, v4(1 + n, 1))).collect();
    assert_eq!(attackers.len(), usize::from(NETWORKS));
    for attacker in &mut attackers {
        attacker.replies(1);
        attacker.send(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<alice@ok.test>\r\n");
    }
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut n = 0_u16;
            while !over.load(Ordering::Relaxed) {
                n += 1;
                // To Postfix the same recipient.
                let name = b"postmaster".iter().enumerate();
                let name: String =
                    name.map(|(place, letter)| char::from(letter ^ (u8::from(n >> place & 1 == 1) << 5))).collect();
                let rcpt = format!("RCPT TO:<{name}@ok.test>\r\n");
                attackers.iter_mut().for_each(|attacker| attacker.send(rcpt.as_bytes()));
                thread::sleep(BUSY);
            }
        });
        thread::sleep(10 * BUSY);
        let served: Vec<_> = (0..3).map(|n| good_mail(&host, v4(200, n), "alice@ok.test")).collect();
        over.store(true, Ordering::Relaxed);
        assert!(served.iter().all(Result::is_ok), "{served:?}");
    });
    gate.stop();
}
