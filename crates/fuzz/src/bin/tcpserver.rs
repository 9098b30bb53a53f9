#![no_main]
//! tcpserver's command line (arguments end with a NUL), and an answer by RFC 1413 in segments: no panic, no name that ends a
//! string, and nothing that makes a second line in the log.

use gatepost_fuzz::segments;
use gatepost_ucspi::tcpserver::environment::{Changes, Inherited};
use gatepost_ucspi::tcpserver::ident::Answer;
use gatepost_ucspi::tcpserver::lines::{Outcome, Process};
use gatepost_ucspi::tcpserver::options::{Parsed, parse};
use gatepost_ucspi::tcpserver::peer::{Family, Peer};
use gatepost_ucspi::tcpserver::{patch, services};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let arguments: Vec<Vec<u8>> = input.split(|octet| *octet == 0).map(<[u8]>::to_vec).collect();
    match parse(&arguments) {
        Ok(Parsed::Serve(options)) => assert!(!options.program.is_empty()),
        Ok(_) => {}
        Err(fault) => assert!(fault.text().lines().count() <= 2),
    }
    let _ = (services::port(input, b"smtp"), patch::load(input));

    let whole = Answer::default().take(input.get(1..).unwrap_or_default());
    let mut answer = Answer::default();
    let name = segments(input).into_iter().find_map(|segment| answer.take(segment));
    assert_eq!(name, whole);
    let address = std::net::SocketAddr::from(([192, 0, 2, 1], 25));
    let peer = Peer {
        family: Family::V4,
        local: address,
        remote: address,
        local_host: Some(input),
        remote_host: Some(input),
        info: name.as_deref(),
        interface: None,
    };
    assert!(name.as_ref().is_none_or(|name| !name.contains(&0)));
    let lines = Process::new(&peer, Outcome::Ok).pieces(b"1").concat();
    assert_eq!(lines.iter().filter(|octet| **octet == b'\n').count(), 2);
    assert!(lines.iter().all(|octet| (32..127).contains(octet) || *octet == b'\n'));
    let changes = Changes::of(&peer, []);
    assert!(Inherited::default().with(&changes).iter().all(|entry| entry.to_bytes().contains(&b'=')));
});
