//! The passwd file: nothing panics, each line is an entry, a comment or a fault, and no fault shows more than its line's number.
#![no_main]

use gatepost_auth::hash::Hash;
use gatepost_auth::passwd::Passwd;
use gatepost_wire::auth::is_login;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (passwd, faults) = Passwd::parse(input);
    let lines = input.split(|octet| *octet == b'\n').count();
    assert!(passwd.len() + faults.len() <= lines);
    for fault in faults {
        assert!(fault.to_string().starts_with("line ") && fault.to_string().len() < 200);
    }
    for line in input.split(|octet| *octet == b'\n').take(8) {
        let login = line.split(|octet| *octet == b':').next().unwrap_or_default();
        if passwd.knows(login) {
            assert!(std::str::from_utf8(login).is_ok_and(is_login));
        }
    }
    // What is taken for a hash takes bounded time to read; whether it is somebody's is too dear to ask here.
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = Hash::parse(text.trim());
    }
});
