//! Signals to the server.

use crate::site::{PORT, Server, Which, rest, same, site};
use std::io::Write;
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
