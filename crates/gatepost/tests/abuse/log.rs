//! The log: P14, telling never stops doing.

use crate::crowd::{Attacker, config, good_mail, open_networks_beside, v4};
use crate::gate::{CONFIG, GATEPOST, Gate, prepare, rogue, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::run::signal;
use gatepost_testkit::wait;

/// Starts gatepost with descriptor 2 as `log` makes it: a shell command with `GATEPOST` in it.
fn with_log(host: &Host, log: &str) -> gatepost_testkit::run::Process {
    let line = log.replace("GATEPOST", &format!("{GATEPOST} serve"));
    let process = host.start("gatepost", host.command("bash").args(["-c", &line]));
    wait::holds("gatepost to listen", wait::SOON, || host.listens(&starttls()));
    process
}

/// Rows 4 and 5: a log that cannot be written, in each of the ways there are. The writer ended by SIGABRT, or slept.
#[test]
fn p14_a_log_that_cannot_be_written_costs_lines_and_no_mail() {
    let Some(host) =
        host::for_test("p14_a_log_that_cannot_be_written_costs_lines_and_no_mail", &["openssl", "python3"])
    else {
        return;
    };
    open_networks_beside(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    host.shell("mkdir -p /run/full && mount -t tmpfs -o size=64k tmpfs /run/full && mkfifo /run/stalled")
        .expect_ok("mount");
    let rows = [
        ("the file system is full", "GATEPOST 2>/run/full/log"),
        (
            "the descriptor does not block",
            "exec 3<>/run/stalled; python3 -c 'import os; os.set_blocking(3, False)'; GATEPOST 2>&3 3>&-",
        ),
        ("nobody reads the pipe any more", "GATEPOST 2> >(read -r first)"),
        ("the reader stalls", "exec 3<>/run/stalled; GATEPOST 2>/run/stalled"),
        ("there is no descriptor 2", "GATEPOST 2>&-"),
    ];
    for (n, (name, log)) in (0_u16..).zip(rows) {
        host.write(CONFIG, &config(&backend, "[limits]\noffences = 0"));
        let mut process = with_log(&host, log);
        let before = mta.count();
        for _ in 0..1200 {
            let mut client = Client::over(host.connect(&starttls()));
            client.try_reply().unwrap_or_else(|e| panic!("{name}: {e}"));
            let _ = client.try_ask("QUIT");
        }
        for _ in 0..3 {
            good_mail(&host, v4(100, n), "alice@ok.test").unwrap_or_else(|why| panic!("{name}: {why}"));
        }
        assert_eq!(mta.count(), before + 3, "{name}");
        assert!(process.ended().is_none(), "{name}: it ended");
        host.shell("pkill -TERM -x gatepost").expect_ok("TERM");
        process.wait(wait::SOON);
    }
}

/// Row 7, and the observer itself: it dies or stalls, and mail goes on; what is said afterwards arrives again.
#[test]
fn p14_an_observer_that_dies_or_stalls_costs_lines_and_no_mail() {
    let Some(host) = host::for_test("p14_an_observer_that_dies_or_stalls_costs_lines_and_no_mail", &["openssl"]) else {
        return;
    };
    open_networks_beside(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, ""));
    for n in 0..5 {
        assert!(signal(gate.roles()["gp-observer"], "KILL"));
        good_mail(&host, v4(100, n), "alice@ok.test").unwrap();
        wait::holds("a new observer", wait::SOON, || gate.roles().contains_key("gp-observer"));
    }
    good_mail(&host, v4(101, 1), "alice@ok.test").unwrap();
    wait::holds("lines through the new observer", wait::SOON, || {
        gate.process.said().lines().any(|line| line.contains("handoff: ") && line.contains("client=10.101.0.1"))
    });
    let observer = gate.roles()["gp-observer"];
    assert!(signal(observer, "STOP"));
    for n in 0..600 {
        good_mail(&host, v4(102, n % 7), "alice@ok.test").unwrap();
    }
    assert!(signal(observer, "CONT"));
    good_mail(&host, v4(103, 1), "alice@ok.test").unwrap();
    wait::holds("the lines that were lost are counted", wait::SOON, || gate.process.said().contains("lines lost)"));
    assert_eq!(mta.count(), 607);
    gate.stop();
}

/// Row 6: one address, 800 sessions and 3 MB in 2 s made 52 MB of log.
#[test]
fn p14_a_client_that_comes_to_nothing_does_not_fill_the_log() {
    let Some(host) = host::for_test("p14_a_client_that_comes_to_nothing_does_not_fill_the_log", &["openssl"]) else {
        return;
    };
    open_networks_beside(&host);
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, "[limits]\noffences = 0"));
    let path = "x".repeat(200);
    let transaction = format!("MAIL FROM:<{path}@a.test>\r\nRCPT TO:<alice@foreign.test>\r\nRSET\r\n");
    let mut sent = 0;
    for _ in 0..200 {
        let Some(mut attacker) = Attacker::connect(&host, v4(1, 1)) else { continue };
        let octets = format!("EHLO {path}.test\r\n{}QUIT\r\n", transaction.repeat(15));
        sent += octets.len();
        attacker.send(octets.as_bytes());
        attacker.replies(60);
    }
    // Many recipients of one transaction are as many lines.
    for _ in 0..10 {
        let recipients: String = (0..1000).map(|n| format!("RCPT TO:<alice+{n}@ok.test>\r\n")).collect();
        let Some(mut attacker) = Attacker::connect(&host, v4(1, 1)) else { continue };
        let octets = format!("EHLO {path}.test\r\nMAIL FROM:<{path}@a.test>\r\n{recipients}QUIT\r\n");
        sent += octets.len();
        attacker.send(octets.as_bytes());
        attacker.replies(1004);
    }
    good_mail(&host, v4(100, 1), "alice@ok.test").unwrap();
    wait::holds("the good client's lines", wait::SOON, || gate.process.said().contains("client=10.100.0.1"));
    let said = gate.process.said();
    assert!(said.len() * 4 < sent, "{} octets of log for {sent}", said.len());
    wait::holds("how many lines were not written", wait::SOON, || {
        drop(Attacker::connect(&host, v4(1, 1)));
        gate.process.said().contains("kept-back client=10.1.0.1 lines=")
    });
    assert_eq!(mta.count(), 1);
    gate.stop();
}
