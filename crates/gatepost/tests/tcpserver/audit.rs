//! What `gatepost audit` says of tcpserver's processes, and of the programs that it executes.

use crate::site::{Server, Which, site};
use gatepost_testkit::run::run;
use std::io::{BufRead, BufReader, Write};

#[test]
fn issue_11_the_audit_judges_listener_and_runner_and_names_programs() {
    let Some(host) = site("issue_11_the_audit_judges_listener_and_runner_and_names_programs", &[]) else { return };
    let program = "sh -c 'echo up; read x; sleep 0'";
    for (options, uid) in
        [("-u 62000 -g 62001", "62000"), ("-u 62000 -g 62001 --chroot / --session-time 1h", "0"), ("", "0")]
    {
        let server = Server::start(&host, Which::Ours, "", &format!("-RHl0 {options} 127.0.0.1 0 {program}"));
        let mut client = server.connect();
        // It has been executed then.
        let mut greeting = String::new();
        BufReader::new(client.try_clone().unwrap()).read_line(&mut greeting).unwrap();
        assert_eq!(greeting, "up\n");
        let audit = run(host.command(env!("CARGO_BIN_EXE_gatepost")).arg("audit")).expect_ok(options);
        let row = |role: &str| {
            let named = |line: &&str| line.split_whitespace().nth(1) == Some(role);
            audit.stdout.lines().find(named).unwrap_or_else(|| panic!("no {role}:\n{}", audit.stdout))
        };
        assert_eq!(row("tcpserver").split_whitespace().nth(2), Some(uid), "{}", audit.stdout);
        assert!(row("tcpserver").ends_with("ok, open by design"), "{}", audit.stdout);
        assert!(row("tcpserver-listener").ends_with(" ok"), "{}", audit.stdout);
        assert!(row("program").ends_with("a program of yours"), "{}", audit.stdout);
        assert!(audit.stdout.contains("All 2 gatepost processes are confined"), "{}", audit.stdout);
        client.write_all(b"x\n").unwrap();
    }
}
