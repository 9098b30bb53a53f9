//! Ways to be started that are not tcpserver: inetd, systemd, and whatever has a program and a connection.

use super::told;
use crate::room::{Home, Session, tcp_pair};
use gatepost_testkit::client::Client;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

/// What tcpserver says, and inetd does not.
const UCSPI: &[&str] =
    &["PROTO", "TCPREMOTEIP", "TCPREMOTEPORT", "TCPREMOTEHOST", "TCPLOCALIP", "TCPLOCALPORT", "TCPLOCALHOST"];

fn unsaid(home: &Home) -> Command {
    let mut command = home.command();
    for name in UCSPI {
        command.env_remove(name);
    }
    command
}

/// The descriptors 0, 1 and 2 are all the connection.
fn inetd(mut command: Command) -> (TcpStream, SocketAddr, Session) {
    let (ours, theirs) = tcp_pair();
    let here = theirs.local_addr().unwrap();
    let theirs = OwnedFd::from(theirs);
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
    (ours, here, Session::of(command.spawn().unwrap()))
}

#[test]
fn under_inetd_it_finds_out_itself_who_is_there() {
    let home = Home::new("starts/inetd");
    // Of another connection, long gone.
    let mut command = unsaid(&home);
    command.env("TCPREMOTEHOST", "stale.example").env("TCPREMOTEINFO", "stale");
    let (stream, here, mut session) = inetd(command);
    let from = stream.local_addr().unwrap();
    let mut client = Client::over(stream);
    client.hello("road.test");
    client.deliver("a@b", "c@d", "x\r\n");
    client.ask("QUIT", 221);
    session.ends(0);
    let record = home.only();
    let message = String::from_utf8_lossy(&record.message).into_owned();
    assert!(message.contains("(HELO road.test) (127.0.0.1)\n  by ") && !message.contains("stale"), "{message}");
    // As tcp-env: the queue program is told too.
    let all = [
        ("PROTO", "TCP".to_owned()),
        ("TCPREMOTEIP", "127.0.0.1".to_owned()),
        ("TCPREMOTEPORT", from.port().to_string()),
        ("TCPLOCALIP", "127.0.0.1".to_owned()),
        ("TCPLOCALPORT", here.port().to_string()),
    ];
    for (name, value) in all {
        assert_eq!(record.variable(name), Some(value), "{name}");
    }
    assert_eq!(record.variable("TCPREMOTEINFO"), None);
}

#[test]
fn under_inetd_no_client_ever_reads_a_log() {
    let home = Home::new("starts/inetd-log");
    // Each of these is worth a warning.
    home.control("rcpthosts", "d\r\n d\n");
    home.control("databytes", "abc\n");
    home.queue("echo noise from the queue program >&2", "exit 53");
    let mut command = unsaid(&home);
    command.env("DATABYTES", "abc").env("TCPLOCALHOST", "mx.example.org");
    let (stream, _, mut session) = inetd(command);
    let mut client = Client::over(stream);
    client.hello("road.test");
    client.ask("MAIL FROM:<a@b>", 250);
    told(&mut client, "RCPT TO:<local>", "250 ok");
    client.ask("DATA", 354);
    client.write(b"x\r\n.\r\n");
    told_next(&mut client, "451 qq write error or disk full (#4.3.0)");
    client.ask("QUIT", 221);
    assert_eq!(client.rest(), "");
    session.ends(0);
}

fn told_next(client: &mut Client, reply: &str) {
    assert_eq!(client.reply().to_string(), reply);
}

#[test]
fn under_systemd_it_reads_who_is_there() {
    let home = Home::new("starts/systemd");
    let mut command = unsaid(&home);
    command.env("REMOTE_ADDR", "127.0.0.1");
    let (ours, theirs) = tcp_pair();
    let theirs = OwnedFd::from(theirs);
    command.env("REMOTE_PORT", ours.local_addr().unwrap().port().to_string());
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs).stderr(home.log_file());
    let mut session = Session::of(command.spawn().unwrap());
    drop(command);
    let port = ours.local_addr().unwrap().port().to_string();
    let mut client = Client::over(ours);
    client.hello("road.test");
    client.deliver("a@b", "c@d", "x\r\n");
    client.ask("QUIT", 221);
    session.ends(0);
    let record = home.only();
    assert_eq!(record.variable("TCPREMOTEIP").as_deref(), Some("127.0.0.1"));
    assert_eq!(record.variable("TCPREMOTEPORT"), Some(port));
}

#[test]
fn on_a_connection_that_names_nobody_what_systemd_says_is_believed() {
    let home = Home::new("starts/systemd-unix");
    let mut command = unsaid(&home);
    command.env("REMOTE_ADDR", "192.0.2.77").env("REMOTE_PORT", "4242");
    let (ours, theirs) = UnixStream::pair().unwrap();
    let theirs = OwnedFd::from(theirs);
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs).stderr(home.log_file());
    let mut session = Session::of(command.spawn().unwrap());
    drop(command);
    let mut both = ours.try_clone().unwrap();
    std::io::Write::write_all(&mut both, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n").unwrap();
    let text = std::io::read_to_string(ours).unwrap();
    assert!(text.ends_with("\r\n221 mx.example.org\r\n"), "{text}");
    session.ends(0);
    let record = home.only();
    assert!(String::from_utf8_lossy(&record.message).contains("(192.0.2.77)"), "{record:?}");
}

#[test]
fn a_log_line_is_written_where_no_client_reads() {
    let home = Home::new("starts/log");
    let (mut client, mut session) = home.serve(&mut home.command());
    client.hello("road.test");
    client.deliver("sender@b", "rcpt@d", "x\r\n");
    client.ask("QUIT", 221);
    session.ends(0);
    let pid = home.only().pid.to_string();
    let log = home.log();
    let line = log.lines().find(|line| line.contains("sender@b")).unwrap_or_else(|| panic!("{log}"));
    for word in ["192.0.2.7", "rcpt@d", &pid] {
        assert!(line.contains(word), "{word}: {line}");
    }
}

#[test]
fn the_log_can_be_off() {
    let home = Home::new("starts/log-off");
    let (mut client, mut session) = home.serve(home.command().env("GATEPOST_LOG", "off"));
    client.hello("road.test");
    client.ask("QUIT", 221);
    session.ends(0);
    assert_eq!(home.log(), "");
}
