//! What the original can't: limits, times, inherited sockets, limits and a jail for programs.

use crate::site::{PORT, Server, Which, connect_from, ends, environment, rest, site};
use gatepost_testkit::facts;
use gatepost_testkit::host::Host;
use gatepost_testkit::run::run;
use gatepost_testkit::unpacked;
use gatepost_testkit::wait::{self, SOON};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

fn start<'h>(host: &'h Host, line: &str) -> Server<'h> {
    Server::start(host, Which::Ours, "", &format!("-RHl0 {line}"))
}

/// Whether the server greets this client, which goes on waiting for it; else it is closed without a word.
fn greeted(stream: &mut TcpStream) -> bool {
    let mut greeting = [0; 3];
    stream.read(&mut greeting).is_ok_and(|count| greeting.get(..count) == Some(b"hi\n"))
}

#[test]
fn issue_11_per_address_and_per_prefix() {
    let Some(host) = site("issue_11_per_address_and_per_prefix", &[]) else { return };
    for options in ["--per-address 2", "-C 2", "--per-address=2 --per-prefix 3"] {
        let mut server = start(&host, &format!("-v {options} -B 'hi\n' 127.0.0.1 {PORT} cat"));
        let from = |last: u8| connect_from(&host, [127, 0, 7, last]);
        let (mut one, mut two, mut three) = (from(1), from(1), from(1));
        assert_eq!([greeted(&mut one), greeted(&mut two), greeted(&mut three)], [true, true, false], "{options}");
        let mut other = from(2);
        assert!(greeted(&mut other), "{options}");
        let prefix = options.contains("prefix");
        assert_eq!(greeted(&mut from(3)), !prefix, "{options}");
        drop(one);
        server.wait_said("tcpserver: end ", 1 + usize::from(!prefix));
        assert!(greeted(&mut from(1)), "{options}");
        assert!(
            server.raw().contains("tcpserver: refused 127.0.7.1: its address has 2 connections\n"),
            "{}",
            server.raw()
        );
        assert_eq!(
            server.raw().contains("refused 127.0.7.3: its network has 3 connections\n"),
            prefix,
            "{}",
            server.raw()
        );
        server.signal("TERM");
    }
}

#[test]
fn issue_11_rates() {
    let Some(host) = site("issue_11_rates", &[]) else { return };
    let mut server = start(&host, &format!("-v --address-rate 3/1h 127.0.0.1 {PORT} echo hi"));
    let heard: Vec<String> = (0..5).map(|_| server.hear("")).collect();
    assert_eq!(heard, ["hi\n", "hi\n", "hi\n", "", ""]);
    assert_eq!(server.raw().matches("refused 127.0.0.1: its address has come 3 times in 3600 s\n").count(), 2);
    // Who is refused costs no process and changes no status.
    server.wait_said("tcpserver: end ", 3);
    assert_eq!(server.raw().matches("status: 1/40").count(), 3, "{}", server.raw());
    server.signal("TERM");
}

#[test]
fn issue_11_session_time_ends_a_program_with_all_it_has_started() {
    let Some(host) = site("issue_11_session_time_ends_a_program_with_all_it_has_started", &[]) else { return };
    let hours = "while :; do sleep 3600; done";
    for (program, status) in [("sleep 3600".to_owned(), 15), (format!("sh -c 'trap \"\" TERM; {hours}'"), 9)] {
        let mut server = start(&host, &format!("-v --session-time 1 127.0.0.1 {PORT} {program}"));
        let mut client = server.connect();
        assert_eq!(rest(&mut client), "");
        server.wait_said("tcpserver: end ", 1);
        assert!(server.said().contains(&format!("tcpserver: end PID status {status}\n")), "{}", server.raw());
        wait::holds("all of it to be gone", SOON, || !host.processes().iter().any(|line| line.starts_with("sleep")));
        server.signal("TERM");
    }
}

#[test]
fn issue_11_drain_waits_for_programs_and_not_for_ever() {
    let Some(host) = site("issue_11_drain_waits_for_programs_and_not_for_ever", &[]) else { return };
    let mut server = start(&host, &format!("-v --drain 1h 127.0.0.1 {PORT} cat"));
    let mut client = server.connect();
    server.wait_said("tcpserver: ok ", 1);
    server.signal_only("TERM");
    wait::holds("nobody to listen", SOON, || !host.listens(&format!("127.0.0.1:{PORT}")));
    client.write_all(b"still here").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), "still here");
    assert_eq!(server.wait(SOON).code(), Some(0), "{}", server.raw());
    assert!(server.said().ends_with("tcpserver: end PID status 0\ntcpserver: status: 0/40\n"), "{}", server.raw());

    let mut server = start(&host, &format!("--drain 1 127.0.0.1 {PORT} cat"));
    let mut client = server.connect();
    client.write_all(b"x").unwrap();
    let mut echo = [0; 1];
    client.read_exact(&mut echo).unwrap();
    assert_eq!(server.signal("TERM").code(), Some(0));
    assert_eq!(rest(&mut client), "");
    assert!(server.raw().contains("note: drain: time is over, programs killed: 1\n"), "{}", server.raw());
}

#[test]
fn issue_11_without_descriptors_connections_wait_and_nothing_spins() {
    let Some(host) = site("issue_11_without_descriptors_connections_wait_and_nothing_spins", &[]) else { return };
    let line = format!("-vRHl0 127.0.0.1 {PORT} echo hi");
    let mut server = Server::start(&host, Which::Ours, "", &line);
    // No new descriptor is left for the listener.
    let listener = server.listener();
    // As the same user, who may do that.
    let nobody = |limit: usize| {
        let line = format!(
            "exec setpriv --reuid 65534 --regid 65534 --clear-groups prlimit --pid {listener} --nofile={limit}:"
        );
        run(Command::new("sh").args(["-c", &line])).expect_ok("prlimit");
    };
    nobody(0);
    let begun = Instant::now();
    let mut client = server.connect();
    server.wait_said("note: no connection is taken for a moment", 3);
    // Three attempts have two pauses between them.
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    let used = || facts::tree(server.pid()).into_iter().map(facts::processor_time).sum::<u64>();
    let (before, begun) = (used(), Instant::now());
    server.wait_said("note: no connection is taken for a moment", 13);
    // A few attempts a second cost next to nothing: less than a twentieth of a processor is used.
    let (used, passed) = (used() - before, begun.elapsed());
    println!("{used} hundredths of a second of processor time in {passed:?}");
    assert!(u128::from(used) * 10 * 20 <= passed.as_millis(), "{used} hundredths of a second in {passed:?}");
    nobody(64);
    assert_eq!(rest(&mut client), "hi\n");
    server.signal("TERM");
}

#[test]
fn issue_11_the_limits_patch() {
    let Some(host) = site("issue_11_the_limits_patch", &[]) else { return };
    let rules = "127.0.0.9:allow,MAXCONNIP=\"2\"\n127.0.0.8:allow,MAXCONNIP=\"9\",MAXCONNIP=\"0\",DIEMSG=\"421 go\"\n";
    host.write("/tmp/rules", rules);
    host.shell("cd /tmp && tcprules rules.cdb rules.tmp < rules").expect_ok("tcprules");
    let before = "export MAXCONNIP=1 DIEMSG='421 busy'";
    let line = format!("-vRHl0 -x rules.cdb 127.0.0.1 {PORT} cat");
    let mut server = Server::start(&host, Which::Ours, before, &line);
    let from = |last: u8| connect_from(&host, [127, 0, 0, last]);
    let first = from(1);
    server.wait_said("tcpserver: ok ", 1);
    assert_eq!(rest(&mut from(1)), "421 busy\r\n");
    server.wait_said("tcpserver: end ", 1);
    assert!(server.said().contains("tcpserver: deny PID 0:127.0.0.1:2525 :127.0.0.1::"), "{}", server.raw());
    assert!(server.raw().contains(" MAXCONNIP:1\n") && server.said().contains("end PID status 25600\n"));
    assert_eq!(rest(&mut from(8)), "421 go\r\n");
    let two = [from(9), from(9)];
    server.wait_said("tcpserver: ok ", 3);
    assert_eq!(rest(&mut from(9)), "421 busy\r\n");
    drop((first, two));
    server.signal("TERM");
    // Without a word it is closed after a second, and has its place until then.
    let mut server = Server::start(&host, Which::Ours, "export MAXCONNIP=0", &format!("-vRHl0 127.0.0.1 {PORT} cat"));
    let begun = Instant::now();
    assert_eq!(rest(&mut from(1)), "");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    server.wait_said("tcpserver: end ", 1);
    assert!(server.raw().contains(" MAXCONNIP:0\n"), "{}", server.raw());
    server.signal("TERM");
}

#[test]
fn issue_11_sockets_of_a_service_manager() {
    let Some(host) = site("issue_11_sockets_of_a_service_manager", &["systemd-socket-activate"]) else { return };
    let told = UnixDatagram::bind(host.path("/tmp/notify")).unwrap();
    told.set_read_timeout(Some(SOON)).unwrap();
    let line = format!(
        "cd /tmp; exec systemd-socket-activate -E NOTIFY_SOCKET=/tmp/notify -l 127.0.0.1:{PORT} {} -vRHl0 0 smtp env",
        Which::Ours.path()
    );
    let mut server = host.start("activated", host.command("sh").args(["-c", &line]));
    let mut client = host.connect(&format!("127.0.0.1:{PORT}"));
    let heard = rest(&mut client);
    assert!(heard.contains(&format!("TCPLOCALPORT={PORT}\n")), "{heard}{}", server.said());
    for ours in ["LISTEN_", "NOTIFY_SOCKET"] {
        assert!(!heard.contains(ours), "{heard}");
    }
    let mut ready = [0; 64];
    let count = told.recv(&mut ready).unwrap();
    assert!(ready[..count].starts_with(b"READY=1"), "{:?}", String::from_utf8_lossy(&ready[..count]));
    assert!(server.signal("TERM"));
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn issue_11_limits_and_a_jail_for_programs_alone() {
    let Some(host) = site("issue_11_limits_and_a_jail_for_programs_alone", &[]) else { return };
    let heard = |options: &str, program: &str| {
        let mut server = start(&host, &format!("-v {options} 127.0.0.1 {PORT} {program}"));
        let heard = server.hear("");
        server.wait_said("tcpserver: end ", 1);
        server.signal("TERM");
        (heard, server.said())
    };
    let all =
        "--data 4M --nofile 32 --cpu 60 --nproc 500 --fsize 1M --core 0 --stack 8M --memlock 0 --address-space 1G";
    let (limits, _) = heard(all, "cat /proc/self/limits");
    for (name, value) in [
        ("Max data size", "4194304"),
        ("Max open files", "32"),
        ("Max cpu time", "60"),
        ("Max processes", "500"),
        ("Max file size", "1048576"),
        ("Max address space", "1073741824"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {limits}"));
        let words: Vec<&str> = line[name.len()..].split_whitespace().collect();
        assert_eq!(words[..2], [value, value], "{line}");
    }
    assert!(heard("--no-new-privs", "cat /proc/self/status").0.contains("NoNewPrivs:\t1\n"));
    assert!(heard("", "cat /proc/self/status").0.contains("NoNewPrivs:\t0\n"));
    let jail = "--chroot /usr -u 62000 -g 62001";
    assert!(heard(jail, "/bin/id").0.contains("uid=62000 gid=62001 groups=62001"), "{:?}", heard(jail, "/bin/id"));
    let (seen, _) = heard(jail, "/bin/ls /");
    assert!(seen.contains("share\n") && !seen.contains("proc\n"), "{seen}");
    let outside = host.shell("readlink /proc/self/ns/net /proc/self/ns/uts /proc/self/ns/ipc").stdout;
    let (inside, _) = heard("--namespaces net,uts", "readlink /proc/self/ns/net /proc/self/ns/uts /proc/self/ns/ipc");
    let same: Vec<bool> = inside.lines().zip(outside.lines()).map(|(a, b)| a == b).collect();
    assert_eq!(same, [false, false, true], "{inside}{outside}");
    // A forbidden call kills (SIGSYS is 31), and one that is needed is not taken away.
    assert!(heard("--seccomp ~mkdir,mkdirat", "mkdir /tmp/made").1.contains("end PID status 31\n"));
    assert!(heard("--seccomp ~mkdir,mkdirat", "true").1.contains("end PID status 0\n"));
    let (code, _, said) = ends(&host, Which::Ours, &["--seccomp", "~execve", "127.0.0.1", "0", "true"]);
    assert_eq!((code, said.contains("no program can be executed without execve")), (Some(111), true), "{said}");
    // By number: that of mkdir(2), which the shell's mkdir makes here, and of none that there will be soon.
    if cfg!(target_arch = "x86_64") {
        assert!(heard("--seccomp ~83", "mkdir /tmp/made").1.contains("end PID status 31\n"));
        let but = |number: u16| (0..460).filter(|one| *one != number).map(|one| one.to_string()).collect::<Vec<_>>();
        assert!(
            heard(&format!("--seccomp {}", but(83).join(",")), "mkdir /tmp/made").1.contains("end PID status 31\n")
        );
        assert!(heard(&format!("--seccomp {}", but(459).join(",")), "true").1.contains("end PID status 0\n"));
        let (code, _, said) = ends(&host, Which::Ours, &["--seccomp", "~59", "127.0.0.1", "0", "true"]);
        assert_eq!((code, said.contains("no program can be executed without execve")), (Some(111), true), "{said}");
    }
    let (code, _, said) = ends(&host, Which::Ours, &["--seccomp", "~nosuch", "127.0.0.1", "0", "true"]);
    assert_eq!((code, said.contains("no system call is known by nosuch")), (Some(111), true), "{said}");
}

#[test]
fn issue_11_groups_of_whoever_starts_the_server_stay_with_u_alone() {
    let Some(host) = site("issue_11_groups_of_whoever_starts_the_server_stay_with_u_alone", &["setpriv"]) else {
        return;
    };
    for (options, groups) in [
        ("-u 62000 -g 62001", "62001\n"),
        ("--user nobody", "65534\n"),
        ("--chroot /usr -u 62000 -g 62001", "62001\n"),
        ("-u 62000", "0 62009 62010\n"),
    ] {
        let before = format!(
            "exec setpriv --groups 62009,62010 {} -1 -RHl0 {options} 127.0.0.1 {PORT} /bin/id -G \
             >/tmp/Ours.port 2>/tmp/Ours.err\n",
            Which::Ours.path()
        );
        let mut server = Server::start(&host, Which::Ours, &before, "");
        assert_eq!(server.hear(""), groups, "{options}: {}", server.raw());
        server.signal("TERM");
    }
}

/// Beside Debian's build with IPv6, which can't be installed together with the other: variables and lines.
#[test]
fn issue_11_ipv6_as_the_ipv6_build() {
    let test = "issue_11_ipv6_as_the_ipv6_build";
    let Some(host) = site(test, &[]) else { return };
    let Some(build) = unpacked::program(test, "ucspi-tcp-ipv6", "usr/bin/tcpserver") else { return };
    host.shell(&format!("ln -s {} {}", build.display(), Which::Ipv6Build.path())).expect_ok("ln");
    for (options, to, wanted) in [
        ("0", "127.0.0.1", vec!["PROTO=TCP", "TCPREMOTEIP=127.0.0.1", "TCP6REMOTEIP=::ffff:127.0.0.1"]),
        ("0", "::1", vec!["PROTO=TCP6", "TCPREMOTEIP=::1", "TCP6REMOTEIP=::1"]),
        ("-6 0", "127.0.0.1", vec!["PROTO=TCP6", "TCPREMOTEIP=::ffff:127.0.0.1", "TCP6LOCALIP=::ffff:127.0.0.1"]),
        ("-6 0", "::1", vec!["PROTO=TCP6"]),
        ("::1", "::1", vec!["PROTO=TCP6", "TCPLOCALIP=::1", "TCP6LOCALHOST=0"]),
        ("-4 0", "127.0.0.1", vec!["PROTO=TCP", "TCPLOCALIP=127.0.0.1", "TCPREMOTEIP=127.0.0.1"]),
        ("-4 127.0.0.1", "127.0.0.1", vec!["PROTO=TCP"]),
        ("127.0.0.1", "127.0.0.1", vec!["PROTO=TCP"]),
        ("-4 0", "::1", vec![]),
    ] {
        let (option, at) = options.rsplit_once(' ').unwrap_or(("", options));
        let heard = [Which::Ipv6Build, Which::Ours].map(|which| {
            let mut server = Server::start(&host, which, "", &format!("-vRHl0 {option} {at} {PORT} env"));
            let address = std::net::SocketAddr::new(to.parse().unwrap(), PORT).to_string();
            let heard = if wanted.is_empty() {
                assert!(!host.listens(&address), "{options} {to}");
                Vec::new()
            } else {
                let heard = environment(&rest(&mut server.connect_to(to)));
                server.wait_said("tcpserver: end ", 1);
                heard
            };
            server.signal("TERM");
            (heard, server.said())
        });
        let [theirs, ours] = &heard;
        for variable in wanted {
            assert!(ours.0.iter().any(|line| line == variable), "{options} {to}: no {variable} in {:?}", ours.0);
        }
        // An IPv4 address alone is no word of the IPv6 build's: the variables are the other build's.
        let other_build = options == "127.0.0.1";
        let expected: Vec<_> = theirs.0.iter().filter(|line| !other_build || !line.starts_with("TCP6")).collect();
        assert_eq!(ours.0.iter().collect::<Vec<_>>(), expected, "{options} {to}: variables, ours and the IPv6 build's");
        // It shows IPv4 addresses in their mapped form, with colons that are those of no field.
        let [ours, theirs] = [&ours.1, &theirs.1].map(|said| said.replace("::ffff:", ""));
        assert_eq!(ours, theirs, "{options} {to}: lines, ours and the IPv6 build's");
    }
}

#[test]
fn issue_11_link_local_addresses_need_their_interface() {
    let test = "issue_11_link_local_addresses_need_their_interface";
    let Some(host) = site(test, &["ip", "python3"]) else { return };
    let Some(build) = unpacked::program(test, "ucspi-tcp-ipv6", "usr/bin/tcpserver") else { return };
    host.shell(&format!("ln -s {} {}", build.display(), Which::Ipv6Build.path())).expect_ok("ln");
    host.shell("ip addr add fe80::7/64 dev lo nodad").expect_ok("ip");
    let client = "import socket; s = socket.create_connection((\"fe80::7%lo\", 2525))\n\
                  while (heard := s.recv(9999)): print(heard.decode(), end=\"\")";
    for at in ["-I lo fe80::7", "0"] {
        let heard = [Which::Ipv6Build, Which::Ours].map(|which| {
            let mut server = Server::start(&host, which, "", &format!("-vRHl0 {at} {PORT} env"));
            let heard = host.shell(&format!("python3 -c '{client}'")).expect_ok("python3").stdout;
            server.signal("TERM");
            environment(&heard)
        });
        let [theirs, ours] = &heard;
        assert_eq!(ours, theirs, "{at}: ours, and the IPv6 build's");
        for variable in ["TCPREMOTEIP=fe80::7", "TCP6INTERFACE=lo"] {
            assert!(ours.iter().any(|line| line == variable), "{at}: no {variable} in {ours:?}");
        }
    }
    let (code, _, said) = ends(&host, Which::Ours, &["-I", "none", "fe80::7", "0", "true"]);
    assert_eq!((code, said.as_str()), (Some(111), "tcpserver: fatal: there is no interface none\n"));
}

#[test]
fn issue_11_the_listener_is_jailed_with_and_without_root() {
    let Some(host) = site("issue_11_the_listener_is_jailed_with_and_without_root", &[]) else { return };
    for (options, uid) in [("", 65_534), ("-u 62000 -g 62000", 62_000)] {
        let mut server = start(&host, &format!("-v {options} 127.0.0.1 {PORT} echo hi"));
        assert_eq!(server.hear(""), "hi\n");
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.listener())).unwrap();
        for line in [
            &format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"),
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            assert!(status.lines().any(|one| one == line), "{options}: {line}\n{status}");
        }
        let root = std::fs::read_dir(format!("/proc/{}/root", server.listener())).unwrap().count();
        assert_eq!(root, 0, "{options}");
        server.signal("TERM");
    }
    // As a plain user: what can't be had is said in lines of their own, and it serves.
    let line = format!("exec {} -vRHl0 127.0.0.1 {PORT} id -u 2>/tmp/user.err", Which::Ours.path());
    host.shell("touch /tmp/user.err; chmod 666 /tmp/user.err").expect_ok("touch");
    let mut server = host.start("user", host.command_as(62_003, "sh").args(["-c", &line]));
    assert_eq!(rest(&mut host.connect(&format!("127.0.0.1:{PORT}"))), "62003\n");
    assert!(server.signal("TERM"));
    assert_eq!(server.wait(SOON).code(), Some(0));
    let said = host.read("/tmp/user.err");
    assert!(
        said.contains("tcpserver: note: the listener is without a user of its own: not started as root\n"),
        "{said}"
    );
}

/// What any kernel gives to who starts as root, and a plain user never has, is missed aloud by the one and not by the other.
#[test]
fn p6_a_listener_that_root_starts_without_its_empty_root_says_so_without_v() {
    let Some(host) = site("p6_a_listener_that_root_starts_without_its_empty_root_says_so_without_v", &[]) else {
        return;
    };
    let mut usual = Server::start(&host, Which::Ours, "", &format!("-RHl0 127.0.0.1 {PORT} echo hi"));
    assert_eq!((usual.hear("").as_str(), usual.raw().as_str()), ("hi\n", ""));
    usual.signal("TERM");
    let line = format!("exec {} -RHl0 127.0.0.1 {PORT} echo hi 2>/tmp/caps.err", Which::Ours.path());
    let arguments = ["--bounding-set", "-sys_chroot,-sys_admin", "sh", "-c", &line];
    let mut server = host.start("caps", host.command("setpriv").args(arguments));
    assert_eq!(rest(&mut host.connect(&format!("127.0.0.1:{PORT}"))), "hi\n");
    assert!(server.signal("TERM"));
    assert_eq!(server.wait(SOON).code(), Some(0));
    let said = host.read("/tmp/caps.err");
    assert!(said.starts_with("tcpserver: note: the listener is without an empty root directory: "), "{said}");
}
