#![no_main]
//! The same octets in any segmentation give the same events, replies and content.

use gatepost_fuzz::{play, segments};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let whole = input.get(1..).unwrap_or_default();
    assert_eq!(play([whole]), play(segments(input)));
});
