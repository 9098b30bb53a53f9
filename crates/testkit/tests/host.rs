//! The throw-away host itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gatepost_testkit::host::{self, AWAY, AWAY6, HERE, HERE6};
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};
use std::io::Read;
use std::time::Duration;

#[test]
fn what_is_written_there_is_not_here() {
    let Some(host) = host::for_test("what_is_written_there_is_not_here", &[]) else { return };
    for file in ["/etc/gatepost-probe", "/var/gatepost-probe", "/tmp/gatepost-probe", "/run/gatepost-probe"] {
        host.write(file, "there\n");
        assert_eq!(host.shell(&format!("cat {file}")).stdout, "there\n", "{file} is seen inside");
        assert!(!std::path::Path::new(file).exists(), "{file} leaked out of the host");
    }
}

#[test]
fn two_hosts_share_neither_files_nor_ports() {
    let Some(one) = host::for_test("two_hosts_share_neither_files_nor_ports", &[]) else { return };
    let other = host::for_test("two_hosts_share_neither_files_nor_ports", &[]).unwrap();
    let address = format!("{HERE}:25");
    let listener = one.listen(&address);
    assert!(one.listens(&address));
    assert!(!other.listens(&address), "the other host has a network of its own");
    let _second = other.listen(&address);
    drop(listener);
    one.write("/etc/gatepost-probe", "one");
    assert_eq!(other.read("/etc/gatepost-probe"), "");
}

#[test]
fn clients_come_from_an_address_of_their_own() {
    let Some(host) = host::for_test("clients_come_from_an_address_of_their_own", &[]) else { return };
    for (here, away) in [(HERE.to_owned(), AWAY), (format!("[{HERE6}]"), AWAY6)] {
        let address = format!("{here}:25");
        let listener = host.listen(&address);
        let _client = host.connect(&address);
        let (_stream, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip().to_string(), away);
    }
}

#[test]
fn an_ordinary_user_is_one() {
    let Some(host) = host::for_test("an_ordinary_user_is_one", &[]) else { return };
    let said = run(host.command_as(65534, "cat").arg("/proc/self/status")).expect_ok("cat as nobody").stdout;
    assert!(said.contains("Uid:\t65534\t65534\t65534\t65534"), "{said}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(said.contains(&format!("{set}:\t0000000000000000")), "{set} in {said}");
    }
}

#[test]
fn nothing_outlives_it() {
    let Some(host) = host::for_test("nothing_outlives_it", &[]) else { return };
    // A daemon that has left its parent, and a process in a PID namespace below.
    host.shell("setsid sleep 987 & setsid unshare --pid --fork sleep 987 & :").expect_ok("start orphans");
    holds("both orphans run", SOON, || host.processes().iter().filter(|line| *line == "sleep 987").count() == 2);
    let pid1 = host.pid1();
    let mut process = host.start("cat", host.command("sh").args(["-c", "exec sleep 987"]));
    drop(host);
    process.wait(SOON);
    holds("PID 1 is gone", SOON, || !std::path::Path::new(&format!("/proc/{pid1}")).exists());
}

#[test]
fn orphans_leave_no_zombies() {
    let Some(host) = host::for_test("orphans_leave_no_zombies", &[]) else { return };
    host.shell("for i in 1 2 3; do (sh -c 'exit 0' &) ; done").expect_ok("orphans that end");
    holds("only PID 1 and this ps are left", SOON, || {
        host.shell("ps -e -o stat=,comm= | grep -c '^Z'").stdout.trim() == "0"
    });
}

#[test]
fn a_started_process_can_be_watched_and_told_to_end() {
    let Some(host) = host::for_test("a_started_process_can_be_watched_and_told_to_end", &[]) else { return };
    let line = "trap 'echo told; exit 3' TERM; echo up; while :; do sleep 0.05; done";
    let mut process = host.start("trap", host.command("sh").args(["-c", line]));
    process.wait_said("up", SOON);
    assert!(process.signal("TERM"));
    assert_eq!(process.wait(SOON).code(), Some(3), "{}", process.said());
    assert!(process.said().contains("told"));
    assert!(!process.signal("TERM"), "gone");
}

#[test]
fn a_deadline_is_kept() {
    let Some(host) = host::for_test("a_deadline_is_kept", &[]) else { return };
    let listener = host.listen(&format!("{HERE}:25"));
    let mut client = host.connect(&format!("{HERE}:25"));
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(client.read(&mut [0; 1]).is_err());
    drop(listener);
}
