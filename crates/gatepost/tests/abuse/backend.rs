//! Connections of the backend.

use crate::crowd::{Attacker, config, good_mail, open_networks, v4};
use crate::gate::Gate;
use gatepost_testkit::host;
use gatepost_testkit::mta::Postfix;
use std::time::{Duration, Instant};

/// Row 1: sessions that ask the backend just often enough to keep its connections held every process of a Postfix with its
/// default process limit: every other client's RCPT heard 451 after 30 s.
#[test]
fn p13_slow_recipients_do_not_take_the_backend_away() {
    let Some(host) = host::for_test("p13_slow_recipients_do_not_take_the_backend_away", &["postfix", "openssl"]) else {
        return;
    };
    open_networks(&host);
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
        // Four seconds and a half between two RCPTs of a session, as in the report: a connection never waits for long.
        let begun = Instant::now();
        let mut asked = vec![None::<Instant>; attackers.len()];
        let mut good = 0;
        while begun.elapsed() < Duration::from_secs(14) {
            for (attacker, last) in attackers.iter_mut().zip(&mut asked) {
                if last.is_none_or(|at| at.elapsed() >= Duration::from_millis(4500)) {
                    attacker.send(b"RCPT TO:<alice@ok.test>\r\n");
                    *last = Some(Instant::now());
                }
            }
            good_mail(&host, v4(200, good), "alice@ok.test").unwrap_or_else(|why| panic!("round {round}: {why}"));
            good += 1;
        }
        assert!(good > 5, "only {good} good mails in the time of the attack");
    }
    gate.stop();
}
