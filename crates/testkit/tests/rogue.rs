//! The scripted backend: good when left alone, bad exactly where it is told to be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gatepost_testkit::client::Client;
use gatepost_testkit::rogue::{Deed, Mta, Speaks, Stage};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const CONTENT: &str =
    "Subject: s\r\n\r\nA line that is long enough for the content to have a middle at all.\r\n..dot\r\n";

fn backend(speaks: Speaks) -> (Mta, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (Mta::tcp(listener, speaks), address)
}

fn dial(address: &str) -> Client {
    Client::over(TcpStream::connect(address).unwrap())
}

#[test]
fn left_alone_it_is_a_good_backend() {
    for speaks in [Speaks::Smtp, Speaks::Lmtp] {
        let (mta, address) = backend(speaks);
        let mut client = dial(&address);
        client.expect(220);
        client.ask(if speaks == Speaks::Lmtp { "LHLO a.test" } else { "EHLO a.test" }, 250);
        client.ask("MAIL FROM:<a@road.test> SIZE=9", 250);
        client.ask("RCPT TO:<alice@elsewhere.test>", 554);
        client.ask("RCPT TO:<nobody@ok.test>", 550);
        client.ask("RCPT TO:<alice@ok.test>", 250);
        client.ask("RCPT TO:<bob@ok.test>", 250);
        client.ask("DATA", 354);
        client.write(CONTENT.as_bytes());
        client.write(b".\r\n");
        client.expect(250);
        if speaks == Speaks::Lmtp {
            client.expect(250);
        }
        client.ask("QUIT", 221);
        let taken = mta.taken();
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].to, ["alice@ok.test", "bob@ok.test"]);
        assert_eq!((taken[0].from.as_str(), taken[0].peer.as_str()), ("a@road.test", "127.0.0.1"));
        assert_eq!(taken[0].content, CONTENT.replace("\r\n..", "\r\n."));
    }
}

#[test]
fn it_takes_chunks_and_an_identity() {
    let (mta, address) = backend(Speaks::Smtp);
    mta.offer(&["CHUNKING", "XCLIENT ADDR"]);
    let mut client = dial(&address);
    assert!(client.hello("a.test").contains(&"CHUNKING".to_owned()));
    client.ask("XCLIENT ADDR=IPV6:2001:db8::9", 220);
    assert!(!client.ask("EHLO a.test", 250).text().contains("XCLIENT"));
    client.ask("MAIL FROM:<>", 250);
    client.ask("RCPT TO:<alice@ok.test>", 250);
    client.write(b"BDAT 3\r\na\r\n");
    client.expect(250);
    client.write(b"BDAT 6 LAST\r\n.\r\nb\r\n");
    client.expect(250);
    let taken = mta.taken();
    assert_eq!((taken[0].content.as_str(), taken[0].peer.as_str()), ("a\r\n.\r\nb\r\n", "2001:db8::9"));
}

/// What a client sees when the backend does `deed` at `stage`.
fn seen(stage: Stage, deed: Deed) -> (Result<u16, ErrorKind>, usize) {
    let (mta, address) = backend(Speaks::Smtp);
    mta.misbehave(stage, deed);
    let mut client = dial(&address);
    client.set_patience(Duration::from_millis(300));
    let mut talk = || -> std::io::Result<u16> {
        client.try_hello("a.test")?;
        if matches!(stage, Stage::Xclient | Stage::HelloAgain) {
            let reply = client.try_ask("XCLIENT ADDR=192.0.2.9")?;
            if reply.code != 220 {
                return Ok(reply.code);
            }
            client.try_ask("EHLO a.test")?;
        }
        if stage == Stage::Reset {
            return Ok(client.try_ask("RSET")?.code);
        }
        Ok(client.try_deliver("a@road.test", "alice@ok.test", CONTENT)?.code)
    };
    let result = talk().map_err(|e| e.kind());
    (result, mta.count())
}

#[test]
fn told_to_it_fails_at_every_stage() {
    for stage in Stage::ALL {
        let complete = usize::from(stage == Stage::End);
        for deed in [Deed::Close, Deed::Cut(2)] {
            // In the midst of the content no reply is due, and so none can be cut.
            let (result, count) = seen(stage, deed.clone());
            assert!(result.is_err(), "{stage:?} {deed:?}: {result:?}");
            assert_eq!(count, complete, "{stage:?} {deed:?}");
        }
        let (result, count) = seen(stage, Deed::Hang);
        assert!(matches!(result, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{stage:?} hang: {result:?}");
        assert_eq!(count, complete, "{stage:?} hang");
        let (result, _) = seen(stage, Deed::Answer("what?\r\n"));
        assert!(matches!(result, Err(ErrorKind::InvalidData)), "{stage:?} answer: {result:?}");
    }
}

#[test]
fn slow_is_not_wrong() {
    let (result, count) = seen(Stage::End, Deed::Drip(Duration::from_millis(1)));
    assert_eq!((result, count), (Ok(250), 1));
}
