//! P4: the open-relay set, from six senders, with a real Postfix behind: nothing leaves for a foreign domain.

use crate::gate::Gate;
use crate::site::config;
use gatepost_testkit::client::Client;
use gatepost_testkit::dialogue::unescape;
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::wait::{SOON, holds};

/// A stranger's, our own users', none, and names of this machine.
const SENDERS: [&str; 6] =
    ["", "spam@ok.test", "spam@foreign.test", "spam@mx.ok.test", "spam@[192.0.2.1]", "spam@localhost"];

/// What stands behind `RCPT TO:`, with the escapes of the dialogues: somebody at foreign.test, in all the ways in which a
/// server might find him.
const TARGETS: &[&str] = &[
    "<user@foreign.test>",
    "<\"user@foreign.test\">",
    "<user%foreign.test>",
    "<user%foreign.test@ok.test>",
    "<user%foreign.test@[192.0.2.1]>",
    "<user%foreign.test@mx.ok.test>",
    "<\"user%foreign.test\">",
    "<\"user%foreign.test\"@ok.test>",
    "<foreign.test!user>",
    "<foreign.test!user@ok.test>",
    "<foreign.test!user@[192.0.2.1]>",
    "<\"foreign.test!user\"@ok.test>",
    "<@ok.test:user@foreign.test>",
    "<@[192.0.2.1]:user@foreign.test>",
    "<@ok.test,@mx.ok.test:user@foreign.test>",
    "<user@foreign.test@ok.test>",
    "<user@foreign.test@[192.0.2.1]>",
    "<\"user@foreign.test\"@ok.test>",
    "<\"user\\\\@foreign.test\"@ok.test>",
    "<ok.test!foreign.test!user>",
    "<ok.test!user%foreign.test@ok.test>",
    "<user:foreign.test>",
    "<user@foreign.test.>",
    "<user@FOREIGN.TEST>",
    "<user@foreign.test\\x0b@ok.test>",
    "<user@[203.0.113.9]>",
    "<user@203.0.113.9>",
    "<user@[IPv6:2001:db8::9]>",
    "<user@ok.test.foreign.test>",
    "<user@xok.test>",
    "<user@.ok.test>",
    "<user@sub.ok.test>",
    "<user@localhost>",
    "<user@backend.test>",
    "<user@mx.ok.test>",
    "<user@[127.0.0.1]>",
    "user@foreign.test",
    "< user@foreign.test >",
    "<<user@foreign.test>>",
    "<user@foreign.test> <alice@ok.test>",
    "<alice@ok.test> <user@foreign.test>",
    "<alice@ok.test>,<user@foreign.test>",
    "<|user@ok.test>",
    "</etc/passwd@ok.test>",
    "<\"|/bin/sh\"@ok.test>",
    "<:include:/etc/passwd@ok.test>",
];

/// Such that the session ends over them.
const FATAL: &[&str] =
    &["<user@foreign.test\\0@ok.test>", "<user@foreign.test\\n@ok.test>", "<user@foreign.test\\r@ok.test>"];

/// For us, whatever else is said beside it.
const OURS: &str = "<@foreign.test:alice@ok.test> ORCPT=rfc822;user@foreign.test NOTIFY=NEVER";

fn client(host: &Host) -> Client {
    let mut client = Client::over(host.connect(&format!("{HERE}:25")));
    client.hello("client.test");
    client
}

fn rcpt(client: &mut Client, sender: &str, target: &str) -> u16 {
    client.ask(&format!("MAIL FROM:<{sender}>"), 250);
    client.write(&[b"RCPT TO:", unescape(target).as_slice(), b"\r\n"].concat());
    let code = client.reply().code;
    if code == 250 {
        client.ask("DATA", 354);
        client.write(b"Subject: relayed\r\n\r\nx\r\n.\r\n");
        client.expect(250);
    }
    code
}

#[test]
fn p4_the_open_relay_set_reaches_no_foreign_domain() {
    let name = "p4_the_open_relay_set_reaches_no_foreign_domain";
    let Some(host) = host::for_test(name, &["postfix", "openssl"]) else { return };
    let postfix = Postfix::start(&host);
    let backend = format!("profile = \"postfix\"\nconnect = \"unix:{}\"", Postfix::SOCKET);
    let gate = Gate::start(&host, &config(&backend, "off", ""));
    for sender in SENDERS {
        // Refusals are counted, so no client can have many.
        for targets in TARGETS.chunks(15) {
            let mut client = client(&host);
            for target in targets {
                let code = rcpt(&mut client, sender, target);
                assert_eq!(code / 100, 5, "{sender} to {target}: {code}");
                client.ask("RSET", 250);
            }
            client.ask("QUIT", 221);
        }
        for target in FATAL {
            let mut client = client(&host);
            assert_eq!(rcpt(&mut client, sender, target), 500, "{sender} to {target}");
            assert_eq!(client.rest(), "", "{sender} to {target}: the session goes on");
        }
        assert_eq!(rcpt(&mut client(&host), sender, OURS), 250, "{sender} to {OURS}");
    }
    let alice = postfix.maildir("alice");
    holds("what is for us to arrive", SOON, || alice.count() == SENDERS.len() && postfix.is_idle());
    // Whatever Postfix took has a line for each recipient, with the place that it went to; of all others it never heard.
    let log = postfix.log();
    assert!(!log.contains(" to=<user"), "{log}");
    let sent: Vec<&str> = log.lines().filter(|line| line.contains(" status=")).collect();
    let ours = |line: &&str| line.contains(" to=<alice@ok.test>") && line.contains("relay=virtual");
    assert!(sent.len() == SENDERS.len() && sent.iter().all(ours), "{sent:#?}");
    gate.stop();
}
