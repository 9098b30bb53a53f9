#![no_main]
//! Any octets as the answer to a question: bounded names and addresses, or why it says nothing.

use domain::base::Message;
use gatepost_resolver::answer::{ALIASES_MAX, KEPT_MAX, Records, TEXT_MAX, judge};
use gatepost_resolver::{Kind, Question};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, octets) = input;
    let Ok(message) = Message::from_slice(octets) else { return };
    let Some(kind) = [Kind::Ptr, Kind::A, Kind::Aaaa, Kind::Txt].into_iter().nth(usize::from(kind % 4)) else { return };
    // A question that the answer may be to, so that its records count.
    let Some(asked) = message.first_question() else { return };
    let Ok(name) = asked.qname().to_string().parse() else { return };
    match judge(&Question { name, kind }, message).map(|answer| answer.records) {
        Ok(Records::Names(names)) => assert!(kind == Kind::Ptr && (1..=KEPT_MAX).contains(&names.len())),
        Ok(Records::Addresses(addresses)) => {
            assert!((1..=KEPT_MAX).contains(&addresses.len()));
            assert!(addresses.iter().all(|address| Kind::of_family(*address) == kind));
        }
        Ok(Records::Alias { depth, .. }) => assert!((1..=ALIASES_MAX).contains(&depth)),
        Ok(Records::Text(text)) => assert!(kind == Kind::Txt && text.len() <= TEXT_MAX),
        Ok(Records::Nothing) | Err(_) => {}
    }
});
