//! Users by RFC 1413.

use crate::site::{PORT, Server, environment, rest, same, site};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

#[test]
fn issue_11_users_are_asked_for_by_rfc_1413() {
    let Some(host) = site("issue_11_users_are_asked_for_by_rfc_1413", &[]) else { return };
    for (answer, info) in
        [(Some("USERID : UNIX : joe smith"), Some("joesmith")), (Some("ERROR : NO-USER"), Some("")), (None, None)]
    {
        let (_, ours) = same(&format!("{answer:?}"), |which| {
            let line = format!("-vHl0 -r -t 5 127.0.0.1 {PORT} env");
            let mut server = Server::start(&host, which, "", &line);
            let listener = answer.map(|_| host.listen("127.0.0.1:113"));
            let asked = listener.map(|listener| thread::spawn(move || ident(&listener, answer.unwrap_or_default())));
            let mut client = server.connect();
            let port = client.local_addr().unwrap().port();
            let heard = rest(&mut client);
            let question = asked.map(|asked| asked.join().unwrap());
            assert!(question.is_none_or(|question| question == format!("{port} , {PORT}\r\n")));
            server.wait_said("tcpserver: end ", 1);
            server.signal("TERM");
            (server.said(), environment(&heard))
        });
        let found = ours.iter().find_map(|line| line.strip_prefix("TCPREMOTEINFO="));
        assert_eq!(found, info);
    }
}

/// Answers one question; gives it.
fn ident(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut question = [0; 64];
    let count = stream.read(&mut question).unwrap();
    let question = String::from_utf8_lossy(&question[..count]).into_owned();
    stream.write_all(format!("{} : {answer}\r\n", question.trim()).as_bytes()).unwrap();
    question
}
