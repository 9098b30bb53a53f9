#![no_main]
//! The header filter: the same in any segmentation, and all but our own forged results untouched.

use gatepost_fuzz::segments;
use gatepost_smtp::header::Filter;
use libfuzzer_sys::fuzz_target;

fn filtered<'a>(segments: impl IntoIterator<Item = &'a [u8]>) -> Option<(Vec<u8>, u32, u32)> {
    let (mut filter, mut out) = (Filter::new("mx.ok.test", 1 << 20), Vec::new());
    for segment in segments {
        let body = filter.push(segment, &mut out).ok()?;
        out.extend_from_slice(body);
    }
    filter.finish(&mut out);
    Some((out, filter.hops(), filter.removed()))
}

fuzz_target!(|input: &[u8]| {
    let whole = input.get(1..).unwrap_or_default();
    let once = filtered([whole]);
    assert_eq!(once, filtered(segments(input)));
    if let Some((out, _, 0)) = once {
        assert_eq!(out, whole);
    }
});
