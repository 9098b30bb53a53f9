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
