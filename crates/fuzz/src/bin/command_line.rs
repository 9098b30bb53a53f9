#![no_main]
//! One line after EHLO: never a panic, always an answer or silence until the line is over.

use gatepost_fuzz::{play, settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let line = [b"EHLO a.test\r\n", input, b"\r\n"].concat();
    let transcript = play(settings(), [line.as_slice()]);
    for reply in transcript.output.split_inclusive(|b| *b == b'\n') {
        assert!(reply.ends_with(b"\r\n") && reply[..3].iter().all(u8::is_ascii_digit));
        assert!(reply.len() <= 512 && reply[..reply.len() - 2].iter().all(|b| (0x20..0x7f).contains(b)));
    }
});
