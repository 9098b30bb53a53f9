//! Many connections from many addresses: limits exact, and nothing left.

use crate::site::{PORT, Server, Which, connect_from, site};
use gatepost_testkit::wait::{self, SOON};
use std::fs;
use std::io::Read;

/// Connections of one address; two of them are served at a time.
const EACH: usize = 10;
const SERVED: usize = 2;
/// Addresses at work at once.
const WAVE: usize = 25;
/// Addresses that there are rules for, and rules: the rest is for networks that nobody comes from.
const RULED: usize = 5_000;
const RULES: usize = 10_000;

/// A client's address, by its number.
fn address(number: usize) -> [u8; 4] {
    let [.., a, b] = u32::try_from(number).unwrap().to_be_bytes();
    [127, 9, a, b]
}

/// Every fifth address is denied by a rule of its own; in every third block of 256 all are who have none that allows them.
fn is_denied(number: usize) -> bool {
    number.is_multiple_of(5) || (number / 256 % 3 == 1 && number % 5 > 2)
}

/// The source of the rules.
fn rules() -> String {
    let mut lines = Vec::new();
    for number in 0..RULED {
        let [a, b, c, d] = address(number);
        match number % 5 {
            0 => lines.push(format!("{a}.{b}.{c}.{d}:deny")),
            1 | 2 => lines.push(format!("{a}.{b}.{c}.{d}:allow,N=\"{number}\"")),
            _ => {}
        }
        if number.is_multiple_of(256) && number / 256 % 3 == 1 {
            lines.push(format!("{a}.{b}.{c}.:deny"));
        }
    }
    let others = (0..).map(|number| format!("10.{}.{}.:deny", number / 256, number % 256));
    let missing = RULES - lines.len();
    lines.extend(others.take(missing));
    lines.join("\n")
}

/// Addresses: 5 000 with GATEPOST_CROWD=5000, which takes minutes.
fn addresses() -> usize {
    std::env::var("GATEPOST_CROWD").ok().and_then(|count| count.parse().ok()).unwrap_or(500).min(RULED)
}

fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn issue_11_a_crowd_gets_what_is_allowed_and_leaves_nothing() {
    let Some(host) = site("issue_11_a_crowd_gets_what_is_allowed_and_leaves_nothing", &[]) else { return };
    host.write("/tmp/rules", &rules());
    host.write("/tmp/hi", "hi\n");
    let compile = format!("cd /tmp && {} tcprules rules.cdb rules.tmp <rules", env!("CARGO_BIN_EXE_gatepost"));
    assert_eq!(host.shell(&compile).expect_ok("tcprules").said(), "");
    // A banner would be heard by those whom a rule denies, too.
    let line = format!("-RHl0 -c 1000 -b 1000 -x rules.cdb --per-address {SERVED} 127.0.0.1 {PORT} cat hi -");
    let mut server = Server::start(&host, Which::Ours, "", &line);
    let both = [server.pid(), server.listener()];
    let all: Vec<usize> = (0..addresses()).collect();
    let (mut served, mut refused, mut denied, mut before) = (0, 0, 0, None);
    for (wave, some) in all.chunks(WAVE).enumerate() {
        let mut open = Vec::new();
        for number in some {
            open.push((0..EACH).map(|_| connect_from(&host, address(*number))).collect::<Vec<_>>());
        }
        for (clients, number) in open.iter_mut().zip(some) {
            let greeted = clients.iter_mut().filter_map(|client| {
                let mut greeting = [0; 3];
                client.read(&mut greeting).is_ok_and(|count| count == 3).then_some(())
            });
            // Never one more than allowed, never one refused without cause.
            if is_denied(*number) {
                assert_eq!(greeted.count(), 0, "wave {wave}, {:?}", address(*number));
                denied += EACH;
                continue;
            }
            assert_eq!(greeted.count(), SERVED, "wave {wave}, {:?}", address(*number));
            served += SERVED;
            refused += EACH - SERVED;
        }
        drop(open);
        wait::holds("all programs to end", SOON, || {
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", both[0])).unwrap().split_whitespace().count() == 1
        });
        if wave == 3 {
            before = Some(both.map(|pid| (memory(pid), descriptors(pid))));
        }
    }
    let after = both.map(|pid| (memory(pid), descriptors(pid)));
    println!(
        "{served} served, {refused} refused, {denied} denied by rules; RssAnon KiB and descriptors before {before:?}, after {after:?}"
    );
    for (before, after) in before.unwrap().into_iter().zip(after) {
        assert_eq!(before.1, after.1, "descriptors");
        assert!(after.0 <= before.0 + 256, "memory, KiB: {before:?} {after:?}");
    }
    assert_eq!(server.signal("TERM").code(), Some(0));
    assert_eq!(server.raw(), "");
}
