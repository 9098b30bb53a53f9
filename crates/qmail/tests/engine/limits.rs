//! Where a session ends, and that what it keeps until then is bounded.

use gatepost_qmail::engine::{Answer, Engine, Event, Limits, Phase, Settings, exit_status};
use gatepost_smtp::envelope::{CloseReason, Then};

use crate::parent::{Session, run};

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn lines(output: &[u8], line: &str) -> usize {
    text(output).lines().filter(|one| one.starts_with(line)).count()
}

#[test]
fn a86_an_endless_command_line_ends_at_64_kib() {
    for segment in [1, 1000, 65_536, 65_537, 8_000_000] {
        let mut session = Session::new(Settings::default(), &[]);
        let line = vec![b'a'; segment];
        let mut fed = 0;
        while session.feed(&line) {
            fed += segment;
            assert!(fed <= 65_536, "{segment}");
        }
        let record = session.record();
        assert_eq!(record.events, "CLOSE Limit");
        assert_eq!(text(&record.output), "421 out of memory (#4.3.0)\r\n");
    }
}

#[test]
fn a_long_line_is_refused_once_and_auth_may_be_longer() {
    let long = |start: &str, length: usize| format!("{start}{}\r\n", "x".repeat(length - start.len() - 2));
    for (line, reply) in [
        (long("NOOP ", 2048), "250 ok\r\n"),
        (long("NOOP ", 2049), "500 line too long (#5.5.2)\r\n"),
        (long("NOOP ", 65_536), "500 line too long (#5.5.2)\r\n"),
        (long("auth ", 12_288), "502 unimplemented (#5.5.1)\r\n"),
        (long("AUTH ", 12_289), "500 line too long (#5.5.2)\r\n"),
        (long("AUTHX", 2049), "500 line too long (#5.5.2)\r\n"),
    ] {
        let expected = format!("{reply}250 ok\r\n");
        let input = format!("{line}NOOP\r\n");
        for segment in [1, 3, 700, 2049, input.len()] {
            let record = run(&Settings::default(), &[], input.as_bytes().chunks(segment), b"");
            assert_eq!(text(&record.output), expected, "{} in {segment}", line.len());
        }
    }
}

#[test]
fn a87_recipients_end_at_ten_thousand() {
    let limits = Limits { surplus_recipients: 15_000, ..Limits::default() };
    let mut session = Session::new(Settings { limits, ..Settings::default() }, &[]);
    assert!(session.feed(b"MAIL FROM:<a@b>\r\n"));
    let mut sent = 0;
    while session.feed(b"RCPT TO:<user@example.com>\r\n") {
        sent += 1;
        assert!(sent <= 200_000);
    }
    let record = session.record();
    assert_eq!(lines(&record.output, "250 ok"), 10_001);
    assert_eq!(lines(&record.output, "452 too many recipients (#4.5.3)"), 15_000);
    assert!(record.output.ends_with(b"421 out of memory (#4.3.0)\r\n"));
    assert!(record.events.ends_with("CLOSE Limit"));
}

#[test]
fn issue_10_a_pipelined_list_of_any_length_is_delivered_in_parts() {
    const LIST: usize = 25_000;
    let mut session = Session::new(Settings::default(), &[]);
    let mut left = LIST;
    while left > 0 {
        // The sender reads nothing before it has sent them all, and comes back with those that got a 452.
        let round = ["MAIL FROM:<a@b>\r\n", &"RCPT TO:<user@example.com>\r\n".repeat(left), "DATA\r\n.\r\n"].concat();
        assert!(session.feed(round.as_bytes()));
        left = left.saturating_sub(10_000);
    }
    let record = session.record();
    assert_eq!(lines(&record.output, "250 ok 1 qp 2"), 3);
    assert_eq!(lines(&record.output, "452 too many recipients (#4.5.3)"), 15_000 + 5000);
    // Nor does a refused MAIL end the session of a sender that has sent the recipients already.
    let refused = [("MAIL a@b", "555 syntax error (#5.5.4)\r\n", Then::Refused)];
    let mut session = Session::new(Settings::default(), &refused);
    assert!(session.feed(["MAIL FROM:<a@b>\r\n", &"RCPT TO:<c@d>\r\n".repeat(LIST)].concat().as_bytes()));
    assert_eq!(lines(&session.record().output, "503 MAIL first (#5.5.1)"), LIST);
}

#[test]
fn issue_10_messages_make_up_for_refused_recipients_and_errors() {
    let limits = Limits { refused_recipients: 2, errors_in_all: 2, ..Limits::default() };
    let refused = [("RCPT no@d", "553 no\r\n", Then::Refused)];
    let mut session = Session::new(Settings { limits, ..Settings::default() }, &refused);
    let message = "MAIL FROM:<a@b>\r\nRCPT TO:<no@d>\r\nFOO\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n";
    assert!((0..1000).all(|_| session.feed(message.as_bytes())));
    assert_eq!(lines(&session.record().output, "250 ok 1 qp 2"), 1000);
}

#[test]
fn a88_a_line_of_content_has_no_limit_and_is_not_kept() {
    let mut engine = Engine::new(Settings::default());
    engine.answer(&Answer::GO);
    for command in ["MAIL FROM:<a@b>\r\n", "RCPT TO:<c@d>\r\n", "DATA\r\n"] {
        let (used, _) = engine.read(command.as_bytes());
        assert_eq!(used, command.len());
        engine.answer(&Answer::GO);
    }
    let segment = [b'x'; 65_536];
    for _ in 0..64 {
        let (used, event) = engine.read(&segment);
        let Event::Content(content) = event else { panic!("{event:?}") };
        assert_eq!((used, content.as_ptr(), content.len()), (segment.len(), segment.as_ptr(), segment.len()));
    }
    assert_eq!(engine.read(b"\r\n.\r\n"), (2, Event::Content(b"\n")));
}

#[test]
fn whatever_repeats_ends() {
    let limits = Limits {
        errors: 3,
        errors_in_all: 5,
        mails: 3,
        resets: 3,
        ehlos: 3,
        noops: 3,
        auths: 3,
        refused_recipients: 3,
        ..Limits::default()
    };
    let settings = Settings { limits, starttls: true, ..Settings::default() };
    let refused =
        [("RCPT c@d", "553 no\r\n", Then::Refused), ("STARTTLS", "454 TLS not available (#4.3.0)\r\n", Then::Refused)];
    for (before, repeated, served) in [
        ("", "FOO\r\n", 3),
        ("", "DATA\r\n", 3),
        ("", "FOO\r\nHELO x\r\n", 3),
        ("", "NOOP\r\n", 3),
        ("", "HELP\r\nVRFY\r\n", 1),
        ("", "RSET\r\n", 3),
        ("", "EHLO x\r\n", 3),
        ("", "MAIL\r\n", 3),
        ("", "STARTTLS\r\n", 3),
        ("MAIL\r\n", "RCPT TO:<c@d>\r\n", 3),
        // Granted between them: only the sum counts.
        ("MAIL\r\n", "FOO\r\nRCPT\r\n", 5),
    ] {
        let mut session = Session::new(settings.clone(), &refused);
        assert!(session.feed(before.as_bytes()));
        let mut rounds = 0;
        while session.feed(repeated.as_bytes()) {
            rounds += 1;
            assert!(rounds <= served, "{repeated}");
        }
        assert_eq!(rounds, served, "{repeated}");
        let record = session.record();
        assert!(record.output.ends_with(b"421 too many errors (#4.7.0)\r\n"), "{repeated}");
        assert!(record.events.ends_with("CLOSE Limit"), "{repeated}");
    }
}

#[test]
fn a_message_makes_up_for_what_was_repeated() {
    let limits = Limits { errors: 1, mails: 1, resets: 1, ehlos: 1, noops: 1, ..Limits::default() };
    let settings = Settings { limits, ..Settings::default() };
    let round = "HELO x\r\nNOOP\r\nRSET\r\nFOO\r\nMAIL\r\nRCPT\r\nDATA\r\n.\r\n";
    let record = run(&settings, &[], [round.repeat(5).as_bytes()], b"");
    assert_eq!(lines(&record.output, "250 ok 1 qp 2"), 5);
    assert_eq!(record.phase, Phase::Command);
}

#[test]
fn output_is_bounded_however_much_is_typed_ahead() {
    let mut session = Session::new(Settings::default(), &[]);
    assert!(session.feed(&b"HELP\r\n".repeat(900)));
    assert!(session.output_max <= 4096 + 100, "{}", session.output_max);
    assert_eq!(lines(&session.record().output, "214 "), 900);
}

#[test]
fn silence_and_trouble_have_a_last_word_anywhere() {
    let message = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nbegun";
    type Row = (CloseReason, &'static str, fn(&mut Engine));
    for before in ["", "MAI", message] {
        let words: [Row; 3] = [
            (CloseReason::Timeout, "451 timeout (#4.4.2)\r\n", Engine::timeout),
            (CloseReason::Limit, "421 session too long (#4.4.2)\r\n", Engine::expire),
            (CloseReason::Internal, "421 internal trouble (#4.3.0)\r\n", Engine::fail),
        ];
        for (farewell, reply, end) in words {
            let mut session = Session::new(Settings::default(), &[]);
            session.feed(before.as_bytes());
            for _ in 0..2 {
                end(&mut session.engine);
            }
            assert_eq!(session.engine.output(), reply.as_bytes());
            assert_eq!(session.engine.read(b"\r\n.\r\n"), (0, Event::Close(farewell)));
            assert_eq!(exit_status(farewell), 1);
        }
    }
}
