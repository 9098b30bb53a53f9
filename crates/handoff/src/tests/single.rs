//! One session without a launcher: what it shares with the process before it.

use super::*;
use crate::single::Single;
use gatepost_testkit::rogue::{Deed, Stage};
use gatepost_tls::recognise::Party;
use gatepost_tls::sign::Keys;

/// A process, as far as its backend sees it before there is mail; true: it may be used.
fn process(slice: &HandoffSlice) -> bool {
    let keys = Keys::load(Party::Client, Vec::new()).unwrap();
    let single = Single::new(slice, keys, None).unwrap();
    run(async { single.prove().await.is_ok() })
}

#[test]
fn p7_a_backend_proves_to_the_first_of_many_connections() {
    let fixture = Fixture::new().with(|slice| slice.backend.relay_proof = true);
    let mta = fixture.mta();
    for _ in 0..3 {
        assert!(process(&fixture.slice));
    }
    assert_eq!(mta.connections(), 1);
    // Another configuration, and it is asked again.
    let other = HandoffSlice { message_size: 1_000_001, ..fixture.slice.clone() };
    assert!(process(&other));
    assert_eq!(mta.connections(), 2);
}

#[test]
fn p7_a_backend_that_relays_is_asked_by_each_connection_and_refused() {
    let fixture = Fixture::new().with(|slice| slice.backend.relay_proof = true);
    let mta = fixture.mta();
    mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 Ok\r\n"));
    assert!(!process(&fixture.slice) && !process(&fixture.slice));
    assert_eq!(mta.connections(), 2);
    // It is mended: the next one serves.
    mta.misbehave(Stage::Rcpt, Deed::Answer("554 5.7.1 no\r\n"));
    assert!(process(&fixture.slice) && process(&fixture.slice));
    assert_eq!(mta.connections(), 3);
}
