//! Issue 12, point 6: PROXY headers, good and bad, in pieces of any size.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // Functions shared by tests, too.

use gatepost_policy::proxy::{Arrival, BadHeader, HEADER_MAX, Header};
use proptest::prelude::*;

/// A header of the file, in hexadecimal.
fn vector(name: &str) -> &'static str {
    let mut lines = include_str!("proxy_headers.txt").lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap()
}

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Reads a header from a stream, `most` octets at a time: what it is, and how many octets it took.
fn read(stream: &[u8], most: usize) -> (Option<Result<Arrival, BadHeader>>, usize) {
    let mut header = Header::default();
    let mut at = 0;
    while at < stream.len() {
        let piece = header.want().min(most).min(stream.len() - at);
        assert!(header.want() > 0);
        at += piece;
        match header.push(&stream[at - piece..at]) {
            Ok(None) => {}
            Ok(Some(arrival)) => return (Some(Ok(arrival)), at),
            Err(bad) => return (Some(Err(bad)), at),
        }
    }
    (None, at)
}

fn client(from: &str, to: &str) -> Arrival {
    Arrival::Client { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

#[test]
fn issue_12_headers_are_read_to_their_last_octet_and_no_further() {
    let four = client("192.0.2.9:4713", "198.51.100.1:25");
    let six = client("[2001:db8::9]:4713", "[2001:db8::1]:25");
    let unix = [octets("0d0a0d0a000d0a515549540a213100d8"), vec![b'x'; 216]].concat();
    // LOCAL with addresses, which have no meaning then.
    let local = octets("0d0a0d0a000d0a515549540a2011000cc0000209c633640112690019");
    let mapped =
        octets(&vector("tcp6").replace("20010db8000000000000000000000009", "00000000000000000000ffffc0000209"));
    for (header, arrival) in [
        (b"PROXY TCP4 192.0.2.9 198.51.100.1 4713 25\r\n".to_vec(), four),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 4713 25\r\n".to_vec(), six),
        (b"PROXY TCP6 ::ffff:192.0.2.9 ::ffff:198.51.100.1 4713 25\r\n".to_vec(), four),
        (b"PROXY TCP4 192.0.2.9 198.51.100.1 0 65535\r\n".to_vec(), client("192.0.2.9:0", "198.51.100.1:65535")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Arrival::Peer),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), Arrival::Peer),
        (octets(vector("tcp4")), four),
        (octets(vector("tcp6")), six),
        (octets(vector("crc")), four),
        (octets(vector("values")), four),
        (octets(vector("local")), Arrival::Peer),
        (local, Arrival::Peer),
        (octets("0d0a0d0a000d0a515549540a21000000"), Arrival::Peer),
        (octets("0d0a0d0a000d0a515549540a2100000401020304"), Arrival::Peer),
        (unix, Arrival::Peer),
        (mapped, client("192.0.2.9:4713", "[2001:db8::1]:25")),
    ] {
        let stream = [&header[..], b"EHLO client.test\r\n"].concat();
        for most in 1..=stream.len() {
            assert_eq!(read(&stream, most), (Some(Ok(arrival)), header.len()), "{}", header.escape_ascii());
        }
        for end in 0..header.len() {
            assert_eq!(read(&header[..end], usize::MAX).0, None, "{}", header.escape_ascii());
        }
    }
}

#[test]
fn issue_12_what_is_no_header_is_not_believed() {
    use BadHeader::{Checksum, Datagram, Malformed, Missing, TooLong};
    let line = |text: &str| format!("{text}\r\n").into_bytes();
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    for (stream, bad) in [
        (line("EHLO client.test"), Missing),
        (line("proxy TCP4 192.0.2.9 198.51.100.1 4713 25"), Missing),
        (line("PROXYTCP4 192.0.2.9 198.51.100.1 4713 25"), Missing),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), Missing),
        (octets(&vector("tcp4").replacen("0d0a0d0a00", "0d0a0d0a01", 1)), Missing),
        (line("PROXY TCP4 192.0.2.9 198.51.100.1 +4713 25"), Malformed),
        (line("PROXY TCP4 192.0.2.9 198.51.100.1 04713 25"), Malformed),
        (line("PROXY TCP4 192.0.2.9 198.51.100.1 4713 025"), Malformed),
        (line("PROXY TCP4 192.0.2.9 198.51.100.1 4713 65536"), Malformed),
        (line("PROXY TCP4 192.0.2.9 198.51.100.1 4713"), Malformed),
        (line("PROXY TCP4 192.0.2.9 198.51.100.1 4713 25 "), Malformed),
        (line("PROXY TCP4  192.0.2.9 198.51.100.1 4713 25"), Malformed),
        (line("PROXY TCP4 192.0.2.09 198.51.100.1 4713 25"), Malformed),
        (line("PROXY TCP4 2001:db8::9 2001:db8::1 4713 25"), Malformed),
        (line("PROXY UDP4 192.0.2.9 198.51.100.1 4713 25"), Malformed),
        (line("PROXY TCP5 192.0.2.9 198.51.100.1 4713 25"), Malformed),
        // A line that ends before any could, with more behind it in the same piece.
        (b"PROXY \r\nEHLO client.test\r\n".to_vec(), Malformed),
        (b"PROXY TCP4 192.0.2.9 198.51.100.1 4713 25\n".to_vec(), Malformed),
        (long, TooLong),
        // Version 3, command 2, no family, another transport, datagrams, addresses that are not all there.
        (octets(&vector("tcp4").replace("2111000c", "3111000c")), Malformed),
        (octets(&vector("tcp4").replace("2111000c", "2211000c")), Malformed),
        (octets(&vector("tcp4").replace("2111000c", "2141000c")), Malformed),
        (octets(&vector("tcp4").replace("2111000c", "2113000c")), Malformed),
        (octets(&vector("tcp4").replace("2111000c", "2112000c")), Datagram),
        (octets(&vector("tcp4").replace("2111000c", "2111000b")), Malformed),
        (octets("0d0a0d0a000d0a515549540a2111ffff"), TooLong),
        (octets(&vector("crc").replace("6d68d814", "6d68d815")), Checksum),
        (octets(&vector("crc").replace("c0000209", "c0000208")), Checksum),
        (octets(&vector("crc").replace("030004", "030003")), Malformed),
        // A value that reaches past the end, and one without all of its head.
        (octets(&vector("values").replace("050009", "050010")), Malformed),
        (octets("0d0a0d0a000d0a515549540a2111000ec0000209c6336401126900190400"), Malformed),
    ] {
        for most in [1, 7, usize::MAX] {
            let (found, taken) = read(&stream, most);
            assert_eq!(found, Some(Err(bad)), "{}", stream.escape_ascii());
            assert!(taken <= HEADER_MAX);
        }
    }
}

proptest! {
    #[test]
    fn p6_any_octets_in_any_pieces_have_one_meaning_and_bounded_memory(
        head in prop::sample::select(vec!["PROXY ", "PROXY TCP4 192.0.2.9 198.51.100.1 ", "\r\n\r\n\0\r\nQUIT\n\x21\x11", "\r\n\r\n\0\r\nQUIT\n", ""]),
        tail in prop::collection::vec(any::<u8>(), 0..300),
        most in 1_usize..40,
    ) {
        let stream = [head.as_bytes(), &tail[..]].concat();
        let whole = read(&stream, usize::MAX);
        let pieces = read(&stream, most);
        prop_assert_eq!(&whole.0, &pieces.0);
        if matches!(whole.0, Some(Ok(_))) {
            prop_assert_eq!(whole.1, pieces.1);
        }
    }
}
