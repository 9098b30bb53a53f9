//! Signals to the server.

use crate::site::{PORT, Server, Which, rest, same, site};
use gatepost_testkit::facts;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::process::ExitStatusExt;

#[test]
fn issue_11_b21_term_ends_the_server_and_no_program() {
    let Some(host) = site("issue_11_b21_term_ends_the_server_and_no_program", &[]) else { return };
    for limit in [1, 40] {
        same(&format!("-c {limit}"), |which| {
            let mut server = Server::start(&host, which, "", &format!("-vRHl0 -c {limit} 127.0.0.1 {PORT} cat"));
            let mut client = server.connect();
            server.wait_said("tcpserver: ok ", 1);
            let status = server.signal("TERM").code();
            // The port is free at once.
            let mut next = Server::start(&host, which, "", &format!("-vRHl0 127.0.0.1 {PORT} echo next"));
            let heard = next.hear("");
            next.signal("TERM");
            client.write_all(b"still here").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            (status, heard, rest(&mut client))
        });
    }
}

#[test]
fn issue_11_b22_other_signals_kill_and_hup_does_not() {
    let Some(host) = site("issue_11_b22_other_signals_kill_and_hup_does_not", &[]) else { return };
    for signal in ["INT", "QUIT", "ALRM", "USR1", "USR2", "KILL"] {
        // A shell that starts something in the background has it ignore INT and QUIT; this one has not.
        let status = same(signal, |which| {
            let mut server = Server::start(&host, which, "", &format!("-vRHl0 127.0.0.1 {PORT} cat"));
            let status = server.signal(signal);
            (status.code(), status.signal())
        });
        assert!(status.0.is_some_and(|code| code > 0) || status.1.is_some(), "{signal}: {status:?}");
    }
    let mut server = Server::start(&host, Which::Ours, "", &format!("-vRHl0 127.0.0.1 {PORT} echo served"));
    server.signal_only("HUP");
    assert_eq!(server.hear(""), "served\n");
    server.signal_only("PIPE");
    assert_eq!(server.hear(""), "served\n");
    assert_eq!(server.signal("TERM").code(), Some(0));
}

/// What is done to the rules, and what the next client hears then.
const HANGUPS: [(&str, &str); 10] = [
    ("echo 127.0.0.1:deny >rules && compile", ""),
    ("echo :allow >rules && compile", "served\n"),
    ("rm rules.cdb", ""),
    ("compile", "served\n"),
    ("head -c 2050 rules.cdb >cut && mv cut rules.cdb", ""),
    ("compile", "served\n"),
    ("truncate -s 1000 rules.cdb", ""),
    ("truncate -s 0 rules.cdb", ""),
    ("echo 127.0.0.1:deny >rules && compile", ""),
    ("echo 127.0.0.1:allow >rules && compile", "served\n"),
];

/// Beside the original, which opens its file for each connection and dies of HUP, so it gets none.
#[test]
fn issue_11_hup_opens_the_rules_anew_and_without_rules_nobody_is_served() {
    let Some(host) = site("issue_11_hup_opens_the_rules_anew_and_without_rules_nobody_is_served", &[]) else { return };
    let gatepost = env!("CARGO_BIN_EXE_gatepost");
    let change = |what: &str| {
        let compile = format!("compile() {{ {gatepost} tcprules rules.cdb rules.tmp <rules; }}");
        host.shell(&format!("cd /tmp; {compile}; {what}")).expect_ok(what);
    };
    for (option, missing) in [("", ""), ("-X", "served\n")] {
        let (_, said) = same(&format!("HUP {option}"), |which| {
            change("echo :allow >rules && compile");
            let line = format!("-vRHl0 {option} -x rules.cdb 127.0.0.1 {PORT} sh -c 'echo served; exec cat'");
            let mut server = Server::start(&host, which, "", &line);
            let mut first = server.connect();
            first.read_exact(&mut [0; 7]).unwrap();
            let ours = (which == Which::Ours).then(|| server.listener());
            let rules_of = |pid| facts::descriptors(pid).into_iter().filter(|file| file.contains("/tmp/rules.cdb"));
            let heard = HANGUPS.map(|(what, expected)| {
                change(what);
                if ours.is_some() {
                    server.signal_only("HUP");
                }
                let heard = server.hear("");
                assert_eq!(
                    heard,
                    if what.starts_with("rm") { missing } else { expected },
                    "{which:?} {option}: {what}"
                );
                // Whoever comes has the rules looked at; what is there no more is kept for nobody after that.
                let kept: Vec<String> = rules_of(server.pid()).collect();
                assert!(!kept.iter().any(|file| file.ends_with("(deleted)")), "{what}: {kept:?}");
                assert!(ours.is_none() || !what.ends_with("compile") || !kept.is_empty(), "{what}");
                heard
            });
            // The same processes, and whoever was there is served on.
            assert_eq!(ours, ours.map(|_| server.listener()));
            first.write_all(b"still here").unwrap();
            first.shutdown(Shutdown::Write).unwrap();
            let heard = (heard, rest(&mut first));
            server.wait_said("tcpserver: end ", 1 + HANGUPS.len());
            assert_eq!(server.signal("TERM").code(), Some(0), "{}", server.raw());
            let mut said: Vec<String> = server.said().lines().map(str::to_owned).collect();
            // Two processes write lines.
            said.sort();
            (heard, said)
        });
        for why in
            ["protocol error", "invalid argument"].iter().chain(missing.is_empty().then_some(&"file does not exist"))
        {
            let line = format!("tcpserver: warning: dropping connection, unable to read rules.cdb: {why}");
            assert!(said.contains(&line), "{line}: {said:?}");
        }
    }
}
