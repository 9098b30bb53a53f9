#![no_main]
//! The same octets in any segmentation give the same events, replies and content.

use gatepost_fuzz::{play, segments, settings};
use gatepost_smtp::server::Settings;
use libfuzzer_sys::fuzz_target;

/// Without STARTTLS: whether it is refused depends on what arrives together with it, and has to.
fn clear() -> Settings {
    Settings { starttls: false, ..settings() }
}

fuzz_target!(|input: &[u8]| {
    let whole = input.get(1..).unwrap_or_default();
    assert_eq!(play(clear(), [whole]), play(clear(), segments(input)));
});
