//! Dialogues of AUTH where mail is submitted: a claim has a name and a password without a NUL, and no cut of the octets changes it.
#![no_main]

use gatepost_smtp::envelope::{Login, Mechanism, Service};
use gatepost_smtp::sasl::{CREDENTIAL_MAX, RESPONSE_MAX};
use gatepost_smtp::server::{Engine, Event, Said, Settings};
use libfuzzer_sys::fuzz_target;

/// What was claimed, and all replies, when the octets come in pieces of that size.
fn talk(octets: &[u8], piece: usize) -> (Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>) {
    let mut engine = Engine::new(Settings { service: Service::Submission, ..Settings::default() });
    engine.tls_established(0x0304, 0x1301);
    engine.set_mechanisms(Mechanism::ALL.into_iter().collect());
    engine.greet();
    let (mut claims, mut output) = (Vec::new(), Vec::new());
    let hello = b"EHLO a.test\r\nAUTH ".iter().chain(octets).copied().collect::<Vec<_>>();
    for segment in hello.chunks(piece) {
        let mut rest = segment;
        loop {
            let (used, event) = engine.read(rest);
            rest = &rest[used..];
            match event {
                Event::Auth => match engine.said().expect("an answer is due") {
                    Said::Claim(claim) => {
                        for text in [claim.user, claim.pass] {
                            assert!(!text.is_empty() && text.len() <= CREDENTIAL_MAX && !text.contains(&0));
                        }
                        claims.push((claim.user.to_vec(), claim.pass.to_vec()));
                        engine.judge(Login::Refused);
                    }
                    Said::Response(said) => {
                        assert!(said.octets.len() <= RESPONSE_MAX);
                        claims.push((said.octets.to_vec(), vec![u8::from(said.first)]));
                        let challenge = said.octets.get(..8).unwrap_or_default().to_vec();
                        if said.octets.len() % 2 == 0 {
                            engine.challenge(&challenge);
                        } else {
                            engine.judge(Login::Refused);
                        }
                    }
                },
                Event::Mail => unreachable!("MAIL without a login"),
                Event::Close(_) => {
                    output.extend_from_slice(engine.output());
                    return (claims, output);
                }
                Event::Starved => break,
                _ => {}
            }
            output.extend_from_slice(engine.output());
            engine.sent(engine.output().len());
        }
        output.extend_from_slice(engine.output());
        engine.sent(engine.output().len());
    }
    (claims, output)
}

fuzz_target!(|octets: &[u8]| {
    assert_eq!(talk(octets, 1), talk(octets, usize::MAX));
});
