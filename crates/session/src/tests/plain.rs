//! Without TLS: dialogue, content, verdicts, mishaps.

use super::rig::{Behaviour, Flaw, Heard, OK, Rig, client, slice};
use gatepost_smtp::envelope::{CloseReason, Offer, Reason, Verdict};
use gatepost_smtp::server::Leniency;
use gatepost_smtp::text::Text;
use gatepost_wire::slice::{NurserySlice, TlsMode};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};

const MESSAGE: &str = "Subject: one\r\n\r\n..two\r\nthree\r\n";
const UNSTUFFED: &str = "Subject: one\r\n\r\n.two\r\nthree\r\n";

fn mail() -> Heard {
    Heard::Mail { helo: "client.example".to_owned(), esmtp: true, tls: None, from: "a@client.example".to_owned() }
}

fn rcpt() -> Heard {
    Heard::Rcpt("b@example.org".to_owned())
}

fn inline(content: &str) -> Heard {
    Heard::Commit { length: content.len() as u64, inline: content.into(), file: Vec::new() }
}

#[test]
fn p1_a_message_goes_through_and_is_told_in_few_frames() {
    let rig = Rig::new(TlsMode::Off, Behaviour::default());
    let mut client = client(&rig);
    assert_eq!(client.reply(), "220 mx.example.org ESMTP\r\n");
    client.expect("EHLO client.example", "250-");
    client.expect("MAIL FROM:<a@client.example>", "250 ");
    client.expect("RCPT TO:<b@example.org>", "250 ");
    client.expect("DATA", "354 ");
    client.send(MESSAGE);
    client.expect(".", "250 2.0.0");
    client.expect("QUIT", "221 ");
    client.closed();
    let outcome = rig.end();
    assert_eq!(outcome.reason, CloseReason::Quit);
    assert_eq!(outcome.heard, [mail(), rcpt(), inline(UNSTUFFED), Heard::Bye(CloseReason::Quit)]);
    // MAIL with RCPT; content with its end; why it ends.
    assert_eq!(outcome.frames, 3);
}

#[test]
fn a_pipelined_session_in_one_segment_is_answered_in_order() {
    let behaviour = Behaviour {
        recipients: vec![("x@example.org", Verdict { code: 550, enhanced: (5, 7, 1), reason: Reason::RelayDenied })],
        ..Behaviour::default()
    };
    let rig = Rig::new(TlsMode::Off, behaviour);
    let mut client = client(&rig);
    client.hear("220 ");
    client.send(format!(
        "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<x@example.org>\r\nRCPT TO:<b@example.org>\r\n\
         DATA\r\n{MESSAGE}.\r\nMAIL FROM:<a@client.example>\r\nRSET\r\nMAIL FROM:<a@client.example>\r\n\
         RCPT TO:<b@example.org>\r\nRSET\r\nQUIT\r\n"
    ));
    for reply in ["250-", "250 ", "550 5.7.1 ", "250 ", "354 ", "250 ", "250 ", "250 ", "250 ", "250 ", "250 ", "221 "]
    {
        client.hear(reply);
    }
    client.closed();
    let outcome = rig.end();
    // A transaction that no recipient followed was never told, so its end is not either.
    let expected = [
        mail(),
        Heard::Rcpt("x@example.org".to_owned()),
        rcpt(),
        inline(UNSTUFFED),
        mail(),
        rcpt(),
        Heard::Reset,
        Heard::Bye(CloseReason::Quit),
    ];
    assert_eq!(outcome.heard, expected);
}

#[test]
fn issue_9_of_a_client_that_asks_much_and_goes_away_no_more_is_asked() {
    for (closes, most) in [(true, 3), (false, 90)] {
        let meet = Arc::new(Barrier::new(2));
        let mut rig = Rig::new(TlsMode::Off, Behaviour { meet: Some(Arc::clone(&meet)), ..Behaviour::default() });
        let questions = "RCPT TO:<b@example.org>\r\n".repeat(90);
        (&rig.client)
            .write_all(format!("EHLO client.example\r\nMAIL FROM:<a@client.example>\r\n{questions}").as_bytes())
            .unwrap();
        meet.wait();
        if closes {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            rig.client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        } else {
            // It still listens, and hears every answer.
            rig.client.shutdown(Shutdown::Write).unwrap();
        }
        meet.wait();
        if !closes {
            let mut heard = String::new();
            (&rig.client).read_to_string(&mut heard).unwrap();
            assert_eq!(heard.matches("250 2.1.5").count(), 90);
        }
        let outcome = rig.end();
        let asked = outcome.heard.iter().filter(|heard| **heard == rcpt()).count();
        assert!(asked <= most, "{asked}");
        assert_eq!(outcome.heard.last(), Some(&Heard::Bye(CloseReason::ClientGone)));
    }
}

#[test]
fn a_dialogue_cut_at_every_octet_tells_handoff_the_same() {
    let dialogue = format!(
        "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n{MESSAGE}.\r\nQUIT\r\n"
    );
    for cut in 0..dialogue.len() {
        let rig = Rig::new(TlsMode::Off, Behaviour::default());
        let mut client = client(&rig);
        client.hear("220 ");
        let (head, tail) = dialogue.split_at(cut);
        client.send(head);
        client.send(tail);
        for reply in ["250-", "250 ", "250 ", "354 ", "250 ", "221 "] {
            client.hear(reply);
        }
        assert_eq!(rig.end().heard, [mail(), rcpt(), inline(UNSTUFFED), Heard::Bye(CloseReason::Quit)], "cut at {cut}");
    }
}

#[test]
fn the_backends_class_reaches_the_client() {
    let rows = [
        (OK, "250 2.0.0 "),
        (Verdict { code: 451, enhanced: (4, 3, 0), reason: Reason::BackendDown }, "451 4.3.0 "),
        (Verdict { code: 451, enhanced: (4, 4, 2), reason: Reason::BackendLost }, "451 4.4.2 "),
        (Verdict { code: 554, enhanced: (5, 4, 6), reason: Reason::LoopDetected }, "554 5.4.6 "),
        (Verdict { code: 550, enhanced: (5, 6, 0), reason: Reason::BadContent }, "550 5.6.0 "),
    ];
    for (commit, reply) in rows {
        let rig = Rig::new(TlsMode::Off, Behaviour { commit, ..Behaviour::default() });
        let mut client = client(&rig);
        client.hear("220 ");
        client.envelope();
        client.expect("DATA", "354 ");
        client.send(MESSAGE);
        client.expect(".", reply);
        // The session goes on either way.
        client.expect("MAIL FROM:<a@client.example>", "250 ");
        client.expect("QUIT", "221 ");
        assert_eq!(rig.end().reason, CloseReason::Quit, "{reply}");
    }
}

#[test]
fn p6_the_results_of_many_recipients_are_sent_as_the_client_takes_them() {
    let full = Verdict { code: 552, enhanced: (5, 2, 2), reason: Reason::ContentRefused };
    let text = Text::of(["x".repeat(400).as_bytes(); 10], false);
    let each: Vec<(Verdict, Text)> =
        (0..1000).map(|n| if n % 2 == 0 { (OK, Text::none()) } else { (full, text.clone()) }).collect();
    let offer = Behaviour::default().offer.map(|offer| Offer { prdr: true, ..offer });
    let rig = Rig::new(TlsMode::Off, Behaviour { offer, each, ..Behaviour::default() });
    let mut client = client(&rig);
    client.hear("220 ");
    client.ask("EHLO client.example");
    client.expect("MAIL FROM:<a@client.example> PRDR", "250 ");
    client.expect("RCPT TO:<b@example.org>", "250 ");
    client.expect("DATA", "354 ");
    client.send(MESSAGE);
    client.expect(".", "353 ");
    for number in 0..1000 {
        client.hear(if number % 2 == 0 { "250 2.1.5 " } else { "552-5.2.2 x" });
    }
    client.hear("250 2.0.0 ");
    client.expect("QUIT", "221 ");
    assert_eq!(rig.end().reason, CloseReason::Quit);
}

#[test]
fn only_what_the_backend_has_is_offered() {
    let offer = Offer { size: 4711, eight_bit: false, smtputf8: false, dsn: false, prdr: false, recipients: 1 };
    for (offer, lines) in [
        (offer, ["SIZE 4711", "-8BITMIME", "-SMTPUTF8", "-STARTTLS"]),
        (Offer { eight_bit: true, smtputf8: true, ..offer }, ["SIZE 4711", "8BITMIME", "SMTPUTF8", "-STARTTLS"]),
    ] {
        let rig = Rig::new(TlsMode::Off, Behaviour { offer: Some(offer), ..Behaviour::default() });
        let mut client = client(&rig);
        client.hear("220 ");
        let said = client.ask("EHLO client.example");
        for line in lines {
            let (wanted, line) = line.strip_prefix('-').map_or((true, line), |line| (false, line));
            assert_eq!(said.lines().any(|l| l[4..] == *line), wanted, "{line} in {said:?}");
        }
    }
}

/// Lines of 72 octets and their CRLF.
fn body(octets: usize) -> Vec<u8> {
    let line = [[b'x'; 72].as_slice(), b"\r\n"].concat();
    line.iter().copied().cycle().take(octets / line.len() * line.len()).collect()
}

#[test]
fn p6_large_content_goes_into_handoffs_file() {
    for (inline_max, octets) in [(0, 1000), (1000, 1000), (1000, 100_000), (64 << 10, 3 << 20), (1 << 20, 900_000)] {
        let rig = Rig::new(TlsMode::Off, Behaviour { inline_max, ..Behaviour::default() });
        let mut client = client(&rig);
        let content = body(octets);
        client.hear("220 ");
        client.envelope();
        client.expect("DATA", "354 ");
        client.send(&content);
        client.expect(".", "250 2.0.0");
        // The next message of the session begins inline again.
        client.expect("MAIL FROM:<a@client.example>", "250 ");
        client.expect("RCPT TO:<b@example.org>", "250 ");
        client.expect("DATA", "354 ");
        client.send("s\r\n");
        client.expect(".", "250 2.0.0");
        client.expect("QUIT", "221 ");
        let outcome = rig.end();
        let commits: Vec<_> = outcome
            .heard
            .iter()
            .filter_map(|heard| match heard {
                Heard::Commit { length, inline, file } => {
                    Some((*length, inline.len(), [inline.as_slice(), file].concat()))
                }
                _ => None,
            })
            .collect();
        let [(length, inline, all), (short, _, again)] = commits.as_slice() else { panic!("{commits:?}") };
        assert_eq!((*length, all.len()), (content.len() as u64, content.len()));
        assert!(*all == content, "content differs");
        assert!(*inline <= inline_max as usize, "{inline} octets inline");
        assert_eq!((*short, again.as_slice()), (3, b"s\r\n".as_slice()));
        let asked = outcome.heard.contains(&Heard::Spool);
        assert_eq!(asked, content.len() > inline_max as usize || inline_max < 3, "{inline_max} {octets}");
    }
}

#[test]
fn a_refused_or_unwritable_file_is_a_4yz_at_the_end_of_content() {
    let full = Verdict { code: 452, enhanced: (4, 3, 1), reason: Reason::NoSpace };
    let rows = [
        (Behaviour { spool: Some(full), ..Behaviour::default() }, "452 4.3.1 "),
        (Behaviour { flaw: Some(Flaw::ReadOnlyFile), ..Behaviour::default() }, "451 4.3.0 "),
    ];
    for (behaviour, reply) in rows {
        let rig = Rig::new(TlsMode::Off, behaviour);
        let mut client = client(&rig);
        client.hear("220 ");
        client.envelope();
        client.expect("DATA", "354 ");
        client.send(body(200_000));
        client.expect(".", reply);
        client.envelope();
        client.expect("QUIT", "221 ");
        let outcome = rig.end();
        assert!(outcome.heard.contains(&Heard::Reset));
        assert!(!outcome.heard.iter().any(|heard| matches!(heard, Heard::Commit { .. })));
    }
}

#[test]
fn issue_9_room_is_asked_for_where_content_may_need_a_file() {
    let full = Verdict { code: 452, enhanced: (4, 3, 1), reason: Reason::NoSpace };
    let rig = Rig::new(TlsMode::Off, Behaviour { mail: full, inline_max: 1000, ..Behaviour::default() });
    let mut client = client(&rig);
    client.hear("220 ");
    client.expect("EHLO client.example", "250-");
    for (size, reply) in [("", "452 4.3.1 "), (" SIZE=1001", "452 4.3.1 "), (" SIZE=1000", "250 2.1.0 ")] {
        client.expect(&format!("MAIL FROM:<a@client.example>{size}"), reply);
    }
    client.expect("RCPT TO:<b@example.org>", "250 ");
    client.expect("DATA", "354 ");
    client.send(MESSAGE);
    client.expect(".", "250 2.0.0");
    client.expect("QUIT", "221 ");
    // A refused transaction is over on both sides: its end is not told.
    let expected = [mail(), mail(), mail(), rcpt(), inline(UNSTUFFED), Heard::Bye(CloseReason::Quit)];
    assert_eq!(rig.end().heard, expected);
}

#[test]
fn issue_9_a_file_grows_by_what_is_granted_and_is_refused_at_the_end_of_content() {
    let full = Verdict { code: 452, enhanced: (4, 3, 1), reason: Reason::NoSpace };
    let octets = 300_000;
    for (room, grow, reply) in
        [(70_000, None, "250 2.0.0 "), (1000, None, "250 2.0.0 "), (70_000, Some(full), "452 4.3.1 ")]
    {
        let rig = Rig::new(TlsMode::Off, Behaviour { inline_max: 0, room, grow, ..Behaviour::default() });
        let mut client = client(&rig);
        client.hear("220 ");
        client.envelope();
        client.expect("DATA", "354 ");
        client.send(body(octets));
        client.expect(".", reply);
        client.expect("QUIT", "221 ");
        let heard = rig.end().heard;
        let grown = heard.iter().filter(|heard| **heard == Heard::Grow).count();
        let taken = heard.iter().any(|heard| matches!(heard, Heard::Commit { file, .. } if *file == body(octets)));
        assert_eq!(taken, grow.is_none());
        assert_eq!(grown == 1, grow.is_some(), "asked {grown} times");
    }
}

#[test]
fn p1_without_handoff_the_client_hears_421_and_never_250() {
    let rows = [Flaw::GoneAtRcpt, Flaw::FileForRcpt, Flaw::GoneAtSpool, Flaw::NoFile, Flaw::GoneAtCommit];
    for flaw in rows {
        let rig = Rig::new(TlsMode::Off, Behaviour { flaw: Some(flaw), ..Behaviour::default() });
        let mut client = client(&rig);
        client.hear("220 ");
        client.expect("EHLO client.example", "250-");
        client.expect("MAIL FROM:<a@client.example>", "250 ");
        let large = matches!(flaw, Flaw::GoneAtSpool | Flaw::NoFile);
        if matches!(flaw, Flaw::GoneAtRcpt | Flaw::FileForRcpt) {
            client.expect("RCPT TO:<b@example.org>", "421 4.3.0 mx.example.org ");
        } else {
            client.expect("RCPT TO:<b@example.org>", "250 ");
            client.expect("DATA", "354 ");
            client.send(body(if large { 70_000 } else { 1000 }));
            client.send(".\r\n");
            client.hear("421 4.3.0 mx.example.org ");
        }
        client.closed();
        drop(client);
        assert_eq!(rig.end().reason, CloseReason::Internal, "{flaw:?}");
    }
}

#[test]
fn a_handoff_that_dies_before_its_offer_is_a_421() {
    let rig = Rig::new(TlsMode::Off, Behaviour { offer: None, ..Behaviour::default() });
    let mut client = client(&rig);
    client.hear("220 ");
    client.expect("EHLO client.example", "421 4.3.0 mx.example.org ");
    client.closed();
    drop(client);
    assert_eq!(rig.end().reason, CloseReason::Internal);
}

#[test]
fn p9_the_end_of_the_connection_is_no_end_of_content() {
    let rig = Rig::new(TlsMode::Off, Behaviour::default());
    let mut client = client(&rig);
    client.hear("220 ");
    client.envelope();
    client.expect("DATA", "354 ");
    client.send(MESSAGE);
    drop(client);
    let outcome = rig.end();
    assert_eq!(outcome.heard, [mail(), rcpt(), Heard::Bye(CloseReason::ClientGone)]);
    assert_eq!(outcome.reason, CloseReason::ClientGone);
}

#[test]
fn p6_a_flood_of_commands_ends_in_421_and_is_not_hoarded() {
    let rig = Rig::new(TlsMode::Off, Behaviour::default());
    let mut client = client(&rig);
    client.hear("220 ");
    client.send("BOGUS\r\n".repeat(1000));
    let last = std::iter::repeat_with(|| client.reply()).find(|reply| !reply.starts_with("500 ")).unwrap();
    assert!(last.starts_with("421 4.7.0 mx.example.org "), "{last:?}");
    client.closed();
    drop(client);
    assert_eq!(rig.end().reason, CloseReason::Abuse);
}

#[test]
fn p6_under_stress_the_second_mistake_is_the_last() {
    for (stressed, replies) in [(false, ["500 5.5.1 ", "500 5.5.1 ", "221 "]), (true, ["500 5.5.1 ", "421 ", ""])] {
        let rig = if stressed { Rig::stressed() } else { Rig::new(TlsMode::Off, Behaviour::default()) };
        let mut client = client(&rig);
        client.hear("220 ");
        client.send("FOO\r\nFOO\r\nQUIT\r\n");
        for reply in replies.into_iter().filter(|reply| !reply.is_empty()) {
            client.hear(reply);
        }
        client.closed();
        let reason = if stressed { CloseReason::Abuse } else { CloseReason::Quit };
        assert_eq!(rig.end().reason, reason);
    }
}

#[test]
fn each_leniency_of_the_slice_reaches_the_engine() {
    for (leniency, reply) in [(Leniency::default(), "250 "), (Leniency::strict(), "501 5.1.7 ")] {
        let rig = Rig::with(NurserySlice { leniency, ..slice(TlsMode::Off) }, Behaviour::default());
        let mut client = client(&rig);
        client.hear("220 ");
        client.expect("HELO client.example", "250 ");
        client.expect("MAIL FROM: <a@client.example>", reply);
        client.expect("QUIT", "221 ");
        rig.end();
    }
}

#[test]
fn drain_ends_an_idle_session_now_and_a_busy_one_after_its_message() {
    let mut rig = Rig::new(TlsMode::Off, Behaviour::default());
    let mut idle = client(&rig);
    idle.hear("220 ");
    rig.drain = None;
    idle.hear("421 4.3.2 mx.example.org ");
    idle.closed();
    drop(idle);
    assert_eq!(rig.end().reason, CloseReason::Drained);

    let mut rig = Rig::new(TlsMode::Off, Behaviour::default());
    let mut busy = client(&rig);
    busy.hear("220 ");
    busy.envelope();
    busy.expect("DATA", "354 ");
    busy.send("begun\r\n");
    rig.drain = None;
    busy.send("ended\r\n");
    busy.expect(".", "250 2.0.0");
    busy.hear("421 4.3.2 mx.example.org ");
    busy.closed();
    drop(busy);
    let outcome = rig.end();
    assert_eq!(outcome.heard, [mail(), rcpt(), inline("begun\r\nended\r\n"), Heard::Bye(CloseReason::Drained)]);
}
