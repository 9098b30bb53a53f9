#![no_main]
//! A PROXY header: one meaning in any pieces, in bounded memory.

use gatepost_policy::proxy::{Arrival, BadHeader, HEADER_MAX, Header};
use libfuzzer_sys::fuzz_target;

/// What it is, and how many octets it took, read `most` at a time.
fn read(stream: &[u8], most: usize) -> (Option<Result<Arrival, BadHeader>>, usize) {
    let mut header = Header::default();
    let mut at = 0;
    while at < stream.len() {
        let piece = header.want().min(most).min(stream.len() - at);
        assert!(header.want() > 0 && header.want() <= 16 + HEADER_MAX);
        at += piece;
        match header.push(&stream[at - piece..at]) {
            Ok(None) => {}
            Ok(Some(arrival)) => return (Some(Ok(arrival)), at),
            Err(bad) => return (Some(Err(bad)), at),
        }
    }
    (None, at)
}

fuzz_target!(|input: &[u8]| {
    let Some((most, stream)) = input.split_first() else { return };
    let (whole, taken) = read(stream, usize::MAX);
    let (pieces, same) = read(stream, usize::from(*most % 32) + 1);
    assert_eq!(whole, pieces);
    if let Some(Ok(arrival)) = whole {
        assert_eq!(taken, same);
        if let Arrival::Client { from, .. } = arrival {
            assert_eq!(from.ip(), from.ip().to_canonical());
        }
    }
});
