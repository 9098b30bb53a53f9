//! P6: whatever a client sends, a session stays small and ends by a reply, not by a signal.

use super::rig::{Client, PATIENCE, Rig, alone, slice};
use super::tls::{BOTH, tls};
use gatepost_smtp::envelope::CloseReason;
use gatepost_wire::slice::{NurserySlice, TlsMode};
use std::io::{Read, Write};
use std::time::Duration;

fn settings(mode: TlsMode) -> NurserySlice {
    NurserySlice { message_size: 8 << 20, ..slice(mode) }
}

/// What a session may allocate beyond what the nursery gave it, octets. Ends far below RLIMIT_DATA's default of 1 MiB.
const GROWTH: u64 = 256 << 10;

/// What clients send, and what they hear in the end; an empty reply stands for a client that does not read.
struct Flood {
    name: &'static str,
    before: &'static [u8],
    again: &'static [u8],
    times: usize,
    /// Replies, one of which must come.
    ends: &'static [&'static str],
}

const ENVELOPE: &[u8] = b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@example.org>\r\n";
const IN_DATA: &[u8] = b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";

const FLOODS: [Flood; 8] = [
    Flood { name: "endless command line", before: b"", again: &[b'A'; 8192], times: 2000, ends: &["421 ", "500 "] },
    Flood {
        name: "recipients without end",
        before: b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n",
        again: b"RCPT TO:<b@example.org>\r\n",
        times: 10_000,
        ends: &["421 "],
    },
    Flood {
        name: "transactions without end",
        before: b"",
        again: b"EHLO c.example\r\n",
        times: 10_000,
        ends: &["421 "],
    },
    Flood {
        name: "an endless line of content",
        before: IN_DATA,
        again: &[b'x'; 8192],
        times: 2000,
        ends: &["421 ", "552 "],
    },
    Flood { name: "header lines", before: IN_DATA, again: b"X: y\r\n", times: 300_000, ends: &["250 2.0.0 "] },
    Flood { name: "dots", before: IN_DATA, again: b"..\r\n", times: 300_000, ends: &["250 2.0.0 "] },
    Flood { name: "tiny chunks", before: ENVELOPE, again: b"BDAT 1\r\nx", times: 100_000, ends: &["421 "] },
    Flood { name: "nothing but NUL", before: b"", again: &[0; 8192], times: 2000, ends: &["421 ", "500 "] },
];

/// Sends a flood while somebody else reads; whether all of it could be sent does not matter.
fn pour(stream: &mut impl Write, flood: &Flood) {
    let piece = flood.again.repeat(16_384 / flood.again.len().min(16_384) + 1);
    let pieces = flood.times * flood.again.len() / piece.len() + 1;
    let sent = stream.write_all(flood.before).and_then(|()| (0..pieces).try_for_each(|_| stream.write_all(&piece)));
    // The last piece may end in the middle of a line.
    let _ = sent.and_then(|()| stream.write_all(b"\r\n.\r\nQUIT\r\n"));
}

#[test]
fn p6_a_flooded_session_ends_by_a_reply() {
    alone("memory::p6_a_flooded_session_ends_by_a_reply", || {
        for flood in &FLOODS {
            let rig = Rig::forked(settings(TlsMode::Off), GROWTH);
            let mut sender = rig.client.try_clone().unwrap();
            sender.set_write_timeout(Some(PATIENCE)).unwrap();
            let mut reader = rig.client.try_clone().unwrap();
            let reader = std::thread::spawn(move || {
                let mut heard = Vec::new();
                // A reset after the last reply takes nothing of it away.
                let _ = reader.read_to_end(&mut heard);
                String::from_utf8(heard).unwrap()
            });
            pour(&mut sender, flood);
            let heard = reader.join().unwrap();
            let name = flood.name;
            assert!(heard.lines().any(|l| flood.ends.iter().any(|end| l.starts_with(end))), "{name}: {heard}");
            drop(sender);
            let reason = rig.end().reason;
            assert!(matches!(reason, CloseReason::Abuse | CloseReason::Quit), "{name}: {reason:?}");
        }
    });
}

#[test]
fn p6_a_flooded_session_in_tls_stays_as_small() {
    alone("memory::p6_a_flooded_session_in_tls_stays_as_small", || {
        for flood in &FLOODS {
            let rig = Rig::forked(settings(TlsMode::Implicit), GROWTH);
            let mut client = tls(rig.client.try_clone().unwrap(), &BOTH);
            client.hear("220 ");
            // Nobody reads beside it: what it is told must fit into the socket, or the session stops reading.
            let mut stream = client.into_inner();
            stream.sock.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            pour(&mut stream, flood);
            drop(stream);
            let reason = rig.end().reason;
            let calm = matches!(reason, CloseReason::Abuse | CloseReason::Quit | CloseReason::ClientGone);
            assert!(calm, "{}: {reason:?}", flood.name);
        }
    });
}

#[test]
fn p6_a_client_that_never_reads_is_not_read_without_end() {
    alone("memory::p6_a_client_that_never_reads_is_not_read_without_end", || {
        let rig = Rig::forked(settings(TlsMode::Off), GROWTH);
        let mut client = Client::new(rig.client.try_clone().unwrap());
        client.hear("220 ");
        let mut stream = client.into_inner();
        stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let message = b"MAIL FROM:<a@c.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nx\r\n.\r\n";
        let messages = [b"EHLO c.example\r\n".as_slice(), &message.repeat(1000)].concat();
        let taken = (0..2000).take_while(|_| stream.write_all(&messages).is_ok()).count();
        // All of it would be 120 MB. What was taken lies in the sockets.
        assert!(taken < 500, "{taken} times 60 kB");
        drop(stream);
        assert_eq!(rig.end().reason, CloseReason::ClientGone);
    });
}
