//! Issue 12: rules, rates, shares and networks judge the client that a PROXY header names; and what of them holds for one connection
//! by `gatepost inetd`.

use crate::gate::{CONFIG, GATEPOST, Gate, config, prepare, rogue, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, HERE, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::wait::{SOON, holds};
use std::io::Write;

/// Compiled rules of tcprules, in their place.
fn rules(host: &Host, source: &str) {
    host.write("/etc/tcp.smtp", source);
    let line = format!("{GATEPOST} tcprules /etc/tcp.smtp.cdb /etc/tcp.smtp.tmp </etc/tcp.smtp");
    host.shell(&line).expect_ok("tcprules");
}

const MORE: &str = "[admission]\nrules = \"/etc/tcp.smtp.cdb\"\nearly_talk = \"off\"\n\
    [rates]\nconnections = \"6/h\"\nmessages = \"1/h\"\n\
    [limits]\nsessions_per_address = 2\n\
    [[network]]\nnetworks = [\"203.0.113.8\"]\nexempt = true\nrelay = true\nmessage_size = \"100KiB\"\nhide = [\"CHUNKING\"]\n";

#[test]
fn issue_12_access_rates_and_shares_judge_the_client_behind_the_load_balancer() {
    let name = "issue_12_access_rates_and_shares_judge_the_client_behind_the_load_balancer";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    // The load balancer's own address may nothing, and has had its part of everything at once.
    rules(&host, &format!("{AWAY}:deny\n203.0.113.66:deny\n203.0.113.7:allow,DATABYTES=\"2000\"\n:allow\n"));
    let line = format!("address = \"{}\"\n", starttls());
    let text = config(&backend, MORE).replace(&line, &format!("{line}proxy_from = [\"{AWAY}\"]\n"));
    let gate = Gate::start(&host, &text);
    let from = |ip: &str| {
        let mut stream = host.connect(&starttls());
        stream.write_all(format!("PROXY TCP4 {ip} {HERE} 4713 25\r\n").as_bytes()).unwrap();
        Client::over(stream)
    };
    let greeting = |ip: &str| {
        let reply = from(ip).reply();
        format!("{} {}", reply.code, reply.text())
    };
    // Rules.
    assert!(greeting("203.0.113.66").starts_with("554 "));
    let offered = from("203.0.113.7").hello("road.test");
    assert!(offered.contains(&"SIZE 2000".to_owned()), "{offered:?}");
    // Rates of connections: six, of this one and of nobody else.
    for n in 0..8 {
        let heard = greeting("203.0.113.9");
        assert_eq!(heard.starts_with("220 "), n < 6, "{n}: {heard}");
        assert!(n < 6 || heard.contains("too many connections from your network in a short time"), "{heard}");
    }
    holds("the sessions to end", SOON, || gate.sessions().is_empty());
    // Shares: two sessions and two that wait, of this one and of nobody else.
    let mut held: Vec<Client> = (0..2).map(|_| from("198.51.100.1")).collect();
    held.iter_mut().for_each(|client| drop(client.expect(220)));
    let waiting: Vec<Client> = (0..2).map(|_| from("198.51.100.1")).collect();
    assert!(greeting("198.51.100.1").contains("too many connections from your address"));
    assert!(greeting("198.51.100.2").starts_with("220 "));
    drop((held, waiting));
    // Rates of mail, in handoff.
    for (ip, codes) in [("198.51.101.1", [250, 450]), ("198.51.101.2", [250, 450]), ("203.0.113.8", [250, 250])] {
        let mut client = from(ip);
        let offered = client.hello("road.test");
        assert_eq!(offered.iter().any(|line| line == "CHUNKING"), ip != "203.0.113.8", "{offered:?}");
        for code in codes {
            client.ask("MAIL FROM:<s@road.test>", 250);
            client.ask("RCPT TO:<u@ok.test>", code);
            client.ask("RSET", 250);
        }
        // The network that may relay: the backend itself refuses.
        client.ask("MAIL FROM:<s@road.test>", 250);
        client.ask("RCPT TO:<u@elsewhere.test>", if ip == "203.0.113.8" { 554 } else { 550 });
    }
    // A check of the load balancer's own is judged by its own address.
    let mut stream = host.connect(&starttls());
    stream.write_all(b"PROXY UNKNOWN\r\n").unwrap();
    assert_eq!(Client::over(stream).reply().code, 554);
    gate.stop();
}

#[test]
fn issue_12_one_connection_by_inetd_has_rules_networks_and_no_proxy_header() {
    let name = "issue_12_one_connection_by_inetd_has_rules_networks_and_no_proxy_header";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    rules(&host, "127.1.0.1:deny\n127.1.0.2:allow,RELAYCLIENT=\"\"\n:allow\n");
    host.write("/etc/partners", "127.1.0.8\n");
    let line = format!("address = \"{}\"\n", starttls());
    let more = MORE.replace("networks = [\"203.0.113.8\"]", "networks_file = \"/etc/partners\"");
    let text = config(&backend, &more).replace(&line, &format!("{line}proxy_from = [\"127.1.0.9\"]\n"));
    host.write(CONFIG, &text);
    let server =
        host.start("tcpserver", host.command(GATEPOST).args(["tcpserver", "-HRl0", HERE, "25", GATEPOST, "inetd"]));
    holds("tcpserver to listen", SOON, || host.listens(&starttls()));
    let from = |ip: &str| Client::over(host.connect_from(ip, &starttls()).unwrap());
    let foreign = |ip: &str| {
        let mut client = from(ip);
        let offered = client.hello("road.test");
        client.ask("MAIL FROM:<s@road.test>", 250);
        (offered, client.try_ask("RCPT TO:<u@elsewhere.test>").unwrap().code)
    };
    let denied = from("127.1.0.1").reply();
    assert_eq!((denied.code, denied.text().contains("no service for your address")), (554, true), "{denied}");
    assert_eq!(foreign("127.1.0.2").1, 554, "the backend itself refuses");
    let (offered, code) = foreign("127.1.0.3");
    assert!(offered.contains(&"CHUNKING".to_owned()) && code == 550, "{offered:?} {code}");
    let (offered, code) = foreign("127.1.0.8");
    assert!(offered.contains(&"SIZE 102400".to_owned()) && !offered.contains(&"CHUNKING".to_owned()), "{offered:?}");
    assert_eq!(code, 554, "the backend itself refuses");
    assert_eq!(from("127.1.0.9").reply().code, 421);
    let said = server.said();
    assert!(said.contains("refused by the rules") && said.contains("gatepost inetd reads no PROXY header"), "{said}");
}
