//! Issue 12, point 5: what happens before the greeting.

use super::*;

/// An hour, milliseconds: what must happen before does not wait for it.
const HOUR: u32 = 3_600_000;
const HELLO: &[u8] = b"EHLO client.test\r\n";

fn screen(early_talk: EarlyTalk, pause: u32) -> Screen {
    Screen { early_talk, pause, ..slice(1, 1).screen }
}

fn screened(screen: Screen) -> (Fixture, Nursery, Handoff, Keyholder) {
    Fixture::open(ListenerSlice { screen, ..slice(100, 100) })
}

fn assert_refused(client: &mut TcpStream) {
    let said = all_of(client);
    assert!(said.starts_with("554 5.5.1 mx.example.org ") && said.ends_with("\r\n"), "{said:?}");
}

/// The next session is this client's, and finds what it has said.
fn assert_served(nursery: &Nursery, client: &TcpStream, said: &[u8]) {
    let (begun, mut fds) = start(nursery);
    let mut served = TcpStream::from(fds.swap_remove(0));
    assert_eq!(served.peer_addr().unwrap(), client.local_addr().unwrap());
    served.set_nonblocking(false).unwrap();
    let mut found = vec![0; said.len()];
    served.read_exact(&mut found).unwrap();
    assert_eq!(found, said, "nothing of the client's is lost");
    ended(nursery, begun.id, link::End::Exit(0));
}

#[test]
fn issue_12_who_speaks_before_the_greeting_has_no_session() {
    for (early_talk, said, refused) in [
        (EarlyTalk::Refuse, HELLO, true),
        (EarlyTalk::Refuse, b"\x16\x03\x01", true),
        (EarlyTalk::Refuse, b"PROXY TCP4 192.0.2.9 198.51.100.1 4713 25\r\n", true),
        (EarlyTalk::Log, HELLO, false),
        (EarlyTalk::Off, HELLO, false),
    ] {
        // Who only logs waits to the end of the pause.
        let (fixture, nursery, _handoff, _keyholder) = screened(screen(early_talk, if refused { HOUR } else { 50 }));
        let mut client = fixture.connect(0);
        client.write_all(said).unwrap();
        if refused {
            assert_refused(&mut client);
        } else {
            assert_served(&nursery, &client, said);
        }
        drop(nursery);
        assert_eq!(fixture.drain(), Ok(()));
    }
}

#[test]
fn issue_12_without_a_pause_only_what_has_come_already_is_early() {
    let (mut fixture, early) =
        (Fixture::new(ListenerSlice { screen: screen(EarlyTalk::Refuse, 0), ..slice(9, 9) }), HELLO);
    let (nursery, _handoff, _keyholder): (Nursery, Handoff, Keyholder) =
        (fixture.link(Role::Nursery), fixture.link(Role::Handoff), fixture.link(Role::Keyholder));
    for index in 0..3 {
        fixture.socket(index);
    }
    // All of them are there before anybody is taken.
    let mut talker = fixture.connect(0);
    talker.write_all(early).unwrap();
    let silent = fixture.connect(1);
    let mut implicit = fixture.connect(2);
    implicit.write_all(b"\x16\x03\x01").unwrap();
    fixture.go();
    assert_refused(&mut talker);
    let mut served: Vec<SocketAddr> =
        (0..2).map(|_| TcpStream::from(start(&nursery).1.swap_remove(0)).peer_addr().unwrap()).collect();
    served.sort_by_key(|address| *address != silent.local_addr().unwrap());
    assert_eq!(served, [silent.local_addr().unwrap(), implicit.local_addr().unwrap()], "TLS comes first by design");
}

#[test]
fn issue_12_who_is_silent_is_greeted_after_the_pause_and_who_may_relay_at_once() {
    for early_talk in [EarlyTalk::Refuse, EarlyTalk::Log, EarlyTalk::Off] {
        let (fixture, nursery, _handoff, _keyholder) = screened(screen(early_talk, 50));
        let begun = std::time::Instant::now();
        let client = fixture.connect(0);
        assert_served(&nursery, &client, b"");
        assert!(begun.elapsed() >= Duration::from_millis(50));
        // By TLS as well; only what it says is not looked at.
        let mut client = fixture.connect(2);
        client.write_all(b"\x16\x03\x01").unwrap();
        assert_served(&nursery, &client, b"\x16\x03\x01");
    }
    let untested = vec!["127.0.0.0/8".parse().unwrap()];
    let (fixture, nursery, _handoff, _keyholder) = screened(Screen { untested, ..screen(EarlyTalk::Refuse, HOUR) });
    let mut client = fixture.connect(0);
    client.write_all(HELLO).unwrap();
    assert_served(&nursery, &client, HELLO);
}

#[test]
fn issue_12_a_header_is_not_early_talk_and_what_follows_it_is() {
    let header = b"PROXY TCP4 192.0.2.9 198.51.100.1 4713 25\r\n";
    let proxy_from = vec![vec!["127.0.0.0/8".parse().unwrap()]];
    let (fixture, nursery, handoff, _keyholder) =
        Fixture::open(ListenerSlice { proxy_from, screen: screen(EarlyTalk::Refuse, 50), ..slice(9, 9) });
    let mut client = fixture.connect(0);
    client.write_all(header).unwrap();
    start(&nursery);
    assert_eq!(opened(&handoff).0.client.to_string(), "192.0.2.9:4713");
    let mut client = fixture.connect(0);
    client.write_all(&[&header[..], HELLO].concat()).unwrap();
    assert_refused(&mut client);
    // A check of the load balancer's own says what it likes.
    let mut client = fixture.connect(0);
    client.write_all(&[b"PROXY UNKNOWN\r\n", HELLO].concat()).unwrap();
    assert_served(&nursery, &client, HELLO);
}

#[test]
fn p13_of_those_that_wait_for_the_greeting_one_of_the_network_that_has_most_is_closed_for_another() {
    let (fixture, nursery, _handoff, _keyholder) = screened(screen(EarlyTalk::Refuse, HOUR));
    let mut waiting: Vec<TcpStream> = (0..64).map(|_| fixture.connect_from(1, 1)).collect();
    // Each newcomer of another network may wait instead of the one of these that has waited longest.
    let mut newcomers: Vec<TcpStream> = (2..12).map(|block| fixture.connect_from(block, 1)).collect();
    let rest = waiting.split_off(newcomers.len());
    assert!(waiting.iter_mut().all(|client| all_of(client).starts_with("421 4.3.0 ")));
    newcomers.extend(rest);
    for client in &mut newcomers {
        client.set_nonblocking(true).unwrap();
        assert!(client.read(&mut [0; 9]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "still waits");
        client.set_nonblocking(false).unwrap();
    }
    drop(nursery);
    assert_eq!(fixture.drain(), Ok(()));
    // At a drain all hear that they are to come again.
    assert!(newcomers.iter_mut().all(|client| all_of(client).starts_with("421 4.3.0 ")));
}
