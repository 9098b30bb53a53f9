//! All attacks at once.

use crate::crowd::{open_networks, send_good_mail, v4};
use crate::gate::{Gate, HOSTNAME, config};
use gatepost_testkit::attacks::{ATTACKS, beside};
use gatepost_testkit::host;
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::wait::{self, SOON};

/// Connections of each attack.
const CONNECTIONS: u16 = 16;
/// Fewer slots than the attackers would take.
const SLOTS: usize = 4 * ATTACKS.len();
/// Good messages, each from an address of its own.
const GOOD: u16 = 200;
/// How often their sender tries again, at once: far less often than any sender does.
const TRIES: usize = 5;

/// Twenty-four attacks side by side: no good message is refused for good, and none is lost or comes twice. How long they take
/// is for `benches` to say.
#[test]
fn p13_no_good_mail_is_refused_or_lost_beside_all_attacks() {
    let test = "p13_no_good_mail_is_refused_or_lost_beside_all_attacks";
    let Some(host) = host::for_test(test, &["postfix", "openssl"]) else { return };
    open_networks(&host);
    let postfix = Postfix::start(&host);
    let backend = format!("profile = \"postfix\"\nconnect = \"unix:{}\"", Postfix::SOCKET);
    let mut gate = Gate::start(&host, &config(&backend, &format!("[limits]\nsessions = {SLOTS}")));
    let roles = gate.roles();
    let (later, opened) = beside(&host, HOSTNAME, CONNECTIONS, || {
        let mut later = Vec::new();
        for n in 0..GOOD {
            let taken =
                (0..TRIES).any(|_| match send_good_mail(&host, v4(200, n), "alice@ok.test", &format!("<{n}>")) {
                    Ok(()) => true,
                    Err(why) => {
                        assert!(!why.for_good, "message {n} was refused for good: {why}");
                        later.push(why.to_string());
                        false
                    }
                });
            assert!(taken, "message {n} was not taken in {TRIES} tries: {later:?}");
        }
        later
    });
    println!("{} of {GOOD} had to come again: {later:?}; connections opened: {opened:?}", later.len());
    assert_eq!(opened.len(), ATTACKS.len());
    for (attack, opened) in opened {
        assert!(opened >= usize::from(CONNECTIONS), "{attack}: the attack is none, {opened} connections");
    }
    // It was not by chance that there was room: attackers come and go.
    wait::holds("sessions that had to make room", SOON, || gate.process.said().contains(" end=Reclaimed "));
    assert_eq!(gate.roles(), roles, "no role was replaced");
    let mailbox = postfix.maildir("alice");
    wait::holds("every message in the mailbox", SOON, || mailbox.count() == usize::from(GOOD) && postfix.is_idle());
    for n in 0..GOOD {
        assert_eq!(mailbox.with(&format!("Subject: <{n}>")).len(), 1, "message {n}");
    }
    // Once to drain, once more to end those whose backend is in no hurry to refuse what their client has left behind.
    assert!(gate.process.signal("TERM"));
    gate.process.wait_said("draining", SOON);
    gate.stop();
}
