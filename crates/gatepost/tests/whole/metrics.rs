//! The counters, as Prometheus reads them.

use crate::gate::{CONFIG, Gate, config, rogue};
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::run::signal;
use gatepost_testkit::wait::{SOON, holds};

const METRICS: &str = "[metrics]\nlisten = [\"unix:/run/gatepost/metrics.sock\", \"tcp:127.0.0.1:9125\"]\n";
const BY_SOCKET: &str = "curl -sS --max-time 10 --unix-socket /run/gatepost/metrics.sock http://gatepost/metrics";
const BY_PORT: &str = "curl -sS --max-time 10 http://127.0.0.1:9125/metrics";

fn text(host: &Host, how: &str) -> String {
    host.shell(how).expect_ok(how).stdout
}

#[test]
fn issue_13_counters_are_read_by_http_over_a_socket_and_a_port() {
    let Some(host) =
        host::for_test("issue_13_counters_are_read_by_http_over_a_socket_and_a_port", &["openssl", "curl"])
    else {
        return;
    };
    host.directory("/run/gatepost", 0, 0o755);
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, METRICS));
    let mut client = gate.client();
    client.hello("client.test");
    client.ask("MAIL FROM:<sender@road.test>", 250);
    client.ask("RCPT TO:<alice@ok.test>", 250);
    client.ask("DATA", 354);
    client.write(b"Subject: counted\r\n\r\n.\r\n");
    client.expect(250);
    client.ask("QUIT", 221);
    holds("the session to be counted", SOON, || {
        text(&host, BY_SOCKET).contains("gatepost_sessions_total{end=\"Quit\"} 1\n")
    });
    let seen = text(&host, BY_PORT);
    for line in [
        "gatepost_messages_total 1",
        "gatepost_recipients_total{reply=\"2yz\",reason=\"Ok\"} 1",
        "gatepost_transaction_duration_seconds_count 1",
        "# EOF",
    ] {
        assert!(seen.lines().any(|have| have == line), "{line}\n{seen}");
    }
    assert!(seen.contains("gatepost_log_lines_total{role=\"launcher\",level=\"info\"}"), "{seen}");
    assert_eq!(text(&host, "stat -c %a /run/gatepost/metrics.sock").trim(), "660");
    // Nobody who reads, or does not, is in the way of mail or of other readers.
    let stuck = "exec 3<>/dev/tcp/127.0.0.1/9125; echo -n GET >&3; sleep 300";
    let _stuck: Vec<_> = (0..20).map(|_| host.start("stuck", host.command("bash").args(["-c", stuck]))).collect();
    gate.client().hello("client.test");
    holds("those who say nothing to be dismissed", SOON, || host.shell(BY_PORT).stdout.ends_with("# EOF\n"));
    // After a reload the sockets are there still, and after the observer has died.
    host.write(CONFIG, &config(&backend, METRICS));
    let before = gate.roles()["gp-observer"];
    assert!(signal(before, "KILL"));
    holds("another observer", SOON, || gate.roles().get("gp-observer").is_some_and(|pid| *pid != before));
    holds("its counters", SOON, || host.shell(BY_SOCKET).stdout.ends_with("# EOF\n"));
    gate.stop();
}
