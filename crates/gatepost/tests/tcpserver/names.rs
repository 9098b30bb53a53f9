//! Names by a name server, and users by RFC 1413.

use crate::site::{PORT, Server, Which, connect_from, environment, rest, same, site};
use gatepost_testkit::host::Host;
use gatepost_testkit::name_server::{NameServer, Rcode, Said, nothing, said};
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

/// A name server on the host: 127.0.0.1 is this machine, .9 a client whose name leads back to it, .8 one whose name does not, .7
/// has none, and of .6 it says nothing at all.
fn name_server(host: &Host) -> NameServer {
    host.write("/etc/resolv.conf", "nameserver 127.0.0.53\n");
    let reverse = |last: u8| format!("{last}.0.0.127.in-addr.arpa");
    let named =
        |last: u8, name: &str| (format!("{} PTR", reverse(last)), said(&[&format!("{} 60 PTR {name}", reverse(last))]));
    let silent = |last: u8| (format!("{} PTR", reverse(last)), Said { silent: true, ..Said::default() });
    let leads = |name: &str, to: &str| (format!("{name} A"), said(&[&format!("{name} 60 A {to}")]));
    let zone = [
        named(1, "here.test"),
        leads("here.test", "127.0.0.1"),
        named(9, "honest.test"),
        leads("honest.test", "127.0.0.9"),
        named(8, "liar.test"),
        leads("liar.test", "127.0.0.99"),
        silent(6),
    ];
    let zone: Vec<(&str, Said)> = zone.iter().map(|(key, said)| (key.as_str(), said.clone())).collect();
    let address = "127.0.0.53:53".parse().unwrap();
    host.inside(|| NameServer::at(address, &zone, &nothing(Rcode::NXDOMAIN, Some(60))))
}

#[test]
fn issue_11_names_come_from_a_name_server() {
    let Some(host) = site("issue_11_names_come_from_a_name_server", &[]) else { return };
    let names = name_server(&host);
    host.write("/tmp/rules", "=honest.test:allow,BY=\"name\"\n=.test:allow,BY=\"domain\"\n:allow,BY=\"nothing\"\n");
    host.shell("cd /tmp && tcprules rules.cdb rules.tmp < rules").expect_ok("tcprules");
    let (name, local, by) = ("TCPREMOTEHOST=", "TCPLOCALHOST=", "BY=");
    for (options, last, wanted) in [
        ("", 9, vec![(name, Some("honest.test")), (local, Some("here.test")), (by, Some("name"))]),
        ("-h", 8, vec![(name, Some("liar.test")), (by, Some("domain"))]),
        ("-p", 9, vec![(name, Some("honest.test")), (by, Some("name"))]),
        ("-p", 8, vec![(name, None), (by, Some("nothing"))]),
        ("", 7, vec![(name, None), (local, Some("here.test")), (by, Some("nothing"))]),
        ("-l other.test", 9, vec![(name, Some("honest.test")), (local, Some("other.test"))]),
        ("-H", 9, vec![(name, None), (local, Some("here.test")), (by, Some("nothing"))]),
    ] {
        let (_, ours) = same(&format!("{options} 127.0.0.{last}"), |which| {
            let mut server =
                Server::start(&host, which, "", &format!("-vR {options} -x rules.cdb 127.0.0.1 {PORT} env"));
            let heard = rest(&mut connect_from(&host, [127, 0, 0, last]));
            server.wait_said("tcpserver: end ", 1);
            server.wait_said("status: 0/40", 2);
            server.signal("TERM");
            (server.said(), environment(&heard))
        });
        for (variable, value) in wanted {
            let found = ours.iter().find_map(|line| line.strip_prefix(variable));
            assert_eq!(found, value, "{options} 127.0.0.{last}: {variable}");
        }
    }
    assert!(names.asked().iter().any(|question| question == "liar.test a"), "{:?}", names.asked());
}

#[test]
fn issue_11_a_name_server_that_says_nothing_holds_nobody_up() {
    let Some(host) = site("issue_11_a_name_server_that_says_nothing_holds_nobody_up", &[]) else { return };
    let names = name_server(&host);
    let mut server = Server::start(&host, Which::Ours, "", &format!("-vRp -l here.test 127.0.0.1 {PORT} env"));
    let waiting: Vec<_> = (0..8).map(|_| connect_from(&host, [127, 0, 0, 6])).collect();
    gatepost_testkit::wait::holds("the name server to be asked", gatepost_testkit::wait::SOON, || {
        names.asked().iter().any(|question| question.starts_with("6.0.0.127."))
    });
    // While they wait for their name, others are served.
    for _ in 0..3 {
        assert!(rest(&mut connect_from(&host, [127, 0, 0, 9])).contains("TCPREMOTEHOST=honest.test\n"));
    }
    assert!(!server.raw().contains(":127.0.0.6:"), "they are waiting: {}", server.raw());
    drop(waiting);
    server.signal("TERM");
}
