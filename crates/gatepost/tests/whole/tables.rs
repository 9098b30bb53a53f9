//! Issue 12, point 7: tables of senders, recipients and HELO names hold in handoff, which has no files, and theirs are read anew.

use crate::gate::{GATEPOST, Gate, config, rogue, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::rogue::{Deed, Speaks, Stage};
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};

const DOMAINS: &str = "/etc/domains.cdb";

const MORE: &str = "[senders]\nrefuse = [\"/^[0-9]+@road\\\\.test$/\"]\nrefuse_cdb = \"/etc/senders.cdb\"\n\
    [recipients]\nrefuse = [\"gone@ok.test\"]\nvalid_file = \"/etc/recipients\"\n\
    [helo]\nrefuse = [\"localhost\", \".dyn.test\"]\n";

fn put(host: &Host, path: &str, text: &str) {
    host.write(&format!("{path}.new"), text);
    host.shell(&format!("mv {path}.new {path}")).expect_ok("mv");
}

/// A database of these keys, by our own tcprules: an address is a key of it as it stands.
fn database(host: &Host, key: &str) {
    database_at(host, "/etc/senders.cdb", key);
}

fn database_at(host: &Host, path: &str, key: &str) {
    host.write("/etc/keys", &format!("{key}:allow\n"));
    host.shell(&format!("{GATEPOST} tcprules {path} /etc/keys.tmp </etc/keys")).expect_ok("tcprules");
}

/// What a recipient hears in a session of its own.
fn heard(host: &Host, helo: &str, sender: &str, recipient: &str) -> (u16, String) {
    let mut client = Client::over(host.connect(&starttls()));
    client.hello(helo);
    client.ask(&format!("MAIL FROM:<{sender}>"), 250);
    let reply = client.try_ask(&format!("RCPT TO:<{recipient}>")).unwrap();
    client.ask("QUIT", 221);
    (reply.code, reply.text().split(' ').next().unwrap_or_default().to_owned())
}

#[test]
fn issue_12_tables_hold_and_their_files_are_read_anew() {
    let name = "issue_12_tables_hold_and_their_files_are_read_anew";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    host.write("/etc/recipients", "# who there is\nalice@ok.test\nspare@ok.test # since May\n");
    database(&host, "spam@road.test");
    database_at(&host, DOMAINS, ".sub.test");
    let config = config(&backend, MORE).replace("[relay]\n", &format!("[relay]\ndomains_cdb = \"{DOMAINS}\"\n"));
    let gate = Gate::start(&host, &config);
    let good = "good@road.test";
    // Relay domains of a database; the tables say the same of their recipients as of others.
    assert_eq!(heard(&host, "road.test", good, "x@sub.test"), (550, "5.7.1".to_owned()));
    assert_eq!(heard(&host, "road.test", good, "x@a.sub.test"), (550, "5.1.1".to_owned()));
    mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 Ok\r\n"));
    assert_eq!(heard(&host, "road.test", good, "Postmaster@A.b.sub.test").0, 250);
    mta.behave();
    for (helo, sender, recipient, code, enhanced) in [
        ("road.test", good, "alice@ok.test", 250, "2.1.5"),
        ("road.test", good, "ALICE@ok.test", 250, "2.1.5"),
        ("road.test", "", "alice@ok.test", 250, "2.1.5"),
        ("road.test", good, "bob@ok.test", 550, "5.1.1"),
        ("road.test", good, "gone@ok.test", 550, "5.7.1"),
        ("road.test", "123@road.test", "alice@ok.test", 550, "5.7.1"),
        ("road.test", "spam@road.test", "alice@ok.test", 550, "5.7.1"),
        ("LOCALHOST", good, "alice@ok.test", 550, "5.7.1"),
        ("a.dyn.test", good, "alice@ok.test", 550, "5.7.1"),
        // Never kept out, and not by another name either.
        ("localhost", "spam@road.test", "postmaster@ok.test", 250, "2.1.5"),
        ("localhost", "spam@road.test", "Abuse@ok.test", 250, "2.1.5"),
        ("localhost", "spam@road.test", "postmaster@elsewhere.test", 550, "5.7.1"),
        ("road.test", good, "alice@[192.0.2.1]", 550, "5.7.1"),
        ("road.test", good, "postmaster@[192.0.2.1]", 550, "5.7.1"),
    ] {
        let said = heard(&host, helo, sender, recipient);
        assert_eq!((said.0, said.1.as_str()), (code, enhanced), "{helo} {sender} {recipient}");
    }
    let asked = |recipient: &str| mta.lines().iter().any(|line| line.contains(recipient));
    assert!(asked("Abuse@ok.test"));
    for refused in ["bob@ok.test", "gone@ok.test", "elsewhere.test"] {
        assert!(!asked(refused), "the backend was asked about {refused}");
    }
    // Our own address: what becomes of it the backend says.
    mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 Ok\r\n"));
    assert_eq!(heard(&host, "localhost", good, &format!("postmaster@[{HERE}]")).0, 250);
    assert_eq!(heard(&host, "road.test", good, &format!("alice@[{HERE}]")).0, 550);
    mta.behave();

    put(&host, "/etc/recipients", "bob@ok.test\n");
    holds("the new list to be in force", SOON, || heard(&host, "road.test", good, "bob@ok.test").0 == 250);
    assert_eq!(heard(&host, "road.test", good, "alice@ok.test").0, 550);
    // A mistake, and what would bounce all mail: told, and nothing changes.
    for (text, told) in [("bob@ok.test\n@\n", "/etc/recipients:2"), ("# nobody\n", "there is no recipient in it")] {
        put(&host, "/etc/recipients", text);
        holds("the mistake to be told", SOON, || gate.process.said().contains(told));
        assert_eq!(heard(&host, "road.test", good, "bob@ok.test").0, 250);
    }
    database(&host, "@road.test");
    holds("the new database to be in force", SOON, || heard(&host, "road.test", good, "bob@ok.test").0 == 550);
    // One that is damaged within refuses nobody for good and lets nobody through.
    host.shell("head -c 2060 /etc/senders.cdb >/etc/x && mv /etc/x /etc/senders.cdb").expect_ok("head");
    holds("the damage to be seen", SOON, || heard(&host, "road.test", good, "bob@ok.test").0 == 451);
    mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 Ok\r\n"));
    // The same of the database of domains; those of the configuration itself are searched first.
    database_at(&host, DOMAINS, "sub.test");
    holds("the new domains to be in force", SOON, || heard(&host, "road.test", good, "postmaster@sub.test").0 == 250);
    assert_eq!(heard(&host, "road.test", good, "postmaster@a.sub.test").0, 550);
    host.shell(&format!("head -c 2060 {DOMAINS} >/etc/x && mv /etc/x {DOMAINS}")).expect_ok("head");
    holds("the damage to be seen", SOON, || heard(&host, "road.test", good, "postmaster@sub.test").0 == 451);
    host.shell(&format!("head -c 2048 /dev/zero >/etc/x && mv /etc/x {DOMAINS}")).expect_ok("head");
    holds("the empty one to be told", SOON, || gate.process.said().contains("there is no domain in it"));
    gate.audit(&[]).expect_ok("audit");
    gate.stop();
    let checked = run(host.command(GATEPOST).args(["check", "--config", crate::gate::CONFIG]));
    assert_eq!(checked.status.code(), Some(1), "an empty list of recipients is a mistake: {}", checked.said());
}
