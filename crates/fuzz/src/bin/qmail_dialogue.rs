#![no_main]
//! qmail-smtpd's dialect with AUTH and STARTTLS: the same octets in any segmentation give the same events and replies.

use gatepost_fuzz::segments;
use gatepost_qmail::engine::{Answer, AuthAsk, AuthOffer, Engine, Event, Limits, Settings};
use gatepost_smtp::envelope::Then;
use libfuzzer_sys::fuzz_target;

/// What is said to the event.
enum Due {
    Nothing,
    Answer(Answer<'static>),
    Challenge,
    Handshake,
    Over,
}

fn due(event: &Event<'_>) -> Due {
    match event {
        Event::Starved | Event::Flush | Event::Content(_) | Event::Abandon(_) | Event::Reset => Due::Nothing,
        Event::Mail { address, .. } | Event::Rcpt { address } => {
            assert!(address.len() <= 900 && !address.contains(&0) && !address.contains(&b'\n'));
            match address.first() {
                Some(b'n') => Due::Answer(Answer { lines: b"553 no\r\n", then: Then::Refused }),
                Some(b'c') => Due::Answer(Answer { lines: b"421 bye\r\n", then: Then::Close }),
                _ => Due::Answer(Answer::GO),
            }
        }
        Event::Helo { .. } | Event::Data => Due::Answer(Answer::GO),
        Event::Commit => Due::Answer(Answer { lines: b"250 ok 1 qp 2\r\n", then: Then::Go }),
        Event::Auth(AuthAsk::Challenge) => Due::Challenge,
        Event::Auth(AuthAsk::Check { user, pass, challenge, .. }) => {
            assert!([user, pass, challenge].iter().all(|field| field.len() <= 1024 && !field.contains(&0)));
            Due::Answer(Answer { lines: b"", then: if user.starts_with(b"j") { Then::Go } else { Then::Refused } })
        }
        Event::StartTls => Due::Handshake,
        Event::Close(_) => Due::Over,
    }
}

fn play<'a>(segments: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Vec<u8>, Vec<u8>) {
    let auth = AuthOffer { plain_login: true, cram_md5: true, available: true, ..AuthOffer::default() };
    let limits = Limits { errors: 5, recipients: 3, surplus_recipients: 2, long_line: 4096, ..Limits::default() };
    let mut engine = Engine::new(Settings {
        greeting: b"mx".to_vec(),
        starttls: true,
        auth: Some(auth),
        databytes: 200,
        limits,
        ..Settings::default()
    });
    engine.answer(&Answer::GO);
    let greeting = engine.output().len();
    engine.sent(greeting);
    let (mut events, mut content, mut output) = (Vec::new(), Vec::new(), Vec::new());
    for mut segment in segments {
        loop {
            let (used, event) = engine.read(segment);
            segment = &segment[used..];
            let starved = event == Event::Starved;
            match &event {
                Event::Starved | Event::Flush => {}
                Event::Content(octets) => content.extend_from_slice(octets),
                other => events.push(format!("{other:?}")),
            }
            match due(&event) {
                Due::Nothing => {}
                Due::Answer(answer) => engine.answer(&answer),
                Due::Challenge => engine.challenge(b"<1.2@mx>"),
                // What was typed ahead of a handshake is thrown away, so what it was depends on the segments.
                Due::Handshake | Due::Over => {
                    output.extend_from_slice(engine.output());
                    return (events, content, output);
                }
            }
            assert!(engine.output().len() < 8192);
            output.extend_from_slice(engine.output());
            let sent = engine.output().len();
            engine.sent(sent);
            if starved {
                assert!(segment.is_empty());
                break;
            }
        }
    }
    (events, content, output)
}

fuzz_target!(|input: &[u8]| {
    let whole = input.get(1..).unwrap_or_default();
    assert_eq!(play([whole]), play(segments(input)));
});
