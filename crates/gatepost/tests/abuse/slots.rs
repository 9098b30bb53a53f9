//! Session slots, and penalties that a neighbour makes one pay.

use crate::crowd::{Attacker, config, good_mail, open_networks, open_networks_beside, v4, v6, v6_of};
use crate::gate::{Gate, rogue};
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::wait::{self, SOON};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Few, so that each attack takes them all on any machine.
const SLOTS: u16 = 48;

/// What an attacker does with its connection, once.
type Deed = fn(&mut Attacker);
/// Where its connection number `n` comes from.
type Who = fn(u16) -> IpAddr;

fn says_nothing(_: &mut Attacker) {}

/// It never hears that it should leave.
fn stops_in_its_handshake(attacker: &mut Attacker) {
    attacker.send(b"EHLO a.test\r\nSTARTTLS\r\n");
}

fn stops_in_its_command(attacker: &mut Attacker) {
    attacker.send(b"EHLO a.te");
}

fn stops_in_its_content(attacker: &mut Attacker) {
    attacker.send(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<alice@ok.test>\r\nDATA\r\nSubject: a\r\n");
}

/// Its replies fill the way back to it, and it takes none.
fn does_not_read(attacker: &mut Attacker) {
    attacker.send(b"EHLO a.test\r\n");
    attacker.send("HELP\r\n".repeat(40).as_bytes());
}

/// Ten ways to take all slots: who, and what they do with them.
const SCENARIOS: [(&str, Who, Deed); 10] = [
    ("one /48 says nothing", v6, says_nothing),
    ("one /40 says nothing", |n| v6_of(n.to_be_bytes()[1], n), says_nothing),
    ("one /24 says nothing", |n| v4(1, n % 200), says_nothing),
    ("one /16 says nothing", |n| v4(1, n * 257), says_nothing),
    ("four /16 say nothing", |n| v4(n.to_be_bytes()[1] % 4, n), says_nothing),
    ("twelve /16 say nothing", |n| v4(n.to_be_bytes()[1] % 12, n), says_nothing),
    ("one /48 stops in its handshakes", v6, stops_in_its_handshake),
    ("one /16 stops in its commands", |n| v4(1, n), stops_in_its_command),
    ("one /40 stops in its content", |n| v6_of(n.to_be_bytes()[1] % 7, n), stops_in_its_content),
    ("one /16 does not read", |n| v4(2, n), does_not_read),
];

/// So many connections, each opened anew when the server has ended it, until told to stop.
fn keep_up(host: &Host, (who, deed): (Who, Deed), connections: u16, full: &AtomicBool, stop: &AtomicBool) {
    let mut attackers: Vec<Option<Attacker>> = (0..connections).map(|_| None).collect();
    while !stop.load(Ordering::Relaxed) {
        for (n, attacker) in (0..).zip(&mut attackers) {
            if attacker.as_mut().is_none_or(Attacker::is_over) {
                *attacker = Attacker::connect(host, who(n));
                attacker.iter_mut().for_each(deed);
            }
        }
        full.store(true, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(50));
    }
}

/// Row 12: 900 or 999 of 1000 slots for one /48 or /40, for as long as it liked. A newcomer is served within the time that it
/// takes to end one session, 2 s at most.
#[test]
fn p13_a_newcomer_gets_a_slot_whoever_has_taken_them_all() {
    let Some(host) = host::for_test("p13_a_newcomer_gets_a_slot_whoever_has_taken_them_all", &["openssl"]) else {
        return;
    };
    open_networks(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, &format!("[limits]\nsessions = {SLOTS}")));
    let nursery = gate.roles()["gp-nursery"];
    let mut good = 0;
    for (name, who, deed) in SCENARIOS {
        for connections in [SLOTS * 3 / 2, SLOTS * 3] {
            let (full, stop) = (AtomicBool::new(false), AtomicBool::new(false));
            let longest = thread::scope(|scope| {
                scope.spawn(|| keep_up(&host, (who, deed), connections, &full, &stop));
                while !full.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                let served = (0..3).map(|_| {
                    good += 1;
                    let begun = Instant::now();
                    good_mail(&host, v4(100, good * 16), "alice@ok.test").map(|()| begun.elapsed())
                });
                let served: Result<Vec<Duration>, String> = served.collect();
                stop.store(true, Ordering::Relaxed);
                served.unwrap_or_else(|why| panic!("{name}, {connections} connections: {why}")).into_iter().max()
            });
            println!("{name}, {connections} connections: the longest took {longest:?}");
        }
    }
    assert_eq!(mta.count(), usize::from(good));
    wait::holds("sessions that had to make room", SOON, || gate.process.said().contains(" end=Reclaimed "));
    assert_eq!(gate.roles()["gp-nursery"], nursery, "no session that was ended is taken for a crash");
    gate.stop();
}

/// A neighbour who is taken for an abuser at once, with so many connections side by side.
fn abuse(host: &Host, at: IpAddr, connections: usize) {
    let mut attackers: Vec<Attacker> = (0..connections).filter_map(|_| Attacker::connect(host, at)).collect();
    attackers.iter_mut().for_each(|attacker| attacker.send(b"GET / HTTP/1.1\r\nHost: a\r\n"));
    for attacker in &mut attackers {
        attacker.replies(2);
    }
}

/// Good mail from there, all the while taken in the end: how long it was turned away.
fn turned_away(host: &Host, at: IpAddr) -> Duration {
    let begun = Instant::now();
    while let Err(why) = good_mail(host, at, "alice@ok.test") {
        assert!(why.contains("421"), "{why}");
        assert!(begun.elapsed() < Duration::from_secs(30), "refused for good: {why}");
        thread::sleep(Duration::from_millis(200));
    }
    begun.elapsed()
}

/// Row 11: 46 connections of a neighbour in the same /64, or behind the same address, had the victim refused 67 of 67 times in
/// 81 s, the penalty doubling each time.
#[test]
fn p13_a_neighbour_does_not_lock_anybody_out() {
    let Some(host) = host::for_test("p13_a_neighbour_does_not_lock_anybody_out", &["openssl"]) else { return };
    open_networks_beside(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, "[[network]]\nnetworks = [\"10.9.0.0/16\"]\nexempt = true"));
    let host = &host;
    // Each victim in a network of its own, all at once: they wait.
    thread::scope(|scope| {
        for (n, connections) in [(1, 46), (2, 92)] {
            // Whoever has sent mail lately is slowed down, and that is all.
            scope.spawn(move || {
                let known = v4(10 * n, 1);
                good_mail(host, known, "alice@ok.test").unwrap();
                for _ in 0..2 {
                    abuse(host, known, connections);
                    good_mail(host, known, "alice@ok.test").unwrap();
                }
            });
            // Whoever has not is turned away for ten seconds at most.
            scope.spawn(move || {
                let unknown = v4(10 * n + 1, 1);
                abuse(host, unknown, connections);
                let away = turned_away(host, unknown);
                println!("{connections} connections: an unknown sender was turned away for {away:?}");
            });
            scope.spawn(move || {
                let exempt = v4(9, u16::from(n) << 8);
                abuse(host, exempt, connections);
                good_mail(host, exempt, "alice@ok.test").unwrap();
            });
        }
    });
    assert_eq!(mta.count(), 10);
    gate.stop();
}
