#![no_main]
//! What goes to a backend by DATA ends once, and unstuffs to what came in.

use gatepost_fuzz::{naive, segments};
use gatepost_smtp::data::Stuffer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
    let pure = segments(input).into_iter().try_for_each(|chunk| stuffer.push(chunk, &mut out)).is_ok();
    if pure && stuffer.finish(&mut out).is_ok() {
        let mut expected = input.get(1..).unwrap_or_default().to_vec();
        if !expected.is_empty() && !expected.ends_with(b"\r\n") {
            expected.extend_from_slice(b"\r\n");
        }
        let (content, used) = naive(&out).expect("it ends").expect("it is pure");
        assert_eq!(used, out.len(), "nothing follows the end");
        assert_eq!(content, expected);
    }
});
