#![no_main]
//! What the keyholder recognises as a handshake is one.

use gatepost_tls::KeyKind;
use gatepost_tls::recognise::{Party, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (scheme, message) = input;
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa] {
        let client = check(Party::Client, scheme, message, kind).is_ok();
        assert!(!client || message.starts_with(&[0x20; 64]));
        if check(Party::Server, scheme, message, kind).is_ok() {
            assert!(!client && (message.starts_with(&[0x20; 64]) || message.len() < 200));
        }
    }
});
