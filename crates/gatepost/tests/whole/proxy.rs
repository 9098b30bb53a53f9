//! Issue 12, point 6: behind a real load balancer, each in the forms that it has.

use crate::gate::{Gate, HOSTNAME, config, implicit, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, HERE, Host};
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::run::Process;
use gatepost_testkit::wait::{SOON, holds};

const POSTFIX: &str = "profile = \"postfix\"\nconnect = \"unix:/var/spool/postfix/public/gatepost\"";

/// All that comes by IPv4 is from load balancers at `peer`.
fn behind(peer: &str) -> String {
    [starttls(), implicit()].iter().fold(config(POSTFIX, ""), |text, address| {
        let line = format!("address = \"{address}\"\n");
        assert!(text.contains(&line));
        text.replace(&line, &format!("{line}proxy_from = [\"{peer}\"]\n"))
    })
}

/// A client that comes to `port` of the load balancer, and delivers a message.
fn deliver(host: &Host, port: u16, tls: bool, subject: &str) {
    let stream = host.connect(&format!("{HERE}:{port}"));
    let mut client = if tls { Client::tls(stream, HOSTNAME).unwrap() } else { Client::over(stream) };
    client.expect(220);
    client.ask("EHLO road.test", 250);
    client.deliver("sender@road.test", "alice@ok.test", &format!("Subject: {subject}\r\n\r\nx\r\n"));
    client.ask("QUIT", 221);
}

fn assert_from_away(postfix: &Postfix<'_>, subject: &str) {
    let mail = postfix.maildir("alice").one_with(&format!("Subject: {subject}"));
    let ours = mail.split("Received: ").find(|field| field.contains(&format!("by {HOSTNAME}"))).unwrap();
    assert!(ours.contains(AWAY), "{ours}");
}

/// Postfix was told, and gatepost says, that the client is the one who came to the load balancer.
fn assert_known(postfix: &Postfix<'_>, gate: &Gate<'_>) {
    let log = postfix.log();
    let clients: Vec<&str> =
        log.lines().filter(|line| line.contains("postfix/gatepost/smtpd") && line.contains(": client=")).collect();
    assert!(!clients.is_empty() && clients.iter().all(|line| line.contains(&format!("[{AWAY}]"))), "{clients:?}");
    assert!(gate.process.said().contains(AWAY), "{}", gate.process.said());
}

fn haproxy(host: &Host) -> Process {
    let server = |name: &str, port: u16, how: &str, check: &str| {
        format!(
            "listen {name}\n  bind {HERE}:{port}\n  {check}\n  server gate {HERE}:{} source {HERE} {how} check inter 200ms check-send-proxy\n",
            if name == "implicit" { 465 } else { 25 }
        )
    };
    let config = format!(
        "global\n  maxconn 100\n  stats socket /run/haproxy.sock mode 666 level admin\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n{}{}{}",
        server("one", 2601, "send-proxy", "option smtpchk EHLO check.test"),
        server("two", 2602, "send-proxy-v2", "option smtpchk EHLO check.test"),
        // TLS goes through as it is: the check is a bare connection.
        server("implicit", 2603, "send-proxy-v2", "option tcp-check"),
    );
    host.write("/etc/haproxy.cfg", &config);
    host.start("haproxy", host.command("haproxy").args(["-db", "-f", "/etc/haproxy.cfg"]))
}

#[test]
fn issue_12_behind_haproxy_everybody_knows_the_client() {
    let name = "issue_12_behind_haproxy_everybody_knows_the_client";
    let Some(host) = host::for_test(name, &["postfix", "haproxy", "openssl"]) else { return };
    let postfix = Postfix::start(&host);
    let gate = Gate::start(&host, &behind(HERE));
    let haproxy = haproxy(&host);
    for (port, tls, subject) in [(2601, false, "v1"), (2602, false, "v2"), (2603, true, "implicit")] {
        holds("haproxy to listen", SOON, || host.listens(&format!("{HERE}:{port}")));
        deliver(&host, port, tls, subject);
        assert_from_away(&postfix, subject);
    }
    assert_known(&postfix, &gate);
    // Each check is answered; haproxy says it when one is not.
    let said = haproxy.said();
    assert!(!said.contains("is DOWN"), "{said}");
    assert!(!gate.process.said().contains("must begin with a PROXY header"), "{}", gate.process.said());
    gate.stop();
}

#[test]
fn issue_12_behind_nginx_everybody_knows_the_client() {
    let name = "issue_12_behind_nginx_everybody_knows_the_client";
    let Some(host) = host::for_test(name, &["postfix", "nginx", "openssl"]) else { return };
    let postfix = Postfix::start(&host);
    let gate = Gate::start(&host, &behind(HERE));
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid /run/nginx.pid;
error_log stderr warn;
events {{ worker_connections 64; }}
stream {{
  proxy_protocol on;
  proxy_bind {HERE};
  server {{ listen {HERE}:2604; proxy_pass {HERE}:25; }}
  server {{ listen {HERE}:2605; proxy_pass {HERE}:465; }}
}}\n"
    );
    host.write("/etc/nginx-stream.conf", &config);
    let _nginx = host.start("nginx", host.command("nginx").args(["-c", "/etc/nginx-stream.conf"]));
    for (port, tls, subject) in [(2604, false, "nginx"), (2605, true, "nginx, implicit")] {
        holds("nginx to listen", SOON, || host.listens(&format!("{HERE}:{port}")));
        deliver(&host, port, tls, subject);
        assert_from_away(&postfix, subject);
    }
    assert_known(&postfix, &gate);
    gate.stop();
}

#[test]
fn issue_12_a_header_where_none_belongs_and_none_where_one_belongs_are_loud() {
    let name = "issue_12_a_header_where_none_belongs_and_none_where_one_belongs_are_loud";
    let Some(host) = host::for_test(name, &["postfix", "openssl"]) else { return };
    let _postfix = Postfix::start(&host);
    let plain = Gate::start(&host, &config(POSTFIX, ""));
    for header in [
        &b"PROXY TCP4 203.0.113.9 192.0.2.1 4713 25\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\xc0\x00\x02\x01\x12\x69\x00\x19",
    ] {
        let mut stream = host.connect(&format!("{HERE}:25"));
        std::io::Write::write_all(&mut stream, header).unwrap();
        // It is early where it comes before the greeting, and a header in any case.
        let mut client = Client::over(stream);
        while client.try_reply().is_ok_and(|reply| reply.code != 421) {}
        assert!(client.try_reply().is_err(), "closed");
    }
    holds("both are in the log", SOON, || plain.process.said().matches("a PROXY header, but proxy_from").count() == 2);
    plain.stop();

    let gate = Gate::start(&host, &behind(AWAY));
    let mut client = Client::over(host.connect(&format!("{HERE}:25")));
    assert!(client.try_ask("EHLO client.test").is_err(), "closed without a greeting");
    holds("it is in the log", SOON, || gate.process.said().contains("no PROXY header"));
    gate.stop();
}
