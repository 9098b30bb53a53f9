//! The protocol, without a socket: octets in, events and replies out, the same at every segmentation.
// Helpers fail a test by panicking.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use gatepost_receiver::lmtp::{ENDLESS, ERRORS_MAX, Event, LINE_MAX, RECIPIENTS_MAX, Receiver, Stored};

/// What a dialogue came to: replies, one a line, and messages as `from > to, to: content`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Story {
    replies: String,
    stored: Vec<String>,
    closed: bool,
}

/// Plays `input`, cut before each of `cuts`; every file operation ends as `stored` says.
fn play(input: &[u8], cuts: &[usize], stored: Stored) -> Story {
    let mut receiver = Receiver::new("mx.test");
    let mut story = Story::default();
    let mut message: Option<String> = None;
    let mut begin = 0;
    for end in cuts.iter().copied().chain([input.len()]) {
        let mut rest = &input[begin..end];
        begin = end;
        loop {
            let (taken, event) = receiver.read(rest);
            rest = &rest[taken..];
            match event {
                Event::Starved => break,
                Event::Begin => {
                    let envelope = receiver.envelope().unwrap();
                    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
                    let to: Vec<_> = envelope.forward_paths.iter().map(|path| text(path.as_bytes())).collect();
                    message = Some(format!("{} > {}: ", text(envelope.reverse_path.as_bytes()), to.join(", ")));
                    receiver.answer(stored);
                }
                Event::Content(octets) => message.as_mut().unwrap().push_str(std::str::from_utf8(octets).unwrap()),
                Event::End => {
                    story.stored.extend(message.take());
                    receiver.answer(stored);
                }
                Event::Abandon => message = None,
                Event::Close => {
                    story.closed = true;
                    break;
                }
            }
        }
        assert!(rest.is_empty() || story.closed);
    }
    story.replies = String::from_utf8(receiver.output().to_vec()).unwrap();
    story
}

/// First three digits of each reply, without the greeting and the lines of LHLO.
fn codes(story: &Story) -> String {
    let codes = story.replies.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| &line[..3]);
    codes.skip(1).collect::<Vec<_>>().join(" ")
}

const HELLO: &str = "LHLO gatepost\r\n";

/// What is said after LHLO, the codes it earns (LHLO's first), what is stored.
const DIALOGUES: &[(&str, &str, &[&str])] = &[
    ("QUIT\r\n", "250 221", &[]),
    ("NOOP\r\nnoop x\r\nRSET\r\nVRFY a\r\n", "250 250 250 250 252", &[]),
    (
        "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\nS: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n",
        "250 250 250 354 250 221",
        &["a@x.test > b@y.test: S: x\r\n\r\n.dot\r\n"],
    ),
    // RFC 2033 §4.2: a reply for each recipient, twice for one that came twice.
    (
        "MAIL FROM:<>\r\nRCPT TO:<b@y.test>\r\nRCPT TO:<c@y.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n.\r\n",
        "250 250 250 250 250 354 250 250 250",
        &[" > b@y.test, c@y.test, b@y.test: "],
    ),
    // A second transaction on the same connection, the first given up.
    (
        "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nRSET\r\nMAIL FROM:<c@x.test>\r\nRCPT TO:<postmaster>\r\nDATA\r\n.\r\n",
        "250 250 250 250 250 250 354 250",
        &["c@x.test > postmaster: "],
    ),
    ("mail from: <a@x.test> size=12 BODY=8BITMIME\r\nrcpt to:<b@y.test>\r\n", "250 250 250", &[]),
    ("MAIL FROM:<ä@x.test> SMTPUTF8\r\nRCPT TO:<ö@y.test>\r\n", "250 250 250", &[]),
    ("MAIL FROM:<ä@x.test>\r\n", "250 553", &[]),
    ("MAIL FROM:<a@x.test>\r\nRCPT TO:<ö@y.test>\r\n", "250 250 553", &[]),
    ("MAIL FROM:<a@x.test> RET=FULL\r\nMAIL FROM:<a@x.test> SIZE=\r\n", "250 555 555", &[]),
    ("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test> NOTIFY=NEVER\r\n", "250 250 555", &[]),
    ("MAIL FROM:a@x.test\r\nMAIL TO:<a@x.test>\r\nMAIL\r\nMAIL FROM:<a@x.test>SIZE=1\r\n", "250 501 501 501 501", &[]),
    ("MAIL FROM:<a b@x.test>\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<>\r\n", "250 501 250 501", &[]),
    ("RCPT TO:<b@y.test>\r\nDATA\r\nDATA x\r\n", "250 503 503 501", &[]),
    ("MAIL FROM:<a@x.test>\r\nMAIL FROM:<a@x.test>\r\nDATA\r\n", "250 250 503 503", &[]),
    // RFC 2033 §4.1: never HELO or EHLO.
    ("HELO x\r\nEHLO x\r\nLHLO\r\nBDAT 3 LAST\r\n\r\n", "250 500 500 501 500 500", &[]),
    ("LHLO again\r\n", "250 250", &[]),
    ("NOOP\nNOOP\r\n", "250 500 250", &[]),
];

#[test]
fn dialogues_at_every_cut() {
    for (said, expected, stored) in DIALOGUES {
        let input = [HELLO, said].concat();
        let whole = play(input.as_bytes(), &[], Stored::Done);
        assert_eq!(
            (codes(&whole).as_str(), whole.stored.as_slice()),
            (*expected, &stored.map_to_owned()[..]),
            "{said:?}"
        );
        for cut in 0..=input.len() {
            assert_eq!(play(input.as_bytes(), &[cut], Stored::Done), whole, "{said:?} cut at {cut}");
        }
        let single: Vec<usize> = (0..input.len()).collect();
        assert_eq!(play(input.as_bytes(), &single, Stored::Done), whole, "{said:?} octet by octet");
    }
}

trait MapToOwned {
    fn map_to_owned(&self) -> Vec<String>;
}

impl MapToOwned for &[&str] {
    fn map_to_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn nothing_before_lhlo() {
    let story = play(b"MAIL FROM:<a@x.test>\r\n", &[], Stored::Done);
    assert!(story.replies.starts_with("220 mx.test LMTP\r\n503 "), "{}", story.replies);
}

#[test]
fn p9_only_crlf_dot_crlf_ends() {
    let begin = "LHLO g\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nRCPT TO:<c@y.test>\r\nDATA\r\n";
    for lookalike in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r\n\0.\r\n", "\n\n.\r\n", "\r.\r\n"] {
        let input = format!(
            "{begin}one{lookalike}MAIL FROM:<evil@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\ntwo\r\n.\r\nNOOP\r\n"
        );
        for cut in begin.len()..=input.len() {
            let story = play(input.as_bytes(), &[cut], Stored::Done);
            assert_eq!(codes(&story), "250 250 250 250 354 554 554 250", "{lookalike:?} cut at {cut}");
            assert_eq!(story.stored, [""; 0], "{lookalike:?} cut at {cut}");
        }
    }
}

#[test]
fn p1_no_250_for_what_is_not_stored() {
    let said = "LHLO g\r\nMAIL FROM:<>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n";
    for (stored, code) in [(Stored::Failed, "451"), (Stored::DiskFull, "452"), (Stored::TooLarge, "552")] {
        // DATA itself is refused; the next transaction can begin.
        let story = play(format!("{said}MAIL FROM:<>\r\n").as_bytes(), &[], stored);
        assert_eq!(codes(&story), format!("250 250 250 {code} 250"));
    }
    for (stored, code) in [(Stored::Failed, "451"), (Stored::DiskFull, "452"), (Stored::TooLarge, "552")] {
        let mut receiver = Receiver::new("mx.test");
        let mut rest = [said, "x\r\n.\r\n"].concat().into_bytes();
        loop {
            let (taken, event) = receiver.read(&rest);
            let event = match event {
                Event::Begin => Stored::Done,
                Event::End => stored,
                Event::Starved => break,
                _ => {
                    rest.drain(..taken);
                    continue;
                }
            };
            rest.drain(..taken);
            receiver.answer(event);
        }
        let replies = String::from_utf8(receiver.output().to_vec()).unwrap();
        assert!(replies.lines().last().unwrap().starts_with(code), "{replies}");
        assert!(!replies.lines().any(|line| line.contains("Stored")), "{replies}");
    }
}

#[test]
fn p6_lines_and_recipients_are_bounded() {
    let long = format!("{HELLO}NOOP {}\r\nNOOP\r\n", "x".repeat(LINE_MAX));
    assert_eq!(codes(&play(long.as_bytes(), &[], Stored::Done)), "250 500 250");
    let fits = format!("{HELLO}NOOP {}\r\n", "x".repeat(LINE_MAX - 7));
    assert_eq!(codes(&play(fits.as_bytes(), &[], Stored::Done)), "250 250");
    let endless = format!("{HELLO}{}", "x".repeat(ENDLESS + 1));
    let story = play(endless.as_bytes(), &[], Stored::Done);
    assert_eq!((codes(&story).as_str(), story.closed), ("250 421", true));
    let crowd = format!("{HELLO}MAIL FROM:<>\r\n{}", "RCPT TO:<b@y.test>\r\n".repeat(RECIPIENTS_MAX + 1));
    assert!(codes(&play(crowd.as_bytes(), &[], Stored::Done)).ends_with("250 452"));
}

#[test]
fn too_many_errors_close_the_connection() {
    let rude = "x\r\n".repeat(usize::try_from(ERRORS_MAX).unwrap());
    let story = play(format!("{rude}NOOP\r\n").as_bytes(), &[], Stored::Done);
    assert!(codes(&story).ends_with("500 250") && !story.closed);
    let story = play(format!("{rude}x\r\nNOOP\r\n").as_bytes(), &[], Stored::Done);
    assert!(codes(&story).ends_with("500 421") && story.closed);
}

#[test]
fn draining_lets_a_transaction_finish() {
    let mut receiver = Receiver::new("mx.test");
    assert_eq!(receiver.read(b"LHLO g\r\nMAIL FROM:<>\r\nRCPT TO:<b@y.test>\r\n").1, Event::Starved);
    receiver.drain();
    assert!(!receiver.is_closed());
    assert_eq!(receiver.read(b"DATA\r\n"), (6, Event::Begin));
    receiver.answer(Stored::Done);
    assert_eq!(receiver.read(b".\r\n"), (3, Event::End));
    receiver.answer(Stored::Done);
    let replies = String::from_utf8(receiver.output().to_vec()).unwrap();
    assert!(
        replies.ends_with("354 End with CRLF.CRLF\r\n250 2.0.0 Stored\r\n421 4.3.2 Shutting down\r\n"),
        "{replies}"
    );
    assert_eq!(receiver.read(b"NOOP\r\n"), (0, Event::Close));
    let mut idle = Receiver::new("mx.test");
    idle.drain();
    assert_eq!(idle.read(b""), (0, Event::Close));
}

#[test]
fn p10_lhlo_offers_what_is_kept_and_names_no_product() {
    let story = play(HELLO.as_bytes(), &[], Stored::Done);
    let lines: Vec<&str> = story.replies.lines().collect();
    assert_eq!(
        lines,
        [
            "220 mx.test LMTP",
            "250-mx.test",
            "250-8BITMIME",
            "250-PIPELINING",
            "250-ENHANCEDSTATUSCODES",
            "250-SMTPUTF8",
            "250 SIZE"
        ]
    );
}
