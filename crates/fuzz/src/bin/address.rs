#![no_main]
//! Paths: what is accepted holds no control octet and is judged as the octets that are forwarded.

use gatepost_smtp::address::{ForwardPath, ReversePath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for smtputf8 in [false, true] {
        if let Ok(path) = ForwardPath::parse(input, smtputf8) {
            check(path.as_bytes(), smtputf8);
            assert_eq!(
                ForwardPath::parse(path.as_bytes(), smtputf8).as_ref().map(ForwardPath::as_bytes),
                Ok(path.as_bytes())
            );
        }
        if let Ok(path) = ReversePath::parse(input, smtputf8) {
            check(path.as_bytes(), smtputf8);
        }
    }
});

fn check(octets: &[u8], smtputf8: bool) {
    assert!(octets.iter().all(|b| *b >= 0x20 && *b != 0x7f && (smtputf8 || b.is_ascii())), "{octets:?}");
}
