//! QMQP: mail through the whole binary to Postfix's own qmqpd, and to one that dies.

use crate::gate::{CONFIG, GATEPOST, Gate, HOSTNAME, config, prepare, swaks};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::rogue::qmqpd::{Act, Qmqpd, TAKEN};
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};

const TCP: &str = "127.0.0.1:628";
const SOCKET: &str = "/var/spool/postfix/public/qmqp";

/// Postfix with its qmqpd, on both kinds of socket, that lets `clients` use it.
fn postfix<'h>(host: &'h Host, clients: &str) -> Postfix<'h> {
    let postfix = Postfix::start_with(host, &format!("qmqpd_authorized_clients = {clients}"));
    let master = host.read("/etc/postfix/master.cf");
    host.write("/etc/postfix/master.cf", &format!("{TCP} inet n - n - - qmqpd\nqmqp unix n - n - - qmqpd\n{master}"));
    host.shell("postfix reload").expect_ok("postfix reload");
    holds("Postfix's qmqpd", SOON, || host.listens(TCP) && host.path(SOCKET).exists());
    postfix
}

fn backend(connect: &str) -> String {
    format!("profile = \"qmqp\"\nconnect = \"{connect}\"")
}

#[test]
fn mail_reaches_postfix_by_its_own_qmqpd() {
    let Some(host) = host::for_test("mail_reaches_postfix_by_its_own_qmqpd", &["postfix", "swaks", "openssl"]) else {
        return;
    };
    let postfix = postfix(&host, "127.0.0.1");
    for connect in [format!("tcp:{TCP}"), format!("unix:{SOCKET}")] {
        let gate = Gate::start(&host, &config(&backend(&connect), ""));
        assert!(gate.process.said().contains("relaxed: relay_proof"), "{}", gate.process.said());
        let kind = connect.split(':').next().unwrap();
        let subject = format!("by swaks over {kind}");
        run(&mut swaks(&host, "alice@ok.test", &subject)).expect_ok("swaks");
        let mail = postfix.maildir("alice").one_with(&subject);
        assert!(mail.contains(&format!("by {HOSTNAME}")) && mail.contains("with ESMTPS"), "{mail}");

        // Large, dotted and 8-bit, to two, by way of a content file.
        let line = format!("..{}\u{e4}.\r\n", "x".repeat(900));
        let content = format!("Subject: large over {kind}\r\n\r\n{}", line.repeat(1 << 10));
        let mut client = gate.client();
        client.hello("road.test");
        assert!(client.ask("EHLO road.test", 250).lines.contains(&"8BITMIME".to_owned()));
        client.ask("MAIL FROM:<sender@road.test> BODY=8BITMIME", 250);
        client.ask("RCPT TO:<alice@ok.test>", 250);
        client.ask("RCPT TO:<bob@ok.test>", 250);
        client.ask("RCPT TO:<stranger@elsewhere.test>", 550);
        client.ask("DATA", 354);
        client.write(content.as_bytes());
        client.write(b".\r\n");
        client.expect(250);
        for mailbox in ["alice", "bob"] {
            let mail = postfix.maildir(mailbox).one_with(&format!("large over {kind}"));
            let (_, body) = mail.split_once("\n\n").unwrap();
            assert!(body == line.replace("\r\n", "\n").replacen("..", ".", 1).repeat(1 << 10), "{mailbox}: it differs");
        }
        client.ask("QUIT", 221);
        // Its own word about the message, for whoever looks for it in both logs.
        assert!(gate.process.said().contains("said=\"K"), "{}", gate.process.said());
        gate.stop();
    }
}

#[test]
fn p7_a_qmqpd_that_refuses_us_stops_the_start_and_bounces_nothing() {
    let name = "p7_a_qmqpd_that_refuses_us_stops_the_start_and_bounces_nothing";
    let Some(host) = host::for_test(name, &["postfix", "openssl"]) else { return };
    let _postfix = postfix(&host, "127.0.0.1");
    let text = config(&backend(&format!("tcp:{TCP}")), "");
    let gate = Gate::start(&host, &text);
    host.shell("postconf -e qmqpd_authorized_clients= && postfix reload").expect_ok("postfix reload");
    holds("Postfix to have changed its mind", SOON, || {
        let mut client = Client::over(host.connect(TCP));
        client.rest().contains("not authorized")
    });
    let mut client = gate.client();
    client.hello("road.test");
    let reply = client.try_deliver("sender@road.test", "alice@ok.test", "Subject: s\r\n\r\nx\r\n").unwrap();
    assert_eq!(reply.class(), 4, "{reply}");
    assert!(!reply.text().contains("authorized"), "{reply}");
    client.ask("QUIT", 221);
    gate.stop();
    let said = Gate::refused(&host, &text);
    assert!(said.contains("refuses our connections") && said.contains("qmqpd_authorized_clients"), "{said}");
}

#[test]
fn p1_the_client_hears_no_250_that_the_qmqpd_did_not_say() {
    let name = "p1_the_client_hears_no_250_that_the_qmqpd_did_not_say";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    host.directory("/run/backend", 0, 0o755);
    let qmqpd = Qmqpd::unix(&host.path("/run/backend/qmqp"));
    prepare(&host);
    let text = config(&format!("{}\nreply_timeout = \"2s\"", backend("unix:/run/backend/qmqp")), "");
    host.write(CONFIG, &text);
    let table = run(host.command(GATEPOST).arg("check")).expect_ok("check").stdout;
    assert!(table.contains("what may pass is said by [relay] alone"), "{table}");
    let gate = Gate::start(&host, &text);
    let mut client = gate.client();
    client.hello("road.test");
    let acts = [
        (Act::Die(0), 4),
        (Act::Die(1), 4),
        (Act::Die(300), 4),
        (Act::Cut(0), 4),
        (Act::Cut(TAKEN.len() - 1), 4),
        (Act::Hang, 4),
        (Act::Answer("250 Ok\r\n"), 4),
        (Act::Answer("7:Zbusy!!,"), 4),
        (Act::Answer("8:Dgo away,"), 5),
        (Act::Unasked("8:Dgo away,"), 4),
        (Act::Answer(TAKEN), 2),
    ];
    for (act, class) in acts {
        qmqpd.act(act);
        let content = format!("Subject: {act:?}\r\n\r\nx\r\n");
        let reply = client.try_deliver("sender@road.test", "alice@ok.test", &content).unwrap();
        assert_eq!(reply.class(), class, "{act:?}: {reply}");
        // Its own words reach the client, where they answer the message.
        let words = [("go away", Act::Answer("8:Dgo away,")), ("busy", Act::Answer("7:Zbusy!!,"))];
        assert!(
            words.iter().all(|(text, of)| reply.text().contains(text) == (format!("{act:?}") == format!("{of:?}"))),
            "{act:?}: {reply}"
        );
        client.ask("RSET", 250);
    }
    client.ask("QUIT", 221);
    // It takes note of what it has said after it has said it.
    let acknowledged = || qmqpd.messages().iter().filter(|message| message.acknowledged).count();
    holds("the one that was taken to be noted", SOON, || acknowledged() == 1);
    let _ = gate.audit(&[]).expect_ok("audit");
    gate.stop();
}
