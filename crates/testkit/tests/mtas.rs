//! The real MTAs, without anything in front of them: what later tests rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, AWAY6, HERE};
use gatepost_testkit::mta::{Dovecot, Postfix, Sender, Sink};
use gatepost_testkit::rogue::{Mta, Speaks};
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};

const STRANGER: &str = "stranger@elsewhere.test";

#[test]
fn postfix_takes_mail_and_the_clients_address_on_its_socket() {
    let Some(host) = host::for_test("postfix_takes_mail_and_the_clients_address_on_its_socket", &["postfix"]) else {
        return;
    };
    let postfix = Postfix::start(&host);
    for (number, client_address) in [format!("ADDR={AWAY}"), format!("ADDR=IPV6:{AWAY6}")].iter().enumerate() {
        let mut client = Client::unix(&postfix.socket()).unwrap();
        let extensions = client.hello("front.test");
        assert!(extensions.iter().any(|line| line.starts_with("XCLIENT ")), "{extensions:?}");
        assert!(!extensions.iter().any(|line| line == "STARTTLS"), "{extensions:?}");
        client.ask(&format!("XCLIENT NAME=[UNAVAILABLE] PORT=4711 PROTO=ESMTP HELO=road.test {client_address}"), 220);
        client.ask("EHLO road.test", 250);
        client.deliver("a@road.test", "alice@ok.test", &format!("Subject: s\r\n\r\nmail {number}\r\n"));
        client.ask("QUIT", 221);
        let mail = postfix.maildir("alice").one_with(&format!("mail {number}"));
        let address = client_address.trim_start_matches("ADDR=").trim_start_matches("IPV6:");
        assert!(mail.contains(&format!("{address}])")), "{mail}");
        holds("the log names the client", SOON, || postfix.log().contains(&format!("client=unknown[{address}]")));
    }
    holds("the queue is empty", SOON, || postfix.is_idle());
}

#[test]
fn postfix_behind_a_front_end_relays_for_nobody() {
    let Some(host) = host::for_test("postfix_behind_a_front_end_relays_for_nobody", &["postfix"]) else { return };
    let postfix = Postfix::start(&host);
    for identified in [false, true] {
        let mut client = Client::over(host.connect(Postfix::ADDRESS));
        client.hello("front.test");
        if identified {
            client.ask(&format!("XCLIENT ADDR={AWAY} NAME=[UNAVAILABLE]"), 220);
            client.ask("EHLO road.test", 250);
        }
        client.ask("MAIL FROM:<a@road.test>", 250);
        client.ask(&format!("RCPT TO:<{STRANGER}>"), 554);
        client.ask("RCPT TO:<nobody@ok.test>", 550);
        client.ask("RCPT TO:<bob@ok.test>", 250);
    }
    assert_eq!(postfix.maildir("bob").count(), 0);
}

#[test]
fn dovecot_takes_mail_by_lmtp_on_both_sockets() {
    let Some(host) = host::for_test("dovecot_takes_mail_by_lmtp_on_both_sockets", &["dovecot"]) else { return };
    let dovecot = Dovecot::start(&host);
    let over_unix = Client::unix(&dovecot.socket()).unwrap();
    let over_tcp = Client::over(host.connect(Dovecot::ADDRESS));
    for (name, mut client) in [("unix", over_unix), ("tcp", over_tcp)] {
        client.expect(220);
        let extensions = client.ask("LHLO front.test", 250).lines;
        let trusted = extensions.iter().any(|line| line.starts_with("XCLIENT "));
        assert_eq!(trusted, name == "tcp", "{name}: {extensions:?}");
        assert!(client.try_deliver("a@road.test", STRANGER, "").unwrap().class() == 5, "a foreign mailbox");
        client.ask("RSET", 250);
        assert!(client.try_deliver("a@road.test", "nobody@ok.test", "").unwrap().class() == 5, "an unknown one");
        client.ask("RSET", 250);
        client.deliver("a@road.test", "alice@ok.test", &format!("Subject: s\r\n\r\nby {name}\r\n"));
        let mail = dovecot.maildir("alice").one_with(&format!("by {name}"));
        assert!(mail.contains("Return-Path: <a@road.test>"), "{mail}");
    }
}

#[test]
fn the_sink_counts() {
    let Some(host) = host::for_test("the_sink_counts", &["smtp-sink"]) else { return };
    let sink = Sink::start(&host);
    for number in 0..3 {
        let mut client = Client::over(host.connect(Sink::ADDRESS));
        client.hello("front.test");
        client.deliver("a@road.test", STRANGER, &format!("Subject: s\r\n\r\nmail {number}\r\n"));
    }
    holds("three messages", SOON, || sink.maildir().count() == 3);
}

#[test]
fn swaks_and_postfix_send_from_the_clients_address() {
    let Some(host) = host::for_test("swaks_and_postfix_send_from_the_clients_address", &["postfix", "swaks"]) else {
        return;
    };
    let _backend = Postfix::start(&host);
    let mta = Mta::tcp(host.listen(&format!("{HERE}:25")), Speaks::Smtp);
    run(host.command("swaks").args(["--server", HERE, "--from", "a@road.test", "--to", "bob@ok.test"]).args([
        "--local-interface",
        AWAY,
        "--header",
        "Subject: by swaks",
        "--helo",
        "road.test",
    ]))
    .expect_ok("swaks");
    let sender = Sender::start(&host, &format!("[{HERE}]:25"), "may");
    sender.send("a@road.test", "alice@ok.test", "by postfix");
    let _ = sender.logged("status=sent", "alice@ok.test");
    let taken = mta.taken();
    assert_eq!(taken.len(), 2);
    assert!(taken[0].content.contains("Subject: by swaks\r\n") && taken[1].content.contains("Subject: by postfix\r\n"));
    assert!(taken.iter().all(|message| message.peer == AWAY), "{taken:?}");
}
