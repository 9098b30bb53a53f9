//! Deadlines, on a clock that runs only while everyone waits.

use super::rig::{Manners, handoff, slice};
use crate::serve::{Drain, Session};
use crate::{HandoffEnd, Shared};
use gatepost_smtp::envelope::CloseReason;
use gatepost_smtp::server::Engine;
use gatepost_wire::link::SessionId;
use gatepost_wire::slice::TlsMode;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

/// Runs a session against `script`. Gives how it ended, after how many seconds of the session's clock, and what was
/// said to the client after the greeting.
fn against<F: Future<Output = DuplexStream> + 'static>(
    mode: TlsMode,
    stress: bool,
    pipe: usize,
    script: impl FnOnce(DuplexStream) -> F,
) -> (CloseReason, u64, String) {
    let (handoff_end, peer) = HandoffEnd::pair().unwrap();
    let handoff = handoff(peer, Manners::default());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().start_paused(true).build().unwrap();
    let local = LocalSet::new();
    let result = local.block_on(&runtime, async {
        let shared = Shared::new(slice(mode)).unwrap();
        let (ours, theirs) = duplex(pipe);
        let (drained, _drain) = io::pipe().unwrap();
        let implicit = mode == TlsMode::Implicit;
        let mut engine = Engine::new(shared.settings(SessionId(1), mode == TlsMode::StartTls, stress));
        if !implicit {
            engine.greet();
        }
        let (keyholder, _keys) = crate::KeyholderEnd::pair().unwrap();
        let tls = crate::serve::Tls::new(&shared, Some(keyholder));
        let mut session = Session::new(ours, engine, handoff_end, tls, Drain::new(drained).unwrap(), &shared, stress);
        let begun = Instant::now();
        let client = tokio::task::spawn_local(script(theirs));
        let farewell = session.run(implicit).await;
        let lasted = begun.elapsed().as_secs();
        drop(session);
        let mut said = String::new();
        client.await.unwrap().read_to_string(&mut said).await.unwrap();
        (farewell, lasted, said)
    });
    assert!(handoff.join().unwrap().0.ends_with(&[super::rig::Heard::Bye(result.0)]));
    result
}

const ENVELOPE: &str = "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";

async fn say(client: &mut DuplexStream, octets: &str) -> bool {
    client.write_all(octets.as_bytes()).await.is_ok()
}

#[test]
fn a_silent_client_hears_421_after_the_command_timeout() {
    let (farewell, lasted, said) = against(TlsMode::Off, false, 4096, |client| async { client });
    assert_eq!(farewell, CloseReason::Timeout);
    assert!((300..=303).contains(&lasted), "{lasted} s");
    assert!(said.contains("\r\n421 4.4.2 mx.example.org "), "{said}");
}

#[test]
fn p6_under_stress_a_silent_client_has_ten_seconds_and_content_keeps_its_rate() {
    let (farewell, lasted, said) = against(TlsMode::Off, true, 4096, |client| async { client });
    assert_eq!(farewell, CloseReason::Timeout);
    assert!((10..=12).contains(&lasted) && said.contains("\r\n421 4.4.2 "), "{lasted} s {said}");
    // A kilobyte a second goes on and on.
    let (farewell, lasted, said) = against(TlsMode::Off, true, 1 << 20, |mut client| async {
        say(&mut client, ENVELOPE).await;
        for _ in 0..60 {
            say(&mut client, &format!("{}\r\n", "x".repeat(1022))).await;
            sleep(Duration::from_secs(1)).await;
        }
        say(&mut client, ".\r\nQUIT\r\n").await;
        client
    });
    assert_eq!(farewell, CloseReason::Quit, "{said}");
    assert!((60..=62).contains(&lasted), "{lasted} s");
}

#[test]
fn p6_a_command_dribbled_octet_by_octet_gets_no_more_time() {
    let (farewell, lasted, _) = against(TlsMode::Off, false, 4096, |mut client| async {
        while say(&mut client, "A").await {
            sleep(Duration::from_secs(20)).await;
        }
        client
    });
    assert_eq!(farewell, CloseReason::Timeout);
    assert!((300..=303).contains(&lasted), "{lasted} s");
}

#[test]
fn each_command_has_the_whole_command_timeout() {
    let (farewell, lasted, _) = against(TlsMode::Off, false, 4096, |mut client| async {
        for _ in 0..3 {
            sleep(Duration::from_secs(299)).await;
            say(&mut client, "NOOP\r\n").await;
        }
        client
    });
    assert_eq!(farewell, CloseReason::Timeout);
    assert!((3 * 299 + 300..=3 * 299 + 303).contains(&lasted), "{lasted} s");
}

#[test]
fn p6_no_session_lasts_longer_than_session_time() {
    let (farewell, lasted, said) = against(TlsMode::Off, false, 1 << 20, |mut client| async {
        while say(&mut client, ENVELOPE).await && say(&mut client, "x\r\n.\r\n").await {
            sleep(Duration::from_secs(100)).await;
        }
        client
    });
    assert_eq!(farewell, CloseReason::Timeout);
    assert!((3600..=3603).contains(&lasted), "{lasted} s");
    assert!(said.contains("421 4.4.2 "));
}

#[test]
fn p6_content_below_the_minimum_rate_ends_the_session() {
    // (octets, seconds between, the session's end in seconds)
    for (octets, pause, end) in [(1, 1, 60..64), (1, 400, 60..64), (250, 1, 118..124), (700, 2, 194..204)] {
        let (farewell, lasted, said) = against(TlsMode::Off, false, 1 << 20, move |mut client| async move {
            say(&mut client, ENVELOPE).await;
            while say(&mut client, &"x".repeat(octets)).await {
                sleep(Duration::from_secs(pause)).await;
            }
            client
        });
        assert_eq!(farewell, CloseReason::Timeout);
        assert!(end.contains(&lasted), "{octets} octets each {pause} s: {lasted} s");
        assert!(said.contains("\r\n421 4.4.2 "), "{said}");
    }
}

#[test]
fn content_at_the_minimum_rate_gets_through() {
    let (farewell, lasted, said) = against(TlsMode::Off, false, 1 << 20, |mut client| async {
        say(&mut client, ENVELOPE).await;
        for _ in 0..300 {
            say(&mut client, &format!("{}\r\n", "x".repeat(998))).await;
            sleep(Duration::from_secs(2)).await;
        }
        say(&mut client, ".\r\nQUIT\r\n").await;
        client
    });
    assert_eq!(farewell, CloseReason::Quit);
    assert!((600..602).contains(&lasted), "{lasted} s");
    assert!(said.contains("\r\n250 2.0.0 ") && said.contains("\r\n221 "), "{said}");
}

#[test]
fn p6_a_client_that_does_not_read_is_dropped() {
    let sent = Rc::new(Cell::new(0));
    let count = Rc::clone(&sent);
    let (farewell, lasted, _) = against(TlsMode::Off, false, 512, move |mut client| async move {
        while say(&mut client, "NOOP\r\n").await {
            count.set(count.get() + 1);
        }
        client
    });
    assert_eq!(farewell, CloseReason::Timeout);
    assert!((60..62).contains(&lasted), "{lasted} s");
    // What it typed ahead was not read without end.
    assert!(sent.get() < 5000, "{}", sent.get());
}

#[test]
fn a_handshake_has_thirty_seconds() {
    for mode in [TlsMode::Implicit, TlsMode::StartTls] {
        let (farewell, lasted, _) = against(mode, false, 4096, move |mut client| async move {
            if mode == TlsMode::StartTls {
                say(&mut client, "EHLO c.example\r\nSTARTTLS\r\n").await;
            }
            client
        });
        assert_eq!(farewell, CloseReason::TlsFailed);
        assert!((30..32).contains(&lasted), "{lasted} s");
    }
}
