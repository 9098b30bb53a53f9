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

/// Addresses: 5 000 with GATEPOST_CROWD=5000, which takes minutes.
fn addresses() -> usize {
    std::env::var("GATEPOST_CROWD").ok().and_then(|count| count.parse().ok()).unwrap_or(500)
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
    let line = format!("-RHl0 -c 1000 -b 1000 --per-address {SERVED} -B 'hi\n' 127.0.0.1 {PORT} cat");
    let mut server = Server::start(&host, Which::Ours, "", &line);
    let both = [server.pid(), server.listener()];
    let all: Vec<usize> = (0..addresses()).collect();
    let (mut served, mut refused, mut before) = (0, 0, None);
    for (wave, some) in all.chunks(WAVE).enumerate() {
        let mut open = Vec::new();
        for number in some {
            let [.., a, b] = u32::try_from(*number).unwrap().to_be_bytes();
            open.push((0..EACH).map(|_| connect_from(&host, [127, 9, a, b])).collect::<Vec<_>>());
        }
        for clients in &mut open {
            let greeted = clients.iter_mut().filter_map(|client| {
                let mut greeting = [0; 3];
                client.read(&mut greeting).is_ok_and(|count| count == 3).then_some(())
            });
            // Never one more than allowed, never one refused without cause.
            assert_eq!(greeted.count(), SERVED, "wave {wave}");
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
    println!("{served} served, {refused} refused; RssAnon KiB and descriptors before {before:?}, after {after:?}");
    for (before, after) in before.unwrap().into_iter().zip(after) {
        assert_eq!(before.1, after.1, "descriptors");
        assert!(after.0 <= before.0 + 256, "memory, KiB: {before:?} {after:?}");
    }
    assert_eq!(server.signal("TERM").code(), Some(0));
    assert_eq!(server.raw(), "");
}
