//! `[admission] rules`: who may connect, relay, and send how much, by the listener in its empty jail.

use crate::gate::{GATEPOST, Gate, config, rogue, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::wait::{SOON, holds};

const RULES: &str = "[admission]\nrules = \"/etc/tcp.smtp.cdb\"\n";

/// Compiles them, and moves the file to its place, as every admin's script does.
fn put(host: &Host, source: &str) {
    host.write("/etc/tcp.smtp", source);
    let line = format!("{} tcprules /etc/tcp.smtp.cdb /etc/tcp.smtp.tmp </etc/tcp.smtp", GATEPOST);
    host.shell(&line).expect_ok("tcprules");
}

/// What a client from that address is greeted with: the code.
fn greeting(host: &Host) -> u16 {
    Client::over(host.connect(&starttls())).reply().code
}

#[test]
fn issue_12_rules_of_tcprules_hold_and_are_read_anew_when_they_are_replaced() {
    let name = "issue_12_rules_of_tcprules_hold_and_are_read_anew_when_they_are_replaced";
    let Some(host) = host::for_test(name, &[]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    put(&host, &format!("{AWAY}:allow,RELAYCLIENT=\"\",DATABYTES=\"2000\"\n:deny\n"));
    let gate = Gate::start(&host, &config(&backend, RULES));
    let mut client = Client::over(host.connect(&starttls()));
    let offered = client.hello("road.test");
    assert!(offered.contains(&"SIZE 2000".to_owned()), "{offered:?}");
    client.ask("MAIL FROM:<s@road.test>", 250);
    // The backend's own answer to a stranger: gatepost lets it be asked.
    client.ask("RCPT TO:<u@elsewhere.test>", 554);
    client.ask("RSET", 250);
    client.ask("MAIL FROM:<s@road.test> SIZE=2001", 552);
    client.ask("QUIT", 221);
    // Without RELAYCLIENT; the connection that is there keeps what it began with.
    let mut before = Client::over(host.connect(&starttls()));
    before.hello("road.test");
    put(&host, "192.0.2.0/24:allow\n:deny\n");
    holds("the new rules to be in force", SOON, || {
        let mut client = Client::over(host.connect(&starttls()));
        !client.hello("road.test").contains(&"SIZE 2000".to_owned())
    });
    let mut client = Client::over(host.connect(&starttls()));
    client.hello("road.test");
    client.ask("MAIL FROM:<s@road.test>", 250);
    client.ask("RCPT TO:<u@elsewhere.test>", 550);
    client.ask("RCPT TO:<u@ok.test>", 250);
    before.ask("MAIL FROM:<s@road.test>", 250);
    before.ask("RCPT TO:<u@elsewhere.test>", 554);
    drop((client, before));
    put(&host, &format!("{AWAY}:deny\n"));
    holds("the client to be refused", SOON, || greeting(&host) == 554);
    holds("it to be logged", SOON, || {
        gate.process.said().contains("turned-away") && gate.process.said().contains("why=Rules")
    });
    // Where the file is gone, the rules stay.
    host.shell("rm /etc/tcp.smtp.cdb").expect_ok("rm");
    holds("it to be missed", SOON, || gate.process.said().contains("the old rules stay in force"));
    assert_eq!(greeting(&host), 554);
    // Nobody is taken by a damaged file, whatever it may have said of him.
    host.shell("echo junk >/etc/tcp.smtp.junk && mv /etc/tcp.smtp.junk /etc/tcp.smtp.cdb").expect_ok("mv");
    holds("nobody to be taken", SOON, || greeting(&host) == 421);
    put(&host, ":allow\n");
    holds("everybody to be taken again", SOON, || greeting(&host) == 220);
    gate.audit(&[]).expect_ok("audit");
    gate.stop();
}
