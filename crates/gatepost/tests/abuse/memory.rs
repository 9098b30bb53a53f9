//! Memory of handoff.

use crate::crowd::{Attacker, config, good_mail, open_networks_beside, v4, v6};
use crate::gate::{Gate, rogue};
use gatepost_testkit::facts;
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::rogue::{Deed, Speaks, Stage};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const MORE: &str = "[limits]\nsessions_per_address = 40";

/// The most that VmData of a process was, measured all the time.
struct Watch {
    pid: u32,
    most: Arc<AtomicU64>,
}

impl Watch {
    fn start(pid: u32) -> Self {
        let most = Arc::new(AtomicU64::new(0));
        let weak = Arc::downgrade(&most);
        thread::spawn(move || {
            while let Some(most) = weak.upgrade() {
                let now =
                    facts::status(pid).get("VmData").and_then(|text| text.split_whitespace().next()?.parse().ok());
                most.fetch_max(now.unwrap_or(0), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { pid, most }
    }

    /// P6: it never came near RLIMIT_DATA.
    fn assert_below_the_limit(&self) {
        let (limit, _) = facts::limit(self.pid, "Max data size").expect("the process is still there");
        let (limit, most) = (limit.parse::<u64>().unwrap() / 1024, self.most.load(Ordering::Relaxed));
        println!("VmData of handoff: {most} KiB at most, of {limit}");
        assert!(most > 0 && most < limit * 9 / 10, "VmData of handoff was {most} KiB, RLIMIT_DATA is {limit}");
    }
}

/// Row 3: accepted recipients by the thousand, and then silence: everybody else heard 452.
#[test]
fn p13_long_envelopes_do_not_take_the_memory_away() {
    let Some(host) = host::for_test("p13_long_envelopes_do_not_take_the_memory_away", &["openssl"]) else { return };
    open_networks_beside(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    mta.offer(&["PIPELINING", "DSN", "XCLIENT ADDR PORT PROTO HELO NAME"]);
    let gate = Gate::start(&host, &config(&backend, MORE));
    let watch = Watch::start(gate.roles()["gp-handoff"]);
    let (name, original) = ("a".repeat(50), "b".repeat(470));
    let mut recipients = String::new();
    for n in 0..1000 {
        let orcpt = format!("ORCPT=rfc822;{n}.{original}");
        recipients.push_str(&format!("RCPT TO:<{n}.{name}@ok.test> {orcpt}\r\n"));
    }
    let attackers = clients(&host, (0..130).map(|n| v4(1, n % 5)), |attacker| {
        attacker.send(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\n");
        attacker.send(recipients.as_bytes());
        attacker.replies(1003)
    });
    let replies = || attackers.iter().flat_map(|(_, replies)| replies);
    let taken = replies().filter(|reply| reply.starts_with("250 2.1.5")).count();
    let last = replies().last();
    assert!(taken > 90_000, "the attack is none: only {taken} recipients were accepted, and at last {last:?}");
    for n in 0..5 {
        good_mail(&host, v4(200, n), "alice@ok.test").unwrap();
    }
    assert_eq!(mta.count(), 5);
    drop(attackers);
    watch.assert_below_the_limit();
    gate.stop();
}

/// So many clients, who come `AT_ONCE` at a time, and what each of them does and comes to.
fn clients<T: Send>(
    host: &Host,
    who: impl Iterator<Item = IpAddr>,
    deed: impl Fn(&mut Attacker) -> T + Sync,
) -> Vec<(Attacker, T)> {
    const AT_ONCE: usize = 8;
    let (who, deed): (Vec<IpAddr>, _) = (who.collect(), &deed);
    thread::scope(|scope| {
        let threads: Vec<_> = (who.chunks(who.len().div_ceil(AT_ONCE)))
            .map(|some| {
                scope.spawn(move || {
                    let served = some.iter().filter_map(|ip| {
                        let mut attacker = Attacker::connect(host, *ip)?;
                        let came = deed(&mut attacker);
                        Some((attacker, came))
                    });
                    served.collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// So many clients of one /48, each with so many octets of content that it does not end; and how many were let begin it.
fn unfinished(host: &Host, sessions: u16, octets: usize) -> (Vec<Attacker>, usize) {
    let line = format!("{}\r\n", "x".repeat(130));
    let content = line.repeat(octets / line.len());
    let all = clients(host, (0..sessions).map(v6), |attacker| {
        attacker.send(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<alice@ok.test>\r\nDATA\r\n");
        let begun = attacker.replies(5).iter().any(|reply| reply.starts_with("354"));
        attacker.send(content.as_bytes());
        begun
    });
    let begun = all.iter().filter(|(_, begun)| *begun).count();
    (all.into_iter().map(|(attacker, _)| attacker).collect(), begun)
}

/// Row 3: unfinished content just small enough to be kept in memory, from one /48.
#[test]
fn p13_unfinished_content_does_not_take_the_memory_away() {
    let Some(host) = host::for_test("p13_unfinished_content_does_not_take_the_memory_away", &["openssl"]) else {
        return;
    };
    open_networks_beside(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, MORE));
    let (attackers, begun) = unfinished(&host, 700, 131_000);
    assert!(begun > 540, "the attack is none: only {begun} began content");
    for n in 0..5 {
        good_mail(&host, v4(200, n), "alice@ok.test").unwrap();
    }
    assert_eq!(mta.count(), 5);
    drop(attackers);
    gate.stop();
}

/// Row 2: as many deliveries at once as there are clients; handoff reached RLIMIT_DATA and all sessions heard 421.
#[test]
fn p13_deliveries_at_once_do_not_end_handoff() {
    let Some(host) = host::for_test("p13_deliveries_at_once_do_not_end_handoff", &["openssl"]) else { return };
    open_networks_beside(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, MORE));
    let handoff = gate.roles()["gp-handoff"];
    let watch = Watch::start(handoff);
    let (mut attackers, _) = unfinished(&host, 800, 120 * 1024);
    attackers.iter_mut().for_each(|attacker| attacker.send(b".\r\n"));
    good_mail(&host, v4(200, 1), "alice@ok.test").unwrap();
    let heard: Vec<String> = attackers.iter_mut().flat_map(|attacker| attacker.replies(1)).collect();
    let taken = heard.iter().filter(|reply| reply.starts_with("250")).count();
    assert!(heard.len() > 700, "the attack is none: only {} were answered", heard.len());
    assert!(heard.iter().all(|reply| reply.starts_with('2') || reply.starts_with('4')), "{heard:?}");
    // On a slow machine not all have their answer yet, and the backend has not answered all within its two seconds: it may have those
    // messages.
    let unanswered = attackers.len().saturating_sub(heard.len());
    let late = heard.iter().filter(|reply| reply.starts_with("451 4.4.2 ")).count();
    let messages = taken + 1..=taken + 1 + unanswered + late;
    assert!(
        messages.contains(&mta.count()),
        "each 250 is a message, and no other is one: {} {messages:?}",
        mta.count()
    );
    drop(attackers);
    // The same behind a backend that takes content and then says nothing.
    mta.misbehave(Stage::End, Deed::Hang);
    let (mut attackers, _) = unfinished(&host, 500, 120 * 1024);
    attackers.iter_mut().for_each(|attacker| attacker.send(b".\r\n"));
    let heard: Vec<String> = attackers.iter_mut().flat_map(|attacker| attacker.replies(1)).collect();
    // On a slow machine the first of them wait too long for the last: that is their own time limit, and no failure of handoff.
    let expected = |reply: &String| reply.starts_with("45") || reply.starts_with("421 4.4.2");
    assert!(heard.iter().all(expected), "{heard:?}");
    mta.behave();
    good_mail(&host, v4(200, 2), "alice@ok.test").unwrap();
    assert_eq!(gate.roles()["gp-handoff"], handoff, "it is the same process still");
    watch.assert_below_the_limit();
    gate.stop();
}
