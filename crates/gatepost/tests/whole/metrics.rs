//! The counters, as Prometheus reads them.

use crate::gate::{CONFIG, Gate, config, rogue};
use gatepost_testkit::host::{self, Host, has, source_tree};
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
    let test = "issue_13_counters_are_read_by_http_over_a_socket_and_a_port";
    let Some(host) = host::for_test(test, &["openssl", "curl"]) else { return };
    host.directory("/run/gatepost", 0, 0o755);
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, METRICS));
    let mut client = gate.client();
    client.hello("client.test");
    client.begin("sender@road.test", "alice@ok.test");
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
    if has(test, &["promtool"]) {
        let checked = host.shell(&format!("{BY_PORT} | promtool check metrics"));
        assert!(checked.ok(), "{}", checked.said());
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

/// As examples/prometheus has it: a real one reads the counters, evaluates the rules, and answers every query of the dashboard.
#[test]
fn issue_13_prometheus_reads_the_counters_and_answers_the_dashboard() {
    let name = "issue_13_prometheus_reads_the_counters_and_answers_the_dashboard";
    let Some(host) = host::for_test(name, &["openssl", "curl", "prometheus"]) else { return };
    host.directory("/run/gatepost", 0, 0o755);
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, METRICS));
    gate.client().hello("client.test");
    let example = |name: &str| std::fs::read_to_string(source_tree().join("examples").join(name)).unwrap();
    let hurried =
        format!("global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n{}", example("prometheus/prometheus.yml"));
    host.write("/run/prometheus.yml", &hurried);
    host.write("/run/gatepost.rules.yml", &example("prometheus/gatepost.rules.yml"));
    let _prometheus = host.start(
        "prometheus",
        host.command("prometheus").args([
            "--config.file=/run/prometheus.yml",
            "--storage.tsdb.path=/run/prometheus",
            "--web.listen-address=127.0.0.1:9090",
        ]),
    );
    let get = |path: &str, query: &str| {
        let curl =
            format!("curl -sS --max-time 10 -G --data-urlencode 'query={query}' http://127.0.0.1:9090/api/v1/{path}");
        serde_json::from_str::<serde_json::Value>(&host.shell(&curl).stdout).unwrap_or_default()
    };
    holds("it to have read them", SOON, || {
        get("query", "up{job=\"gatepost\"}")["data"]["result"][0]["value"][1] == "1"
    });
    let rules = |ends: fn(&str) -> bool| {
        let groups = get("rules", "");
        let all: Vec<serde_json::Value> = groups["data"]["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|group| group["rules"].as_array().cloned())
            .flatten()
            .collect();
        all.len() > 3 && all.iter().all(|rule| rule["health"].as_str().is_some_and(ends))
    };
    holds("the rules to be evaluated without an error", SOON, || rules(|health| health == "ok"));
    let dashboard: serde_json::Value = serde_json::from_str(&example("grafana/gatepost.json")).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut asked = 0;
    for target in targets {
        let answer = get("query", target["expr"].as_str().unwrap());
        assert_eq!(answer["status"], "success", "{}: {answer}", target["expr"]);
        asked += 1;
    }
    assert!(asked > 20, "{asked} queries");
    gate.stop();
}
