//! `systemd/` as it will be installed, by the very lines of README, under a real systemd.

use crate::gate::{CONFIG, HOSTNAME, prepare, swaks};
use crate::readme::{installs, starts, type_in};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{AWAY, HERE, HERE6, source_tree};
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::run::run;
use gatepost_testkit::systemd::{self, SystemdHost};
use gatepost_testkit::wait::{SOON, holds};
use std::process::Command;

pub(crate) const NEEDS: &[&str] = &["openssl", "postfix", "swaks"];

pub(crate) fn config() -> String {
    format!(
        r#"hostname = "{HOSTNAME}"

[tls]
certificate = "/etc/gatepost/tls/cert.pem"
key = "/etc/gatepost/tls/key.pem"

[relay]
domains = ["ok.test"]

[backend]
profile = "postfix"
connect = "unix:{}"
"#,
        Postfix::SOCKET
    )
}

/// Installs everything by README's own commands but the key, which it leaves to its reader, and starts it.
pub(crate) fn install(host: &SystemdHost) {
    prepare(&host.host);
    host.shell("rm -r /var/spool/gatepost").expect_ok("the spool is for tmpfiles.d to make");
    type_in(host, &installs());
    host.host.write(CONFIG, &config());
    type_in(host, "gatepost check");
    type_in(host, &starts());
}

#[test]
fn the_readme_installs_a_service_that_is_ready_when_it_says_so() {
    let Some(host) = systemd::for_test("the_readme_installs_a_service_that_is_ready_when_it_says_so", NEEDS) else {
        return;
    };
    let postfix = Postfix::start(&host.host);
    install(&host);
    let verified =
        host.shell("systemd-analyze verify /etc/systemd/system/gatepost.service /etc/systemd/system/gatepost.socket");
    assert!(verified.ok() && verified.said().is_empty(), "{}", verified.said());

    assert_eq!(host.property("gatepost.service", "Type"), "notify");
    assert_eq!(host.property("gatepost.service", "ActiveState"), "active");
    assert_eq!(host.property("gatepost.socket", "ActiveState"), "active");
    let accounts = host.shell(
        "getent passwd gatepost-listen gatepost-session gatepost-key gatepost-dns gatepost-log gatepost-dial gatepost-handoff",
    );
    assert_eq!(accounts.expect_ok("accounts").stdout.lines().filter(|line| line.ends_with("/nologin")).count(), 7);

    run(&mut swaks(&host.host, "alice@ok.test", "through the unit")).expect_ok("swaks");
    let mail = postfix.maildir("alice").one_with("Subject: through the unit");
    assert!(mail.contains(AWAY), "{mail}");
    let mut six = Client::over(host.host.connect(&format!("[{HERE6}]:25")));
    six.hello("road.test");
    let audit = host.shell("gatepost audit");
    assert!(audit.ok(), "{}", audit.said());
    assert_eq!(audit.stdout.lines().filter(|line| line.ends_with(" ok")).count(), 9, "{}", audit.stdout);
    drop(six);
    // Under MemoryDenyWriteExecute= too the code is on huge pages, where the system has any.
    let huge = host.shell(
        "grep -q '\\[never\\]' /sys/kernel/mm/transparent_hugepage/enabled || \
         grep -A 30 'r-xp 00000000 00:00 0 *$' /proc/$(pgrep -x gp-nursery)/smaps | grep 'AnonHugePages: *[1-9]'",
    );
    // A machine that is short of large pieces of memory may have none left: then the role has said so.
    let journal = host.journal("gatepost.service");
    assert!(huge.ok() || journal.contains("stays on small pages"), "{}\n{journal}", huge.said());

    // A reload that is refused fails, and changes nothing; one that is taken waits until it is.
    host.host.write(CONFIG, &config().replace("unix:", "unix-"));
    assert!(!host.shell("systemctl reload gatepost").ok());
    assert_eq!(host.property("gatepost.service", "ActiveState"), "active");
    host.host.write(CONFIG, &config());
    host.shell("systemctl reload gatepost").expect_ok("reload");
    let reloads = host.journal("gatepost.service").lines().filter(|line| line.contains("launcher: reloaded ")).count();
    assert_eq!(reloads, 1, "{}", host.journal("gatepost.service"));
    run(&mut swaks(&host.host, "alice@ok.test", "after the reload")).expect_ok("swaks");

    // Another build in its place is the same service, and nothing of it starts anew for the service manager.
    let before = host.property("gatepost.service", "MainPID");
    host.shell(
        "cd /usr/sbin; cp gatepost another; printf x >> another; mv another gatepost; systemctl reload gatepost",
    )
    .expect_ok("reload with another program");
    assert_eq!(host.property("gatepost.service", "MainPID"), before);
    assert_eq!(host.property("gatepost.service", "ActiveState"), "active");
    assert_eq!(host.property("gatepost.service", "NRestarts"), "0");
    assert!(host.property("gatepost.service", "StatusText").starts_with("Serving."));
    host.shell(&format!("cmp /proc/{before}/exe /usr/sbin/gatepost")).expect_ok("the other program runs");
    run(&mut swaks(&host.host, "alice@ok.test", "after the upgrade")).expect_ok("swaks");

    host.shell("systemctl stop gatepost.socket gatepost.service").expect_ok("stop");
    assert_eq!(host.property("gatepost.service", "Result"), "success", "{}", host.journal("gatepost"));
    assert_eq!(host.property("gatepost.service", "ExecMainStatus"), "0");
    assert!(!host.host.listens(&format!("{HERE}:25")));
    let left = host.shell("ls -A /var/spool/gatepost/content; pgrep -x gatepost; pgrep ^gp-; true").stdout;
    assert_eq!(left, "", "something is left");
}

#[test]
fn issue_10_a_socket_that_nobody_would_serve_is_named_and_stops_the_start() {
    let name = "issue_10_a_socket_that_nobody_would_serve_is_named_and_stops_the_start";
    let Some(host) = systemd::for_test(name, NEEDS) else { return };
    let _postfix = Postfix::start(&host.host);
    install(&host);
    host.shell("systemctl stop gatepost.socket gatepost.service").expect_ok("stop");
    for (lines, words) in [
        ("ListenStream=127.0.0.1:2500", "inherited socket 127.0.0.1:2500 is in no [[listen]]"),
        ("BindIPv6Only=ipv6-only", "inherited socket [::]:25 takes IPv6 only"),
    ] {
        host.host.write("/etc/systemd/system/gatepost.socket.d/test.conf", &format!("[Socket]\n{lines}\n"));
        host.shell("systemctl daemon-reload; systemctl restart gatepost.socket").expect_ok("restart the socket");
        let (started, said) = started_with(&host, "");
        assert!(!started && said.contains(words), "{said}");
        host.shell("systemctl stop gatepost.socket").expect_ok("stop");
    }
}

#[test]
fn the_socket_holds_the_door_while_the_service_is_away() {
    let Some(host) = systemd::for_test("the_socket_holds_the_door_while_the_service_is_away", NEEDS) else { return };
    let _postfix = Postfix::start(&host.host);
    install(&host);
    // The first client starts the service.
    host.shell("systemctl stop gatepost.service").expect_ok("stop");
    assert_eq!(host.property("gatepost.service", "ActiveState"), "inactive");
    let checked = host.shell("gatepost check").expect_ok("check").stdout;
    assert!(checked.contains("held by systemd for a socket unit"), "{checked}");
    let mut first = Client::over(host.host.connect(&format!("{HERE}:25")));
    first.hello("road.test");
    assert_eq!(host.property("gatepost.service", "ActiveState"), "active");
    first.ask("QUIT", 221);
    // Who comes during a restart waits instead of being refused.
    host.shell("systemctl kill --kill-whom=all --signal=STOP gatepost.service").expect_ok("stop the clock");
    let mut waiting = Client::over(host.host.connect(&format!("{HERE}:25")));
    host.shell("systemctl kill --kill-whom=all --signal=KILL gatepost.service").expect_ok("kill");
    waiting.hello("road.test");
    holds("it is up again", SOON, || host.property("gatepost.service", "ActiveState") == "active");
    assert_eq!(host.property("gatepost.service", "NRestarts"), "1", "Restart=on-failure");
}

/// Starts the service with a drop-in; gives whether it did, and what it said.
pub(crate) fn started_with(host: &SystemdHost, lines: &str) -> (bool, String) {
    host.host.write("/etc/systemd/system/gatepost.service.d/test.conf", &format!("[Service]\nRestart=no\n{lines}\n"));
    let before = host.journal("gatepost.service").len();
    let started = host.shell("systemctl daemon-reload; systemctl reset-failed gatepost; systemctl start gatepost").ok();
    let said = host.journal("gatepost.service").split_off(before);
    host.shell("systemctl stop gatepost").expect_ok("stop");
    (started, said)
}

/// Each unit, and its exposure in tenths. Both start as root.
const EXPOSURE: [(&str, u8); 2] = [("gatepost.service", 31), ("gatepost-inetd@.service", 23)];

#[test]
fn issue_9_the_exposure_of_each_unit_is_no_worse_than_stated() {
    for (unit, tenths) in EXPOSURE {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--no-pager", "--offline=true", &format!("--threshold={tenths}")]);
        let said = run(analyze.arg(source_tree().join("systemd").join(unit)));
        let rated = said.stdout.lines().last().unwrap_or_default();
        assert!(rated.contains("Overall exposure level") && said.ok(), "{unit}: {rated}");
    }
    let services = std::fs::read_dir(source_tree().join("systemd")).unwrap();
    let services = services.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".service"));
    assert_eq!(services.count(), EXPOSURE.len(), "a unit is not rated");
}

#[test]
fn no_capability_of_the_unit_is_one_too_many() {
    let Some(host) = systemd::for_test("no_capability_of_the_unit_is_one_too_many", NEEDS) else { return };
    let _postfix = Postfix::start(&host.host);
    install(&host);
    // Without the socket unit the service binds port 25 by itself; and the key is its renewer's, as some ACME clients
    // leave it.
    host.shell("systemctl stop gatepost.socket gatepost.service; chown nobody /etc/gatepost/tls/key.pem")
        .expect_ok("stop");
    let (started, said) = started_with(&host, "");
    assert!(started, "{said}");
    let unit = std::fs::read_to_string(source_tree().join("systemd/gatepost.service")).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let without = |capability: &&str| started_with(&host, &format!("CapabilityBoundingSet=~{capability}")).0;
    let spare: Vec<_> = line.split(' ').filter(without).collect();
    assert_eq!(spare, Vec::<&str>::new(), "it starts without these all the same");
}

#[test]
fn p7_a_kernel_without_landlock_is_a_sentence_and_exit_1() {
    let Some(host) = systemd::for_test("p7_a_kernel_without_landlock_is_a_sentence_and_exit_1", NEEDS) else { return };
    let _postfix = Postfix::start(&host.host);
    install(&host);
    host.shell("systemctl stop gatepost.socket gatepost.service").expect_ok("stop");
    let (started, said) = started_with(&host, "SystemCallFilter=~landlock_create_ruleset:ENOSYS");
    assert!(!started);
    // By identifier: journald asks /proc for the unit of whoever wrote a line, and that process may have ended by then.
    let lines = host.shell("journalctl --no-pager -o cat -t gatepost").stdout;
    assert!(lines.contains("observer: jail: this kernel has no landlock"), "{lines}");
    assert_eq!(host.property("gatepost.service", "ExecMainStatus"), "1", "{said}");
}
