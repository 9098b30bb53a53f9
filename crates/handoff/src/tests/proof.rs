//! P7: no backend gets mail that has not refused to relay for a stranger.

use super::scripted::{Line, backend};
use super::*;
use crate::backend::Failure;
use gatepost_smtp::envelope::Reason;
use gatepost_testkit::rogue::{Deed, Stage};

fn prove(fixture: &Fixture) -> Result<(), Failure> {
    run(async { fixture.shared().routes.prove().await })
}

fn proving() -> Fixture {
    Fixture::new().with(|slice| slice.backend.relay_proof = true)
}

#[test]
fn p7_a_backend_that_refuses_strangers_passes() {
    let refusals = [
        "554 5.7.1 Relay access denied\r\n",
        "550 5.1.1 unknown\r\n",
        "550 no code\r\n",
        // What Postfix says by default, or where its replies are toned down.
        "454 4.7.1 Relay access denied\r\n",
        "450 4.1.2 Recipient address rejected: Domain not found\r\n",
        "450 4.1.8 Sender address rejected: Domain not found\r\n",
        "450 4.7.25 Client host rejected: cannot find your hostname\r\n",
        "450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]\r\n",
    ];
    for refusal in refusals {
        let fixture = proving();
        let mta = fixture.mta();
        mta.misbehave(Stage::Rcpt, Deed::Answer(refusal));
        prove(&fixture).unwrap();
        let lines = mta.lines();
        assert!(lines.iter().any(|line| line.ends_with(" ADDR=192.0.2.1")), "{lines:?}");
        assert!(lines.contains(&"EHLO [192.0.2.1]".to_owned()), "a name would be refused for itself: {lines:?}");
        assert!(lines.contains(&"MAIL FROM:<>".to_owned()));
        assert!(lines.contains(&"RCPT TO:<relay-test@gatepost-relay-test.invalid>".to_owned()));
        assert!(lines.contains(&"RCPT TO:<relay-test@[192.0.2.3]>".to_owned()));
        assert!(!lines.iter().any(|line| line == "DATA"));
    }
    let fixture = proving();
    let mta = fixture.mta();
    mta.misbehave(Stage::Xclient, Deed::Answer("554 5.7.1 strangers are not let in\r\n"));
    prove(&fixture).unwrap();
}

/// It greylists, or a table of its own is down: what it says tomorrow is not known.
#[test]
fn p7_a_backend_that_says_later_has_not_proved_and_is_asked_again() {
    let later = [
        "450 4.2.0 Greylisted\r\n",
        "450 4.7.1 Greylisted\r\n",
        "451 4.7.1 Try again later\r\n",
        "451 4.3.0 Temporary lookup failure\r\n",
        "452 4.3.1 no room\r\n",
        "454 4.3.0 no table\r\n",
        "450 no code\r\n",
    ];
    for later in later {
        for stage in [Stage::Xclient, Stage::HelloAgain, Stage::Mail, Stage::Rcpt] {
            let fixture = proving();
            let mta = fixture.mta();
            run(async {
                let routes = &fixture.shared().routes;
                mta.misbehave(stage, Deed::Answer(later));
                let said = routes.prove().await;
                let Err(failure @ Failure::Undecided(_)) = said else { panic!("{stage:?} {later:?}: {said:?}") };
                assert!(!failure.is_final() && failure.to_string().contains(later.trim_end()), "{failure}");
                mta.behave();
                mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 Ok\r\n"));
                assert!(matches!(routes.prove().await, Err(Failure::Relays(_))), "{stage:?} {later:?}");
                mta.misbehave(Stage::Rcpt, Deed::Answer("454 4.7.1 Relay access denied\r\n"));
                routes.prove().await.unwrap();
            });
        }
    }
}

#[test]
fn p7_after_a_proxy_header_later_is_no_proof_either() {
    for (greeting, proves) in
        [("450 4.7.1 later\r\n", false), ("451 4.3.0 later\r\n", false), ("554 5.7.1 no\r\n", true)]
    {
        let fixture = proving().with(|slice| slice.backend.identity = Identity::ProxyV2);
        let mta = fixture.mta();
        mta.misbehave(Stage::Greeting, Deed::Answer(greeting));
        let said = prove(&fixture);
        assert!(
            if proves { said.is_ok() } else { matches!(said, Err(Failure::Undecided(_))) },
            "{greeting:?}: {said:?}"
        );
    }
}

/// Later for the first recipient, yes for the next.
#[test]
fn p7_a_later_does_not_hide_that_it_relays() {
    let script = vec![
        Line::Say("220 mx.test ESMTP\r\n"),
        Line::Hear("EHLO"),
        Line::Say("250 mx.test\r\n"),
        Line::Hear("MAIL FROM:<>\r\n"),
        Line::Say("450 4.2.0 Greylisted\r\n"),
        Line::Hear("RSET"),
        Line::Say("250 Ok\r\n"),
        Line::Hear("MAIL FROM:<relay-test@"),
        Line::Say("250 Ok\r\n"),
        Line::Hear("RCPT TO:<relay-test@gatepost-relay-test.invalid>"),
        Line::Say("450 4.2.0 Greylisted\r\n"),
        Line::Hear("RSET"),
        Line::Say("250 Ok\r\n"),
        Line::Hear("MAIL FROM:<>\r\n"),
        Line::Say("250 Ok\r\n"),
        Line::Hear("RCPT TO:<relay-test@"),
        Line::Say("250 Ok\r\n"),
    ];
    let fixture = proving().with(|slice| slice.backend.identity = Identity::None);
    let backend = backend(&fixture.socket(), vec![script]);
    assert!(matches!(prove(&fixture), Err(Failure::Relays(_))));
    backend.join().unwrap();
}

#[test]
fn p7_a_backend_that_relays_is_refused_by_name_and_with_advice() {
    for dialect in [Dialect::Smtp, Dialect::Lmtp] {
        for identity in [Identity::Xclient, Identity::None] {
            let fixture = proving().with(|slice| (slice.backend.dialect, slice.backend.identity) = (dialect, identity));
            let mta = fixture.mta();
            mta.offer(&["XCLIENT ADDR"]);
            mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 Ok\r\n"));
            let Err(Failure::Relays(why)) = prove(&fixture) else { panic!("{dialect:?} {identity:?}") };
            assert!(why.contains(&format!("the backend at unix:{} relays", fixture.socket().display())), "{why}");
            assert!(why.contains("mynetworks="), "{why}");
        }
    }
}

#[test]
fn p7_an_opinion_about_the_sender_is_no_refusal_to_relay() {
    let script = vec![
        Line::Say("220 mx.test ESMTP\r\n"),
        Line::Hear("EHLO"),
        Line::Say("250 mx.test\r\n"),
        Line::Hear("MAIL FROM:<>\r\n"),
        Line::Say("550 5.7.1 no bounces here\r\n"),
        Line::Hear("RSET"),
        Line::Say("250 Ok\r\n"),
        Line::Hear("MAIL FROM:<relay-test@"),
        Line::Say("250 Ok\r\n"),
        Line::Hear("RCPT TO:<relay-test@gatepost-relay-test.invalid>"),
        Line::Say("250 Ok\r\n"),
    ];
    let fixture = proving().with(|slice| slice.backend.identity = Identity::None);
    let backend = backend(&fixture.socket(), vec![script]);
    assert!(matches!(prove(&fixture), Err(Failure::Relays(_))));
    backend.join().unwrap();
}

#[test]
fn p7_a_backend_that_fails_in_the_proof_has_not_proved() {
    let deeds = [Deed::Close, Deed::Answer("421 4.3.2 busy\r\n"), Deed::Answer("354 odd\r\n"), Deed::Cut(3)];
    for stage in
        [Stage::Greeting, Stage::Hello, Stage::Xclient, Stage::HelloAgain, Stage::Mail, Stage::Rcpt, Stage::Reset]
    {
        for deed in &deeds {
            let fixture = proving();
            let mta = fixture.mta();
            mta.misbehave(stage, deed.clone());
            assert!(prove(&fixture).is_err(), "{stage:?} {deed:?}");
        }
    }
}

#[test]
fn without_proof_only_the_extensions_are_asked_for() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 Ok\r\n"));
    prove(&fixture).unwrap();
    assert!(!mta.lines().iter().any(|line| line.starts_with("MAIL")), "{:?}", mta.lines());
}

#[test]
fn p7_a_backend_that_was_down_at_start_proves_before_its_first_mail() {
    for relays in [false, true] {
        let fixture = proving();
        let (second, late) = (fixture.directory.join("second"), Connect::Unix(fixture.directory.join("second")));
        let fixture = fixture.with(|slice| slice.backend.connect.push(late));
        let mta = fixture.mta();
        run(async {
            let shared = fixture.shared();
            shared.routes.prove().await.unwrap();
            drop(mta);
            fs::remove_file(fixture.socket()).unwrap();
            let mta = Mta::unix(&second, Speaks::Smtp);
            if relays {
                mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 Ok\r\n"));
            }
            let mut session = Session::begin(&shared).await;
            let verdict = session.mail_and("user@ok.test").await;
            if relays {
                assert_eq!((verdict.code, verdict.reason), (451, Reason::IdentityRefused));
                assert!(!mta.lines().contains(&"MAIL FROM:<a@b.test>".to_owned()));
            } else {
                assert_eq!(verdict.code, 250);
                assert_eq!(session.send(MESSAGE).await.code, 250);
                assert!(mta.lines().contains(&"RCPT TO:<relay-test@[192.0.2.3]>".to_owned()));
            }
        });
    }
}

/// The proof for who has logged in as `login`, where every RCPT is answered so.
fn dialogue(xclient: &'static str, rcpt: &'static str) -> Vec<Line> {
    let list = "250-mx.test\r\n250 XCLIENT ADDR LOGIN\r\n";
    let hello = ["EHLO mx.ok.test", "EHLO [192.0.2.1]"];
    let mut script = vec![Line::Say("220 mx.test ESMTP\r\n"), Line::Hear(hello[0]), Line::Say(list)];
    script.extend([Line::Hear(xclient), Line::Say("220 mx.test ESMTP\r\n"), Line::Hear(hello[1]), Line::Say(list)]);
    let envelope = [("MAIL FROM:<", "250 Ok\r\n"), ("RCPT TO:<relay-test@", rcpt), ("RSET", "250 Ok\r\n")];
    let accepted = rcpt.starts_with('2');
    let steps = if accepted { envelope[..2].to_vec() } else { envelope.repeat(6) };
    script.extend(steps.into_iter().flat_map(|(hear, say)| [Line::Hear(hear), Line::Say(say)]));
    script.push(Line::Hear("QUIT"));
    script
}

#[test]
fn issue_15_a_backend_that_refuses_who_has_logged_in_is_told_of_and_used() {
    let (refused, accepted) = ("554 5.7.1 Relay access denied\r\n", "250 2.1.5 Ok\r\n");
    let stranger = || dialogue("XCLIENT LOGIN=[UNAVAILABLE] ADDR=192.0.2.1\r\n", refused);
    for (rcpt, refuses) in [(accepted, false), (refused, true)] {
        let fixture = proving().with(|slice| slice.backend.logins = true);
        let login = dialogue("XCLIENT LOGIN=gatepost-relay-test-of-who-has-logged-in ADDR=192.0.2.1\r\n", rcpt);
        let backend = backend(&fixture.socket(), vec![stranger(), login]);
        run(async {
            let shared = fixture.shared();
            shared.routes.prove().await.unwrap();
            assert_eq!(shared.routes.all().next().unwrap().1.route.refuses_logins(), refuses, "{rcpt}");
        });
        backend.join().unwrap();
    }
}
