//! No text makes the reader panic, and no fault points outside the text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // Functions shared by tests, too.

use gatepost_config::Config;
use proptest::prelude::*;
use std::path::Path;

/// Reads `text`; each fault must have a place in it and show as clean lines.
fn survives(text: &str) {
    let Err(faults) = Config::parse(text, Path::new("t")) else { return };
    assert!(faults.iter().count() > 0);
    let lines = text.split('\n').count();
    for fault in faults.iter() {
        let (line, column) = fault.position().unwrap();
        assert!(line >= 1 && line <= lines, "line {line} of {lines}");
        let width = text.split('\n').nth(line - 1).map_or(0, |line| line.chars().count());
        assert!(column >= 1 && column <= width + 1, "column {column} of {width}");
    }
    assert!(faults.to_string().chars().all(|c| c == '\n' || !c.is_control()));
}

/// Pieces that make deeper nonsense than octets at random.
const PIECES: &[&str] = &[
    "hostname",
    "spool",
    "users",
    "listen",
    "tls",
    "pair",
    "relay",
    "domains",
    "domains_cdb",
    "backend",
    "profile",
    "connect",
    "identity",
    "limits",
    "data",
    "jail",
    "relax",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    " = ",
    ".",
    ",",
    "\n",
    "\n[",
    "]\n",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "\"mx.example.org\"",
    "\"postfix\"",
    "\"unix:/a\"",
    "\"tcp:127.0.0.1:25\"",
    "\"1MiB\"",
    "\"€MiB\"",
    "\"1€\"",
    "\"5m\"",
    "\"é\"",
    "0",
    "-1",
    "1e9",
    "0xff",
    "nan",
    "inf",
    "true",
    "1979-05-27",
    "#",
    "\t",
    "\r",
    "\r\n",
    "\\u0000",
    "\\",
    "é",
    "\u{feff}",
    "\u{1b}",
    "\0",
    "99999999999999999999",
    "\"0.0.0.0/0\"",
    "\"*:25\"",
    "[tls]\n",
    "[[tls.pair]]\n",
    "[[listen]]\n",
    "[relay]\n",
    "[backend]\n",
    "[limits]\n",
    "[smtp]\n",
    "bare_lf",
    "\"normalize\"",
];

const SOUND: &str = include_str!("../../../examples/postfix.toml");

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn config_survives_any_text(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn config_survives_pieces_of_toml(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        survives(&pieces.concat());
    }

    #[test]
    fn config_survives_a_sound_text_cut_and_patched(
        from in 0..SOUND.len(),
        length in 0_usize..60,
        piece in proptest::sample::select(PIECES),
    ) {
        let mut text = SOUND.as_bytes().to_vec();
        let end = (from + length).min(text.len());
        text.splice(from..end, piece.bytes());
        survives(&String::from_utf8_lossy(&text));
    }
}
