//! QMQP: one message a connection, its answer by class, and never a 250 that the server has not said of the whole of it.

use super::*;
use crate::backend::Failure;
use gatepost_smtp::envelope::Reason;
use gatepost_testkit::rogue::qmqpd::{Act, Qmqpd, TAKEN};
use std::io::Write;

const REFUSED: &str = "50:Dmail server permanently rejected message (#5.3.0),";
const LATER: &str = "50:Zmail server temporarily rejected message (#4.3.0),";

fn fixture() -> Fixture {
    Fixture::new().with(|slice| (slice.backend.dialect, slice.backend.identity) = (Dialect::Qmqp, Identity::None))
}

/// One message in a session of its own.
async fn deliver(shared: &Arc<Shared>, content: &[u8]) -> Verdict {
    let mut session = Session::begin(shared).await;
    assert_eq!(session.mail_and("user@ok.test").await.code, 250);
    let verdict = session.send(content).await;
    session.bye().await;
    verdict
}

#[test]
fn a_message_arrives_with_lf_line_ends_whichever_way_it_comes() {
    let fixture = fixture();
    let qmqpd = Qmqpd::unix(&fixture.socket());
    let large: Vec<u8> = [
        b"Subject: large\r\nAuthentication-Results: mx.ok.test; none\r\n\r\n".to_vec(),
        b"..\xff8 bit\r\n".repeat(30_000),
    ]
    .concat();
    run(async {
        let shared = fixture.shared();
        shared.routes.prove().await.unwrap();
        let mut session = Session::begin(&shared).await;
        let offer = session.offer.unwrap();
        assert!((offer.size, offer.recipients) == (1_000_000, 100) && offer.eight_bit && !offer.smtputf8 && !offer.dsn);
        for inline in [large.len().min(100), 0, 70] {
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            assert_eq!(session.ask(&[to("\"a b\"@ok.test")]).await.code, 250);
            let (inline, filed) = large.split_at(inline);
            assert_eq!(session.spool(inline, filed).await, verdict_of(250, Reason::Ok));
        }
        for content in [MESSAGE, b"Subject: no end\r\n\r\nx", b"", b"."] {
            assert_eq!(session.mail_and("Postmaster").await.code, 250);
            assert_eq!(session.send(content).await.code, 250);
        }
        session.bye().await;
    });
    assert_eq!(fixture.spooled(), 0);
    let messages = qmqpd.messages();
    let body = |index: usize| {
        let text = &messages[index].content;
        assert!(text.starts_with(b"Received: from client.test"), "{}", text.escape_ascii());
        assert!(!text.contains(&b'\r'));
        let start = text.windows(2).position(|pair| pair[0] == b'\n' && !pair[1].is_ascii_whitespace());
        text[start.map_or(text.len(), |at| at + 1)..].to_vec()
    };
    let expected = [b"Subject: large\n\n".to_vec(), b"..\xff8 bit\n".repeat(30_000)].concat();
    for (index, message) in messages.iter().enumerate().take(3) {
        assert!(body(index) == expected, "{index}");
        assert_eq!(message.from, b"a@b.test");
        assert_eq!(message.to, [b"user@ok.test".to_vec(), b"a b@ok.test".to_vec()]);
    }
    let with_lf = String::from_utf8(MESSAGE.to_vec()).unwrap().replace("\r\n", "\n");
    let small = [with_lf.as_str(), "Subject: no end\n\nx\n", "", ".\n"];
    for (index, small) in small.iter().enumerate() {
        // An empty content and a lone dot: Received is all the header there is.
        let got = &messages[3 + index].content;
        assert!(got.ends_with(small.as_bytes()), "{}", got.escape_ascii());
        assert_eq!(messages[3 + index].to, [b"Postmaster".to_vec()]);
    }
    assert_eq!(qmqpd.connections(), 8, "one each, and one at the start");
}

fn verdict_of(code: u16, reason: Reason) -> Verdict {
    let enhanced = match code {
        250 => (2, 0, 0),
        554 => (5, 3, 0),
        _ => (4, 3, 0),
    };
    Verdict { code, enhanced, reason }
}

#[test]
fn p1_no_250_wherever_the_server_dies() {
    let fixture = fixture();
    let qmqpd = Qmqpd::unix(&fixture.socket());
    run(async {
        let shared = fixture.shared();
        assert_eq!(deliver(&shared, MESSAGE).await.code, 250);
        for octets in 0..=qmqpd.messages()[0].octets {
            qmqpd.act(Act::Die(octets));
            let verdict = deliver(&shared, MESSAGE).await;
            assert_eq!(verdict.code, 451, "dead after {octets} octets of the message: {verdict:?}");
        }
        assert_eq!(qmqpd.messages().len(), 1);
        for octets in 0..TAKEN.len() {
            qmqpd.act(Act::Cut(octets));
            let verdict = deliver(&shared, MESSAGE).await;
            assert_eq!(verdict.code, 451, "dead after {octets} octets of its answer: {verdict:?}");
        }
        qmqpd.act(Act::Cut(TAKEN.len()));
        assert_eq!(deliver(&shared, MESSAGE).await.code, 250);
    });
}

#[test]
fn an_answer_is_believed_where_it_is_one_and_by_its_class_only() {
    let table: [(Act, u16, Reason); 13] = [
        (Act::Answer(TAKEN), 250, Reason::Ok),
        (Act::Answer("1:K,"), 250, Reason::Ok),
        (Act::Answer("15:Dno\r\n250 2.0.0 ,"), 554, Reason::ContentRefused),
        (Act::Answer(REFUSED), 554, Reason::ContentRefused),
        (Act::Answer("8:Z250 all,"), 451, Reason::ContentRefused),
        (Act::Answer("3:250,"), 451, Reason::BackendDown),
        (Act::Answer("250 2.0.0 Ok\r\n"), 451, Reason::BackendDown),
        (Act::Answer("0:,"), 451, Reason::BackendDown),
        (Act::Answer("2:K"), 451, Reason::BackendLost),
        (Act::Answer("99999999999999999999:K"), 451, Reason::BackendDown),
        (Act::Answer("\0K"), 451, Reason::BackendDown),
        (Act::Early("1:D,"), 554, Reason::ContentRefused),
        (Act::Early("1:K,"), 451, Reason::BackendDown),
    ];
    let fixture = fixture();
    let qmqpd = Qmqpd::unix(&fixture.socket());
    // More than socket buffers hold, so that what is said early is heard early.
    let large = b"x\r\n".repeat(300_000);
    run(async {
        let shared = fixture.shared();
        for (act, code, reason) in table {
            qmqpd.act(act);
            let mut session = Session::begin(&shared).await;
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            let verdict = session.spool(b"Subject: large\r\n\r\n", &large).await;
            assert_eq!((verdict.code, verdict.reason), (code, reason), "{act:?}");
            session.bye().await;
        }
        qmqpd.act(Act::Answer(LATER));
        assert_eq!(deliver(&shared, MESSAGE).await.code, 451);
    });
}

#[test]
fn p7_what_is_said_to_everybody_keeps_us_from_starting_and_bounces_no_mail() {
    let fixture = fixture();
    let qmqpd = Qmqpd::unix(&fixture.socket());
    run(async {
        let shared = fixture.shared();
        shared.routes.prove().await.unwrap();
        // It takes messages no more, from anybody: as Postfix without qmqpd_authorized_clients says it.
        qmqpd.act(Act::Unasked(REFUSED));
        let verdict = deliver(&shared, MESSAGE).await;
        assert_eq!(verdict.code, 451, "{verdict:?}");
        let failure = fixture.shared().routes.prove().await.unwrap_err();
        assert!(matches!(failure, Failure::Unwelcome(_)) && failure.is_final(), "{failure}");
        assert!(failure.to_string().contains("qmqpd_authorized_clients"), "{failure}");
        qmqpd.act(Act::Unasked(LATER));
        assert!(matches!(fixture.shared().routes.prove().await, Err(Failure::Deferred(_))));
        qmqpd.act(Act::Unasked("220 mx.test ESMTP\r\n"));
        assert!(matches!(fixture.shared().routes.prove().await, Err(Failure::Garbage(_))));
    });
}

#[test]
fn p1_silence_has_an_end() {
    let fixture = fixture().timeouts(|timeouts| timeouts.end = SHORT);
    let qmqpd = Qmqpd::unix(&fixture.socket());
    qmqpd.act(Act::Hang);
    run(async {
        let verdict = deliver(&fixture.shared(), MESSAGE).await;
        assert_eq!((verdict.code, verdict.reason), (451, Reason::BackendTimeout));
    });
    assert_eq!(qmqpd.messages().len(), 1);
}

#[test]
fn p4_our_own_rules_alone_say_what_may_pass() {
    let fixture = fixture();
    let qmqpd = Qmqpd::unix(&fixture.socket());
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        for path in
            ["user@elsewhere.test", "user%elsewhere.test@ok.test", "\"user@elsewhere.test\"@ok.test", "a@[192.0.2.1]"]
        {
            assert_eq!(session.mail_and(path).await.code, 550, "{path}");
            session.say(&[Ask::Reset]);
        }
        session.bye().await;
    });
    assert_eq!(qmqpd.connections(), 0);
}

#[test]
fn p9_a_file_that_changes_under_way_ends_in_no_message() {
    let fixture = fixture();
    let qmqpd = Qmqpd::unix(&fixture.socket());
    // What an owned session would make of the room behind the content: another recipient.
    let more = b",12:evil@bad.test,,";
    run(async {
        let shared = fixture.shared();
        for grown in [false, true] {
            let mut session = Session::begin(&shared).await;
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            let file = std::fs::File::from(session.file(b"Subject: x\r\n\r\n").await);
            let line = b"a line\r\n".repeat(40_000);
            (&file).write_all(&line).unwrap();
            let length = 14 + line.len() as u64;
            session.say(&[Ask::Commit { length }]);
            // While it is measured, which lets others run between two pieces.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            if grown {
                file.set_len(0).unwrap();
                // As long and as clean, but with fewer line ends to take octets from: it would be longer than was said.
                (&file).write_all(&[b"x".repeat(line.len() - 2), b"\r\n".to_vec()].concat()).unwrap();
            } else {
                (&file).write_all(more).unwrap();
            }
            let Ok(Answer::Verdict { verdict, .. }) = session.answer().await else { panic!("a verdict is due") };
            assert_eq!(verdict.code, if grown { 554 } else { 250 }, "{verdict:?}");
            session.bye().await;
        }
    });
    assert_eq!(qmqpd.messages().len(), 1);
    assert!(!qmqpd.messages()[0].content.windows(4).any(|word| word == b"evil"));
}
