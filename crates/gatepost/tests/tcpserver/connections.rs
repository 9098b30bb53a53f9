//! What a connection's program, its client and the log see.

use crate::site::{PORT, Server, Which, environment, rest, same, site};
use gatepost_testkit::host::Host;
use gatepost_testkit::run::signal;
use gatepost_testkit::wait::{self, SOON};
use std::io::Write;

/// One client of one server, which is stopped then: what the client has heard, and what was said.
fn one(host: &Host, which: Which, before: &str, line: &str, words: &str, ends: usize) -> (String, String) {
    let mut server = Server::start(host, which, before, line);
    let heard = server.hear(words);
    server.wait_said("tcpserver: end ", ends);
    if ends > 0 {
        server.wait_said("status: 0/", 2);
    }
    assert_eq!(server.signal("TERM").code(), Some(0), "{}", server.raw());
    (heard, server.said())
}

#[test]
fn issue_11_b9_to_b18_one_connection() {
    let Some(host) = site("issue_11_b9_to_b18_one_connection", &[]) else { return };
    let at = format!("127.0.0.1 {PORT}");
    let long = "x".repeat(150);
    let hundred = "y".repeat(100);
    for (before, line, words) in [
        ("", format!("-vRHl0 {at} sh -c 'cat; exit 3'"), "hello\n"),
        ("", format!("-vRHl0 {at} sh -c 'kill -9 $$'"), ""),
        ("", format!("-vRHl0 {at} sh -c 'exit 111'"), ""),
        ("", format!("-vRHl0 {at} false"), ""),
        ("", format!("-vRHl0 {at} /nonexistent a b"), ""),
        ("", format!("-vRHl0 {at} nonexistent"), ""),
        ("", format!("-vRHl0 {at} /etc/passwd"), ""),
        ("", format!("-vRHl0 {at} /etc"), ""),
        ("PATH=/nonexistent:/etc:/usr/bin:/bin", format!("-vRHl0 {at} passwd"), ""),
        ("", format!("-vRH -l 'my host:%x' {at} env"), ""),
        ("", format!("-vRH -l '' {at} env"), ""),
        ("", format!("-vRH -l {long} {at} env"), ""),
        ("", format!("-vRH -l {hundred} {at} env"), ""),
        ("", format!("-vRHl0 -B '220 hi\\r\n' {at} cat"), "x"),
        ("", format!("-vRHl0 -d -o {at} cat"), "x"),
        ("", format!("-vRHl0 -b 1 -c 7 {at} cat"), "x"),
        ("export TCPREMOTEINFO=stale TCPREMOTEHOST=stale PROTO=SSL KEPT=1", format!("-vRHl0 {at} env"), ""),
        ("unset LC_ALL HOME", format!("-v -R -H -l localhost 0 {PORT} env"), ""),
    ] {
        let what = format!("{before}; tcpserver {line}");
        same(&what, |which| {
            let (heard, said) = one(&host, which, before, &line, words, 1);
            // On every address ours takes IPv6 too, and says so in variables that the IPv6 build has.
            let heard = if heard.contains("PROTO=") {
                let ours: Vec<String> = environment(&heard);
                format!("{:?}", ours.iter().filter(|one| !one.starts_with("TCP6")).collect::<Vec<_>>())
            } else {
                heard
            };
            (heard, said)
        });
    }
}

#[test]
fn issue_11_b10_without_v_nothing_is_said() {
    let Some(host) = site("issue_11_b10_without_v_nothing_is_said", &[]) else { return };
    for line in ["-RHl0", "-RHql0", "-RHQl0"] {
        let line = format!("{line} 127.0.0.1 {PORT} sh -c 'echo served'");
        let (heard, said) = same(&line, |which| one(&host, which, "", &line, "", 0));
        assert_eq!((heard.as_str(), said.as_str()), ("served\n", ""));
    }
    for (options, warned) in [("-RHl0", true), ("-RHql0", false)] {
        let line = format!("{options} 127.0.0.1 {PORT} /nonexistent");
        let said = same(&line, |which| {
            let mut server = Server::start(&host, which, "", &line);
            assert_eq!(server.hear(""), "");
            if warned {
                server.wait_said("dropping", 1);
            }
            server.signal("TERM");
            server.said()
        });
        assert_eq!(!said.is_empty(), warned, "{said}");
    }
}

/// A source of rules, compiled by the original.
fn rules(host: &Host, text: &str) {
    host.write("/tmp/rules", text);
    host.shell("cd /tmp && tcprules rules.cdb rules.tmp < rules").expect_ok("tcprules");
}

#[test]
fn issue_11_b17_b18_b28_to_b32_rules() {
    let Some(host) = site("issue_11_b17_b18_b28_to_b32_rules", &[]) else { return };
    let served = "sh -c 'env; echo served'";
    let everything = "127.0.0.1:allow,RELAYCLIENT=\"\",X=\"a=b\",TCPREMOTEHOST=\"forced\"\n";
    let overridden = "127.:allow,A=\"1\",PROTO=\"X\",A=\"2\",TCPREMOTEIP=\"9.9.9.9\",PATH=\"/nowhere\"\n";
    for (prepare, options) in [
        (":deny\n", "-x rules.cdb"),
        (":deny\n", "-x rules.cdb -B 'hello '"),
        ("127.0.0.1:deny,X=\"1\"\n:allow\n", "-x rules.cdb"),
        ("=:deny\n", "-x rules.cdb"),
        ("1.:deny\n", "-x rules.cdb"),
        ("", "-x rules.cdb"),
        (everything, "-x rules.cdb"),
        (overridden, "-x rules.cdb"),
        ("junk", "-x junk.cdb"),
        ("junk", "-X -x junk.cdb"),
        ("empty", "-x empty.cdb"),
        ("empty", "-X -x empty.cdb"),
        ("missing", "-x nope.cdb"),
        ("missing", "-X -x nope.cdb"),
        ("directory", "-X -x /nonexistent/x"),
    ] {
        rules(&host, if prepare.ends_with('\n') || prepare.is_empty() { prepare } else { "" });
        host.shell("cd /tmp && echo junk > junk.cdb && : > empty.cdb").expect_ok("files");
        let line = format!("-vRHl0 {options} 127.0.0.1 {PORT} {served}");
        let what = format!("{prepare:?} {options}");
        same(&what, |which| {
            let (heard, said) = one(&host, which, "", &line, "", 1);
            (environment(&heard), said)
        });
    }
}

#[test]
fn issue_11_b30_rules_that_are_replaced_hold_at_once() {
    let Some(host) = site("issue_11_b30_rules_that_are_replaced_hold_at_once", &[]) else { return };
    let line = format!("-vRHl0 -x rules.cdb 127.0.0.1 {PORT} echo served");
    same("replaced", |which| {
        rules(&host, ":allow\n");
        let mut server = Server::start(&host, which, "", &line);
        let mut heard = vec![server.hear("")];
        for text in [":deny\n", ":allow\n", "127.0.0.1:deny\n:allow\n"] {
            rules(&host, text);
            heard.push(server.hear(""));
        }
        host.shell("rm /tmp/rules.cdb").expect_ok("rm");
        heard.push(server.hear(""));
        rules(&host, ":allow\n");
        heard.push(server.hear(""));
        server.wait_said("tcpserver: end ", 6);
        server.signal("TERM");
        (heard, server.said().lines().filter(|line| !line.contains("status")).map(str::to_owned).collect::<Vec<_>>())
    });
}

#[test]
fn issue_11_b19_b20_no_more_than_the_limit() {
    let Some(host) = site("issue_11_b19_b20_no_more_than_the_limit", &[]) else { return };
    same("-c 2", |which| {
        let line = format!("-vRHl0 -c 2 127.0.0.1 {PORT} cat");
        let mut server = Server::start(&host, which, "", &line);
        let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
        server.wait_said("tcpserver: ok ", 2);
        server.wait_said("status: 2/2", 1);
        // One goes, one of those that wait comes.
        for served in 3..=4 {
            drop(clients.remove(0));
            server.wait_said("tcpserver: ok ", served);
        }
        clients[0].write_all(b"x").unwrap();
        clients[0].shutdown(std::net::Shutdown::Write).unwrap();
        let heard = rest(&mut clients[0]);
        drop(clients);
        server.wait_said("status: 0/2", 2);
        server.signal("TERM");
        let said = server.said();
        assert!(!said.contains("status: 3/"), "{said}");
        (heard, said.matches("status: 2/2").count(), said.matches("tcpserver: end PID status 0\n").count())
    });
    same("-c 0", |which| {
        let mut server = Server::start(&host, which, "", &format!("-vRHl0 -c 0 127.0.0.1 {PORT} cat"));
        let client = server.connect();
        server.wait_said("status: 0/0", 1);
        server.signal("TERM");
        drop(client);
        server.said()
    });
}

/// Who comes while the listener does not look is taken in one go.
#[test]
fn issue_11_a_burst_is_no_more_than_the_limit_and_nobody_of_it_is_lost() {
    let Some(host) = site("issue_11_a_burst_is_no_more_than_the_limit_and_nobody_of_it_is_lost", &[]) else { return };
    rules(&host, ":allow\n");
    for (options, limit) in [("", 2), ("-x rules.cdb", 2), ("-x rules.cdb", 9)] {
        let line = format!("-vRHl0 -c {limit} {options} 127.0.0.1 {PORT} cat");
        let mut server = Server::start(&host, Which::Ours, "", &line);
        let listener = server.listener();
        assert!(signal(listener, "STOP"));
        let mut clients: Vec<_> = (0..6).map(|_| server.connect()).collect();
        assert!(signal(listener, "CONT"));
        for client in &mut clients {
            client.write_all(b"x").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(rest(client), "x", "{line}: {}", server.raw());
        }
        server.wait_said("tcpserver: end ", clients.len());
        server.signal("TERM");
        assert!(!server.raw().contains(&format!("status: {}/", limit + 1)), "{line}: {}", server.raw());
    }
}

/// What a program sees of its socket: TCP_NODELAY, and how long its IP options are.
const SOCKET: &str =
    "import socket; s = socket.socket(fileno=0); print(s.getsockopt(6, 1), len(s.getsockopt(0, 4, 40)))";
/// A client that has its route recorded, which is an IP option.
const CLIENT: &str = "import socket; s = socket.socket(); s.setsockopt(0, 4, bytes([7, 7, 4, 0, 0, 0, 0, 0])); \
                      s.connect((\"127.0.0.1\", 2525)); print(s.makefile().read(), end=\"\")";

#[test]
fn issue_11_backlog_nagle_and_ip_options() {
    let Some(host) = site("issue_11_backlog_nagle_and_ip_options", &["python3", "ss"]) else { return };
    for (options, backlog, seen) in [
        ("", "20", "0 0\n"),
        ("-d -b 7", "7", "0 0\n"),
        ("-D -b 1", "1", "1 0\n"),
        ("-Dd", "20", "0 0\n"),
        ("-o", "20", "0 8\n"),
        ("-oO", "20", "0 0\n"),
    ] {
        let heard = [Which::Original, Which::Ours].map(|which| {
            let line = format!("-vRHl0 {options} 127.0.0.1 {PORT} python3 -c '{SOCKET}'");
            let mut server = Server::start(&host, which, "", &line);
            let listening = host.shell(&format!("ss -Hltn sport = :{PORT}")).expect_ok("ss").stdout;
            let heard = host.shell(&format!("python3 -c '{CLIENT}'")).expect_ok("python3").stdout;
            server.signal("TERM");
            (listening.split_whitespace().nth(2).unwrap_or_default().to_owned(), heard)
        });
        let [theirs, ours] = heard;
        assert_eq!((ours.0.as_str(), ours.1.as_str()), (backlog, seen), "{options}");
        // tcpserver(1): on Linux the original does not get rid of IP options.
        assert_eq!(theirs, (ours.0, ours.1.replace(" 0\n", " 8\n")), "{options}: the original");
    }
}

#[test]
fn issue_11_b27_a_program_starts_with_nothing_but_its_connection() {
    let Some(host) = site("issue_11_b27_a_program_starts_with_nothing_but_its_connection", &[]) else { return };
    let prefixes =
        ["Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "Cap", "NoNewPrivs", "Seccomp:", "0 ", "1 ", "2 "];
    let shown = |line: &str| match line.split_once(" -> ") {
        Some((start, end)) => {
            let number = start.rsplit(' ').next().unwrap_or_default();
            let end = end.replace("Original", "Which").replace("Ours", "Which");
            format!("{number} {}", end.split('[').next().unwrap_or_default())
        }
        None => line.to_owned(),
    };
    let mut all = Vec::new();
    for program in ["cat /proc/self/status", "ls -l /proc/self/fd", "cat /proc/self/limits", "sh -c 'umask; pwd'"] {
        let line = format!("-vRHl0 127.0.0.1 {PORT} {program}");
        all.extend(same(program, |which| {
            let (heard, _) = one(&host, which, "", &line, "", 1);
            // The directory that ls reads is its own.
            let heard: Vec<&str> = heard.lines().filter(|line| !line.contains("-> /proc/")).collect();
            let wanted =
                |line: &String| !program.contains("status") || prefixes.iter().any(|one| line.starts_with(one));
            heard.into_iter().map(shown).filter(wanted).collect::<Vec<_>>()
        }));
    }
    for wanted in ["0 socket:", "1 socket:", "2 /tmp/Which.err", "SigBlk:\t0000000000000000"] {
        assert!(all.iter().any(|line| line == wanted), "{wanted}: {all:?}");
    }
}

#[test]
fn issue_11_b23_b24_whom_programs_run_as() {
    let Some(host) = site("issue_11_b23_b24_whom_programs_run_as", &[]) else { return };
    for options in [
        "-u 65534 -g 65534",
        "-g 65534",
        "-u 62000",
        "-u 0 -g 0",
        "-U",
        // The last one counts.
        "-U -u 62003 -g 62004",
        "-U -u 62003",
        "-u 62003 -g 62004 -U",
    ] {
        // A shell may not let its own UID be set.
        let env = if options.contains("-U") { "env UID=62001 GID=62002 " } else { "" };
        let line =
            format!("-vRHl0 {options} 127.0.0.1 {PORT} sh -c 'grep -E \"^(Uid|Gid|Groups|Cap)\" /proc/$$/status'");
        same(options, |which| {
            if env.is_empty() {
                return one(&host, which, "", &line, "", 1);
            }
            let through = format!("exec {env}{} -1 {line} >/tmp/{which:?}.port 2>/tmp/{which:?}.err\n", which.path());
            one(&host, which, &through, &line, "", 1)
        });
    }
    let mut server = Server::start(&host, Which::Ours, "", &format!("-RHl0 -u 62000 127.0.0.1 {PORT} true"));
    assert!(server.raw().contains("note: -u without -g leaves programs root's groups"), "{}", server.raw());
    server.signal("TERM");
    let line = format!("-vRHl0 --user nobody 127.0.0.1 {PORT} sh -c 'grep -E \"^(Uid|Gid|Groups)\" /proc/$$/status'");
    let (heard, _) = one(&host, Which::Ours, "", &line, "", 1);
    assert!(heard.contains("Uid:\t65534\t65534") && heard.contains("Groups:\t65534 \n"), "{heard}");
}

#[test]
fn issue_11_b8_port_names_and_free_ports() {
    let Some(host) = site("issue_11_b8_port_names_and_free_ports", &[]) else { return };
    same("smtp", |which| {
        let mut server = Server::start(&host, which, "", "-vRHl0 127.0.0.1 smtp echo served");
        let found = (server.port(), server.hear(""));
        server.signal("TERM");
        found
    });
    for port in ["0", "''"] {
        same(port, |which| {
            let mut server = Server::start(&host, which, "", &format!("-vRHl0 127.0.0.1 {port} echo served"));
            let found = (server.port().is_some_and(|port| port > 1024), server.hear(""));
            wait::holds("the end", SOON, || server.raw().contains("end "));
            server.signal("TERM");
            found
        });
    }
}
