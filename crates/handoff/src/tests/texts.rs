//! What the client hears of a backend's refusal.

use super::*;
use gatepost_smtp::envelope::Reason;
use gatepost_testkit::rogue::{Deed, Stage};

#[test]
fn issue_12_the_text_of_a_refusal_reaches_the_client_and_nothing_else_does() {
    use Deed::Answer as Says;
    use Stage::{Data, End, Greeting, Hello, HelloAgain, Mail, Rcpt, Xclient};
    let listed = "listed\nsee https://bl.test/?ip=192.0.2.9";
    for (stage, says, code, text) in [
        (Rcpt, "550-5.7.1 listed\r\n550 5.7.1 see https://bl.test/?ip=192.0.2.9\r\n", 550, listed),
        (Rcpt, "450 4.2.0 come back in 300 s\r\n", 450, "come back in 300 s"),
        (Rcpt, "571 without a code\r\n", 550, "without a code"),
        (Rcpt, "550\r\n", 550, ""),
        (Rcpt, "550 5.1.1 a\x1b[2Jb\u{fc}\r\n", 550, "a?[2Jb?"),
        (Mail, "550 5.1.8 no such domain\r\n", 550, "no such domain"),
        (Xclient, "554 5.7.1 not you\r\n", 554, "not you"),
        (HelloAgain, "550 5.7.1 bad helo\r\n", 550, "bad helo"),
        (Data, "552 5.2.2 quota of 1 GB\r\n", 552, "quota of 1 GB"),
        (End, "552 5.2.2 quota of 1 GB\r\n", 552, "quota of 1 GB"),
        // A 421 closes the backend's connection and not the client's.
        (Mail, "421 4.7.0 too much from you, see https://mx.test/\r\n", 451, "too much from you, see https://mx.test/"),
        (Rcpt, "421-4.3.2 closing\r\n421 4.3.2 for a\x1bn hour\r\n", 451, "closing\nfor a?n hour"),
        (Data, "421 4.3.2 closing\r\n", 451, "closing"),
        (End, "421 4.3.2 closing\r\n", 451, "closing"),
        // About us, and not about the mail.
        (Greeting, "421 4.7.0 too many connections from 127.0.0.1\r\n", 451, ""),
        (Hello, "421 4.3.2 closing\r\n", 451, ""),
        (Rcpt, "503 5.5.1 need MAIL\r\n", 451, ""),
        (Xclient, "550 5.7.0 gatepost is not authorized\r\n", 451, ""),
        (End, "250 2.0.0 queued as 4711\r\n", 250, ""),
    ] {
        for texts in [true, false] {
            let fixture = Fixture::new().with(|slice| slice.backend.texts = texts);
            let mta = fixture.mta();
            mta.misbehave(stage, Says(says));
            run(async {
                let mut session = Session::begin(&fixture.shared()).await;
                let mut verdict = session.mail_and("user@ok.test").await;
                if verdict.code == 250 && matches!(stage, Data | End) {
                    assert!(session.text.is_none());
                    verdict = session.send(MESSAGE).await;
                }
                assert_eq!((verdict.code, session.text.as_str()), (code, if texts { text } else { "" }), "{says:?}");
                session.bye().await;
            });
        }
    }
}

#[test]
fn issue_12_our_own_refusals_have_our_own_words() {
    let fixture = Fixture::new();
    let _mta = fixture.mta();
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        let verdict = session.mail_and("user@elsewhere.test").await;
        assert_eq!((verdict.reason, session.text.is_none()), (Reason::RelayDenied, true));
        session.bye().await;
    });
}
