#![no_main]
//! Content in qmail-smtpd's dialect against a naive reading: the same end, the same octets, in any segmentation.

use gatepost_fuzz::segments;
use gatepost_qmail::engine::BareLf;
use gatepost_qmail::engine::data::{Piece, Scanner};
use libfuzzer_sys::fuzz_target;
use reference::Ending;

#[path = "../../../qmail/tests/engine/reference.rs"]
mod reference;

fn scan<'a>(segments: impl IntoIterator<Item = &'a [u8]>, bare_lf: BareLf) -> Option<(Vec<u8>, Ending)> {
    let (mut scanner, mut stored, mut at) = (Scanner::new(bare_lf), Vec::new(), 0);
    for mut segment in segments {
        loop {
            let (used, piece) = scanner.scan(segment);
            segment = &segment[used..];
            at += used;
            match piece {
                Piece::Content(content) => stored.extend_from_slice(content),
                Piece::End => return Some((stored, Ending::End(at))),
                Piece::StrayLf => return Some((stored, Ending::StrayLf(at))),
                Piece::Starved => break,
            }
        }
    }
    None
}

fuzz_target!(|input: &[u8]| {
    let whole = input.get(1..).unwrap_or_default();
    for bare_lf in [BareLf::Refuse, BareLf::Repair] {
        let expected = reference::read(whole, bare_lf);
        assert_eq!(scan([whole], bare_lf), expected);
        assert_eq!(scan(segments(input), bare_lf), expected);
    }
});
