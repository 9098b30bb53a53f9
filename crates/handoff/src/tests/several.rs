//! Issue 12, point 8: several recipients in front of a backend that answers for each of them.

use super::*;
use gatepost_smtp::envelope::Reason;
use gatepost_testkit::rogue::{Deed, Stage};

const A: &str = "a@ok.test";
const B: &str = "b@ok.test";
const C: &str = "c@ok.test";

const OK: &str = "250 2.0.0 Saved\r\n";
const FULL: &str = "552 5.2.2 <x> Quota exceeded\r\n";
const LATER: &str = "452 4.2.2 not now\r\n";

fn fixture() -> Fixture {
    Fixture::new().with(|slice| {
        slice.backend.dialect = Dialect::Lmtp;
        slice.backend.identity = Identity::None;
    })
}

/// The backend's answers to the content of the next message.
fn answers(mta: &Mta, answers: &[&str]) {
    // Few and small: a deed keeps its text for the length of the test.
    mta.misbehave(Stage::End, Deed::Answer(answers.concat().leak()));
}

/// RCPT for each; gives those that were accepted. All others must hear 452.
async fn envelope<'r>(session: &mut Session, recipients: &[&'r str]) -> Vec<&'r str> {
    let mut accepted = Vec::new();
    for (place, recipient) in recipients.iter().enumerate() {
        let asks = if place == 0 { vec![Ask::Mail(MAIL), to(recipient)] } else { vec![to(recipient)] };
        match session.ask(&asks).await {
            Verdict { code: 250, .. } => accepted.push(*recipient),
            refusal => assert_eq!((refusal.code, refusal.enhanced), (452, (4, 5, 3)), "{recipient}"),
        }
    }
    accepted
}

/// Who got a message, in the order of the deliveries.
fn deliveries(mta: &Mta) -> Vec<Vec<String>> {
    mta.taken().into_iter().map(|taken| taken.to).collect()
}

#[test]
fn issue_12_the_table_of_outcomes_for_a_first_transaction() {
    let mixed = (451, (4, 2, 0), Reason::Mixed, "");
    for (said, heard) in [
        ([OK, OK, OK], (250, (2, 0, 0), Reason::Ok, "")),
        ([FULL, FULL, FULL], (552, (5, 2, 2), Reason::ContentRefused, "<x> Quota exceeded")),
        ([FULL, "554 5.6.0 virus\r\n", FULL], (552, (5, 2, 2), Reason::ContentRefused, "<x> Quota exceeded")),
        ([LATER, LATER, LATER], (452, (4, 2, 2), Reason::ContentRefused, "not now")),
        ([OK, FULL, OK], mixed),
        ([FULL, OK, OK], mixed),
        ([OK, OK, LATER], mixed),
        ([LATER, FULL, LATER], mixed),
        // What is no answer is none: nobody knows what became of it.
        ([OK, OK, "421 4.3.2 closing\r\n"], mixed),
        ([OK, OK, "354 odd\r\n"], mixed),
        ([OK, OK, "2"], mixed),
    ] {
        let fixture = fixture().timeouts(|timeouts| timeouts.end = SHORT);
        let mta = fixture.mta();
        answers(&mta, &said);
        run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            assert_eq!(envelope(&mut session, &[A, B, C]).await, [A, B, C]);
            let verdict = session.send(MESSAGE).await;
            let (code, enhanced, reason, text) = heard;
            assert_eq!((verdict.code, verdict.enhanced, verdict.reason), (code, enhanced, reason), "{said:?}");
            assert_eq!(session.text.as_str(), text, "{said:?}");
            // A session whose backend is out of step goes on with another connection.
            mta.behave();
            assert_eq!(session.mail_and("d@ok.test").await.code, 250);
            assert_eq!(session.send(b"another\r\n").await.code, 250);
            session.bye().await;
        });
        assert_eq!(deliveries(&mta), [vec![A, B, C], vec!["d@ok.test"]], "one transaction for all");
    }
}

#[test]
fn issue_12_a_retry_is_split_and_nobody_gets_the_message_twice() {
    for inline in [true, false] {
        let fixture = fixture();
        let mta = fixture.mta();
        run(async {
            let shared = fixture.shared();
            let mut session = Session::begin(&shared).await;
            assert_eq!(envelope(&mut session, &[A, B, C]).await, [A, B, C]);
            answers(&mta, &[OK, FULL, LATER]);
            let send = async |session: &mut Session| {
                if inline { session.send(MESSAGE).await } else { session.spool(&MESSAGE[..5], &MESSAGE[5..]).await }
            };
            assert_eq!(send(&mut session).await.reason, Reason::Mixed);

            // Another session of the same network. A has it already; even if it were full by now, that is not told.
            let mut again =
                Session::begin_as(&shared, Open { client: "192.0.2.77:9".parse().unwrap(), ..open() }).await;
            mta.misbehave(Stage::Rcpt, Deed::Answer(FULL));
            assert_eq!(envelope(&mut again, &[A]).await, [A]);
            mta.behave();
            assert_eq!(again.ask(&[to(B)]).await.reason, Reason::TooManyRecipients);
            assert_eq!(again.ask(&[to(C)]).await.reason, Reason::TooManyRecipients);
            assert_eq!(send(&mut again).await.code, 250);
            assert_eq!(mta.count(), 1, "not sent again");

            // B is told after its content, in the backend's words.
            assert_eq!(envelope(&mut again, &[B, C]).await, [B]);
            answers(&mta, &[FULL]);
            let verdict = send(&mut again).await;
            assert_eq!((verdict.code, again.text.as_str()), (552, "<x> Quota exceeded"));
            mta.behave();
            assert_eq!(envelope(&mut again, &[C]).await, [C]);
            assert_eq!(send(&mut again).await.code, 250);
            assert_eq!(deliveries(&mta), [vec![A, B, C], vec![B], vec![C]]);

            // All is told: the same message once more is one of its own.
            assert_eq!(envelope(&mut session, &[A, B, C]).await, [A, B, C]);
            assert_eq!(send(&mut session).await.code, 250);
            assert_eq!(deliveries(&mta).last().unwrap(), &[A, B, C]);
            again.bye().await;
            session.bye().await;
        });
        assert_eq!(fixture.spooled(), 0);
    }
}

#[test]
fn p1_a_message_that_only_looks_like_one_before_is_delivered() {
    let one_more = [MESSAGE, b"\r\n"].concat();
    let other_case = MESSAGE.to_ascii_uppercase();
    let eight_bit = MailParameters { body: Body::EightBit, ..MailParameters::NONE };
    let away = Open { client: "198.51.100.9:4713".parse().unwrap(), ..open() };
    for (what, client, mail, content, recipients) in [
        ("one line more", open(), MAIL, &one_more[..], &[A][..]),
        ("other content of the same length", open(), MAIL, &other_case, &[A]),
        ("another reverse-path", open(), Mail { reverse_path: b"a@c.test", ..MAIL }, MESSAGE, &[A]),
        ("other parameters", open(), Mail { parameters: eight_bit, ..MAIL }, MESSAGE, &[A]),
        ("another client", away, MAIL, MESSAGE, &[A]),
        ("a recipient that the other did not have", open(), MAIL, MESSAGE, &["d@ok.test"]),
    ] {
        let fixture = fixture();
        let mta = fixture.mta();
        mta.offer(&["8BITMIME"]);
        run(async {
            let shared = fixture.shared();
            let mut session = Session::begin(&shared).await;
            assert_eq!(envelope(&mut session, &[A, B]).await, [A, B]);
            answers(&mta, &[OK, FULL]);
            assert_eq!(session.send(MESSAGE).await.reason, Reason::Mixed);
            mta.behave();
            let mut other = Session::begin_as(&shared, client).await;
            assert_eq!(other.ask(&[Ask::Mail(mail), to(recipients[0])]).await.code, 250, "{what}");
            assert_eq!(other.send(content).await.code, 250, "{what}");
            assert_eq!(deliveries(&mta), [&[A, B], recipients], "{what}");
            other.bye().await;
            session.bye().await;
        });
    }
}

#[test]
fn issue_12_a_client_that_says_prdr_hears_each_result() {
    let prdr = Mail { parameters: MailParameters { prdr: true, ..MailParameters::NONE }, ..MAIL };
    for (said, each, all) in [
        ([OK, FULL, LATER], &[250, 552, 452][..], 250),
        ([LATER, FULL, LATER], &[452, 552, 452], 451),
        ([OK, OK, OK], &[], 250),
        ([FULL, FULL, FULL], &[], 552),
    ] {
        let fixture = fixture();
        let mta = fixture.mta();
        answers(&mta, &said);
        run(async {
            let shared = fixture.shared();
            let mut session = Session::begin(&shared).await;
            assert!(session.offer.unwrap().prdr);
            for recipient in [A, B, C] {
                let asks = if recipient == A { vec![Ask::Mail(prdr), to(A)] } else { vec![to(recipient)] };
                assert_eq!(session.ask(&asks).await.code, 250);
            }
            session.say(&[Ask::Content(MESSAGE), Ask::Commit { length: MESSAGE.len() as u64 }]);
            for expected in each {
                let Ok(Answer::Recipient { verdict, text }) = session.answer().await else { panic!("{said:?}") };
                assert_eq!((verdict.code, text.is_none()), (*expected, *expected == 250));
            }
            let Ok(Answer::Verdict { verdict, .. }) = session.answer().await else { panic!("{said:?}") };
            assert_eq!(verdict.code, all, "{said:?}");
            // Nothing is awaited: each was told.
            mta.behave();
            assert_eq!(envelope(&mut session, &[A, B, C]).await, [A, B, C]);
            session.bye().await;
        });
    }
}
