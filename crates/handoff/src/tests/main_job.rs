//! Mail that is accepted, in every way there is to send it.

use super::*;
use gatepost_smtp::envelope::Reason;
use gatepost_testkit::wait;

const CHUNKING: [&str; 3] = ["PIPELINING", "CHUNKING", "XCLIENT ADDR PORT PROTO HELO NAME"];
const PLAIN: [&str; 1] = ["XCLIENT ADDR PORT PROTO HELO NAME"];

/// The content that the backend got, without our own field.
fn without_received(content: &str) -> &str {
    let (received, rest) = content.split_once("+0000\r\n").expect("our Received comes first");
    assert!(
        received.starts_with("Received: from client.test ([192.0.2.9])\r\n\tby mx.ok.test with ESMTP"),
        "{received}"
    );
    rest
}

#[test]
fn p1_a_message_arrives_whole_under_one_received_by_any_framing() {
    for extensions in [&CHUNKING[..], &PLAIN] {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        mta.offer(extensions);
        run(async {
            let shared = fixture.shared();
            let mut session = Session::begin(&shared).await;
            for number in 1..=3 {
                assert_eq!(session.mail_and("user@ok.test").await.code, 250);
                let verdict = session.send(MESSAGE).await;
                assert_eq!((verdict.code, verdict.enhanced, verdict.reason), (250, (2, 0, 0), Reason::Ok));
                let taken = mta.taken();
                assert_eq!(taken.len(), number);
                let taken = &taken[number - 1];
                assert_eq!(without_received(&taken.content).as_bytes(), MESSAGE);
                assert!(
                    taken.content.contains(&format!("id 0000000abc.{number} for <user@ok.test>;")),
                    "{}",
                    taken.content
                );
                assert_eq!((taken.peer.as_str(), taken.from.as_str()), ("192.0.2.9", "a@b.test"));
                assert_eq!(taken.to, ["user@ok.test"]);
            }
            session.bye().await;
        });
        assert_eq!(mta.connections(), 1, "one connection for all transactions of a session");
    }
}

#[test]
fn large_content_goes_through_a_file_without_a_name() {
    let body: Vec<u8> = (0..9000).flat_map(|n| format!("{n:078}\r\n..{n}\r\n").into_bytes()).collect();
    let head = b"Subject: large\r\nReceived: from elsewhere\r\n\r\n".to_vec();
    for extensions in [&CHUNKING[..], &PLAIN] {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        mta.offer(extensions);
        run(async {
            let shared = fixture.shared();
            let mut session = Session::begin(&shared).await;
            // Twice, so that the second finds the file of the first; all of it in the file, and none of the header.
            for inline in [&head[..], &[], &[&head[..], &body[..100_000]].concat()] {
                let whole = [&head[..], &body].concat();
                assert_eq!(session.mail_and("user@ok.test").await.code, 250);
                let verdict = session.spool(inline, &whole[inline.len()..]).await;
                assert_eq!(verdict.code, 250, "{verdict:?}");
                assert_eq!(fixture.spooled(), 0);
                let taken = mta.taken();
                assert!(without_received(&taken.last().unwrap().content).as_bytes() == whole);
            }
            assert_eq!(mta.count(), 3);
            session.bye().await;
        });
    }
}

#[test]
fn several_recipients_share_one_transaction() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    run(async {
        let shared = fixture.shared();
        let mut session = Session::begin(&shared).await;
        assert_eq!(session.mail_and("one@ok.test").await.code, 250);
        let refused = session.ask(&[to("nobody@ok.test")]).await;
        assert_eq!((refused.code, refused.enhanced, refused.reason), (550, (5, 1, 1), Reason::RecipientRefused));
        assert_eq!(session.ask(&[to("two@ok.test")]).await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
    });
    assert_eq!(mta.taken()[0].to, ["one@ok.test", "two@ok.test"]);
    assert!(!mta.taken()[0].content.contains("for <"), "recipients are not told of each other");
}

#[test]
fn p4_relay_is_judged_here_and_before_the_backend_is_troubled() {
    let table = [
        ("192.0.2.9", "user@ok.test", true),
        ("192.0.2.9", "POSTMASTER", true),
        ("192.0.2.9", "user@foreign.test", false),
        ("192.0.2.9", "user@xok.test", false),
        ("192.0.2.9", "user%foreign.test@ok.test", false),
        ("192.0.2.9", "\"user@foreign.test\"@ok.test", false),
        ("192.0.2.9", "foreign.test!user@ok.test", false),
        ("192.0.2.9", "user@[203.0.113.9]", false),
        ("198.51.100.7", "user@foreign.test", true),
        ("::ffff:198.51.100.7", "user@foreign.test", true),
    ];
    for (client, path, judged) in table {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        let verdict = run(async {
            let client = std::net::SocketAddr::new(client.parse().unwrap(), 4713);
            let mut session = Session::begin_as(&fixture.shared(), Open { client, ..open() }).await;
            session.mail_and(path).await
        });
        // The backend of this fixture refuses whatever is not for ok.test: then the refusal is its own.
        assert_eq!(verdict.reason == Reason::RelayDenied, !judged, "{client} {path} {verdict:?}");
        assert_eq!(mta.connections(), usize::from(judged), "{client} {path}");
    }
}

#[test]
fn p4_what_could_be_run_behind_us_is_refused_in_either_path() {
    let mail_from = |path| Mail { reverse_path: path, ..MAIL };
    for (from, to_path, code, reason) in [
        (&b"\"() { :;}; sh\"@b.test"[..], "user@ok.test", 553, Reason::SenderRefused),
        (b"`id`@b.test", "user@ok.test", 553, Reason::SenderRefused),
        (b"${run{id}}@b.test", "user@ok.test", 553, Reason::SenderRefused),
        (b"a@b.test", "a${run{id}}@ok.test", 550, Reason::RelayDenied),
        (b"a@b.test", "\"$(id)\"@ok.test", 550, Reason::RelayDenied),
    ] {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        let verdict = run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            session.ask(&[Ask::Mail(mail_from(from)), to(to_path)]).await
        });
        assert_eq!((verdict.code, verdict.reason), (code, reason), "{to_path}");
        assert_eq!(mta.connections(), 0, "{to_path}");
    }
}

/// Lets handoff work until it has taken leave of the backend.
async fn until_left(mta: &Mta) {
    while !mta.lines().contains(&"QUIT".to_owned()) {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_slow_client_occupies_no_backend_connection() {
    let fixture = Fixture::new().timeouts(|timeouts| timeouts.park = SHORT);
    let mta = fixture.mta();
    run(async {
        let shared = fixture.shared();
        let mut session = Session::begin(&shared).await;
        assert_eq!(session.mail_and("one@ok.test").await.code, 250);
        assert_eq!(session.ask(&[to("two@ok.test")]).await.code, 250);
        until_left(&mta).await;
        session.say(&[Ask::Content(MESSAGE)]);
        assert_eq!(mta.count(), 0);
        assert_eq!(session.ask(&[Ask::Commit { length: MESSAGE.len() as u64 }]).await.code, 250);
    });
    assert_eq!(mta.connections(), 2);
    assert_eq!(mta.taken()[0].to, ["one@ok.test", "two@ok.test"], "the envelope is said again");
    wait::holds("the session's connection is closed", wait::SOON, || mta.lines().iter().any(|line| line == "QUIT"));
}

#[test]
fn p1_a_recipient_refused_on_replay_fails_the_message() {
    use gatepost_testkit::rogue::{Deed, Stage};
    let fixture = Fixture::new().timeouts(|timeouts| timeouts.park = SHORT);
    let mta = fixture.mta();
    let verdict = run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("one@ok.test").await.code, 250);
        until_left(&mta).await;
        mta.misbehave(Stage::Rcpt, Deed::Answer("550 5.1.1 gone meanwhile\r\n"));
        session.send(MESSAGE).await
    });
    assert_eq!((verdict.code, verdict.reason), (451, Reason::BackendDown));
    assert_eq!(mta.count(), 0);
}

#[test]
fn reset_and_the_next_transaction_share_the_connection() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("one@ok.test").await.code, 250);
        session.say(&[Ask::Content(b"dropped\r\n"), Ask::Reset]);
        assert_eq!(session.mail_and("two@ok.test").await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
        session.bye().await;
    });
    assert_eq!(mta.connections(), 1);
    assert_eq!(mta.count(), 1);
    assert_eq!(mta.taken()[0].to, ["two@ok.test"]);
    assert!(!mta.taken()[0].content.contains("dropped"));
}

#[test]
fn a_backend_is_told_anew_when_the_client_says_another_name() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("one@ok.test").await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
        let renamed = Mail { helo: b"other.test", esmtp: false, ..MAIL };
        assert_eq!(session.ask(&[Ask::Mail(renamed), to("one@ok.test")]).await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
        session.bye().await;
    });
    assert_eq!(mta.connections(), 2);
    let told: Vec<String> = mta.lines().into_iter().filter(|line| line.starts_with("XCLIENT")).collect();
    assert!(told[0].contains("PROTO=ESMTP HELO=client.test"), "{told:?}");
    assert!(told[1].contains("PROTO=SMTP HELO=other.test"), "{told:?}");
}

#[test]
fn only_what_the_backend_lists_is_sent_to_it() {
    use gatepost_smtp::envelope::{MailParameters, Notify, RcptParameters, Ret};
    let mail = Mail {
        parameters: MailParameters {
            size: Some(77),
            body: Body::EightBit,
            smtputf8: true,
            ret: Some(Ret::Headers),
            envid: Some(b"id+2Bx"),
            prdr: true,
        },
        reverse_path: "jürgen@b.test".as_bytes(),
        ..MAIL
    };
    let rcpt = Ask::Rcpt(Rcpt {
        forward_path: b"one@ok.test",
        parameters: RcptParameters {
            notify: Some(Notify { success: true, failure: true, delay: false }),
            orcpt: Some(b"rfc822;one@ok.test"),
        },
    });
    let all = ["SIZE 0", "8BITMIME", "SMTPUTF8", "DSN", "XCLIENT ADDR"];
    let fixture = Fixture::new();
    let mta = fixture.mta();
    mta.offer(&all);
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.ask(&[Ask::Mail(mail), rcpt]).await.code, 250);
    });
    let lines = mta.lines();
    let mail_line = "MAIL FROM:<jürgen@b.test> SIZE=77 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+2Bx";
    assert!(lines.iter().any(|line| line == mail_line), "{lines:?}");
    assert!(lines.iter().any(|line| line == "RCPT TO:<one@ok.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;one@ok.test"));

    // Offered once, gone at the backend's next start: come back later, and nothing is said that it would not understand.
    for missing in ["8BITMIME", "SMTPUTF8", "DSN"] {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        let rest: Vec<&str> = all.into_iter().filter(|line| *line != missing).collect();
        mta.offer(&rest);
        let verdict = run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            session.ask(&[Ask::Mail(mail), rcpt]).await
        });
        assert_eq!((verdict.code, verdict.reason), (451, Reason::BackendDown), "{missing}");
        assert!(!mta.lines().iter().any(|line| line.starts_with("MAIL")), "{missing}");
    }
    let fixture = Fixture::new();
    let mta = fixture.mta();
    mta.offer(&["XCLIENT ADDR"]);
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        let parameters = MailParameters { size: Some(77), body: Body::SevenBit, ..MailParameters::NONE };
        let mail = Mail { parameters, ..MAIL };
        assert_eq!(session.ask(&[Ask::Mail(mail), to("one@ok.test")]).await.code, 250);
    });
    assert!(mta.lines().contains(&"MAIL FROM:<a@b.test>".to_owned()), "{:?}", mta.lines());
}

#[test]
fn the_offer_is_what_the_backend_and_we_can_honour() {
    let table: [(&[&str], Offer); 3] = [
        (
            &["SIZE 500000", "8BITMIME", "SMTPUTF8", "DSN", "XCLIENT ADDR"],
            Offer { size: 500_000 - 2048, eight_bit: true, smtputf8: true, dsn: true, prdr: false, recipients: 100 },
        ),
        (
            &["SIZE 0", "XCLIENT ADDR"],
            Offer { size: 1_000_000, eight_bit: false, smtputf8: false, dsn: false, prdr: false, recipients: 100 },
        ),
        (
            &["LIMITS RCPTMAX=5", "8BITMIME", "XCLIENT ADDR"],
            Offer { size: 1_000_000, eight_bit: true, smtputf8: false, dsn: false, prdr: false, recipients: 5 },
        ),
    ];
    for (extensions, offer) in table {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        mta.offer(extensions);
        run(async {
            let shared = fixture.shared();
            shared.routes.prove().await.unwrap();
            assert_eq!(Session::begin(&shared).await.offer, Some(offer), "{extensions:?}");
        });
    }
}

/// RFC 5321 §6.3 wants a large number, at least 100 as a rule.
#[test]
fn issue_10_the_configuration_says_how_many_hops_are_a_loop() {
    for most in [100, 3] {
        let fixture = Fixture::new().with(|slice| slice.hops = most);
        let _mta = fixture.mta();
        run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            for (hops, code) in [(most, 250), (most + 1, 554)] {
                assert_eq!(session.mail_and("one@ok.test").await.code, 250);
                let header = "Received: from a by b\r\n".repeat(hops as usize);
                assert_eq!(session.send(format!("{header}\r\nbody\r\n").as_bytes()).await.code, code, "{hops}");
            }
            session.bye().await;
        });
    }
}

#[test]
fn header_duties() {
    let forged = "Authentication-Results: mx.ok.test; dkim=pass\r\n";
    let other = "Authentication-Results: elsewhere.test; dkim=pass\r\n";
    let hops = |count| "Received: from a by b\r\n".repeat(count);
    let table: [(String, u16, Reason); 4] = [
        (format!("{forged}{other}Subject: x\r\n\r\n{forged}"), 250, Reason::Ok),
        (format!("{}\r\nbody\r\n", hops(101)), 554, Reason::LoopDetected),
        ("Subject: x\r\n\r\nbare\nLF\r\n".to_owned(), 554, Reason::BadContent),
        ("Subject: x\r\n\r\nbare CR at the end\r".to_owned(), 554, Reason::BadContent),
    ];
    for extensions in [&CHUNKING[..], &PLAIN] {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        mta.offer(extensions);
        run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            for (content, code, reason) in &table {
                assert_eq!(session.mail_and("one@ok.test").await.code, 250);
                let verdict = session.send(content.as_bytes()).await;
                assert_eq!((verdict.code, verdict.reason), (*code, *reason), "{content}");
            }
            session.bye().await;
        });
        assert_eq!(mta.count(), 1);
        assert_eq!(without_received(&mta.taken()[0].content), format!("{other}Subject: x\r\n\r\n{forged}"));
        assert_eq!(mta.connections(), 1, "refused before anything was said: the connection is still good");
    }
}

#[test]
fn a_last_line_without_its_end_gets_one() {
    for extensions in [&CHUNKING[..], &PLAIN] {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        mta.offer(extensions);
        run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            for content in ["Subject: x\r\n\r\nno end", "Subject: x", ""] {
                assert_eq!(session.mail_and("one@ok.test").await.code, 250);
                assert_eq!(session.send(content.as_bytes()).await.code, 250, "{content}");
                assert_eq!(session.mail_and("one@ok.test").await.code, 250);
                assert_eq!(session.spool(b"", content.as_bytes()).await.code, 250, "{content}");
            }
        });
        let taken = mta.taken();
        for (content, pair) in ["Subject: x\r\n\r\nno end\r\n", "Subject: x\r\n", ""].iter().zip(taken.chunks(2)) {
            for taken in pair {
                assert_eq!(without_received(&taken.content), *content);
            }
        }
    }
}

#[test]
fn a_clean_connection_waits_for_the_next_session_unless_it_knows_its_client() {
    for (identity, connections) in [(Identity::None, 1), (Identity::Xclient, 2)] {
        let fixture = Fixture::new().with(|slice| slice.backend.identity = identity);
        let mta = fixture.mta();
        mta.offer(&PLAIN);
        run(async {
            let shared = fixture.shared();
            for _ in 0..2 {
                let mut session = Session::begin(&shared).await;
                assert_eq!(session.mail_and("user@ok.test").await.code, 250);
                assert_eq!(session.send(MESSAGE).await.code, 250);
                session.bye().await;
            }
        });
        assert_eq!((mta.count(), mta.connections()), (2, connections), "{identity:?}");
    }
}

#[test]
fn a_connection_with_an_open_envelope_is_nobody_elses() {
    let fixture = Fixture::new().with(|slice| slice.backend.identity = Identity::None);
    let mta = fixture.mta();
    run(async {
        let shared = fixture.shared();
        let mut session = Session::begin(&shared).await;
        assert_eq!(session.mail_and("first@ok.test").await.code, 250);
        session.bye().await;
        let mut session = Session::begin(&shared).await;
        assert_eq!(session.mail_and("second@ok.test").await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
        session.bye().await;
    });
    assert_eq!(mta.connections(), 2);
    assert_eq!(mta.taken()[0].to, ["second@ok.test"]);
}
