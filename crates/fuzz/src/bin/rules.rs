#![no_main]
//! A source of rules, and what is compiled of it, whole and damaged: no panic, no endless look-up, and what is compiled is found.
//! Input: the source, two NULs, and triples that say at which place of the file which octet is put; what remains cuts it off.

use gatepost_ucspi::cdb::Cdb;
use gatepost_ucspi::rules::source::compile;
use gatepost_ucspi::rules::{Peer, RuleDecision, find};
use libfuzzer_sys::fuzz_target;

fn look_up(file: &[u8], also: &[u8]) {
    for ip in [&b"1.2.3.4"[..], b"2001:db8::5", b"::ffff:10.1.2.3", also] {
        let peer = Peer { ip, host: Some(b"h.ex.com"), info: Some(b"joe") };
        let _ = find(&Cdb::new(file), &peer).map(RuleDecision::from);
    }
}

fuzz_target!(|input: &[u8]| {
    look_up(input, b"");
    let end = input.windows(2).position(|pair| pair == [0, 0]).unwrap_or(input.len());
    let (source, damage) = (&input[..end], input.get(end + 2..).unwrap_or_default());
    let compiled = match compile(source) {
        Ok(compiled) => compiled,
        Err(fault) => return assert!(fault.line > 0 && !fault.text.contains(&b'\n')),
    };
    assert!(compiled.remarks.iter().all(|remark| !remark.to_string().contains(|c: char| c.is_ascii_control())));
    let Ok(mut file) = compiled.file() else { return };
    for (key, data) in compiled.records() {
        let first = compiled.records().find(|(other, _)| *other == key).map(|(_, data)| data.to_vec());
        assert_eq!(Cdb::new(file.as_slice()).get(key, u32::MAX).ok().flatten(), first, "{}", data.escape_ascii());
    }
    let triples = damage.chunks_exact(3);
    let cut = triples.remainder().first().copied();
    for triple in triples {
        let at = usize::from(triple[0]) << 8 | usize::from(triple[1]);
        let length = file.len();
        file[at % length] = triple[2];
    }
    file.truncate(file.len() - usize::from(cut.unwrap_or_default()).min(file.len()));
    look_up(&file, source);
});
