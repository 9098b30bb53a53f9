//! Issue 12, point 6: PROXY headers.

use super::*;
use gatepost_wire::RoleToObserver;
use gatepost_wire::event::{Event, Turned};
use gatepost_wire::observe::Tell;
use std::io::ErrorKind;

/// A fixture whose first listener takes every peer on loopback for a load balancer.
fn proxied() -> (Fixture, Nursery, Handoff, Keyholder) {
    let proxy_from = vec![vec!["127.0.0.0/8".parse().unwrap()]];
    Fixture::open(ListenerSlice { proxy_from, ..slice(10, 2) })
}

const LINE: &str = "PROXY TCP4 192.0.2.9 198.51.100.1 4713 25\r\n";

fn binary(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The connection is closed without a word.
fn is_closed(client: &mut TcpStream) -> bool {
    match client.read(&mut [0; 64]) {
        Ok(octets) => octets == 0,
        Err(e) => e.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn issue_12_the_client_is_the_one_that_the_header_names() {
    let (fixture, nursery, handoff, _keyholder) = proxied();
    let named = Some(("192.0.2.9:4713", "198.51.100.1:25"));
    let six =
        "0d0a0d0a000d0a515549540a2121002420010db800000000000000000000000920010db800000000000000000000000112690019";
    for (header, named) in [
        (LINE.as_bytes().to_vec(), named),
        (binary("0d0a0d0a000d0a515549540a2111000cc0000209c633640112690019"), named),
        (binary(six), Some(("[2001:db8::9]:4713", "[2001:db8::1]:25"))),
        // Health checks, and whoever is not named: the load balancer itself.
        (binary("0d0a0d0a000d0a515549540a20000000"), None),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
    ] {
        let mut client = fixture.connect(0);
        let own = (client.local_addr().unwrap().to_string(), fixture.addresses[0].to_string());
        // In pieces, and with octets of the client's behind it.
        for octet in &header[..20.min(header.len() - 1)] {
            client.write_all(&[*octet]).unwrap();
        }
        client.write_all(&[&header[20.min(header.len() - 1)..], b"EHLO"].concat()).unwrap();
        let (open, _) = opened(&handoff);
        let (from, to) = named.map_or(own, |(from, to)| (from.to_owned(), to.to_owned()));
        assert_eq!((open.client.to_string(), open.local.to_string()), (from, to));
        let (begun, mut fds) = start(&nursery);
        let mut served = TcpStream::from(fds.swap_remove(0));
        served.set_nonblocking(false).unwrap();
        let mut first = [0; 4];
        served.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"EHLO", "nothing of the client's is lost");
        ended(&nursery, begun.id, link::End::Exit(0));
    }
    assert_eq!(fixture.drain(), Ok(()));
}

#[test]
fn issue_12_limits_are_those_of_the_client_and_not_of_the_load_balancer() {
    let (fixture, nursery, _handoff, _keyholder) = proxied();
    let mut clients = Vec::new();
    for number in 0..6 {
        let mut client = fixture.connect(0);
        client.write_all(LINE.replace("192.0.2.9", &format!("192.0.{number}.9")).as_bytes()).unwrap();
        start(&nursery);
        clients.push(client);
    }
    for refused in [false, true] {
        let mut client = fixture.connect(0);
        client.write_all(LINE.replace("192.0.2.9", "192.0.0.9").as_bytes()).unwrap();
        if refused {
            assert!(all_of(&mut client).starts_with("421 "));
        } else {
            start(&nursery);
            clients.push(client);
        }
    }
}

#[test]
fn issue_12_without_a_header_from_a_load_balancer_there_is_no_session() {
    let (fixture, nursery, handoff, _keyholder) = proxied();
    for wrong in
        ["EHLO client.test\r\n", "PROXY TCP4 192.0.2.9 198.51.100.1 +4713 25\r\n", "\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c"]
    {
        let mut client = fixture.connect(0);
        client.write_all(wrong.as_bytes()).unwrap();
        assert!(is_closed(&mut client), "{wrong:?}");
    }
    // Whoever ends within a header, or before it.
    for begun in ["", "PROXY TC"] {
        let mut client = fixture.connect(0);
        client.write_all(begun.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(is_closed(&mut client), "{begun:?}");
    }
    // The first that begins after all of them: none of them had a session.
    let mut client = fixture.connect(0);
    client.write_all(LINE.as_bytes()).unwrap();
    let (open, _) = opened(&handoff);
    assert_eq!(open.client.to_string(), "192.0.2.9:4713");
    start(&nursery);
    // Of another listener nobody is asked for one.
    let client = fixture.connect(1);
    let (open, _) = opened(&handoff);
    assert_eq!(open.client, client.local_addr().unwrap());
}

#[test]
fn p6_headers_that_do_not_come_hold_a_bounded_number_of_connections() {
    let (fixture, nursery, _handoff, _keyholder) = proxied();
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..70 {
        let mut client = fixture.connect(0);
        client.write_all(b"PROXY TCP4 ").unwrap();
        slow.push(client);
    }
    // Those that have waited longest are closed for the others, and one that is in time is served.
    assert!(slow.drain(..6).all(|mut client| is_closed(&mut client)));
    let mut client = fixture.connect(0);
    client.write_all(LINE.as_bytes()).unwrap();
    start(&nursery);
    // A drain waits for none of them.
    drop(nursery);
    assert_eq!(fixture.drain(), Ok(()));
    assert!(slow.iter_mut().all(is_closed));
}

#[test]
fn p13_whoever_may_not_wait_is_told_of() {
    // All that this process tells, of other tests as well.
    let (ours, observer) = End::<RoleToObserver, Nothing>::pair().unwrap();
    observer.seq().set_timeout(PATIENCE).unwrap();
    gatepost_log::connect(ours.into_seq());
    let told_of = |block: u8| {
        let mut inbox = Inbox::of::<RoleToObserver>();
        loop {
            if let Tell::Event { event: Event::TurnedAway(away), .. } = observer.recv(&mut inbox).unwrap()
                && away.client.ip() == Ipv4Addr::new(127, block, 0, 1)
            {
                return (away.why, away.count);
            }
        }
    };
    let waiting = Screen { waiting: 2, ..slice(10, 10).screen };
    let proxied = ListenerSlice {
        proxy_from: vec![vec!["127.0.0.0/8".parse().unwrap()]],
        screen: waiting.clone(),
        ..slice(10, 10)
    };
    let greeted_late = ListenerSlice { screen: Screen { pause: 60_000, ..waiting }, ..slice(10, 10) };
    for (block, slice, heard) in [(77, proxied, ""), (78, greeted_late, "421 4.3.0 ")] {
        let (fixture, nursery, _handoff, _keyholder) = Fixture::open(slice);
        let mut first = fixture.connect_from(block, 1);
        let _others = [fixture.connect_from(block, 1), fixture.connect_from(block, 1)];
        assert_eq!(told_of(block), (Turned::Waiting, 1));
        assert_eq!(all_of(&mut first).get(..heard.len()), Some(heard));
        drop(nursery);
        assert_eq!(fixture.drain(), Ok(()));
    }
}
