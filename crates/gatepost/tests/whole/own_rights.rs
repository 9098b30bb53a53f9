//! What the unit's launcher does without CAP_KILL, CAP_DAC_READ_SEARCH and CAP_SYS_CHROOT, under a real systemd.

use crate::certificates::shown;
use crate::gate::{CONFIG, GATEPOST, Gate, ROLES, config, make_pair, swaks};
use crate::qmail_queue::QueueHome;
use crate::units::{self, NEEDS, install, started_with};
use gatepost_testkit::facts;
use gatepost_testkit::host;
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::rogue::{Mta, Speaks};
use gatepost_testkit::run::{run, signal};
use gatepost_testkit::systemd::{self, SystemdHost};
use gatepost_testkit::wait::{SOON, holds};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// A certificate that another user renews, in a directory of its own.
const RENEWED: &str = "/var/lib/renewer/live";
const RENEWER: u32 = 65_534;
/// A socket below a directory that its owner alone may enter.
const CLOSED: &str = "/var/lib/closed";

fn renew(host: &SystemdHost) {
    host.host.directory(RENEWED, RENEWER, 0o700);
    make_pair(&host.host, &format!("{RENEWED}/cert.pem"), &format!("{RENEWED}/key.pem"));
    host.host
        .shell(&format!("chown {RENEWER} {RENEWED}/*; chmod 0600 {RENEWED}/*; chmod 0700 {RENEWED}/.."))
        .expect_ok("chown");
    host.host.directory("/var/lib/renewer", RENEWER, 0o700);
}

fn mail(host: &SystemdHost, subject: &str) {
    run(&mut swaks(&host.host, "alice@ok.test", subject)).expect_ok(subject);
}

fn crash_each_role(host: &SystemdHost, when: &str) {
    for role in ROLES {
        let before = host.shell(&format!("pgrep -x {role}")).stdout;
        host.shell(&format!("kill -KILL {before}")).expect_ok("kill it");
        let subject = format!("after {role} was killed {when}");
        let after = || host.shell(&format!("pgrep -x {role}")).stdout;
        holds(&subject, SOON, || !after().is_empty() && after() != before);
        holds(&subject, SOON, || run(&mut swaks(&host.host, "alice@ok.test", &subject)).ok());
    }
}

#[test]
fn p7_the_unit_s_launcher_has_the_rights_of_whose_files_and_roles_they_are() {
    let name = "p7_the_unit_s_launcher_has_the_rights_of_whose_files_and_roles_they_are";
    let Some(host) = systemd::for_test(name, NEEDS) else { return };
    let _postfix = Postfix::start(&host.host);
    install(&host);
    host.host.directory(&format!("{CLOSED}/mta"), 0, 0o711);
    let socket = host.host.path(&format!("{CLOSED}/mta/smtp"));
    let mta = Mta::unix(&socket, Speaks::Smtp);
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    host.host.directory(CLOSED, RENEWER, 0o700);
    renew(&host);
    let text = units::config().replace("/etc/gatepost/tls", RENEWED);
    host.host.write(CONFIG, &text.replace(Postfix::SOCKET, &format!("{CLOSED}/mta/smtp")));
    host.shell("systemctl restart gatepost").expect_ok("restart");

    let launcher = host.property("gatepost.service", "MainPID");
    let capabilities = host.shell(&format!("grep -E '^Cap(Prm|Eff|Bnd)' /proc/{launcher}/status")).stdout;
    assert_eq!(capabilities.matches("\t00000000002805c0").count(), 3, "{capabilities}");
    mail(&host, "at the start");
    let audit = host.shell("gatepost audit").expect_ok("audit").stdout;
    assert_eq!(audit.lines().filter(|line| line.ends_with(" ok")).count(), ROLES.len() + 1, "{audit}");
    // Taken without a signal too, but later than by a reload.
    let first = shown(&host.host);
    renew(&host);
    host.shell("systemctl reload gatepost").expect_ok("reload");
    assert!(shown(&host.host) != first, "the key that was renewed is in force");
    crash_each_role(&host, "after a reload");
    host.shell(
        "cd /usr/sbin; cp gatepost another; printf x >> another; mv another gatepost; systemctl reload gatepost",
    )
    .expect_ok("reload with another program");
    host.shell(&format!("cmp /proc/{launcher}/exe /usr/sbin/gatepost")).expect_ok("the other program runs");
    crash_each_role(&host, "after an upgrade");
    assert!(host.shell("gatepost audit").ok());
    assert_eq!(host.property("gatepost.service", "NRestarts"), "0");
    assert!(mta.count() > 2 * ROLES.len());
    let said = host.journal("gatepost.service");
    assert!(!said.contains("cannot lock"), "the directory of content files is handoff's: {said}");

    // Not even its owner may.
    host.shell(&format!("chmod 0000 {RENEWED}/key.pem")).expect_ok("chmod");
    assert!(!host.shell("systemctl reload gatepost").ok());
    let refused = host.shell("gatepost reload").said();
    assert!(refused.contains(&format!("its owner, uid {RENEWER}, may use {RENEWED}/key.pem")), "{refused}");
    mail(&host, "after a reload that was refused");
    host.shell("systemctl stop gatepost.socket gatepost.service").expect_ok("stop");
    assert_eq!(host.property("gatepost.service", "Result"), "success", "{}", host.journal("gatepost"));
    let left = host.shell("ls -A /var/spool/gatepost/content; pgrep -x gatepost; pgrep ^gp-; true").stdout;
    assert_eq!(left, "", "something is left");
}

#[test]
fn p7_without_namespaces_the_unit_says_which_capability_a_drop_in_adds() {
    let name = "p7_without_namespaces_the_unit_says_which_capability_a_drop_in_adds";
    let Some(host) = systemd::for_test(name, NEEDS) else { return };
    let _postfix = Postfix::start(&host.host);
    install(&host);
    let _mta = Mta::tcp(host.host.listen("127.0.0.1:10099"), Speaks::Smtp);
    let text = units::config().replace(&format!("unix:{}", Postfix::SOCKET), "tcp:127.0.0.1:10099");
    host.host.write(CONFIG, &format!("{text}\n[jail]\nrelax = [\"namespaces\"]\n"));
    host.shell("systemctl stop gatepost.socket gatepost.service").expect_ok("stop");
    let (started, said) = started_with(&host, "");
    assert!(!started && said.contains("CapabilityBoundingSet=CAP_SYS_CHROOT"), "{said}");
    let (started, said) = started_with(&host, "CapabilityBoundingSet=CAP_SYS_CHROOT");
    assert!(started, "{said}");
}

/// The role that has two users, neither of which is the launcher's.
#[test]
fn p7_a_queue_role_that_hangs_is_replaced_without_cap_kill() {
    let name = "p7_a_queue_role_that_hangs_is_replaced_without_cap_kill";
    let Some(host) = host::for_test(name, &["openssl", "swaks", "bash", "setpriv"]) else { return };
    let home = QueueHome::make(&host);
    let kept = "-all,+setuid,+setgid,+setpcap,+sys_admin,+sys_ptrace,+net_bind_service,+chown";
    host.write_with("/run/poor", &format!("#!/bin/sh\nexec setpriv --bounding-set {kept} {GATEPOST} \"$@\"\n"), 0o755);
    let gate = Gate::start_program(&host, "/run/poor", &config(&QueueHome::backend(), ""));
    let before = gate.roles()["gp-queue"];
    assert_eq!(facts::status(gate.launcher())["CapEff"], "00000000002805c0");
    assert!(signal(before, "STOP"));
    let patience = Duration::from_secs(90);
    holds("another queue role", patience, || gate.roles().get("gp-queue").is_some_and(|now| *now != before));
    holds("mail again", SOON, || run(&mut swaks(&host, "alice@ok.test", "after it hung")).ok());
    assert!(!home.complete().is_empty());
    gate.stop();
}
