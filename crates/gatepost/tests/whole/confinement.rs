//! P3, P6, P7, P8, P12: what `gatepost audit` says, and the same read from `/proc` by hand.

use crate::gate::{CONFIG, GATEPOST, Gate, ROLES, config, prepare, rogue};
use gatepost_testkit::facts;
use gatepost_testkit::host;
use gatepost_testkit::rogue::{Mta, Speaks};
use gatepost_testkit::run::{run, signal};
use gatepost_testkit::wait::{SOON, holds};
use std::collections::BTreeSet;

const CAPABILITY_SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
const NONE: &str = "0000000000000000";

#[test]
fn p7_audit_passes_on_every_row_and_so_does_reading_proc_by_hand() {
    let name = "p7_audit_passes_on_every_row_and_so_does_reading_proc_by_hand";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, ""));
    let mut clients = [gate.client(), gate.client()];
    clients.iter_mut().for_each(|client| drop(client.hello("road.test")));
    // One that has been through it all, content and backend included.
    clients[0].deliver("sender@road.test", "alice@ok.test", "Subject: s\r\n\r\nx\r\n");

    let audit = gate.audit(&[]).expect_ok("audit");
    let rows: Vec<&str> = audit.stdout.lines().filter(|line| line.ends_with(" ok")).collect();
    assert_eq!(rows.len(), 1 + ROLES.len() + clients.len(), "{}", audit.stdout);
    let json = gate.audit(&["--json"]).expect_ok("audit --json").stdout;
    assert_eq!(json.matches("\"role\":").count(), rows.len(), "{json}");

    let launcher = gate.launcher();
    let roles = gate.roles();
    assert_eq!(roles.keys().map(String::as_str).collect::<BTreeSet<_>>(), ROLES.into_iter().collect());
    let mut uids = BTreeSet::new();
    for (role, pid) in &roles {
        confined(role, *pid, launcher);
        assert!(uids.insert(facts::status(*pid)["Uid"].clone()), "{role} shares its uid");
        // The dialer and the resolver have a network; what they reach they were told by the launcher.
        let alone = !["gp-dialer", "gp-resolver"].contains(&role.as_str());
        assert_eq!(!facts::share(*pid, launcher, "net"), alone, "{role}");
        if alone {
            no_network(role, *pid);
            let root: &[&str] = if role == "gp-handoff" { &["content"] } else { &[] };
            assert_eq!(facts::root_entries(*pid), root, "{role}: P12, the root is empty");
        }
        assert!(roles.values().all(|other| other == pid || !facts::share(*pid, *other, "mnt")), "{role}");
    }
    let sessions = gate.sessions();
    assert_eq!(sessions.len(), clients.len());
    for pid in sessions {
        session(pid, launcher);
    }
    gate.stop();
}

#[test]
fn issue_14_code_that_each_client_runs_lies_on_huge_pages_that_nobody_can_write() {
    let name = "issue_14_code_that_each_client_runs_lies_on_huge_pages_that_nobody_can_write";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, ""));
    let mut client = gate.client();
    client.hello("road.test");
    let given = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let given = given.is_ok_and(|text| !text.contains("[never]"));
    if !given {
        eprintln!("{name}: this system gives no huge pages");
    }
    let check = run(host.command(GATEPOST).args(["check", "--config", CONFIG]));
    assert_eq!(check.stdout.contains("huge pages"), !given, "{}", check.said());
    let session = gate.sessions()[0];
    let roles = gate.roles();
    let (mut on_huge, mut wanted) = (0, 0);
    for (role, pid) in roles.iter().map(|(role, pid)| (role.as_str(), *pid)).chain([("session", session)]) {
        let (huge, writable) = facts::code(pid);
        assert_eq!(writable, 0, "{role}");
        if ["gp-nursery", "gp-keyholder", "gp-handoff", "session"].contains(&role) {
            (on_huge, wanted) = (on_huge + usize::from(huge > 0), wanted + 1);
        } else {
            assert_eq!(huge, 0, "{role}");
        }
    }
    // A machine that is short of large pieces of memory may have had them for some only, or for none: each that got none says so.
    println!("{on_huge} of {wanted} on huge pages");
    let said = gate.process.said();
    assert!(on_huge > 0 || !given || said.contains("stays on small pages"), "{said}");
    assert!(given || on_huge == 0);
    // A session that was forked from it has no page of its own there.
    client.deliver("sender@road.test", "alice@ok.test", "Subject: s\r\n\r\nx\r\n");
    assert_eq!(facts::code(session).0, facts::code(roles["gp-nursery"]).0);
    gate.stop();
}

/// What holds for each role and each session.
fn confined(name: &str, pid: u32, launcher: u32) {
    let status = facts::status(pid);
    let ids = |field: &str| status[field].split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
    for field in ["Uid", "Gid"] {
        assert_eq!(ids(field).len(), 1, "{name}: one {field} only: {}", status[field]);
        assert!(!ids(field).contains("0"), "{name}: {field} is root's");
    }
    assert_eq!(status["Groups"], "", "{name}: no groups");
    for set in CAPABILITY_SETS {
        assert_eq!(status[set], NONE, "{name}: {set}");
    }
    assert_eq!(status["NoNewPrivs"], "1", "{name}");
    assert_eq!(status["Seccomp"], "2", "{name}: a filter");
    assert_eq!(status["Threads"], "1", "{name}: P8");
    for kind in ["mnt", "pid", "ipc", "uts"] {
        assert!(!facts::share(pid, launcher, kind), "{name}: shares {kind} with the launcher");
    }
    assert_eq!(facts::limit(pid, "Max core file size"), Some(("0".into(), "0".into())), "{name}");
}

fn no_network(name: &str, pid: u32) {
    assert_eq!(facts::interfaces(pid), ["lo"], "{name}");
    // Not even loopback has an address.
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap();
    assert_eq!(read("if_inet6"), "", "{name}");
    assert!(!read("fib_trie").contains("127.0.0.1"), "{name}: loopback is up");
    assert_eq!(facts::routes(pid), 0, "{name}");
}

fn session(pid: u32, launcher: u32) {
    confined("session", pid, launcher);
    no_network("session", pid);
    assert_eq!(facts::root_entries(pid), Vec::<String>::new(), "P12: the root is empty");
    let mib = || Some(("1048576".to_owned(), "1048576".to_owned()));
    assert_eq!(facts::limit(pid, "Max data size"), mib(), "P6");
    assert_eq!(facts::limit(pid, "Max processes"), Some(("0".into(), "0".into())), "P3: no fork");
    let data: u64 = facts::status(pid)["VmData"].split_whitespace().next().unwrap().parse().unwrap();
    assert!(data <= 1024, "P6: VmData is {data} KiB");
    // P3: born with its sockets and its runtime; not one file, not one directory.
    for descriptor in facts::descriptors(pid) {
        let kind = ["socket:", "anon_inode:", "pipe:"].iter().any(|kind| descriptor.starts_with(kind));
        // 0 and 1 lead nowhere; 2 is the log.
        assert!(kind || descriptor == "/dev/null" || descriptor.contains("/said/gatepost."), "{descriptor}");
    }
    // Nothing of it can be read, traced or dumped by its own user.
    assert_eq!(
        std::fs::metadata(format!("/proc/{pid}/environ")).map(|m| std::os::unix::fs::MetadataExt::uid(&m)).unwrap(),
        0
    );
    assert_eq!(std::fs::read(format!("/proc/{pid}/environ")).unwrap(), b"", "the environment was cleared");
}

#[test]
fn audit_fails_when_anything_is_weaker_than_its_profile() {
    let Some(host) = host::for_test("audit_fails_when_anything_is_weaker_than_its_profile", &["openssl"]) else {
        return;
    };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let mut gate = Gate::start(&host, &config(&backend, ""));
    let mut client = gate.client();
    client.hello("road.test");
    let session = gate.sessions()[0];
    let _ = gate.audit(&[]).expect_ok("audit of what is whole");
    // A network where there was none, given from outside: no process of the tree could.
    let session = session.to_string();
    let loopback = ["--target", &session, "--net", "ip", "link", "set", "lo", "up"];
    run(std::process::Command::new("nsenter").args(loopback)).expect_ok("loopback up");
    let audit = gate.audit(&[]);
    assert_eq!(audit.status.code(), Some(1), "{}", audit.said());
    let (_, findings) = audit.stdout.split_once(" session:\n").unwrap_or_else(|| panic!("{}", audit.stdout));
    assert!(findings.trim_start().starts_with("network: "), "{}", audit.stdout);
    // The session shares that network with the nursery it was forked from: with both gone, all is whole again.
    let nursery = gate.roles()["gp-nursery"];
    assert!(signal(nursery, "KILL"));
    // Sessions end with their nursery; some still say so.
    let rest = client.rest();
    assert!(rest.is_empty() || rest.starts_with("421 "), "{rest}");
    gate.process.wait_said("role-serves role=nursery", SOON);
    drop(gate.client().hello("road.test"));
    let _ = gate.audit(&[]).expect_ok("audit of what is whole again");
    // A process that is no gatepost at all can be held beside it, and is found wanting.
    let sleeper = host.start("sleeper", host.command("sh").args(["-c", "echo $$; exec sleep 987"]));
    holds("the sleeper says its pid", SOON, || sleeper.said().ends_with('\n'));
    let audit = gate.audit(&[sleeper.said().trim()]);
    assert_eq!(audit.status.code(), Some(1), "{}", audit.said());
    gate.stop();
}

/// What a container has unless it is told otherwise (podman's default).
const CONTAINER: &str =
    "chown,dac_override,fowner,fsetid,kill,net_bind_service,setfcap,setgid,setpcap,setuid,sys_chroot";

/// As systemd/container/Containerfile says of each set of capabilities.
#[test]
fn issue_13_a_container_s_capabilities_suffice_or_what_lacks_is_said() {
    let name = "issue_13_a_container_s_capabilities_suffice_or_what_lacks_is_said";
    let Some(host) = host::for_test(name, &["openssl", "setpriv"]) else { return };
    // By TCP: without namespaces the dialer reaches no socket of another program.
    let mta = Mta::tcp(host.listen("127.0.0.1:10025"), Speaks::Smtp);
    let backend = "profile = \"postfix\"\nconnect = \"tcp:127.0.0.1:10025\"";
    let relaxed = "[jail]\nrelax = [\"namespaces\"]";
    for (more, settings, whole) in
        [("", "", None), (",sys_ptrace", relaxed, Some(false)), (",sys_ptrace,sys_admin", "", Some(true))]
    {
        let kept: String =
            format!("{CONTAINER}{more}").split(',').map(|capability| format!(",+{capability}")).collect();
        let script = format!("#!/bin/sh\nexec setpriv --bounding-set -all{kept} {GATEPOST} \"$@\"\n");
        host.write_with("/run/contained", &script, 0o755);
        let text = config(backend, settings);
        let Some(whole) = whole else {
            prepare(&host);
            host.write(CONFIG, &text);
            let refused = run(host.command("/run/contained").arg("serve"));
            assert_eq!(refused.status.code(), Some(1), "{}", refused.said());
            assert!(refused.stderr.contains("grant CAP_SYS_ADMIN"), "{}", refused.said());
            continue;
        };
        let gate = Gate::start_program(&host, "/run/contained", &text);
        let mut client = gate.client();
        client.hello("road.test");
        client.deliver("sender@road.test", "alice@ok.test", &format!("Subject: with{more}\r\n\r\nx\r\n"));
        client.ask("QUIT", 221);
        assert_eq!(gate.audit(&[]).ok(), whole, "{more}");
        gate.stop();
    }
    assert_eq!(mta.count(), 2);
}
