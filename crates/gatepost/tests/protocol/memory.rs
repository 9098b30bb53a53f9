//! P6: whatever the client sends, and whatever it does not read, a session lives within RLIMIT_DATA = 1 MiB and ends by a
//! reply, not by a signal.

use crate::site::{Site, Way};
use gatepost_testkit::client::Client;
use gatepost_testkit::facts;
use gatepost_testkit::host;
use gatepost_testkit::obliging::EVERYTHING;
use gatepost_testkit::wait::{SOON, until};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// RLIMIT_DATA, KiB.
const LIMIT: u64 = 1024;
/// Octets of the 100 MB that are written at once.
const MEBI: usize = 1 << 20;

/// What came of a flood.
struct Came {
    /// The last reply.
    code: u16,
    /// Octets that the session took, or at least was sent.
    sent: usize,
}

/// Says `piece`, which asks for so many replies, up to `times` times, and reads them, until the server has had enough.
fn ask(client: &mut Client, piece: &[u8], replies: usize, times: usize) -> Came {
    let (mut sent, mut code) = (0, 0);
    for _ in 0..times {
        if client.try_write(piece).is_ok() {
            sent += piece.len();
        }
        for _ in 0..replies {
            match client.next_reply() {
                Ok(Some(reply)) => code = reply.code,
                Ok(None) => return Came { code, sent },
                Err(why) => panic!("{why}"),
            }
        }
    }
    Came { code, sent }
}

/// 1 GB without a line end, or as much of it as goes before the server has had enough.
fn endless_line(client: &mut Client) -> Came {
    let piece = [b'x'; 64 << 10];
    let mut sent = 0;
    client.set_patience(Duration::from_millis(1));
    while sent < 1 << 30 {
        // Who has stopped reading has said why.
        let written = client.try_write(&piece).is_ok();
        match client.next_reply() {
            Ok(Some(reply)) => return Came { code: reply.code, sent },
            Ok(None) => panic!("closed without a word"),
            Err(why) => assert!(written, "{why}"),
        }
        sent += piece.len();
    }
    panic!("a line of 1 GB was read to its end");
}

fn last_code(text: &str) -> u16 {
    let line = text.lines().last().unwrap_or_else(|| panic!("no last word"));
    line.get(..3).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no reply: {line:?}"))
}

/// 10 million recipients, in one transaction.
fn recipients(client: &mut Client) -> Came {
    client.ask("EHLO client.test", 250);
    client.ask("MAIL FROM:<s@client.test>", 250);
    ask(client, &b"RCPT TO:<u@ok.test>\r\n".repeat(100), 100, 100_000)
}

/// A million header lines.
fn header_lines(client: &mut Client) -> Came {
    begin(client);
    client.ask("DATA", 354);
    let piece = b"X-Header: x\r\n".repeat(10_000);
    for _ in 0..100 {
        client.write(&piece);
    }
    client.write(b"\r\n.\r\n");
    Came { code: client.reply().code, sent: piece.len() * 100 }
}

/// A header line of 50 MB, then the end of content.
fn header_line(client: &mut Client) -> Came {
    begin(client);
    client.ask("DATA", 354);
    let piece = vec![b'x'; MEBI];
    client.write(b"Subject: ");
    for _ in 0..40 {
        client.write(&piece);
    }
    client.write(b"\r\n\r\n.\r\n");
    Came { code: client.reply().code, sent: 40 * MEBI }
}

/// 100 000 chunks of one octet.
fn tiny_chunks(client: &mut Client) -> Came {
    begin(client);
    ask(client, &b"BDAT 1\r\nx".repeat(100), 100, 1000)
}

/// 100 MB of whole messages, one behind the other, no reply read before the last is sent.
fn messages_unread(client: &mut Client) -> Came {
    client.ask("EHLO client.test", 250);
    let body = [vec![b'x'; MEBI - 2], b"\r\n".to_vec()].concat();
    let mut message = b"MAIL FROM:<s@client.test>\r\nRCPT TO:<u@ok.test>\r\n".to_vec();
    message.extend_from_slice(format!("BDAT {} LAST\r\n", body.len()).as_bytes());
    message.extend_from_slice(&body);
    for _ in 0..100 {
        client.write(&message);
    }
    for _ in 0..300 {
        client.expect(250);
    }
    Came { code: client.ask("QUIT", 221).code, sent: message.len() * 100 }
}

/// Commands with long replies that nobody reads, until neither side can go on.
fn replies_unread(client: &mut Client) -> Came {
    let mut piece = b"HELP\r\n".repeat(90);
    piece.extend_from_slice(&b"EHLO client.test\r\n".repeat(15));
    piece.extend_from_slice(b"MAIL FROM:<s@client.test>\r\nRCPT TO:<u@ok.test>\r\nBDAT 0 LAST\r\n");
    client.set_patience_to_write(Duration::from_millis(500));
    let mut sent = 0;
    while client.try_write(&piece).is_ok() {
        sent += piece.len();
        assert!(sent < 100 * MEBI, "the session keeps replies that nobody reads");
    }
    client.finish();
    Came { code: last_code(&client.rest()), sent }
}

fn begin(client: &mut Client) {
    client.ask("EHLO client.test", 250);
    client.ask("MAIL FROM:<s@client.test>", 250);
    client.ask("RCPT TO:<u@ok.test>", 250);
}

/// A flood, its name, and the replies that it may end by.
type Flood = (&'static str, fn(&mut Client) -> Came, &'static [u16]);

const FLOODS: &[Flood] = &[
    ("endless line", endless_line, &[421]),
    ("10 million recipients", recipients, &[421]),
    ("a million header lines", header_lines, &[552, 554]),
    ("a header line of 40 MB", header_line, &[552, 554]),
    ("100 000 tiny chunks", tiny_chunks, &[421]),
    ("100 MB of messages, replies unread", messages_unread, &[221]),
    ("replies unread", replies_unread, &[250, 214]),
];

/// The most VmData of `pid` while `work` lasts, KiB, with what that gave. A sampled value: between two looks there may have
/// been more, but never more than the limit that the kernel holds.
fn watched<T: Send>(pid: u32, work: impl FnOnce() -> T + Send) -> (T, u64) {
    let over = AtomicBool::new(false);
    // A flood may be over before the first look of a thread that has yet to begin.
    let before = vm_data(pid).unwrap_or_default();
    std::thread::scope(|scope| {
        let look = || {
            let mut most = before;
            while !over.load(Ordering::Relaxed) {
                most = most.max(vm_data(pid).unwrap_or_default());
                std::thread::park_timeout(Duration::from_millis(1));
            }
            most
        };
        let watcher = scope.spawn(look);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        let most = watcher.join().unwrap();
        (done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), most)
    })
}

fn vm_data(pid: u32) -> Option<u64> {
    facts::status(pid).get("VmData")?.split_whitespace().next()?.parse().ok()
}

#[test]
fn p6_no_flood_takes_a_session_beyond_its_memory() {
    let name = "p6_no_flood_takes_a_session_beyond_its_memory";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let site = Site::before(&host, EVERYTHING, "starttls", "");
    for way in [Way::Plain, Way::Tls] {
        for (what, flood, codes) in FLOODS {
            let mut client = site.client(way);
            let pid = until("its session", SOON, || site.gate.sessions().first().copied());
            assert_eq!(
                facts::limit(pid, "Max data size"),
                Some(((LIMIT << 10).to_string(), (LIMIT << 10).to_string()))
            );
            let (came, most) = watched(pid, || flood(&mut client));
            println!("{way:?}, {what}: {} octets, {}, VmData {most} KiB", came.sent, came.code);
            assert!(codes.contains(&came.code), "{way:?}, {what}: {}", came.code);
            assert!((1..=LIMIT).contains(&most), "{way:?}, {what}: {most} KiB");
            drop(client);
            gatepost_testkit::wait::holds("the session to end", SOON, || site.gate.sessions().is_empty());
        }
    }
    site.stop();
}
