//! `[rates]` and what is told of those who are turned away, by the running daemon: floods from many addresses, habits of honest
//! senders, stress.

use crate::gate::{GATEPOST, Gate, config, rogue, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};
use serde_json::Value;
use std::collections::BTreeMap;

/// So long that nothing comes back while a test runs.
const RATES: &str =
    "[rates]\nconnections = \"5/h\"\nmessages = \"2/h\"\nrecipients = \"3/h\"\n[log]\nformat = \"json\"\n";

/// The first line that a client from that address hears.
fn greeting(host: &Host, from: &str) -> String {
    let mut client = Client::over(host.connect_from(from, &starttls()).unwrap());
    let reply = client.reply();
    if reply.code == 220 {
        let _ = client.try_ask("QUIT");
    }
    format!("{} {}", reply.code, reply.lines.first().cloned().unwrap_or_default())
}

fn events(gate: &Gate<'_>, name: &str) -> Vec<Value> {
    let said = gate.process.said();
    let events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["event"] == name).collect()
}

#[test]
fn issue_12_connection_rates_are_exact_under_a_flood_from_many_addresses() {
    let name = "issue_12_connection_rates_are_exact_under_a_flood_from_many_addresses";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let mut gate = Gate::start(&host, &config(&backend, RATES));
    // A /24 of 60 hosts that come twice, one host of another that comes 30 times, and 20 hosts each in a /24 of its own.
    let crowd: Vec<String> = (0..120).map(|n| format!("127.1.1.{}", 1 + n % 60)).collect();
    let one = vec!["127.2.1.1".to_owned(); 30];
    let apart: Vec<String> = (0..20).map(|n| format!("127.3.{n}.1")).collect();
    let mut served: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, addresses) in [("crowd", &crowd), ("one", &one), ("apart", &apart)] {
        for address in addresses {
            match greeting(&host, address) {
                heard if heard.starts_with("220 ") => *served.entry(name).or_default() += 1,
                heard => {
                    assert!(heard.starts_with("421 4.7.0 mx.ok.test too many connections from your network"), "{heard}")
                }
            }
        }
    }
    assert_eq!(served, BTreeMap::from([("crowd", 20), ("one", 5), ("apart", 20)]));
    // An admin forgives one of them, who comes five times more, and nobody else does.
    let forgiven = run(host.command(GATEPOST).args(["forgive", "127.3.7.1"]));
    assert!(forgiven.ok(), "{}", forgiven.said());
    for n in 0..5 {
        let heard = greeting(&host, "127.3.7.1");
        assert!(heard.starts_with("220 "), "{n}: {heard}");
    }
    // A line for each address, and the rest when the minute or the listener ends.
    let turned = |gate: &Gate<'_>| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for event in events(gate, "turned-away").iter().filter(|event| event["why"] == "Rate") {
            let client = event["client"].as_str().unwrap().rsplit_once(':').unwrap().0.to_owned();
            *counts.entry(client).or_default() += event["count"].as_u64().unwrap();
        }
        counts
    };
    holds("a line about the one", SOON, || turned(&gate).get("127.2.1.1") == Some(&1));
    assert!(gate.process.signal("TERM"));
    holds("the rest to be told", SOON, || turned(&gate).get("127.2.1.1") == Some(&25));
    assert_eq!(turned(&gate).values().sum::<u64>(), 25 + 100);
    let lines = events(&gate, "turned-away");
    assert_eq!(lines.iter().filter(|event| event["client"].as_str().unwrap().starts_with("127.2.1.1:")).count(), 2);
    assert_eq!(gate.process.wait(SOON).code(), Some(0));
}

#[test]
fn issue_12_mail_has_a_rate_by_the_listeners_word() {
    let name = "issue_12_mail_has_a_rate_by_the_listeners_word";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let exempt = "[[network]]\nnetworks = [\"127.9.0.0/16\"]\nexempt = true\n";
    let gate = Gate::start(&host, &config(&backend, &format!("{RATES}{exempt}")));
    let rcpt = |client: &mut Client, to: &str| {
        let reply = client.try_ask(&format!("RCPT TO:<{to}>")).unwrap();
        format!("{} {}", reply.code, reply.lines[0])
    };
    let begin = |from: &str| {
        let mut client = Client::over(host.connect_from(from, &starttls()).unwrap());
        client.hello("road.test");
        client.ask("MAIL FROM:<s@road.test>", 250);
        client
    };
    let mut client = begin(AWAY);
    assert!(rcpt(&mut client, "a@ok.test").starts_with("250 "));
    assert!(rcpt(&mut client, "b@ok.test").starts_with("250 "));
    client.ask("RSET", 250);
    client.ask("MAIL FROM:<s@road.test>", 250);
    assert!(rcpt(&mut client, "a@ok.test").starts_with("250 "));
    let heard = rcpt(&mut client, "b@ok.test");
    assert!(heard.starts_with("450 4.7.1 Too many recipients from your network in a short time"), "{heard}");
    // What was accepted before is delivered all the same.
    client.ask("DATA", 354);
    client.ask("Subject: x\r\n\r\nx\r\n.", 250);
    client.ask("MAIL FROM:<s@road.test>", 250);
    let heard = rcpt(&mut client, "a@ok.test");
    assert!(heard.starts_with("450 4.7.1 Too many messages from your network in a short time"), "{heard}");
    client.ask("QUIT", 221);
    // An admin forgives it: both roles forget what it has used.
    holds("its mail to be taken again", SOON, || {
        let forgiven = run(host.command(GATEPOST).args(["forgive", AWAY]));
        assert!(forgiven.ok(), "{}", forgiven.said());
        let mut client = begin(AWAY);
        let taken = rcpt(&mut client, "a@ok.test").starts_with("250 ");
        client.ask("QUIT", 221);
        taken
    });
    for _ in 0..7 {
        let mut client = begin("127.9.0.1");
        assert!(rcpt(&mut client, "a@ok.test").starts_with("250 "));
        client.ask("QUIT", 221);
    }
    holds("the log to say so", SOON, || {
        let reasons: Vec<Value> = events(&gate, "recipient").into_iter().map(|event| event["reason"].clone()).collect();
        reasons.contains(&"RecipientRate".into()) && reasons.contains(&"MessageRate".into())
    });
    gate.stop();
}

#[test]
fn issue_12_stress_is_in_the_log_and_over_when_slots_are_free() {
    let name = "issue_12_stress_is_in_the_log_and_over_when_slots_are_free";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, "[limits]\nsessions = 8\n[log]\nformat = \"json\"\n"));
    let begin = |n: usize| {
        let mut client = Client::over(host.connect_from(&format!("127.4.{n}.1"), &starttls()).unwrap());
        client.expect(220);
        client
    };
    let mut clients: Vec<Client> = (0..7).map(begin).collect();
    holds("the stress to be told", SOON, || events(&gate, "stress").iter().any(|event| event["begins"] == 1));
    // Who comes now may make one mistake, and those who came before as many as ever.
    for (client, last) in [(6, 421), (0, 500)] {
        clients[client].ask("FROB", 500);
        clients[client].ask("FROB", last);
    }
    drop(clients);
    holds("its end to be told", SOON, || events(&gate, "stress").iter().any(|event| event["begins"] == 0));
    assert_eq!(events(&gate, "stress").len(), 2);
    gate.stop();
}

#[test]
fn p14_who_gets_no_session_is_told_with_the_reason_that_he_heard() {
    let name = "p14_who_gets_no_session_is_told_with_the_reason_that_he_heard";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    host.write("/etc/tcp.smtp", "127.5.0.1:deny\n:allow\n");
    host.shell(&format!("{GATEPOST} tcprules /etc/tcp.smtp.cdb /etc/tcp.smtp.tmp </etc/tcp.smtp"))
        .expect_ok("tcprules");
    let more = "[admission]\nrules = \"/etc/tcp.smtp.cdb\"\n[rates]\nconnections = \"3/h\"\n\
        [limits]\nsessions_per_address = 1\noffences = 2\n[log]\nformat = \"json\"\n";
    let gate = Gate::start(&host, &config(&backend, more));
    let begin = |from: &str| Client::over(host.connect_from(from, &starttls()).unwrap());
    let mut heard = vec![("Rules", "127.5.0.1", greeting(&host, "127.5.0.1"))];
    // One that has a session, one that waits for its end, and one too many.
    let mut held = begin("127.6.0.1");
    held.expect(220);
    let waits = begin("127.6.0.1");
    heard.push(("Address", "127.6.0.1", greeting(&host, "127.6.0.1")));
    drop((held, waits));
    for _ in 0..3 {
        assert!(greeting(&host, "127.7.0.1").starts_with("220 "));
        holds("the session to end", SOON, || gate.sessions().is_empty());
    }
    heard.push(("Rate", "127.7.0.1", greeting(&host, "127.7.0.1")));
    // Abuse, and abuse again while it is greeted late.
    for penalty in ["Late", "TurnedAway"] {
        let mut client = begin("127.8.0.1");
        client.expect(220);
        client.ask("GET / HTTP/1.1", 421);
        let told =
            |event: &Value| event["penalty"] == penalty && event["client"].as_str().unwrap().starts_with("127.8.0.1:");
        holds("the penalty to be told", SOON, || events(&gate, "penalty").iter().any(told));
    }
    heard.push(("Penalty", "127.8.0.1", greeting(&host, "127.8.0.1")));
    let texts = [
        ("Rules", "554 5.7.1 mx.ok.test no service for your address"),
        ("Address", "421 4.7.0 mx.ok.test too many connections from your address, try again later"),
        ("Rate", "421 4.7.0 mx.ok.test too many connections from your network in a short time, try again later"),
        ("Penalty", "421 4.7.0 mx.ok.test not now, try again later"),
    ];
    for ((why, client, heard), (row, text)) in heard.iter().zip(texts) {
        assert_eq!((*why, heard.as_str()), (row, text));
        let told = |event: &Value| {
            event["why"] == *why && event["client"].as_str().unwrap().starts_with(&format!("{client}:"))
        };
        holds(&format!("{why} to be told"), SOON, || events(&gate, "turned-away").iter().any(told));
    }
    assert_eq!(events(&gate, "turned-away").len(), texts.len());
    gate.stop();
}

#[test]
fn p14_who_speaks_too_early_is_told_with_what_he_said_and_heard() {
    let name = "p14_who_speaks_too_early_is_told_with_what_he_said_and_heard";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    for (word, code) in [("refuse", 554), ("log", 220)] {
        let more = format!("[admission]\npause = \"1s\"\nearly_talk = \"{word}\"\n[log]\nformat = \"json\"\n");
        let gate = Gate::start(&host, &config(&backend, &more));
        for (from, line) in [
            ("127.5.0.1", "EHLO early.test"),
            ("127.6.0.1", "GET / HTTP/1.1"),
            ("127.7.0.1", "a \"quote\" reply=250"),
            // No listener of this one has `proxy_from`.
            ("127.8.0.1", "PROXY TCP4 203.0.113.9 192.0.2.1 4713 25"),
        ] {
            let mut client = Client::over(host.connect_from(from, &starttls()).unwrap());
            client.write(format!("{line}\r\n").as_bytes());
            let reply = client.reply();
            assert_eq!(reply.code, code, "{line}: {reply}");
            if code == 554 {
                assert_eq!(reply.lines, ["5.5.1 mx.ok.test takes no mail from who speaks before the greeting"]);
                assert!(client.try_reply().is_err(), "{line}: closed");
            }
            let told = || {
                let mut told = events(&gate, "early-talk").into_iter();
                told.find(|event| event["client"].as_str().unwrap().starts_with(&format!("{from}:")))
            };
            holds(&format!("{line} to be told"), SOON, || told().is_some());
            let event = told().unwrap();
            assert_eq!(event["refused"], u64::from(code == 554), "{event}");
            assert_eq!(event["line"].as_str().unwrap().trim_end(), line, "{event}");
        }
        assert!(gate.process.said().contains("a PROXY header, but proxy_from"));
        gate.stop();
    }
}
