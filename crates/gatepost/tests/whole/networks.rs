//! `[[network]]` and files of networks: listener, session and handoff hold to them, and a file that is replaced is read anew.

use crate::gate::{Gate, config, rogue, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::wait::{SOON, holds};

const MORE: &str = "[limits]\nmessage_size = \"1MiB\"\n\
    [[network]]\nnetworks_file = \"/etc/partners\"\nmessage_size = \"200KiB\"\nsessions_per_address = 2\n\
    hide = [\"PIPELINING\", \"chunking\"]\n\
    [[network]]\nnetworks = [\"192.0.2.0/24\"]\nrelay = true\n";

fn put(host: &Host, path: &str, text: &str) {
    host.write(&format!("{path}.new"), text);
    host.shell(&format!("mv {path}.new {path}")).expect_ok("mv");
}

/// What EHLO shows, and the code for a foreign recipient.
fn treated(host: &Host) -> (Vec<String>, u16) {
    let mut client = Client::over(host.connect(&starttls()));
    let offered = client.hello("road.test");
    client.ask("MAIL FROM:<s@road.test>", 250);
    let code = client.try_ask("RCPT TO:<u@elsewhere.test>").unwrap().code;
    client.ask("QUIT", 221);
    (offered, code)
}

#[test]
fn issue_12_networks_hold_in_every_process_and_their_files_are_read_anew() {
    let name = "issue_12_networks_hold_in_every_process_and_their_files_are_read_anew";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    host.write("/etc/partners", &format!("# partners\n{AWAY}\n"));
    host.write("/etc/clients", "198.51.100.0/24\n");
    let text = config(&backend, MORE).replace("[relay]\n", "[relay]\nclients_file = \"/etc/clients\"\n");
    let gate = Gate::start(&host, &text);

    // The longest network: not the one that may relay.
    let (offered, code) = treated(&host);
    assert!(offered.contains(&"SIZE 204800".to_owned()) && offered.contains(&"8BITMIME".to_owned()), "{offered:?}");
    assert!(!offered.iter().any(|line| line == "PIPELINING" || line == "CHUNKING"), "{offered:?}");
    assert_eq!(code, 550);
    let held: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = Client::over(host.connect(&starttls()));
            client.expect(220);
            client
        })
        .collect();
    // Two more wait until one of these ends; the fifth does not.
    let waiting: Vec<_> = (0..2).map(|_| host.connect(&starttls())).collect();
    assert_eq!(Client::over(host.connect(&starttls())).reply().code, 421);
    drop((held, waiting));
    holds("the sessions to end", SOON, || gate.sessions().is_empty());

    // With another file the wider network is left, whose clients the backend itself refuses.
    put(&host, "/etc/partners", "203.0.113.9\n");
    holds("the new file to be in force", SOON, || treated(&host).1 == 554);
    let (offered, _) = treated(&host);
    assert!(offered.contains(&"SIZE 1048576".to_owned()) && offered.contains(&"PIPELINING".to_owned()), "{offered:?}");

    // A mistake in a file is told, and changes nothing.
    put(&host, "/etc/partners", &format!("{AWAY}\n192.0.2.1/24\n"));
    holds("the mistake to be told", SOON, || gate.process.said().contains("stay in force"));
    assert_eq!(treated(&host).1, 554);

    // A longer network without a right, and the file of those who have it.
    put(&host, "/etc/partners", &format!("{AWAY}\n"));
    holds("the right to be gone", SOON, || treated(&host).1 == 550);
    put(&host, "/etc/clients", &format!("{AWAY}\n"));
    holds("the right to be back", SOON, || treated(&host).1 == 554);
    gate.audit(&[]).expect_ok("audit");
    gate.stop();
}
