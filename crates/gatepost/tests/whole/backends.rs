//! P1: whatever the backend does, at whatever stage, the client hears a 4yz or the backend's own refusal in time, never a
//! false 250 and never silence; and the next transaction of the same session is as good as ever.

use crate::gate::{Gate, config, rogue, starttls, starttls6};
use gatepost_testkit::client::{Client, Reply};
use gatepost_testkit::host::{self, AWAY, AWAY6};
use gatepost_testkit::rogue::{Deed, Mta, Speaks, Stage};
use std::time::Duration;

/// What the client must hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// 4yz: the mail is not at fault.
    Later,
    /// 5yz: the backend has said so of this mail.
    Never,
    /// One of the two: the backend's policy refused this client, in the class it likes.
    Refused,
    /// 250: odd, but right.
    Taken,
}
use Heard::{Later, Never, Refused, Taken};

const GARBAGE: Deed = Deed::Answer("\u{1}\u{2}what?\r\n");
const CLOSING: Deed = Deed::Answer("421 4.3.2 backend.test closing\r\n");
const DRIP: Deed = Deed::Drip(Duration::from_millis(1));

const fn says(reply: &'static str) -> Deed {
    Deed::Answer(reply)
}

#[rustfmt::skip]
const TABLE: &[(Stage, Deed, Heard)] = &[
    (Stage::Greeting, Deed::Close, Later),
    (Stage::Greeting, Deed::Cut(2), Later),
    (Stage::Greeting, CLOSING, Later),
    (Stage::Greeting, GARBAGE, Later),
    (Stage::Greeting, Deed::Flood, Later),
    (Stage::Greeting, says("220 a\r\n250 said before it was asked\r\n"), Later),
    (Stage::Greeting, says("220-a\r\n250 two codes\r\n"), Later),
    (Stage::Greeting, DRIP, Taken),
    (Stage::Hello, Deed::Close, Later),
    (Stage::Hello, Deed::Cut(9), Later),
    (Stage::Hello, CLOSING, Later),
    (Stage::Hello, GARBAGE, Later),
    (Stage::Hello, Deed::Flood, Later),
    (Stage::Hello, says("502 5.5.2 no\r\n"), Later),
    (Stage::Hello, says("250 backend.test\r\n"), Later), // No XCLIENT: nobody could be told who the client is.
    (Stage::Hello, DRIP, Taken),
    (Stage::Xclient, Deed::Close, Later),
    (Stage::Xclient, CLOSING, Later),
    (Stage::Xclient, GARBAGE, Later),
    (Stage::Xclient, says("501 5.5.4 bad attribute\r\n"), Refused),
    (Stage::Xclient, says("550 5.7.0 not authorised\r\n"), Refused),
    (Stage::Xclient, says("250 2.0.0 yes, yes\r\n"), Later),
    (Stage::Xclient, DRIP, Taken),
    (Stage::HelloAgain, Deed::Close, Later),
    (Stage::HelloAgain, GARBAGE, Later),
    (Stage::HelloAgain, says("503 5.7.0 no\r\n"), Later),
    (Stage::Mail, Deed::Close, Later),
    (Stage::Mail, CLOSING, Later),
    (Stage::Mail, GARBAGE, Later),
    (Stage::Mail, says("451 4.3.0 not now\r\n"), Later),
    (Stage::Mail, says("550 5.7.1 not you\r\n"), Never),
    (Stage::Mail, says("354 what?\r\n"), Later),
    (Stage::Mail, DRIP, Taken),
    (Stage::Rcpt, Deed::Close, Later),
    (Stage::Rcpt, Deed::Cut(3), Later),
    (Stage::Rcpt, CLOSING, Later),
    (Stage::Rcpt, GARBAGE, Later),
    (Stage::Rcpt, says("450 4.2.0 greylisted\r\n"), Later),
    (Stage::Rcpt, says("550 5.1.1 unknown\r\n"), Never),
    (Stage::Rcpt, says("354 what?\r\n"), Later),
    (Stage::Rcpt, Deed::Flood, Later),
    (Stage::Data, Deed::Close, Later),
    (Stage::Data, CLOSING, Later),
    (Stage::Data, GARBAGE, Later),
    (Stage::Data, says("451 4.3.0 not now\r\n"), Later),
    (Stage::Data, says("554 5.5.1 no valid recipients\r\n"), Refused),
    (Stage::Data, says("250 2.0.0 done already\r\n"), Later),
    (Stage::Data, says("354 Go\r\n250 2.0.0 and done already\r\n"), Later),
    (Stage::Content, Deed::Close, Later),
    (Stage::End, Deed::Close, Later),
    (Stage::End, Deed::Cut(3), Later),
    (Stage::End, Deed::Hang, Later),
    (Stage::End, CLOSING, Later),
    (Stage::End, GARBAGE, Later),
    (Stage::End, Deed::Flood, Later),
    (Stage::End, says("452 4.3.1 full\r\n"), Later),
    (Stage::End, says("554 5.6.0 spam\r\n"), Never),
    (Stage::End, says("354 more\r\n"), Later),
    (Stage::End, says("250-2.0.0 one line and no other\r\n"), Later),
    (Stage::End, says("250-2.0.0 one\r\n550 5.0.0 two\r\n"), Later),
    (Stage::End, says("250 2.0.0\r\n"), Taken),
    (Stage::End, DRIP, Taken),
];

/// Stages that a session over that protocol has.
fn has(speaks: Speaks, stage: Stage) -> bool {
    speaks == Speaks::Smtp || !matches!(stage, Stage::Xclient | Stage::HelloAgain)
}

fn row(gate: &Gate<'_>, mta: &Mta, speaks: Speaks, stage: Stage, deed: &Deed, heard: Heard) {
    let what = format!("{speaks:?} {stage:?} {deed:?}");
    // A connection that was kept from the row before has its greeting behind it.
    mta.hang_up();
    mta.misbehave(stage, deed.clone());
    let mut client = gate.client();
    client.hello("road.test");
    let reply = deliver(&mut client, &what);
    let good = match heard {
        Later => reply.class() == 4,
        Never => reply.class() == 5,
        Refused => reply.class() == 4 || reply.class() == 5,
        Taken => reply.code == 250,
    };
    assert!(good, "{what}: wanted {heard:?}, heard {reply}");
    let text = reply.text();
    for leak in ["backend", "greylisted", "spam", "what?", "not you"] {
        assert!(!text.contains(leak), "{what}: the backend's text came through: {reply}");
    }
    let acknowledged =
        mta.taken().iter().filter(|message| message.content.contains(&what)).filter(|m| m.acknowledged).count();
    assert_eq!(acknowledged, usize::from(heard == Taken), "{what}: acknowledged by the backend");

    // It costs this transaction and nothing else.
    mta.behave();
    client.ask("RSET", 250);
    assert_eq!(deliver(&mut client, &format!("after {what}")).code, 250, "after {what}");
    client.ask("QUIT", 221);
}

fn deliver(client: &mut Client, what: &str) -> Reply {
    let content =
        format!("Subject: {what}\r\n\r\nLong enough to have a middle, where a backend may hang up on it.\r\n");
    client.try_deliver("sender@road.test", "alice@ok.test", &content).unwrap_or_else(|e| panic!("{what}: {e}"))
}

fn table(test: &str, speaks: Speaks) {
    let Some(host) = host::for_test(test, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, speaks);
    let backend = format!("{backend}\ntexts = \"hide\"");
    let gate = Gate::start(&host, &config(&backend, "[limits]\nsessions_per_address = 1000"));
    let mut rows = 0;
    for (stage, deed, heard) in TABLE.iter().filter(|(stage, ..)| has(speaks, *stage)) {
        // LMTP without XCLIENT has nothing to miss in a bare greeting.
        let heard = if speaks == Speaks::Lmtp && *deed == says("250 backend.test\r\n") { Taken } else { *heard };
        row(&gate, &mta, speaks, *stage, deed, heard);
        rows += 1;
    }
    // Each row has delivered one message more, after the backend's fault was over.
    let healthy = mta.taken().iter().filter(|m| m.content.contains("Subject: after ") && m.acknowledged).count();
    assert_eq!(healthy, rows);
    gate.stop();
}

#[test]
fn p1_no_smtp_backend_makes_a_false_250() {
    table("p1_no_smtp_backend_makes_a_false_250", Speaks::Smtp);
}

#[test]
fn p1_no_lmtp_backend_makes_a_false_250() {
    table("p1_no_lmtp_backend_makes_a_false_250", Speaks::Lmtp);
}

#[test]
fn p1_a_backend_that_is_down_costs_a_4yz_until_it_is_back() {
    let Some(host) = host::for_test("p1_a_backend_that_is_down_costs_a_4yz_until_it_is_back", &["openssl"]) else {
        return;
    };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, ""));
    let socket = host.path("/run/backend/smtp");
    drop(mta); // The socket stays and refuses.
    let mut client = gate.client();
    client.hello("road.test");
    assert_eq!(deliver(&mut client, "refused").class(), 4);
    std::fs::remove_file(&socket).unwrap();
    client.ask("RSET", 250);
    assert_eq!(deliver(&mut client, "no socket").class(), 4);
    let mta = Mta::unix(&socket, Speaks::Smtp);
    client.ask("RSET", 250);
    assert_eq!(deliver(&mut client, "back").code, 250);
    assert_eq!(mta.count(), 1);
    gate.stop();
}

#[test]
fn p4_each_clients_address_is_told_before_its_mail() {
    let Some(host) = host::for_test("p4_each_clients_address_is_told_before_its_mail", &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, ""));
    let mut before = mta.lines().len();
    // One after the other, so that a kept connection might be used again: never under the name of the one before.
    for (door, address) in [(starttls(), AWAY), (starttls6(), AWAY6), (starttls(), AWAY), (starttls6(), AWAY6)] {
        let mut client = Client::over(host.connect(&door));
        client.hello("road.test");
        assert_eq!(deliver(&mut client, "identity").code, 250);
        client.ask("QUIT", 221);
        let lines = mta.lines().split_off(before);
        before += lines.len();
        let at =
            |verb: &str| lines.iter().rposition(|line| line.starts_with(verb)).unwrap_or_else(|| panic!("{lines:?}"));
        assert!(at("XCLIENT") < at("MAIL") && at("MAIL") < at("RCPT"), "{lines:?}");
        assert!(lines[at("XCLIENT")].contains(address), "{lines:?}");
        assert_eq!(mta.taken().last().unwrap().peer, address);
    }
    gate.stop();
}

/// Issue 10, 16, too: a jail has as many directories as there are unix backends.
#[test]
fn issue_8_three_unix_backends_serve() {
    let Some(host) = host::for_test("issue_8_three_unix_backends_serve", &["openssl"]) else { return };
    let mtas = ["one", "two", "three"].map(|name| {
        let directory = format!("/run/{name}");
        host.directory(&directory, 0, 0o755);
        Mta::unix(&host.path(&format!("{directory}/smtp")), Speaks::Smtp)
    });
    let connect = r#"connect = ["unix:/run/one/smtp", "unix:/run/two/smtp", "unix:/run/three/smtp"]"#;
    let gate = Gate::start(&host, &config(&format!("profile = \"postfix\"\n{connect}"), ""));
    let _ = gate.audit(&[]).expect_ok("audit");
    // Each has its message when those before it fail.
    for (index, mta) in mtas.iter().enumerate() {
        let mut client = gate.client();
        client.hello("road.test");
        assert_eq!(deliver(&mut client, "three").code, 250, "backend {index}");
        assert_eq!(mta.count(), 1, "backend {index}");
        mta.misbehave(Stage::Greeting, Deed::Close);
        mta.hang_up();
    }
    drop(mtas);
    gate.stop();
}
