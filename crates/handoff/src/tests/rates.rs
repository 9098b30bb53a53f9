//! `[rates]`: by the address that the listener names, to the number.

use super::*;
use gatepost_smtp::envelope::Reason;
use gatepost_testkit::rogue::{Deed, Stage};
use gatepost_wire::rate::Rate;

fn rate(count: u32) -> Option<Rate> {
    // So long that none comes back while the test runs.
    Some(Rate { count, seconds: 86_400 })
}

fn from(ip: &str) -> Open {
    Open { client: format!("{ip}:4713").parse().unwrap(), ..open() }
}

async fn codes(session: &mut Session, paths: &[&str]) -> Vec<(u16, Reason)> {
    let mut codes = Vec::new();
    for path in paths {
        let verdict = if codes.is_empty() { session.mail_and(path).await } else { session.ask(&[to(path)]).await };
        codes.push((verdict.code, verdict.reason));
    }
    session.say(&[Ask::Reset]);
    codes
}

async fn deliver(session: &mut Session) {
    assert_eq!(session.mail_and("e@ok.test").await.code, 250);
    assert_eq!(session.send(b"Subject: x\r\n\r\nx\r\n").await.code, 250);
}

#[test]
fn issue_12_messages_and_recipients_have_a_rate_by_address_and_network() {
    let fixture = Fixture::new().with(|slice| {
        slice.rates = MailRates { messages: rate(2), recipients: rate(3), ..MailRates::default() };
    });
    let _mta = fixture.mta();
    run(async {
        let shared = fixture.shared();
        let (ok, messages, recipients) = ((250, Reason::Ok), (450, Reason::MessageRate), (450, Reason::RecipientRate));
        let mut session = Session::begin_as(&shared, from("192.0.2.1")).await;
        // Our own refusals come first, and cost nothing.
        let foreign = (550, Reason::RelayDenied);
        assert_eq!(codes(&mut session, &["a@foreign.test", "a@ok.test", "b@ok.test"]).await, [foreign, ok, ok]);
        assert_eq!(codes(&mut session, &["a@ok.test", "b@ok.test"]).await, [ok, recipients]);
        assert_eq!(codes(&mut session, &["a@ok.test"]).await, [messages]);
        // Another session of that address, and others of its network.
        let mut session = Session::begin_as(&shared, from("192.0.2.1")).await;
        assert_eq!(codes(&mut session, &["a@ok.test"]).await, [messages]);
        let mut taken = 2;
        for n in 2..20 {
            let mut session = Session::begin_as(&shared, from(&format!("192.0.2.{n}"))).await;
            taken += codes(&mut session, &["a@ok.test"]).await.iter().filter(|answer| **answer == ok).count();
        }
        assert_eq!(taken, 8, "four times as much for the network");
        let mut session = Session::begin_as(&shared, from("192.0.3.1")).await;
        assert_eq!(codes(&mut session, &["a@ok.test"]).await, [ok]);
        let mut session = Session::begin_as(&shared, Open { exempt: true, ..from("192.0.2.1") }).await;
        for _ in 0..5 {
            assert_eq!(codes(&mut session, &["a@ok.test", "b@ok.test", "c@ok.test"]).await, [ok; 3]);
        }
    });
}

#[test]
fn issue_12_a_list_host_with_dead_recipients_is_not_locked_out() {
    let fixture = Fixture::new().with(|slice| {
        slice.rates = MailRates { refused_recipients: rate(5), ..MailRates::default() };
    });
    let mta = fixture.mta();
    run(async {
        let shared = fixture.shared();
        let mut session = Session::begin_as(&shared, from("192.0.2.1")).await;
        let dead = || Deed::Answer("550 5.1.1 no such user\r\n");
        let gone = (550, Reason::RecipientRefused);
        // Four of five of its recipients are dead, and it never hears anything but that.
        for _ in 0..10 {
            mta.misbehave(Stage::Rcpt, dead());
            assert_eq!(codes(&mut session, &["a@ok.test", "b@ok.test", "c@ok.test", "d@ok.test"]).await, [gone; 4]);
            mta.behave();
            deliver(&mut session).await;
        }
        // Who guesses names only, hears no more answers for a while.
        let mut guesser = Session::begin_as(&shared, from("198.51.100.1")).await;
        mta.misbehave(Stage::Rcpt, dead());
        let paths = ["a@ok.test", "b@ok.test", "c@ok.test", "d@ok.test", "e@ok.test", "f@ok.test", "g@ok.test"];
        let later = (450, Reason::RefusalRate);
        assert_eq!(codes(&mut guesser, &paths).await, [gone, gone, gone, gone, gone, later, later]);
        mta.behave();
        deliver(&mut session).await;
    });
}
