//! What Dovecot says on its auth socket: no cut of the octets changes what is heard, and a yes is one with the number of the request.
#![no_main]

use gatepost_auth::dovecot::dialogue::{Broken, Dialogue, Said};
use gatepost_smtp::envelope::Mechanism;
use gatepost_smtp::sasl::CHALLENGE_MAX;
use libfuzzer_sys::fuzz_target;

const NUMBER: u32 = 77;

/// All that is heard, one line of Dovecot's after the other, until the dialogue is over. What the client says follows at once.
fn talk(octets: &[u8], cut: bool) -> (Vec<Said>, Option<Broken>) {
    let mut dialogue = Dialogue::new(NUMBER);
    let mut heard = Vec::new();
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        for piece in line.chunks(if cut { 1 } else { line.len() }) {
            let said = match dialogue.hear(piece) {
                Ok(Some(said)) => said,
                Ok(None) => continue,
                Err(broken) => return (heard, Some(broken)),
            };
            match &said {
                Said::Greeting(_) => {
                    let client = "192.0.2.9:4713".parse().unwrap();
                    assert!(dialogue.ask(Mechanism::Plain, client, Some(b"\0joe\0pw")).is_some());
                }
                Said::Challenge(challenge) => {
                    assert!(challenge.len() <= CHALLENGE_MAX);
                    assert!(dialogue.respond(b"x").is_some());
                }
                Said::Accepted(login) => {
                    assert!(line.starts_with(b"OK\t77\t"));
                    assert!(!login.is_empty() && !login.contains(|c: char| c.is_control() || c.is_whitespace()));
                    assert!(dialogue.respond(b"x").is_none());
                }
                Said::Refused | Said::Unknown => assert!(dialogue.respond(b"x").is_none()),
            }
            heard.push(said);
        }
    }
    (heard, None)
}

fuzz_target!(|octets: &[u8]| {
    let whole = talk(octets, false);
    assert_eq!(talk(octets, true), whole);
    assert!(whole.0.iter().filter(|said| !matches!(said, Said::Challenge(_) | Said::Greeting(_))).count() <= 1);
});
