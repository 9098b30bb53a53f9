//! Issue 13: lines to syslog's socket. A real syslogd that is restarted, stalled or away costs lines, which are counted, and no mail (P14).

use crate::crowd::{config, good_mail, open_networks, v4};
use crate::gate::{GATEPOST, Gate, rogue};
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::run::{Process, only_child, run, signal};
use gatepost_testkit::wait::{SOON, holds};

const LOG: &str = "/run/messages";
const NEEDS: &[&str] = &["openssl", "busybox"];

/// Starts a syslogd that writes to [`LOG`].
fn syslogd(host: &Host) -> Process {
    // It would log to the one before.
    host.shell("rm -f /dev/log").expect_ok("rm");
    // Below a shell: whoever carries a program onto the host stops with it.
    let line = format!("busybox syslogd -n -O {LOG} & wait");
    let process = host.start("syslogd", host.command("sh").args(["-c", &line]));
    holds("syslogd to listen", SOON, || host.path("/dev/log").exists());
    process
}

fn text(host: &Host) -> String {
    std::fs::read_to_string(host.path(LOG)).unwrap_or_default()
}

/// What follows our name and the launcher's process id, of which only the launcher's own host knows the number.
fn told(line: &str) -> Option<&str> {
    let (pid, told) = line.split_once(" mail.info gatepost[")?.1.split_once("]: ")?;
    pid.bytes().all(|octet| octet.is_ascii_digit()).then_some(told)
}

/// The line of a message from this address, as syslogd writes it: time, host, facility, our name and process, and then as ever.
fn has_line(host: &Host, address: &str) -> bool {
    text(host).lines().any(|line| {
        told(line).is_some_and(|told| told.starts_with("handoff: recipient session="))
            && line.contains(&format!("client={address}:"))
            && line.contains("reply=250")
    })
}

#[test]
fn issue_13_syslog_gets_the_lines_and_a_restart_or_stall_of_it_stalls_no_mail() {
    let Some(host) =
        host::for_test("issue_13_syslog_gets_the_lines_and_a_restart_or_stall_of_it_stalls_no_mail", NEEDS)
    else {
        return;
    };
    open_networks(&host);
    host.own_dev();
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let mut first = syslogd(&host);
    let gate = Gate::start(&host, &config(&backend, "[log]\nto = \"syslog\""));
    let good = |net| good_mail(&host, v4(net, 1), "alice@ok.test").unwrap();
    good(100);
    holds("a line", SOON, || has_line(&host, "10.100.0.1"));
    let audit = gate.audit(&[]);
    assert!(audit.ok(), "{}", audit.said());
    assert!(text(&host).lines().filter_map(told).any(|told| told.starts_with("launcher: ready")), "{}", text(&host));

    // Away, and there again: what was said meanwhile arrives.
    assert!(signal(only_child(first.pid()).unwrap(), "TERM"));
    first.wait(SOON);
    good(101);
    assert!(!has_line(&host, "10.101.0.1"));
    let checked = run(host.command(GATEPOST).arg("check"));
    assert!(checked.stdout.contains("nobody listens there"), "{}", checked.said());
    let second = syslogd(&host);
    good(102);
    for address in ["10.101.0.1", "10.102.0.1"] {
        holds("lines to the other syslogd", SOON, || has_line(&host, address));
    }

    // Stalled: mail goes on, and what had no room is counted.
    let stalled = only_child(second.pid()).unwrap();
    assert!(signal(stalled, "STOP"));
    for n in 0..400 {
        good_mail(&host, v4(103, n % 7), "alice@ok.test").unwrap();
    }
    assert!(signal(stalled, "CONT"));
    holds("the count of lost lines", SOON, || {
        text(&host).contains("lines were lost: the log did not take them in time")
            || text(&host).contains("lines lost)")
    });
    good(104);
    holds("lines as before", SOON, || has_line(&host, "10.104.0.1"));

    // Another observer has a socket of its own.
    let observer = gate.roles()["gp-observer"];
    assert!(signal(observer, "KILL"));
    holds("another observer", SOON, || gate.roles().get("gp-observer").is_some_and(|pid| *pid != observer));
    good(105);
    holds("lines of the new observer", SOON, || has_line(&host, "10.105.0.1"));
    assert_eq!(mta.count(), 405);
    gate.stop();
}
