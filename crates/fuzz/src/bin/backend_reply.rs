#![no_main]
//! A backend's replies: bounded, cleaned, the same in any segmentation.

use gatepost_fuzz::segments;
use gatepost_smtp::client::{Extensions, ReplyReader};
use libfuzzer_sys::fuzz_target;

fn read<'a>(segments: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut reader, mut seen) = (ReplyReader::new(), Vec::new());
    for mut segment in segments {
        while !segment.is_empty() {
            match reader.push(segment) {
                Err(bad) => {
                    seen.push(format!("{bad:?}"));
                    return seen;
                }
                Ok((used, reply)) => {
                    assert!(used > 0 && used <= segment.len());
                    segment = &segment[used..];
                    if let Some(reply) = reply {
                        assert!((200..600).contains(&reply.code));
                        assert!(reply.lines.iter().all(|l| !l.contains(['\r', '\n', '\0'])));
                        let _ = Extensions::from_ehlo(&reply);
                        seen.push(format!("{reply:?}"));
                    }
                }
            }
        }
    }
    seen
}

fuzz_target!(|input: &[u8]| assert_eq!(read([input.get(1..).unwrap_or_default()]), read(segments(input))));
