//! README followed word for word on a fresh machine: the commands are read out of its text, so that it cannot go stale.

use crate::gate::{CONFIG, GATEPOST};
use crate::stock_postfix::{self, DOMAIN, mailbox};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{AWAY, AWAY6, HERE, HERE6, source_tree};
use gatepost_testkit::systemd::{self, SystemdHost};
use gatepost_testkit::wait::{SOON, holds};

/// A block of README's steps.
#[derive(Debug)]
pub(crate) struct Block {
    /// What its first fence says: `sh`, `toml`.
    language: String,
    /// Its lines.
    pub(crate) text: String,
}

/// The blocks of README's steps in front of an MTA, in their order. The line that builds the program is left out: what is
/// installed is the program under test.
pub(crate) fn steps() -> Vec<Block> {
    let readme = std::fs::read_to_string(source_tree().join("README.md")).unwrap();
    let steps =
        readme.split("\n## ").find(|section| section.starts_with("Put it in front of your MTA")).expect("the steps");
    let fenced = steps.split("\n```").skip(1).step_by(2);
    let blocks = fenced.map(|block| {
        let (language, text) = block.split_once('\n').expect("a fence ends its line");
        let text = text.replace("cargo build --release\n", "").replace("target/*/release/gatepost", GATEPOST);
        Block { language: language.to_owned(), text }
    });
    blocks.collect()
}

/// The step that installs the program.
pub(crate) fn installs() -> String {
    find(GATEPOST).expect("a step that installs")
}

/// The step that starts the service.
pub(crate) fn starts() -> String {
    find("systemctl enable").expect("a step that starts")
}

fn find(words: &str) -> Option<String> {
    steps().into_iter().find(|block| block.text.contains(words)).map(|block| block.text)
}

/// Types a block of commands at the top of the source tree.
pub(crate) fn type_in(host: &SystemdHost, commands: &str) {
    let tree = source_tree();
    host.shell(&format!("set -e; cd '{}'\n{commands}", tree.display())).expect_ok(commands);
}

/// What README takes for granted: a machine with Postfix that takes mail for a domain, and a certificate by certbot.
fn machine(test: &str) -> Option<SystemdHost> {
    let host = systemd::for_test(test, &["openssl", "postfix"])?;
    stock_postfix::configure(&host.host);
    host.shell("systemctl start postfix").expect_ok("Postfix");
    host.shell(&format!(
        "set -e; mkdir -p /etc/letsencrypt/live/mx.{DOMAIN}; cd /etc/letsencrypt/live/mx.{DOMAIN}
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=mx.{DOMAIN} \
           -addext subjectAltName=DNS:mx.{DOMAIN} -keyout privkey.pem -out fullchain.pem 2>/dev/null"
    ))
    .expect_ok("a certificate");
    Some(host)
}

fn client(host: &SystemdHost, address: &str) -> Client {
    let mut client = Client::over(host.host.connect(address));
    client.hello("road.test");
    client
}

#[test]
fn issue_10_the_readme_word_for_word_brings_ipv4_and_ipv6_mail_in() {
    let Some(host) = machine("issue_10_the_readme_word_for_word_brings_ipv4_and_ipv6_mail_in") else { return };
    assert!(steps().len() > 5, "{:?}", steps());
    for block in steps() {
        match block.language.as_str() {
            "sh" => type_in(&host, &block.text),
            "toml" => host.host.write(CONFIG, &block.text),
            other => panic!("a block of {other:?}: {}", block.text),
        }
        if !block.text.contains("systemctl enable") {
            assert_eq!(host.property("gatepost.service", "ActiveState"), "inactive", "after {}", block.text);
        }
    }
    // At the first try: one start, no failure, no limit.
    assert_eq!(host.property("gatepost.service", "ActiveState"), "active", "{}", host.journal("gatepost"));
    assert_eq!(host.property("gatepost.service", "NRestarts"), "0");

    for (address, from) in [(format!("{HERE}:25"), AWAY), (format!("[{HERE6}]:25"), AWAY6)] {
        let mut client = client(&host, &address);
        client.starttls(&format!("mx.{DOMAIN}"));
        client.ask("EHLO road.test", 250);
        client.deliver(
            "sender@road.test",
            &format!("postmaster@{DOMAIN}"),
            &format!("Subject: to {address}\r\n\r\nx\r\n"),
        );
        holds("it is in the mailbox", SOON, || mailbox(&host.host).contains(&format!("Subject: to {address}")));
        assert!(mailbox(&host.host).contains(from), "{}", mailbox(&host.host));
        // A stranger may not relay, and an unknown user is refused instead of bounced.
        client.ask("MAIL FROM:<sender@road.test>", 250);
        client.ask("RCPT TO:<stranger@elsewhere.test>", 550);
        client.ask(&format!("RCPT TO:<nobody-here@{DOMAIN}>"), 550);
        client.ask("QUIT", 221);
    }
    // Programs of the machine send anywhere, as they did before.
    for address in ["127.0.0.1:25", "[::1]:25"] {
        let mut program = client(&host, address);
        program.deliver("root@example.org", "somebody@elsewhere.test", "Subject: from a program\r\n\r\nx\r\n");
        program.ask("QUIT", 221);
    }
    holds("Postfix has queued both", SOON, || {
        host.host.read("/var/log/mail.log").matches("from=<root@example.org>, size=").count() == 2
    });
    // The same lines do not hide a Postfix that lets everybody relay.
    host.shell("postconf -e mynetworks=0.0.0.0/0 && postfix reload").expect_ok("postfix reload");
    holds("the proof finds an open relay", SOON, || {
        let checked = host.shell("gatepost check");
        checked.status.code() == Some(1) && checked.said().contains("relays for a stranger")
    });
}

#[test]
fn issue_10_what_is_enabled_before_it_is_configured_waits() {
    let Some(host) = machine("issue_10_what_is_enabled_before_it_is_configured_waits") else { return };
    type_in(&host, &installs());
    type_in(&host, &starts());
    for unit in ["gatepost.socket", "gatepost.service"] {
        assert_eq!(host.property(unit, "ActiveState"), "inactive", "{}", host.journal(unit));
        assert_eq!(host.property(unit, "ConditionResult"), "no");
    }
    // A mistake does not run into a limit: mended, it serves without being pardoned.
    for block in steps().iter().filter(|block| block.language == "sh" && !block.text.contains("gatepost check")) {
        if !block.text.contains("systemctl") {
            type_in(&host, &block.text);
        }
    }
    host.host.write(CONFIG, "hostname = 7\n");
    host.shell("systemctl start gatepost.socket").expect_ok("the socket");
    for _ in 0..6 {
        assert!(!host.shell("systemctl start gatepost.service").ok(), "{}", host.journal("gatepost"));
    }
    let right = steps().into_iter().find(|block| block.language == "toml").expect("a configuration");
    host.host.write(CONFIG, &right.text);
    holds("it serves by itself", SOON, || host.property("gatepost.service", "ActiveState") == "active");
    client(&host, &format!("{HERE}:25")).ask("QUIT", 221);
}
