//! Issue 12, point 8: several recipients by LMTP, one of them over his quota, with a real Dovecot behind and real senders before.

use crate::gate::{Gate, config};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::mta::{Dovecot, Postfix, Road, Sender};
use gatepost_testkit::peer::Peer;
use gatepost_testkit::run::run;
use std::fmt::Write as _;

/// The third is over his quota.
const MAILBOXES: [&str; 5] = ["one", "two", "full", "four", "five"];

const QUOTA: &str = "ssl = no
mail_plugins = quota
protocol lmtp {
  mail_plugins = quota
}
plugin {
  quota = maildir:User quota
  quota_exceeded_message = Quota exceeded, see https://mail.test/quota
}";

fn dovecot(host: &Host) -> Dovecot<'_> {
    let dovecot = Dovecot::start_with(host, QUOTA);
    let mut users = String::new();
    for name in MAILBOXES {
        let quota = if name == "full" { "10B" } else { "1G" };
        writeln!(users, "{name}@ok.test:::::/var/vmail-lmtp/{name}::userdb_quota_rule=*:storage={quota}").unwrap();
    }
    host.write("/etc/dovecot/mailboxes", &users);
    dovecot
}

fn backend() -> String {
    config(&format!("profile = \"dovecot-lmtp\"\nconnect = \"unix:{}\"", Dovecot::SOCKET), "")
}

fn addresses() -> Vec<String> {
    MAILBOXES.iter().map(|name| format!("{name}@ok.test")).collect()
}

/// Everybody but the one without room has the message once.
fn assert_once(dovecot: &Dovecot<'_>, subject: &str) {
    for name in MAILBOXES {
        let copies = dovecot.maildir(name).with(subject).len();
        assert_eq!(copies, usize::from(name != "full"), "{name}: {subject}");
    }
}

/// RCPT for all; gives those that may be in this transaction. All others must be told to come separately.
fn envelope(client: &mut Client, recipients: &[String]) -> Vec<String> {
    client.ask("MAIL FROM:<sender@road.test>", 250);
    let mut accepted = Vec::new();
    for recipient in recipients {
        let reply = client.try_ask(&format!("RCPT TO:<{recipient}>")).unwrap();
        match reply.code {
            250 => accepted.push(recipient.clone()),
            code => assert!(code == 452 && reply.text().starts_with("4.5.3"), "{recipient}: {reply}"),
        }
    }
    accepted
}

#[test]
fn issue_12_one_of_five_is_over_his_quota_and_a_patient_client_gets_rid_of_all() {
    let name = "issue_12_one_of_five_is_over_his_quota_and_a_patient_client_gets_rid_of_all";
    let Some(host) = host::for_test(name, &["dovecot", "openssl"]) else { return };
    let dovecot = dovecot(&host);
    let gate = Gate::start(&host, &backend());
    let mut client = gate.client();
    client.hello("road.test");

    let mut pending = addresses();
    let content = "Subject: by hand\r\n\r\nThe same each time.\r\n.";
    let mut told = Vec::new();
    while !pending.is_empty() {
        let accepted = envelope(&mut client, &pending);
        client.ask("DATA", 354);
        let reply = client.try_ask(content).unwrap();
        told.push((accepted.len(), reply.code));
        match reply.class() {
            2 => pending.retain(|recipient| !accepted.contains(recipient)),
            5 => {
                assert_eq!(accepted, ["full@ok.test"]);
                assert!(reply.text().contains("Quota exceeded, see https://mail.test/quota"), "{reply}");
                pending.retain(|recipient| !accepted.contains(recipient));
            }
            _ => {}
        }
    }
    assert_eq!(told, [(5, 451), (4, 250), (1, 552)]);
    assert_once(&dovecot, "Subject: by hand");
    client.ask("QUIT", 221);
    gate.stop();
}

#[test]
fn issue_12_postfix_sends_again_and_nobody_has_the_message_twice() {
    let name = "issue_12_postfix_sends_again_and_nobody_has_the_message_twice";
    let Some(host) = host::for_test(name, &["postfix", "dovecot", "openssl"]) else { return };
    let dovecot = dovecot(&host);
    // Only to name the sender's configuration: nothing is sent to it.
    let _postfix = Postfix::start(&host);
    let gate = Gate::start(&host, &backend());
    let sender = Sender::start(&host, &format!("[{HERE}]:25"), "encrypt");
    sender.send("sender@road.test", &addresses().join(" "), "by postfix");
    for address in addresses() {
        let status = if address.starts_with("full") { "status=bounced" } else { "status=sent (250 " };
        let said = sender.logged(&format!("to=<{address}>"), status);
        assert!(!address.starts_with("full") || said.contains("https://mail.test/quota"), "{said}");
    }
    assert!(sender.log().contains("Not the same result for all recipients"), "{}", sender.log());
    assert_once(&dovecot, "Subject: by postfix");
    gate.stop();
}

#[test]
fn issue_12_exim_hears_each_result_by_prdr() {
    let name = "issue_12_exim_hears_each_result_by_prdr";
    if ![Peer::Exim, Peer::OpenSmtpd, Peer::Sendmail].iter().all(|peer| peer.is_there(name)) {
        return;
    }
    let Some(host) = host::for_test(name, &["dovecot", "openssl"]) else { return };
    let dovecot = dovecot(&host);
    let gate = Gate::start(&host, &backend());
    let road = Road::start(&host);
    host.write("/run/letter", "Subject: by exim\n\nby exim\n");
    run(&mut Road::command(&host, Peer::Exim, "sender@road.test", "/run/letter", &addresses())).expect_ok("exim");
    let log = road.log();
    for address in addresses() {
        let line = log.lines().find(|line| line.contains(&format!(" {address} "))).unwrap_or_else(|| panic!("{log}"));
        if address.starts_with("full") {
            assert!(line.contains(" ** ") && line.contains("PRDR error") && line.contains("/quota"), "{line}");
        } else {
            assert!((line.contains(" => ") || line.contains(" -> ")) && line.contains(" PRDR "), "{line}");
        }
    }
    assert_once(&dovecot, "Subject: by exim");
    gate.stop();
}
