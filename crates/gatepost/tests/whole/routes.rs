//! Issue 12, point 7: two real backends by the recipient's domain, and a real sender before them.

use crate::gate::{CONFIG, GATEPOST, Gate, config, prepare, rogue};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, HERE};
use gatepost_testkit::mta::{Dovecot, Postfix, Sender};
use gatepost_testkit::rogue::{Mta, Speaks};
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};

const NEWS: &str = "news@lists.test";
const ALICE: &str = "alice@ok.test";

/// One transaction for the first of them; the other hears that it has to come separately.
fn deliver(client: &mut Client, recipients: [&str; 2], subject: &str) {
    client.ask("MAIL FROM:<sender@road.test>", 250);
    client.ask(&format!("RCPT TO:<{}>", recipients[0]), 250);
    let refusal = client.try_ask(&format!("RCPT TO:<{}>", recipients[1])).unwrap();
    assert_eq!(refusal.code, 452, "{refusal}");
    assert!(refusal.text().starts_with("4.5.3 "), "{refusal}");
    client.ask("DATA", 354);
    client.ask(&format!("Subject: {subject}\r\n\r\nBy domain.\r\n."), 250);
}

#[test]
fn issue_12_each_domain_has_its_backend() {
    let name = "issue_12_each_domain_has_its_backend";
    let Some(host) = host::for_test(name, &["postfix", "dovecot", "openssl"]) else { return };
    let (postfix, dovecot) = (Postfix::start(&host), Dovecot::start(&host));
    host.write("/etc/dovecot/mailboxes", &format!("{NEWS}:::::/var/vmail-lmtp/news::\n"));
    let route = format!(
        "[[route]]\ndomains = [\"lists.test\"]\nbackend = {{ profile = \"dovecot-lmtp\", connect = \"unix:{}\" }}",
        Dovecot::SOCKET
    );
    let backend = format!("profile = \"postfix\"\nconnect = \"unix:{}\"", Postfix::SOCKET);
    let gate = Gate::start(&host, &config(&backend, &route));
    gate.audit(&[]).expect_ok("audit");
    let checked = run(host.command(GATEPOST).args(["check", "--config", CONFIG]));
    for socket in [Postfix::SOCKET, Dovecot::SOCKET] {
        assert!(checked.stdout.contains(&format!("backend unix:{socket}")), "{}", checked.said());
    }

    let mut client = gate.client();
    client.hello("road.test");
    deliver(&mut client, [ALICE, NEWS], "first to postfix");
    deliver(&mut client, [NEWS, ALICE], "then to dovecot");
    // A domain of neither.
    client.ask("MAIL FROM:<sender@road.test>", 250);
    client.ask("RCPT TO:<x@sub.lists.test>", 550);
    client.ask("QUIT", 221);
    let (alice, news) = (postfix.maildir("alice"), dovecot.maildir("news"));
    for (maildir, own, other) in
        [(&alice, "first to postfix", "then to dovecot"), (&news, "then to dovecot", "first to postfix")]
    {
        let message = maildir.one_with(&format!("Subject: {own}"));
        assert!(message.contains(&format!("[{AWAY}]")) && message.contains("by mx.ok.test"), "{message}");
        assert!(maildir.with(&format!("Subject: {other}")).is_empty());
    }

    // A sender that has one message for both comes twice.
    let sender = Sender::start(&host, &format!("[{HERE}]:25"), "encrypt");
    sender.send("sender@road.test", &format!("{ALICE} {NEWS}"), "for both");
    for recipient in [ALICE, NEWS] {
        let _ = sender.logged(&format!("to=<{recipient}>"), "status=sent (250 ");
    }
    for maildir in [&alice, &news] {
        let _ = maildir.one_with("Subject: for both");
    }
    gate.stop();
}

#[test]
fn issue_12_a_route_that_is_down_keeps_no_other_mail_waiting_and_is_named() {
    let name = "issue_12_a_route_that_is_down_keeps_no_other_mail_waiting_and_is_named";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let route = "[[route]]\nrecipients = [\"list@ok.test\"]\nbackend = { profile = \"smtp\", connect = \"unix:/run/backend/lists\" }";
    let config = config(&backend, route);
    let ask = |words: &[&str]| run(host.command(GATEPOST).args(words));
    let later = "the route of list@ok.test cannot be asked yet";
    prepare(&host);
    host.write(CONFIG, &config);
    let checked = ask(&["check"]);
    assert_eq!(checked.status.code(), Some(2), "{}", checked.said());
    let looks: Vec<&str> = checked.stdout.lines().filter(|line| line.starts_with("LOOK")).collect();
    assert!(looks.iter().any(|row| row.contains("backend smtp") && row.contains("cannot be asked now")), "{looks:?}");

    let mut gate = Gate::start(&host, &config);
    gate.wait_told("STATUS=Serving, but the backend of a route cannot be asked yet");
    let heard = |recipient: &str| {
        let mut client = gate.client();
        client.hello("road.test");
        client.ask("MAIL FROM:<sender@road.test>", 250);
        let code = client.try_ask(&format!("RCPT TO:<{recipient}>")).unwrap().code;
        if code == 250 {
            client.ask("DATA", 354);
            client.ask("Subject: x\r\n\r\nx\r\n.", 250);
        }
        client.ask("QUIT", 221);
        code
    };
    assert_eq!([ALICE, "list@ok.test"].map(&heard), [250, 451]);
    let status = ask(&["status"]);
    assert_eq!(status.status.code(), Some(2), "{}", status.said());
    let rows = ["backend  the backend: ready", "backend  the route of list@ok.test: cannot be asked yet"];
    assert!(rows.iter().all(|row| status.stdout.contains(row)), "{}", status.said());
    // A reload is taken, with a word of it.
    let reloaded = ask(&["reload"]);
    assert!(reloaded.ok() && reloaded.stdout.contains(&format!("warning: {later}")), "{}", reloaded.said());
    assert_eq!([ALICE, "list@ok.test"].map(&heard), [250, 451]);

    let lists = Mta::unix(&host.path("/run/backend/lists"), Speaks::Smtp);
    holds("the route to be ready", SOON, || ask(&["status"]).ok());
    assert_eq!([ALICE, "list@ok.test"].map(&heard), [250, 250]);
    assert_eq!((mta.count(), lists.count()), (3, 1));
    let reloaded = ask(&["reload"]);
    assert!(reloaded.ok() && !reloaded.stdout.contains("warning"), "{}", reloaded.said());
    gate.stop();
}
