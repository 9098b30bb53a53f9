//! Issue 12, points 1 and 2: names from real name servers, in jails that hold no library and no file, and a Postfix behind that asks
//! for them.

use crate::gate::{GATEPOST, Gate, config, rogue, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, Host};
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::rogue::{Mta, Speaks};
use gatepost_testkit::run::{Process, run};
use gatepost_testkit::wait::{SOON, holds};

const NAMED: &str = r#"options {
  directory "/run/named";
  pid-file none;
  listen-on port 53 { 127.0.0.54; };
  listen-on-v6 { none; };
  recursion yes;
  dnssec-validation no;
  max-udp-size 512;
};
controls { };
logging { channel queries { file "/run/named/queries"; }; category queries { queries; }; };
zone "road.test" { type primary; file "/etc/zones/road"; };
zone "2.0.192.in-addr.arpa" { type primary; file "/etc/zones/reverse"; };
"#;

const UNBOUND: &str = r#"server:
  interface: 127.0.0.53
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "/run"
  pidfile: ""
  use-syslog: no
  logfile: "/run/unbound.log"
  log-queries: yes
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "test." nodefault
  local-zone: "2.0.192.in-addr.arpa." nodefault
  cache-max-ttl: 1
  cache-max-negative-ttl: 1
  infra-host-ttl: 1
stub-zone:
  name: "road.test"
  stub-addr: 127.0.0.54
stub-zone:
  name: "2.0.192.in-addr.arpa"
  stub-addr: 127.0.0.54
remote-control:
  control-enable: no
"#;

/// The client's name, found by way of aliases in both directions; those of the name itself are longer than an answer by UDP.
fn named(host: &Host) -> Process {
    let head = "$TTL 1\n@ SOA ns.road.test. root.road.test. 1 60 60 60 1\n@ NS ns.road.test.\n";
    let long = |letter: &str| format!("{0}.{0}.{0}", letter.repeat(60));
    let (a, b, c) = (long("a"), long("b"), long("c"));
    let road = format!("{head}ns A 127.0.0.54\nclient CNAME {a}\n{a} CNAME {b}\n{b} CNAME {c}\n{c} A {AWAY}\n");
    host.write("/etc/zones/road", &road);
    host.write(
        "/etc/zones/reverse",
        &format!("{head}9 CNAME 9.part\n9.part CNAME 9.end\n9.end PTR client.road.test.\n"),
    );
    host.write("/etc/named.conf", NAMED);
    // It listens at addresses that an interface has, and at no others of 127.0.0.0/8.
    host.shell("ip addr add 127.0.0.54/32 dev lo").expect_ok("ip addr add");
    host.directory("/run/named", 0, 0o755);
    host.start("named", host.command("named").args(["-f", "-c", "/etc/named.conf"]))
}

fn unbound(host: &Host) -> Process {
    host.write("/etc/unbound.conf", UNBOUND);
    host.start("unbound", host.command("unbound").args(["-d", "-c", "/etc/unbound.conf"]))
}

fn resolv_conf(host: &Host, server: &str) {
    host.write("/etc/resolv.new", &format!("nameserver {server}\noptions timeout:1 attempts:1\n"));
    host.shell("mv /etc/resolv.new /etc/resolv.conf").expect_ok("mv");
}

/// A message of a session of its own: what the backend is told that the client is called.
fn told(host: &Host, mta: &Mta, subject: &str) -> String {
    let mut client = Client::over(host.connect(&starttls()));
    client.hello("road.test");
    client.deliver("sender@road.test", "alice@ok.test", &format!("Subject: {subject}\r\n\r\nx\r\n"));
    client.ask("QUIT", 221);
    let lines = mta.lines();
    let said = lines.iter().rfind(|line| line.starts_with("XCLIENT") && line.contains(AWAY)).unwrap();
    said.split(' ').find_map(|word| word.strip_prefix("NAME=")).unwrap_or_default().to_owned()
}

#[test]
fn issue_12_bind_and_unbound_name_the_client_in_a_jail_without_libraries() {
    let name = "issue_12_bind_and_unbound_name_the_client_in_a_jail_without_libraries";
    let Some(host) = host::for_test(name, &["named", "unbound", "openssl"]) else { return };
    // The trap of old: a loader beside the libraries, of which a jail would need copies.
    host.shell("test -L /lib64 && test ! -e /var/spool/gatepost/lib").expect_ok("/lib64 is a link");
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let mut server = named(&host);
    resolv_conf(&host, "127.0.0.54");
    let gate = Gate::start(&host, &config(&backend, ""));
    holds("BIND to name the client", SOON, || told(&host, &mta, "bind") == "client.road.test");
    let message = mta.taken().into_iter().rfind(|taken| taken.content.contains("Subject: bind")).unwrap();
    assert!(message.content.contains(&format!("(client.road.test [{AWAY}])")), "{}", message.content);
    let queries = host.read("/run/named/queries");
    let by_tcp = |line: &str| {
        line.split("client.road.test IN A ")
            .nth(1)
            .is_some_and(|rest| rest.split(' ').next().unwrap_or("").contains('T'))
    };
    assert!(queries.lines().any(by_tcp), "no question by TCP:\n{queries}");

    // Another resolv.conf, without a restart of ours.
    let mut cache = unbound(&host);
    resolv_conf(&host, "127.0.0.53");
    holds("unbound to be asked", SOON, || {
        let _ = told(&host, &mta, "changed");
        host.read("/run/unbound.log").contains("in-addr.arpa. PTR")
    });
    holds("unbound to name the client", SOON, || told(&host, &mta, "unbound") == "client.road.test");
    // A name server that is away is no reason to say that there is no name, nor to refuse mail; and it may come back.
    assert!(cache.signal("KILL"));
    let _ = cache.wait(SOON);
    holds("the name to be unknown for now", SOON, || told(&host, &mta, "away") == "[TEMPUNAVAIL]");
    // That is a state, which status shows.
    let status = || run(host.command(GATEPOST).arg("status"));
    let dead = "server   127.0.0.53:53: does not answer; last failure ";
    holds("status to say so", SOON, || {
        let said = status();
        said.status.code() == Some(2) && said.stdout.contains(dead) && said.stdout.contains("no name server answers")
    });
    let cache = unbound(&host);
    holds("the name to be known again", SOON, || told(&host, &mta, "back") == "client.road.test");
    holds("all to be well again", SOON, || {
        let well = status();
        well.ok() && well.stdout.contains("server   127.0.0.53:53: answers")
    });
    drop(cache);
    assert!(server.signal("TERM"));
    gate.audit(&[]).expect_ok("audit");
    gate.stop();
}

#[test]
fn issue_12_a_postfix_that_asks_for_names_defers_nobody_who_has_one() {
    let name = "issue_12_a_postfix_that_asks_for_names_defers_nobody_who_has_one";
    let Some(host) = host::for_test(name, &["named", "postfix", "openssl"]) else { return };
    let postfix = Postfix::start_with(
        &host,
        "smtpd_client_restrictions = reject_unknown_reverse_client_hostname, reject_unknown_client_hostname",
    );
    let mut server = named(&host);
    resolv_conf(&host, "127.0.0.54");
    let gate =
        Gate::start(&host, &config(&format!("profile = \"postfix\"\nconnect = \"unix:{}\"", Postfix::SOCKET), ""));
    let heard = || {
        let mut client = gate.client();
        client.hello("road.test");
        client.ask("MAIL FROM:<sender@road.test>", 250);
        let reply = client.try_ask("RCPT TO:<alice@ok.test>").unwrap();
        let _ = client.try_ask("QUIT");
        reply.code
    };
    let told = |what: &str| gate.process.said().lines().any(|line| line.contains(" session=") && line.contains(what));
    holds("the name to be known", SOON, || heard() == 250);
    // About one address only so much is written at once: the next session may be told of.
    holds("our log to have it", SOON, || heard() == 250 && told("name=\"client.road.test\""));
    // Those of before were not known in time; from now on all are.
    assert!(!told("no_name=None"), "{}", gate.process.said());
    // It logs by another process, which may be later than its reply.
    holds("Postfix to log it", SOON, || postfix.log().contains("client=client.road.test[192.0.2.9]"));
    // Without a name server it is not known whether there is one: come again.
    assert!(server.signal("KILL"));
    let _ = server.wait(SOON);
    holds("the name to be unknown for now", SOON, || heard() == 450);
    holds("our log to say so", SOON, || heard() == 450 && told("no_name=Temporary"));
    assert!(!told("no_name=None"), "{}", gate.process.said());
    // And who has none is refused in the class that Postfix has for that, once it is known.
    let without = "$TTL 1\n@ SOA ns.road.test. root.road.test. 1 60 60 60 1\n@ NS ns.road.test.\n";
    host.write("/etc/zones/reverse", without);
    let _server = host.start("named again", host.command("named").args(["-f", "-c", "/etc/named.conf"]));
    holds("that there is no name to be known", SOON, || {
        heard() == 450 && postfix.log().contains("cannot find your reverse hostname")
    });
    holds("our log to say so", SOON, || heard() == 450 && told("no_name=None"));
    gate.stop();
}
