//! What a row can't say: the calls of the shell, and bounds under a flood.

use gatepost_smtp::address::ReversePath;
use gatepost_smtp::envelope::{CloseReason, Notify, Offer, Reason, Ret, Verdict};
use gatepost_smtp::keyword::Keyword;
use gatepost_smtp::server::{Engine, Event, Impurity, Limits, Phase, Settings};
use gatepost_smtp::text::{LINE_MAX, Text};
use gatepost_testkit::dialogue::prelude;

use crate::dialogue::{Transcript, engine};

const OK: Verdict = Verdict { code: 250, enhanced: (2, 0, 0), reason: Reason::Ok };

/// An engine in the state that a prelude leads to, its output flushed.
fn after(name: &str, settings: &[&str]) -> Engine {
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let mut engine = engine(&settings);
    let mut transcript = Transcript::default();
    engine.greet();
    for step in prelude(name) {
        transcript.feed(&mut engine, step.as_bytes());
    }
    transcript.feed(&mut engine, b"");
    engine
}

fn said(engine: &mut Engine) -> String {
    let output = String::from_utf8(engine.output().to_vec()).unwrap();
    engine.sent(output.len());
    output
}

#[test]
fn nothing_is_read_before_the_greeting() {
    let mut engine = engine(&[]);
    assert_eq!((engine.phase(), engine.read(b"EHLO a\r\n")), (Phase::Greeting, (0, Event::Starved)));
    engine.greet();
    engine.greet();
    assert_eq!(said(&mut engine), "220 mx.ok.test ESMTP\r\n");
    assert_eq!(engine.phase(), Phase::Command);
}

#[test]
fn the_transaction_is_there_while_it_runs() {
    let mut engine = after("ehlo", &[]);
    assert_eq!((engine.helo(), engine.esmtp(), engine.tls()), (&b"client.test"[..], true, None));
    let (_, event) =
        engine.read(b"MAIL FROM:<@r.test:S@c.test> SIZE=7 BODY=8BITMIME RET=HDRS ENVID=a+2Bb SMTPUTF8\r\n");
    assert_eq!(event, Event::Mail);
    let mail = engine.mail().unwrap();
    assert_eq!(mail.reverse_path.as_bytes(), b"S@c.test");
    assert_eq!(
        (mail.parameters.size, mail.parameters.smtputf8, mail.parameters.ret),
        (Some(7), true, Some(Ret::Headers))
    );
    assert_eq!(mail.parameters.envid.as_deref(), Some(&b"a+2Bb"[..]));
    assert!(engine.rcpt().is_none());
    engine.answer(&OK);

    let line = b"RCPT TO:<\"U v\"@ok.test> NOTIFY=DELAY ORCPT=rfc822;x@y\r\n";
    assert_eq!(engine.read(line), (line.len(), Event::Rcpt));
    let rcpt = engine.rcpt().unwrap();
    assert_eq!(rcpt.forward_path.as_bytes(), b"\"U v\"@ok.test");
    assert_eq!(rcpt.parameters.notify, Some(Notify { delay: true, ..Notify::default() }));
    assert_eq!(rcpt.parameters.orcpt.as_deref(), Some(&b"rfc822;x@y"[..]));
    assert_eq!(engine.phase(), Phase::Answer);
    // Nothing is read while an answer is due, and an answer that isn't due says nothing.
    assert_eq!(engine.read(b"DATA\r\n"), (0, Event::Starved));
    said(&mut engine);
    engine.answer(&OK);
    engine.answer(&OK);
    assert_eq!(said(&mut engine), "250 2.1.5 Ok\r\n");
    assert!(engine.rcpt().is_none());

    assert_eq!(engine.read(b"DATA\r\n"), (6, Event::Starved));
    assert_eq!(engine.phase(), Phase::Content);
    assert_eq!(engine.read(b"x\r\n.\r\n").1, Event::Content(b"x\r\n"));
    assert_eq!(engine.read(b".\r\n").1, Event::ContentEnd { length: 3 });
    assert!(engine.mail().is_some(), "until the answer");
    engine.answer(&OK);
    assert!(engine.mail().is_none());
}

#[test]
fn p9_issue_10_whatever_is_lenient_hands_on_what_is_canonical() {
    for (line, path, envid) in [
        ("MAIL FROM:\t<s@c.test>", "s@c.test", None),
        ("\tMAIL\tFROM :\t< s@c.test. >\tSIZE=7", "s@c.test", None),
        (" MAIL FROM: s@c.test.", "s@c.test", None),
        ("MAIL FROM:< >", "", None),
        ("MAIL FROM:< \"s \"@c.test >", "\"s \"@c.test", None),
        ("MAIL FROM:<@r.test:S@c.test.>", "S@c.test", None),
        ("MAIL FROM:<s@[192.0.2.1]>", "s@[192.0.2.1]", None),
        ("MAIL FROM:<> ENVID=a+2Bb", "", Some("a+2Bb")),
        ("MAIL FROM:<> ENVID=a+2bb", "", Some("a+2Bb")),
        ("MAIL FROM:<> ENVID=QUJD==", "", Some("QUJD+3D+3D")),
        ("MAIL FROM:<> ENVID=a+0Ab", "", None),
        ("MAIL FROM:<> ENVID=a\u{e9}", "", None),
        ("MAIL FROM:<> ENVID=", "", None),
        // A hundred octets, of which one grows when it is written as it should be.
        (&format!("MAIL FROM:<> ENVID={}=", "x".repeat(99)), "", None),
    ] {
        let mut engine = after("ehlo", &[]);
        assert_eq!(engine.read(format!("{line}\r\n").as_bytes()).1, Event::Mail, "{line}");
        let mail = engine.mail().unwrap();
        assert_eq!(mail.reverse_path.as_bytes(), path.as_bytes(), "{line}");
        assert_eq!(mail.parameters.envid.as_deref(), envid.map(str::as_bytes), "{line}");
        // As a backend's keeper reads it again.
        assert!(ReversePath::parse(mail.reverse_path.as_bytes(), false).is_ok(), "{line}");
    }
    for (line, path, orcpt) in [
        (" RCPT TO:\t< u@ok.test. >", "u@ok.test", None),
        ("RCPT TO:< postmaster >", "postmaster", None),
        ("RCPT TO:<u@ok.test> ORCPT=rfc822;user+2btag@ok.test", "u@ok.test", Some("rfc822;user+2Btag@ok.test")),
        ("RCPT TO:<u@ok.test> ORCPT=rfc822;SRS0=ab=c@a.test", "u@ok.test", Some("rfc822;SRS0+3Dab+3Dc@a.test")),
        ("RCPT TO:<u@ok.test> ORCPT=rfc822;user+tag@ok.test", "u@ok.test", Some("rfc822;user+2Btag@ok.test")),
        ("RCPT TO:<u@ok.test> ORCPT=RFC822;x@y", "u@ok.test", Some("RFC822;x@y")),
        ("RCPT TO:<u@ok.test> ORCPT=x@y", "u@ok.test", None),
        ("RCPT TO:<u@ok.test> ORCPT=rfc822;a+00b", "u@ok.test", None),
        ("RCPT TO:<u@ok.test> ORCPT=rfc822;a=+0D+0A", "u@ok.test", None),
        ("RCPT TO:<u@ok.test> ORCPT=rfc822;", "u@ok.test", None),
    ] {
        let mut engine = after("mail", &[]);
        assert_eq!(engine.read(format!("{line}\r\n").as_bytes()).1, Event::Rcpt, "{line}");
        let rcpt = engine.rcpt().unwrap();
        assert_eq!(rcpt.forward_path.as_bytes(), path.as_bytes(), "{line}");
        assert_eq!(rcpt.parameters.orcpt.as_deref(), orcpt.map(str::as_bytes), "{line}");
    }
}

#[test]
fn a_run_of_plain_lines_is_one_slice() {
    let mut engine = after("data", &[]);
    let lines = b"a line of text\r\n".repeat(200);
    let input = [&lines[..], b"..\r\n", &lines].concat();
    let (taken, event) = engine.read(&input);
    assert_eq!((taken, event), (lines.len(), Event::Content(&lines)));
    let (taken, event) = engine.read(&input[taken..]);
    assert_eq!((taken, event), (lines.len() + 4, Event::Content(&[b".\r\n", &lines[..]].concat())));
}

#[test]
fn refusals_say_what_the_verdict_means_and_carry_the_id() {
    let table = [
        (550, (5, 7, 1), Reason::RelayDenied, "550 5.7.1 Relay access denied [id-1]\r\n"),
        (450, (4, 2, 1), Reason::RecipientRefused, "450 4.2.1 Recipient address refused [id-1]\r\n"),
        (451, (4, 4, 2), Reason::BackendLost, "451 4.4.2 Delivery not confirmed, try again [id-1]\r\n"),
        // What makes no sense becomes something that does, of the same class.
        (250, (5, 0, 0), Reason::Ok, "250 2.0.0 Ok\r\n"),
        (299, (2, 9, 9), Reason::Ok, "250 2.0.0 Ok\r\n"),
        (550, (4, 7, 1), Reason::RelayDenied, "550 5.0.0 Relay access denied [id-1]\r\n"),
        (599, (5, 7, 1), Reason::RelayDenied, "550 5.0.0 Relay access denied [id-1]\r\n"),
        (559, (5, 999, 999), Reason::RelayDenied, "559 5.999.999 Relay access denied [id-1]\r\n"),
        (560, (5, 7, 1), Reason::RelayDenied, "550 5.0.0 Relay access denied [id-1]\r\n"),
        (550, (5, 1000, 1), Reason::RelayDenied, "550 5.0.0 Relay access denied [id-1]\r\n"),
        (450, (4, 1, 1000), Reason::RelayDenied, "451 4.3.0 Local error, try again [id-1]\r\n"),
        (354, (3, 0, 0), Reason::Ok, "451 4.3.0 Local error, try again [id-1]\r\n"),
        (0, (0, 0, 0), Reason::Ok, "451 4.3.0 Local error, try again [id-1]\r\n"),
        (65535, (255, 65535, 65535), Reason::Ok, "451 4.3.0 Local error, try again [id-1]\r\n"),
    ];
    for (code, enhanced, reason, text) in table {
        let mut engine = after("rcpt", &[]);
        engine.read(b"BDAT 0 LAST\r\n");
        engine.answer(&Verdict { code, enhanced, reason });
        assert_eq!(said(&mut engine), text);
        assert_eq!(engine.read(b""), (0, Event::Starved));
    }
}

#[test]
fn issue_12_a_refusal_can_have_the_words_of_the_backend() {
    let refused = Verdict { code: 550, enhanced: (5, 7, 1), reason: Reason::ContentRefused };
    let text = |lines: &[&str]| Text::of(lines.iter().map(|line| line.as_bytes()), true);
    let ours = "550 5.7.1 Message refused [id-1]\r\n";
    let long = "x".repeat(LINE_MAX);
    for (verdict, text, utf8, reply) in [
        (
            refused,
            text(&["listed", "see https://bl.test/"]),
            false,
            "550-5.7.1 listed\r\n550 5.7.1 see https://bl.test/ [id-1]\r\n",
        ),
        (refused, Text::none(), false, ours),
        (refused, text(&["\u{fc}ber"]), false, ours),
        (refused, text(&["\u{fc}ber"]), true, "550 5.7.1 \u{fc}ber [id-1]\r\n"),
        (refused, text(&[&long]), false, &format!("550 5.7.1 {long} [id-1]\r\n")),
        (OK, text(&["queued as 4711"]), false, "250 2.0.0 Ok\r\n"),
        (Verdict { code: 560, ..refused }, text(&["odd"]), false, "550 5.0.0 odd [id-1]\r\n"),
        // Nothing that makes no sense has a text.
        (Verdict { code: 354, ..refused }, text(&["send more"]), false, "451 4.3.0 Local error, try again [id-1]\r\n"),
    ] {
        let mut engine = after("ehlo", &[]);
        let mail = format!("MAIL FROM:<s@client.test>{}\r\n", if utf8 { " SMTPUTF8" } else { "" });
        let mut transcript = Transcript::default();
        transcript.feed(&mut engine, mail.as_bytes());
        transcript.feed(&mut engine, b"RCPT TO:<u@ok.test>\r\n");
        transcript.feed(&mut engine, b"");
        engine.read(b"BDAT 0 LAST\r\n");
        engine.answer_in(&verdict, &text);
        assert_eq!(said(&mut engine), reply);
        assert!(reply.lines().all(|line| line.len() + 2 <= 512));
    }
}

#[test]
fn issue_12_each_recipient_is_answered_if_the_client_said_prdr() {
    let never = Verdict { code: 552, enhanced: (5, 2, 2), reason: Reason::ContentRefused };
    let bye = Verdict { code: 421, enhanced: (4, 3, 2), reason: Reason::BackendDown };
    let full = Text::of([&b"quota"[..]], false);
    for prdr in [true, false] {
        let mut engine = after("ehlo", &["prdr"]);
        let mut transcript = Transcript::default();
        transcript.feed(&mut engine, format!("MAIL FROM:<>{}\r\n", if prdr { " PRDR" } else { "" }).as_bytes());
        engine.answer_recipient(&never, &full);
        transcript.feed(&mut engine, b"RCPT TO:<u@ok.test>\r\nRCPT TO:<v@ok.test>\r\n");
        engine.read(b"BDAT 0 LAST\r\n");
        for (verdict, text) in [(OK, &Text::none()), (never, &full), (bye, &full)] {
            engine.answer_recipient(&verdict, text);
        }
        let each = "353 A reply for each recipient follows\r\n250 2.1.5 Ok\r\n552 5.2.2 quota [id-1]\r\n451 4.3.2 quota [id-1]\r\n";
        assert_eq!(said(&mut engine), if prdr { each } else { "" });
        assert_eq!(engine.phase(), Phase::Answer);
        engine.answer(&OK);
        assert_eq!(said(&mut engine), "250 2.0.0 Ok\r\n");
        engine.answer_recipient(&OK, &full);
        assert_eq!((said(&mut engine), engine.phase()), (String::new(), Phase::Command));
    }
}

#[test]
fn p1_a_verdict_of_no_sense_never_accepts() {
    for code in (0..200).chain(300..700).chain([u16::MAX]) {
        let mut engine = after("rcpt", &[]);
        engine.read(b"BDAT 0 LAST\r\n");
        engine.answer(&Verdict { code, enhanced: (2, 0, 0), reason: Reason::Ok });
        let said = said(&mut engine);
        assert!(said.starts_with('4') || said.starts_with('5'), "{code}: {said}");
    }
}

#[test]
fn a_421_of_the_backend_ends_the_session() {
    for (reason, close_reason) in [
        (Reason::Draining, CloseReason::Drained),
        (Reason::ClientRefused, CloseReason::Abuse),
        (Reason::BackendDown, CloseReason::Internal),
    ] {
        let mut engine = after("mail", &[]);
        engine.read(b"RCPT TO:<u@ok.test>\r\n");
        engine.answer(&Verdict { code: 421, enhanced: (4, 3, 2), reason });
        assert!(said(&mut engine).starts_with("421 4.3.2 mx.ok.test "));
        assert_eq!(engine.read(b"NOOP\r\n"), (0, Event::Close(close_reason)));
        assert_eq!(engine.read(b"NOOP\r\n"), (0, Event::Close(close_reason)));
        assert!(engine.output().is_empty());
    }
}

#[test]
fn timeout_and_failure_end_every_phase() {
    for name in ["connect", "ehlo", "mail", "rcpt", "data", "bdat"] {
        let mut engine = after(name, &[]);
        engine.timeout();
        engine.timeout();
        assert!(said(&mut engine).starts_with("421 4.4.2 mx.ok.test "));
        assert_eq!((engine.phase(), engine.mail().is_none()), (Phase::Closed, true));
        assert_eq!(engine.read(b".\r\n"), (0, Event::Close(CloseReason::Timeout)));

        let mut engine = after(name, &[]);
        engine.fail();
        assert!(said(&mut engine).starts_with("421 4.3.0 mx.ok.test "));
        assert_eq!(engine.read(b""), (0, Event::Close(CloseReason::Internal)));
    }
}

#[test]
fn draining_waits_for_content_and_for_a_due_answer() {
    let mut engine = after("mail", &[]);
    engine.drain();
    assert!(said(&mut engine).starts_with("421 4.3.2 mx.ok.test "));
    assert_eq!(engine.read(b""), (0, Event::Close(CloseReason::Drained)));

    let mut engine = after("data", &[]);
    engine.drain();
    assert_eq!(said(&mut engine), "");
    assert_eq!(engine.read(b"x\r\n").1, Event::Content(b"x\r\n"));
    assert_eq!(engine.read(b".\r\nNOOP\r\n"), (3, Event::ContentEnd { length: 3 }));
    assert_eq!(said(&mut engine), "");
    engine.answer(&OK);
    assert_eq!(said(&mut engine), "250 2.0.0 Ok\r\n");
    assert_eq!(engine.read(b"NOOP\r\n"), (0, Event::Close(CloseReason::Drained)));
    assert!(said(&mut engine).starts_with("421 4.3.2 "));
}

#[test]
fn p9_clear_text_after_starttls_closes_without_a_word() {
    let mut engine = after("ehlo", &[]);
    assert_eq!(engine.read(b"STARTTLS\r\n"), (10, Event::StartTls));
    assert_eq!(engine.phase(), Phase::Handshake);
    said(&mut engine);
    assert_eq!(engine.read(b""), (0, Event::Starved));
    assert_eq!(engine.read(b"NOOP\r\n"), (0, Event::Close(CloseReason::Abuse)));
    assert_eq!(said(&mut engine), "");
}

#[test]
fn p9_tls_forgets_what_was_said_in_clear() {
    let mut engine = after("ehlo", &[]);
    engine.read(b"STARTTLS\r\n");
    engine.tls_established(0x0303, 0xc02f);
    assert_eq!((engine.helo(), engine.esmtp()), (&b""[..], false));
    let tls = engine.tls().unwrap();
    assert_eq!((tls.version, tls.suite, engine.phase()), (0x0303, 0xc02f, Phase::Command));

    // Implicit: before the greeting.
    let mut engine = crate::dialogue::engine(&[]);
    engine.tls_established(0x0304, 0x1301);
    assert_eq!(engine.phase(), Phase::Greeting);
    engine.greet();
    assert_eq!(engine.phase(), Phase::Command);
}

#[test]
fn what_was_wrong_with_content_is_told_to_the_log() {
    let table: &[(&str, &[u8], Impurity, u64)] = &[
        ("data", b"abc\n\r\n.\r\n", Impurity::BareLf, 3),
        ("data", b"..\rx\n\0\r\n.\r\n", Impurity::BareCr, 2),
        ("data", b"\r\n\0\r\n.\r\n", Impurity::Nul, 2),
        ("data", b".\rx\r\n.\r\n", Impurity::BareCr, 1),
        ("rcpt", b"BDAT 3 LAST\r\nab\0", Impurity::Nul, 2),
        ("bdat", b"BDAT 3\r\na\rb", Impurity::BareCr, 5),
        ("bdat", b"BDAT 2 LAST\r\na\r", Impurity::BareCr, 5),
    ];
    for (name, content, kind, offset) in table {
        let mut engine = after(name, &[]);
        assert_eq!(engine.impure(), None);
        let mut rest = *content;
        while let (taken, Event::Content(_)) = engine.read(rest) {
            rest = &rest[taken..];
        }
        assert!(engine.mail().is_none(), "reset");
        let impure = engine.impure().unwrap();
        assert_eq!((impure.kind, impure.offset), (*kind, *offset), "{}", content.escape_ascii());
        engine.read(b"MAIL FROM:<>\r\n");
        assert_eq!(engine.impure(), None, "of the transaction before");
    }
}

#[test]
fn offsets_count_what_the_client_sent() {
    let mut engine = after("data", &["normalize"]);
    let mut rest = &b"\n.\r\n..\nab\rc\r\n.\r\n"[..];
    while let (taken, Event::Content(_)) = engine.read(rest) {
        rest = &rest[taken..];
    }
    assert_eq!(engine.impure().map(|impure| (impure.kind, impure.offset)), Some((Impurity::BareCr, 9)));
}

#[test]
fn the_smaller_limit_of_ours_and_the_backends_counts() {
    for (ours, theirs, shown) in [
        (100, 50, "250 SIZE 50\r\n"),
        (50, 100, "SIZE 50\r\n"),
        (0, 70, "SIZE 70\r\n"),
        (70, 0, "SIZE 70\r\n"),
        (0, 0, "250 SIZE\r\n"),
    ] {
        let mut engine = Engine::new(Settings { message_size: ours, ..Settings::default() });
        engine.set_offer(Offer {
            size: theirs,
            eight_bit: true,
            smtputf8: false,
            dsn: false,
            prdr: false,
            recipients: 1,
        });
        engine.greet();
        engine.read(b"EHLO a\r\n");
        assert!(said(&mut engine).ends_with(shown));
    }
}

#[test]
fn p10_our_own_names_are_cleaned_and_cut() {
    let mut engine = Engine::new(Settings {
        hostname: format!("mx\r\n é{}", "x".repeat(300)),
        id: "a\r\n]".repeat(100),
        ..Settings::default()
    });
    engine.greet();
    engine.read(b"FOO\r\n");
    let said = said(&mut engine);
    assert_eq!(said.matches("\r\n").count(), 2);
    assert!(said.lines().all(|line| line.len() < 510 && line.is_ascii()));
}

#[test]
fn p6_output_waits_for_the_client() {
    let mut engine = after("connect", &["noops=100000"]);
    said(&mut engine);
    let flood = b"NOOP\r\n".repeat(20_000);
    let (mut rest, mut flushes) = (&flood[..], 0);
    loop {
        let (taken, event) = engine.read(rest);
        rest = &rest[taken..];
        assert!(engine.output().len() < 4096 + 64, "{}", engine.output().len());
        if event == Event::Starved {
            break;
        }
        assert_eq!(event, Event::Flush);
        // Not flushed: nothing more is read.
        assert_eq!(engine.read(rest), (0, Event::Flush));
        // One octet is kept back, as by a slow reader: what is sent doesn't pile up.
        engine.sent(engine.output().len() - 1);
        flushes += 1;
    }
    assert!(rest.is_empty() && flushes > 50, "{flushes}");
}

#[test]
fn p6_floods_end_by_themselves() {
    let impure = format!("{}\n", "x".repeat(1000));
    let one_each: &[(&str, &str, usize)] = &[
        ("connect", "x", 1 << 20),
        ("connect", "FOO\r\n", 1000),
        ("connect", "\r\n", 1000),
        ("connect", "NOOP\r\n", 1000),
        ("connect", "HELP\r\n", 1000),
        ("connect", "VRFY x\r\n", 1000),
        ("connect", "EXPN x\r\n", 1000),
        ("connect", "RSET\r\n", 1000),
        ("connect", "EHLO a.test\r\n", 1000),
        ("connect", "AUTH LOGIN\r\n", 1000),
        ("connect", "DATA\r\n", 1000),
        ("connect", "BDAT 1\r\nx", 1000),
        ("connect", "BDAT 90000000\r\n", 1000),
        ("connect", "STARTTLS x\r\n", 1000),
        ("ehlo", "MAIL FROM:<>\r\nRSET\r\n", 1000),
        ("ehlo", "MAIL FROM:<>\r\nEHLO a.test\r\n", 1000),
        ("ehlo", "MAIL FROM:<>\r\nDATA\r\n", 1000),
        ("ehlo", "MAIL FROM:<>\r\nBDAT 1\r\nx", 1000),
        ("ehlo", "MAIL FROM:<>\r\nRCPT TO:<no@ok.test>\r\nDATA\r\n", 1000),
        ("ehlo", "MAIL FROM:<>\r\nRCPT TO:<u@ok.test>\r\nDATA\r\n\n\r\n.\r\n", 1000),
        ("ehlo", "MAIL FROM:<>\r\nRCPT TO:<u@ok.test>\r\nRSET\r\n", 1000),
        ("mail", "RCPT TO:<u@ok.test>\r\n", 10_000),
        ("mail", "RCPT TO:<no@ok.test>\r\n", 10_000),
        ("mail", "RCPT TO:<later@ok.test>\r\n", 10_000),
        ("mail", "RCPT TO:<u\r\n", 10_000),
        ("rcpt", "BDAT 1\r\nx", 1000),
        ("rcpt", "BDAT 0\r\n", 1000),
        ("data", "a line that goes on and on, without any end to the message\r\n", 1 << 21),
        ("data", &impure, 1 << 13),
    ];
    for (name, words, times) in one_each {
        let mut engine = after(name, &["discard=4000000"]);
        let mut transcript = Transcript::default();
        let at_once = (32_768 / words.len()).min(*times);
        let block = words.repeat(at_once);
        for _ in 0..times / at_once {
            transcript.feed(&mut engine, block.as_bytes());
            if transcript.closed {
                break;
            }
        }
        assert!(transcript.closed, "{name}: {words:?} goes on");
        assert_eq!(transcript.events.last().map(String::as_str), Some("close abuse"));
        let last = transcript.replies().pop().unwrap();
        assert!(last.starts_with(['4', '5']), "{name} {words:?}: {last}");
    }
}

#[test]
fn stress_is_stricter_than_peace() {
    let (peace, stress) = (Limits::default(), Limits::stress());
    assert!(stress.errors < peace.errors && stress.noops < peace.noops && stress.discard < peace.discard);
    assert_eq!((stress.line, stress.path), (peace.line, peace.path), "real senders still get through");
}

#[test]
fn issue_9_a_refused_mail_is_the_end_of_its_transaction_and_no_fault_of_the_client() {
    let full = Verdict { code: 452, enhanced: (4, 3, 1), reason: Reason::NoSpace };
    let mut engine = after("ehlo", &[]);
    let line = b"MAIL FROM:<a@b.test>\r\n";
    for _ in 0..100 {
        // Nothing that follows is read before the answer.
        assert_eq!(engine.read(&[line, b"NOOP\r\n".as_slice()].concat()), (line.len(), Event::Mail));
        assert_eq!((engine.phase(), engine.read(b"NOOP\r\n")), (Phase::Answer, (0, Event::Starved)));
        engine.answer(&full);
        assert!(said(&mut engine).starts_with("452 4.3.1 "));
        assert!(engine.mail().is_none());
    }
    assert_eq!(engine.read(line), (line.len(), Event::Mail));
    engine.answer(&OK);
    assert!(said(&mut engine).starts_with("250 2.1.0 "));
}

#[test]
fn issue_12_a_hidden_keyword_is_not_shown_and_the_reply_stays_sound() {
    let offer = Offer { size: 10_000, eight_bit: true, smtputf8: true, dsn: true, prdr: true, recipients: 5 };
    let shown = |hidden: &[Keyword]| {
        let hidden = hidden.iter().copied().collect();
        let mut engine =
            Engine::new(Settings { hostname: "mx.ok.test".into(), starttls: true, hidden, ..Settings::default() });
        engine.set_offer(offer);
        engine.greet();
        said(&mut engine);
        engine.read(b"EHLO a.test\r\n");
        said(&mut engine)
    };
    let all = shown(&[]);
    for keyword in Keyword::ALL {
        let without = shown(&[keyword]);
        let lines: Vec<&str> = without.lines().collect();
        let expected: Vec<&str> = all.lines().filter(|line| !line[4..].starts_with(keyword.name())).collect();
        let texts = |lines: &[&str]| lines.iter().map(|line| line[4..].to_owned()).collect::<Vec<_>>();
        assert_eq!(texts(&lines), texts(&expected));
        let (last, before) = lines.split_last().unwrap();
        assert!(last.starts_with("250 ") && before.iter().all(|line| line.starts_with("250-")), "{without}");
    }
    assert_eq!(shown(&Keyword::ALL), "250 mx.ok.test\r\n");
}
