#![no_main]
//! Content against a naive reading of the RFC: the same end, the same octets, or refused.

use gatepost_fuzz::{AT_DATA, naive, play, settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let transcript = play(settings(), [AT_DATA, input]);
    let ended = transcript.events.iter().any(|e| e.starts_with("end"));
    match naive(input) {
        Some(Ok((content, _))) if content.len() <= 4096 => {
            assert!(ended, "a pure message that ends is offered");
            assert!(transcript.content.starts_with(&content));
        }
        Some(Err(())) => assert!(!transcript.events.first().is_some_and(|e| e.starts_with("end"))),
        _ => {}
    }
});
