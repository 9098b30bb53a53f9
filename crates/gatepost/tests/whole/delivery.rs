//! A stranger's mail, through the jail, to a real MTA.

use crate::gate::{Gate, HOSTNAME, config, implicit, starttls, starttls6, swaks};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, AWAY6, HERE};
use gatepost_testkit::mta::{Dovecot, Postfix, Sender, Sink};
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};

const POSTFIX: &str = "profile = \"postfix\"\nconnect = \"unix:/var/spool/postfix/public/gatepost\"";

#[test]
fn mail_by_swaks_and_by_postfix_reaches_postfix_which_logs_the_true_client() {
    let name = "mail_by_swaks_and_by_postfix_reaches_postfix_which_logs_the_true_client";
    let Some(host) = host::for_test(name, &["postfix", "swaks", "openssl"]) else { return };
    let postfix = Postfix::start(&host);
    let gate = Gate::start(&host, &config(POSTFIX, ""));

    let said = run(&mut swaks(&host, "alice@ok.test", "by swaks")).expect_ok("swaks").stdout;
    assert!(said.contains("=== TLS started"), "{said}");
    let mail = postfix.maildir("alice").one_with("Subject: by swaks");
    assert_received(&mail, "ESMTPS", "road.test");

    let sender = Sender::start(&host, &format!("[{HERE}]:25"), "encrypt");
    sender.send("sender@road.test", "bob@ok.test", "by postfix");
    let sent = sender.logged("to=<bob@ok.test>", "status=");
    assert!(sent.contains("status=sent (250 "), "{sent}");
    assert!(sender.log().contains("TLSv1.3"), "{}", sender.log());
    let mail = postfix.maildir("bob").one_with("Subject: by postfix");
    assert_received(&mail, "ESMTPS", "road.test");

    // Two sessions, both known by the address that they came from, and neither as localhost.
    let log = postfix.log();
    let clients: Vec<&str> =
        log.lines().filter(|line| line.contains("postfix/gatepost/smtpd") && line.contains(": client=")).collect();
    assert_eq!(clients.len(), 2, "{log}");
    assert!(clients.iter().all(|line| line.contains(&format!("client=unknown[{AWAY}]"))), "{clients:?}");
    gate.stop();
}

/// One Received on top: who, by whom, how; no product, and the client's address as it is.
fn assert_received(mail: &str, with: &str, helo: &str) {
    let ours: Vec<&str> = mail.split("Received: ").filter(|field| field.contains(&format!("by {HOSTNAME}"))).collect();
    assert_eq!(ours.len(), 1, "{mail}");
    let field = ours[0].split("\nSubject").next().unwrap();
    for word in [helo, AWAY, &format!("with {with} ")] {
        assert!(field.contains(word), "{word:?} is missing in: {field}");
    }
    assert!(!mail.to_ascii_lowercase().contains("gatepost"), "P10: {mail}");
}

#[test]
fn mail_by_swaks_and_by_postfix_reaches_dovecot_over_tcp_and_unix() {
    let name = "mail_by_swaks_and_by_postfix_reaches_dovecot_over_tcp_and_unix";
    let Some(host) = host::for_test(name, &["postfix", "dovecot", "swaks", "openssl"]) else { return };
    let dovecot = Dovecot::start(&host);
    // Only to name the sender's configuration: nothing is sent to it.
    let postfix = Postfix::start(&host);
    let sender = Sender::start(&host, &format!("[{HERE}]:25"), "encrypt");
    for connect in [format!("tcp:{}", Dovecot::ADDRESS), format!("unix:{}", Dovecot::SOCKET)] {
        let gate = Gate::start(&host, &config(&format!("profile = \"dovecot-lmtp\"\nconnect = \"{connect}\""), ""));
        let kind = connect.split(':').next().unwrap();
        let subject = format!("by swaks over {kind}");
        run(&mut swaks(&host, "alice@ok.test", &subject)).expect_ok("swaks");
        assert_received(&dovecot.maildir("alice").one_with(&subject), "ESMTPS", "road.test");

        // LMTP answers for each recipient: Postfix has to come again for the second, and does.
        let subject = format!("by postfix over {kind}");
        sender.send("sender@road.test", "alice@ok.test bob@ok.test", &subject);
        for mailbox in ["alice", "bob"] {
            assert_received(&dovecot.maildir(mailbox).one_with(&subject), "ESMTPS", "road.test");
        }

        let refused = run(&mut swaks(&host, "nobody@ok.test", "unknown")).stdout;
        assert!(refused.contains("550 5.1.1"), "{refused}");
        gate.stop();
    }
    holds("Dovecot knows the client where it can", SOON, || dovecot.log().contains(AWAY));
    assert_eq!(postfix.maildir("alice").count(), 0);
}

#[test]
fn p10_silent_on_every_door() {
    let Some(host) = host::for_test("p10_silent_on_every_door", &["postfix", "openssl"]) else { return };
    let postfix = Postfix::start(&host);
    let gate = Gate::start(&host, &config(POSTFIX, ""));
    let doors = [
        Client::over(host.connect(&starttls())),
        Client::over(host.connect(&starttls6())),
        Client::tls(host.connect(&implicit()), HOSTNAME).unwrap(),
    ];
    for (number, mut client) in doors.into_iter().enumerate() {
        assert_eq!(client.expect(220).text(), format!("{HOSTNAME} ESMTP"));
        let extensions = client.ask("EHLO road.test", 250).lines;
        assert_eq!(extensions.contains(&"STARTTLS".to_owned()), number < 2, "{extensions:?}");
        if number < 2 {
            client.starttls(HOSTNAME);
            assert!(!client.ask("EHLO road.test", 250).lines.contains(&"STARTTLS".to_owned()));
        }
        let mut said = String::new();
        for line in ["HELP", "VRFY alice", "VRFY nobody", "EXPN alice", "NOOP", "BOGUS", "XCLIENT ADDR=127.0.0.1"] {
            said += &client.try_ask(line).unwrap().to_string();
        }
        assert!(!said.to_ascii_lowercase().contains("gatepost") && !said.contains("Postfix"), "{said}");
        assert_eq!(client.try_ask("VRFY alice").unwrap().code, client.try_ask("VRFY nobody").unwrap().code);
        client.deliver("sender@road.test", "alice@ok.test", &format!("Subject: door {number}\r\n\r\nx\r\n"));
        client.ask("QUIT", 221);
        let mail = postfix.maildir("alice").one_with(&format!("Subject: door {number}"));
        assert!(mail.contains(if number == 1 { AWAY6 } else { AWAY }), "{mail}");
    }
    gate.stop();
}

#[test]
fn p4_nothing_leaves_for_a_foreign_domain() {
    let Some(host) = host::for_test("p4_nothing_leaves_for_a_foreign_domain", &["postfix", "openssl"]) else { return };
    let postfix = Postfix::start(&host);
    let gate = Gate::start(&host, &config(POSTFIX, ""));
    let mut client = gate.client();
    client.hello("road.test");
    for target in [
        "stranger@elsewhere.test",
        "stranger%elsewhere.test@mx.ok.test",
        "\"stranger@elsewhere.test\"@elsewhere.test",
        "@ok.test:stranger@elsewhere.test",
        "stranger@sub.ok.test",
        "stranger@[127.0.0.1]",
        "stranger@localhost",
        "elsewhere.test!stranger@backend.test",
    ] {
        client.ask("MAIL FROM:<sender@road.test>", 250);
        let reply = client.try_ask(&format!("RCPT TO:<{target}>")).unwrap();
        assert_eq!(reply.class(), 5, "{target}: {reply}");
        client.ask("RSET", 250);
    }
    // And what is for us, for a user whom the backend does not know, is refused by the backend's word.
    client.ask("MAIL FROM:<>", 250);
    assert!(client.ask("RCPT TO:<unknown@ok.test>", 550).text().starts_with("5.1.1"));
    client.ask("QUIT", 221);
    assert!(!postfix.log().contains("relay="), "{}", postfix.log());
    gate.stop();
}

#[test]
fn large_and_dotted_content_arrives_octet_for_octet() {
    let name = "large_and_dotted_content_arrives_octet_for_octet";
    let Some(host) = host::for_test(name, &["smtp-sink", "openssl", "postfix"]) else { return };
    let sink = Sink::start(&host);
    let backend = format!("profile = \"smtp\"\nconnect = \"tcp:{}\"\nrelay_proof = false", Sink::ADDRESS);
    let gate = Gate::start(&host, &config(&backend, ""));
    // Beyond what is held in memory, every line with a dot in front of it or in it.
    let line = format!("..{}.\r\n", "x".repeat(900));
    let body: String = line.repeat(4 << 10);
    let mut client = gate.client();
    client.hello("road.test");
    client.starttls(HOSTNAME);
    client.ask("EHLO road.test", 250);
    client.deliver("sender@road.test", "alice@ok.test", &format!("Subject: large\r\n\r\n{body}"));
    client.ask("QUIT", 221);
    holds("it is in the sink", SOON, || sink.maildir().count() == 1);
    let got = String::from_utf8(sink.maildir().messages().remove(0)).unwrap().replace("\r\n", "\n");
    let (_, got) = got.split_once("\n\n").unwrap();
    let want = body.replace("\r\n", "\n").replace("\n..", "\n.").replacen("..", ".", 1);
    assert_eq!(got.trim_end_matches('\n').len(), want.trim_end_matches('\n').len());
    assert!(got.trim_end_matches('\n') == want.trim_end_matches('\n'), "the content differs");
    gate.stop();
}
