//! Issue 9: a process that hangs is treated like one that has died.

use crate::gate::{ROLES, swaks};
use crate::units::{NEEDS, install};
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::run::run;
use gatepost_testkit::systemd::{self, SystemdHost};
use gatepost_testkit::wait::holds;
use std::time::{Duration, Instant};

/// A role is asked every 5 s and may take 15 s; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

const OBSERVER: &str = "gp-observer";

fn pid(host: &SystemdHost, name: &str) -> String {
    host.shell(&format!("pgrep -x {name}")).stdout.trim().to_owned()
}

/// Stops a process for good and waits until there is another one in its place, and mail comes in.
fn stop(host: &SystemdHost, postfix: &Postfix, name: &str, pid_now: &dyn Fn() -> String) {
    let before = pid_now();
    let stopped = Instant::now();
    host.shell(&format!("kill -STOP {before}")).expect_ok("stop it");
    holds(&format!("another {name}"), PATIENCE, || !pid_now().is_empty() && pid_now() != before);
    let subject = format!("after {name} hung");
    holds(&subject, PATIENCE, || run(&mut swaks(&host.host, "alice@ok.test", &subject)).ok());
    println!("{name}: mail again {:?} after it was stopped", stopped.elapsed());
    let _ = postfix.maildir("alice").one_with(&format!("Subject: {subject}"));
}

/// Has each of these roles hang, one after the other. What was logged.
fn hang<'a>(host: &'a SystemdHost, roles: &[&str]) -> (Postfix<'a>, String) {
    let postfix = Postfix::start(&host.host);
    install(host);
    // Sooner than the unit has it; else this test would take a minute longer. Shorter than a role may take to answer: the watchdog
    // must not be what ends a role.
    host.host.write("/etc/systemd/system/gatepost.service.d/test.conf", "[Service]\nWatchdogSec=8\n");
    host.shell("systemctl daemon-reload; systemctl restart gatepost").expect_ok("restart");
    for role in roles {
        stop(host, &postfix, role, &|| pid(host, role));
    }
    assert_eq!(host.property("gatepost.service", "NRestarts"), "0", "{}", host.journal("gatepost.service"));
    let said = host.journal("gatepost.service");
    // What is said of an observer that hangs is said to it.
    let told = roles.iter().filter(|role| **role != OBSERVER).count();
    assert_eq!(said.matches("it hangs; ending it").count(), told, "{said}");
    (postfix, said)
}

// Three tests, so that they run at once: each role takes 20 s.

#[test]
fn issue_9_a_process_that_hangs_is_replaced_and_mail_goes_on() {
    let name = "issue_9_a_process_that_hangs_is_replaced_and_mail_goes_on";
    let Some(host) = systemd::for_test(name, NEEDS) else { return };
    let _ = hang(&host, &ROLES[..3]);
}

#[test]
fn issue_9_another_that_hangs_is_replaced_and_mail_goes_on() {
    let name = "issue_9_another_that_hangs_is_replaced_and_mail_goes_on";
    let Some(host) = systemd::for_test(name, NEEDS) else { return };
    let _ = hang(&host, &ROLES[3..6]);
}

#[test]
fn issue_9_an_observer_or_launcher_that_hangs_is_replaced_and_mail_goes_on() {
    let name = "issue_9_an_observer_or_launcher_that_hangs_is_replaced_and_mail_goes_on";
    assert_eq!(ROLES[6..], [OBSERVER], "the others are the other tests'");
    let Some(host) = systemd::for_test(name, NEEDS) else { return };
    let (postfix, said) = hang(&host, &[OBSERVER]);
    // The next one has the count of what was said to the one that hung.
    assert!(said.contains("lines lost) role-serves role=observer"), "{said}");

    stop(&host, &postfix, "launcher", &|| host.property("gatepost.service", "MainPID"));
    assert_eq!(host.property("gatepost.service", "NRestarts"), "1");
    assert!(host.shell("gatepost audit").ok());
    let left = host.shell("pgrep -c ^gp-").stdout;
    assert_eq!(left.trim(), ROLES.len().to_string(), "no process of the launcher that hung is left");
    host.shell("systemctl stop gatepost.socket gatepost.service").expect_ok("stop");
}
