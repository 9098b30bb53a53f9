#![no_main]
//! Our Received field: one field, whatever the client called itself.

use gatepost_smtp::received::{Received, Said, With};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // Longer names and paths are refused before they come here.
    let input = &input[..input.len().min(254)];
    let mut out = Vec::new();
    Received {
        helo: input,
        address: [192, 0, 2, 9].into(),
        name: None,
        said: Said::All,
        by: "mx.ok.test",
        with: With::new(true, true, false, false),
        tls: Some((0x0304, 0x1301)),
        id: "fuzz.1",
        recipient: Some(input),
        date: 0,
    }
    .write(&mut out);
    assert!(out.starts_with(b"Received: from ") && out.ends_with(b"\r\n"));
    let lines = out.split_inclusive(|b| *b == b'\n');
    for (n, line) in lines.enumerate() {
        assert!(
            line.ends_with(b"\r\n") && (n == 0 || line.starts_with(b"\t")) && line.len() <= 1000,
            "{}",
            out.escape_ascii()
        );
        assert!(!line[..line.len() - 2].iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
    }
});
