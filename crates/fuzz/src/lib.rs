//! What the fuzz targets share: cutting one input into segments, and a transcript of a dialogue.
#![forbid(unsafe_code)]

use gatepost_smtp::address::{ForwardPath, ReversePath};
use gatepost_smtp::data::Purity;
use gatepost_smtp::envelope::{Offer, Reason, Service, Verdict};
use gatepost_smtp::keyword::Keywords;
use gatepost_smtp::server::{Engine, Event, Leniency, Limits, Settings};

/// Cuts `input` at places that its own first octets choose.
pub fn segments(input: &[u8]) -> Vec<&[u8]> {
    let Some((&step, rest)) = input.split_first() else { return Vec::new() };
    let mut step = usize::from(step % 29) + 1;
    let mut segments = Vec::new();
    let mut rest = rest;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(step.min(rest.len()));
        segments.push(head);
        rest = tail;
        step = step * 7 % 31 + 1;
    }
    segments
}

/// Settings of an engine that reaches its limits soon.
pub fn settings() -> Settings {
    Settings {
        hostname: "mx.ok.test".into(),
        id: "fuzz".into(),
        message_size: 4096,
        recipients: 3,
        starttls: true,
        tls_required: false,
        leniency: Leniency::default(),
        hidden: Keywords::default(),
        service: Service::Relay,
        limits: Limits::default(),
    }
}

/// All that happened: events, the content of complete messages, and every octet that was answered. How much of a message
/// comes before it is refused depends on the segments, so that is left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    pub events: Vec<String>,
    pub content: Vec<u8>,
    pub output: Vec<u8>,
}

/// Plays `segments` to an engine that has greeted and has an offer, and says yes to all that it asks.
pub fn play<'a>(settings: Settings, segments: impl IntoIterator<Item = &'a [u8]>) -> Transcript {
    let mut engine = Engine::new(settings);
    engine.greet();
    engine.set_offer(Offer { size: 4096, eight_bit: true, smtputf8: true, dsn: true, prdr: false, recipients: 3 });
    let (mut transcript, mut content) = (Transcript::default(), Vec::new());
    drain(&mut engine, &mut transcript);
    for mut segment in segments {
        loop {
            let (used, event) = engine.read(segment);
            assert!(used <= segment.len());
            segment = &segment[used..];
            let mut over = false;
            match event {
                Event::Flush => {}
                Event::Starved => {
                    assert!(segment.is_empty());
                    drain(&mut engine, &mut transcript);
                    break;
                }
                Event::Content(octets) => content.extend_from_slice(octets),
                Event::Mail => {
                    let mail = engine.mail().expect("MAIL was accepted");
                    let path = ReversePath::parse(mail.reverse_path.as_bytes(), mail.parameters.smtputf8);
                    assert_eq!(path.as_ref(), Ok(&mail.reverse_path), "what is passed on is canonical");
                    assert!(mail.parameters.envid.as_deref().is_none_or(|envid| is_value(envid, false)));
                    transcript.events.push(format!("mail {mail:?}"));
                    engine.answer(&verdict());
                }
                Event::Rcpt => {
                    let rcpt = engine.rcpt().expect("an answer is due");
                    let smtputf8 = engine.mail().expect("a transaction").parameters.smtputf8;
                    let path = ForwardPath::parse(rcpt.forward_path.as_bytes(), smtputf8);
                    assert_eq!(path.as_ref(), Ok(&rcpt.forward_path), "what is passed on is canonical");
                    assert!(rcpt.parameters.orcpt.as_deref().is_none_or(|orcpt| is_value(orcpt, smtputf8)));
                    transcript.events.push(format!("rcpt {:?}", engine.rcpt()));
                    engine.answer(&verdict());
                }
                Event::ContentEnd { length } => {
                    assert_eq!(u64::try_from(content.len()), Ok(length));
                    let mut purity = Purity::new();
                    assert!(purity.push(&content).is_ok() && purity.finish() == Ok(false), "content is canonical");
                    transcript.content.append(&mut content);
                    transcript.events.push(format!("end {length}"));
                    engine.answer(&verdict());
                }
                Event::Reset => {
                    content.clear();
                    transcript.events.push("reset".into());
                }
                // Nothing is submitted here: see the target `sasl`.
                Event::Auth => unreachable!("AUTH is refused"),
                Event::StartTls | Event::Close(_) => {
                    transcript.events.push("over".into());
                    over = true;
                }
            }
            drain(&mut engine, &mut transcript);
            if over {
                return transcript;
            }
        }
    }
    transcript
}

/// A parameter's value that can stand in a command, RFC 5321 §4.1.2.
fn is_value(octets: &[u8], smtputf8: bool) -> bool {
    !octets.is_empty() && octets.iter().all(|b| b.is_ascii_graphic() && *b != b'=' || smtputf8 && *b >= 0x80)
}

fn drain(engine: &mut Engine, transcript: &mut Transcript) {
    let n = engine.output().len();
    assert!(n <= 64 * 1024, "replies are bounded");
    transcript.output.extend_from_slice(engine.output());
    engine.sent(n);
}

fn verdict() -> Verdict {
    Verdict { code: 250, enhanced: (2, 0, 0), reason: Reason::Ok }
}

/// A dialogue that stands at the begin of content.
pub const AT_DATA: &[u8] = b"EHLO a.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@ok.test>\r\nDATA\r\n";

/// Content as RFC 5321 §4.1.1.4 and RFC 5322 have it, read naively: the octets before the first CRLF.CRLF with dots
/// unstuffed, and how many octets that took; `Err` when a bare CR, bare LF or NUL stands before it.
pub fn naive(stream: &[u8]) -> Option<Result<(Vec<u8>, usize), ()>> {
    let mut content = Vec::new();
    let mut at = 0;
    let mut pure = true;
    loop {
        let end = at + stream[at..].windows(2).position(|w| w == b"\r\n")?;
        let line = &stream[at..end];
        at = end + 2;
        if line == b"." {
            return Some(if pure { Ok((content, at)) } else { Err(()) });
        }
        pure &= !line.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        content.extend_from_slice(b"\r\n");
    }
}
