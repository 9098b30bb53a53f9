#![no_main]
//! A table of addresses, whole and as a damaged constant database: no panic, no endless look-up, and every plain entry covers what it
//! says. Input: an octet that says where it is cut; up to there a file of entries, one a line, behind it a database.

use gatepost_policy::entry::{Form, check_entry};
use gatepost_policy::tables::{Address, Table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((cut, rest)) = input.split_first() else { return };
    let (list, cdb) = rest.split_at(usize::from(*cut).min(rest.len()));
    for form in [Form::Address, Form::Helo] {
        let sound: Vec<&[u8]> =
            list.split(|octet| *octet == b'\n').filter(|entry| check_entry(form, entry).is_ok()).collect();
        let Ok(table) = Table::new(form, &sound, cdb.to_vec()) else { continue };
        for entry in &sound {
            let at = entry.iter().rposition(|octet| *octet == b'@').unwrap_or(entry.len());
            let address = Address { local_part: &entry[..at], domain: entry.get(at + 1..) };
            let _ = (table.has_address(&address), table.has_helo(entry));
        }
        let lists = Table::new(form, &sound, Vec::new()).unwrap();
        for entry in sound.iter().filter(|entry| !entry.starts_with(b"/") && entry.len() < 255) {
            assert!(form == Form::Address || lists.has_helo(entry).unwrap(), "{}", entry.escape_ascii());
        }
    }
});
