//! The disk.

use crate::crowd::{Attacker, config, good_mail, open_networks_beside, v4};
use crate::gate::{Gate, rogue};
use gatepost_sys::fds::free_space;
use gatepost_testkit::host;
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::wait::{self, SOON};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const MIB: u64 = 1 << 20;

/// What was free on a file system at least, looked at all the time.
struct Watch(Arc<AtomicU64>);

impl Watch {
    fn start(spool: File) -> Self {
        let least = Arc::new(AtomicU64::new(u64::MAX));
        let weak = Arc::downgrade(&least);
        thread::spawn(move || {
            while let Some(least) = weak.upgrade() {
                least.fetch_min(free_space(&spool).unwrap(), Ordering::Relaxed);
                thread::yield_now();
            }
        });
        Self(least)
    }
}

/// Row 13: five sessions fill the file system that is the MTA's too, and its last block is taken.
#[test]
fn p13_content_files_leave_the_mta_its_part_of_the_disk() {
    let Some(host) = host::for_test("p13_content_files_leave_the_mta_its_part_of_the_disk", &["openssl", "mount"])
    else {
        return;
    };
    open_networks_beside(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    host.shell("mkdir -p /var/spool/gatepost && mount -t tmpfs -o size=24m,mode=755 spool /var/spool/gatepost")
        .expect_ok("mount");
    let gate = Gate::start(&host, &config(&backend, "[limits]\nmessage_size = \"10MiB\""));
    let spool = || File::open(host.path("/var/spool/gatepost")).unwrap();
    let all = free_space(spool()).unwrap();
    let watch = Watch::start(spool());
    // What cannot fit is refused at MAIL, with SIZE and, once nothing fits, without.
    let mut asker = Attacker::connect(&host, v4(1, 0)).unwrap();
    asker.send(b"EHLO a.test\r\nMAIL FROM:<a@a.test> SIZE=4194305\r\nMAIL FROM:<a@a.test> SIZE=3000000\r\n");
    let replies = asker.replies(4);
    assert!(replies[2].starts_with("452 4.3.1 ") && replies[3].starts_with("250 "), "{replies:?}");
    // Four megabytes are for content: five clients want more than six each, and none says so before.
    let line = format!("{}\r\n", "x".repeat(998));
    let content = line.repeat(6_300);
    let mut attackers: Vec<Attacker> = (0..5).filter_map(|n| Attacker::connect(&host, v4(1, n))).collect();
    thread::scope(|scope| {
        for attacker in &mut attackers {
            scope.spawn(|| {
                attacker.send(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<alice@ok.test>\r\nDATA\r\n");
                attacker.replies(5);
                attacker.send(content.as_bytes());
            });
        }
    });
    let mut heard = Vec::new();
    for attacker in &mut attackers {
        attacker.send(b".\r\n");
        heard.extend(attacker.replies(1));
    }
    assert_eq!(heard.len(), 5);
    assert!(heard.iter().all(|reply| reply.starts_with("452 4.3.1 ")), "{heard:?}");
    let least = watch.0.load(Ordering::Relaxed);
    println!("free: {all} octets, at least {least}, floor {}", 20 * MIB);
    assert!(least < all, "the attack is none: {least} octets were free all the time");
    assert!(least >= 20 * MIB, "only {least} octets were left free");
    // It is given back, and nothing was lost.
    wait::holds("the spool is empty", SOON, || free_space(spool()).is_ok_and(|free| free == all));
    good_mail(&host, v4(200, 1), "alice@ok.test").unwrap();
    assert_eq!(mta.count(), 1);
    gate.stop();
}
