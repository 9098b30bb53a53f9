//! STARTTLS by the patches' conventions, SMTPS, certificates by name, and UCSPI-TLS.

use super::{greeted, told};
use crate::room::{Home, ME, Session, certificate, tcp_pair};
use gatepost_testkit::client::Client;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

fn home(name: &str) -> Home {
    let home = Home::new(&format!("tls/{name}"));
    home.control("servercert.pem", certificate(ME));
    home
}

fn has(extensions: &[String], word: &str) -> bool {
    extensions.iter().any(|line| line == word)
}

#[test]
fn starttls_replies_as_the_patches_do() {
    let home = home("replies");
    let (mut client, mut session) = home.serve(&mut home.command());
    assert!(has(&client.hello("road.test"), "STARTTLS"));
    told(&mut client, "STARTTLS now", "501 Syntax error (no parameters allowed) (#5.5.4)");
    told(&mut client, "STARTTLS", "220 ready for tls");
    client.handshake(ME).unwrap();
    // What was said before it is forgotten.
    assert!(!has(&client.ask("EHLO inside.test", 250).lines, "STARTTLS"));
    told(&mut client, "STARTTLS", "502 unimplemented (#5.5.1)");
    client.deliver("a@b", "c@d", "x\r\n");
    client.ask("QUIT", 221);
    session.ends(0);
    let head = String::from_utf8_lossy(&home.only().message).into_owned();
    assert!(
        head.contains("(HELO inside.test)") && head.contains(" with ESMTPS (") && head.contains(" encrypted); "),
        "{head}"
    );
}

#[test]
fn the_name_said_before_a_handshake_is_forgotten_after_it() {
    let home = home("forgotten");
    let (mut client, _session) = home.serve(&mut home.command());
    client.hello("outside.test");
    client.ask("MAIL FROM:<before@b>", 250);
    client.starttls(ME);
    told(&mut client, "RCPT TO:<c@d>", "503 MAIL first (#5.5.1)");
    client.deliver("a@b", "c@d", "x\r\n");
    assert!(!String::from_utf8_lossy(&home.only().message).contains("outside.test"));
}

#[test]
fn what_is_pipelined_behind_starttls_is_never_executed() {
    // A95, CVE-2011-0411 and its kin.
    let home = home("injection");
    let (mut client, _session) = home.serve(&mut home.command());
    client.hello("road.test");
    client.write(b"STARTTLS\r\nRSET\r\nMAIL FROM:<injected@b>\r\n");
    client.expect(220);
    if client.handshake(ME).is_ok() {
        let first = client.ask("RCPT TO:<c@d>", 503);
        assert_eq!(first.to_string(), "503 MAIL first (#5.5.1)");
    }
}

#[test]
fn without_a_certificate_there_is_no_starttls() {
    let home = Home::new("tls/none");
    let (mut client, _session) = home.serve(&mut home.command());
    assert!(!has(&client.hello("road.test"), "STARTTLS"));
    told(&mut client, "STARTTLS", "502 unimplemented (#5.5.1)");
}

#[test]
fn smtps_begins_with_the_handshake() {
    let home = home("smtps");
    let (ours, mut session) = raw(&home, &[("SMTPS", "1")]);
    let mut client = Client::tls(ours, ME).unwrap();
    assert!(!has(&client.hello("road.test"), "STARTTLS"));
    client.deliver("a@b", "c@d", "x\r\n");
    client.ask("QUIT", 221);
    session.ends(0);
    assert!(String::from_utf8_lossy(&home.only().message).contains(" with ESMTPS ("));
}

#[test]
fn forcetls_is_about_passwords_and_ucspitls_about_everything() {
    // FORCETLS is on unless it is 0: AUTH waits for TLS, mail of other servers does not.
    for (value, early) in [("1", false), ("0", true)] {
        let home = home(&format!("force-{value}"));
        let mut command = home.command();
        command.env("FORCETLS", value).env("SMTPAUTH", "").args(["/bin/false", "/bin/true"]);
        let (mut client, _session) = home.serve(&mut command);
        let offers = |extensions: &[String]| extensions.iter().any(|line| line.starts_with("AUTH "));
        assert_eq!(offers(&client.hello("road.test")), early, "FORCETLS={value}");
        if !early {
            told(&mut client, "AUTH PLAIN AGEAYg==", "538 auth not available without TLS (#5.3.3)");
        }
        client.deliver("a@b", "c@d", "x\r\n");
        client.starttls(ME);
        assert!(offers(&client.ask("EHLO road.test", 250).lines), "FORCETLS={value}");
    }
    let home = home("force-all");
    let (mut client, _session) = home.serve(home.command().env("UCSPITLS", "!"));
    client.hello("road.test");
    told(&mut client, "MAIL FROM:<a@b>", "530 Must issue a STARTTLS command first (#5.7.0)");
    client.starttls(ME);
    client.ask("EHLO road.test", 250);
    client.deliver("a@b", "c@d", "x\r\n");
}

#[test]
fn each_name_has_its_own_certificate() {
    let home = home("names");
    let other = certificate("other.example");
    home.control("servercerts/other.example/servercert.pem", &other);
    let shown = |name: &str| {
        let (mut client, _session) = home.serve(&mut home.command());
        client.hello("road.test");
        client.starttls(name);
        client.certificate().expect("a certificate")
    };
    let (of_other, of_me) = (shown("other.example"), shown(ME));
    assert_ne!(of_other, of_me);
    assert_eq!(shown("unknown.example"), of_me);
    let named = |der: &[u8], name: &str| der.windows(name.len()).any(|part| part == name.as_bytes());
    assert!(named(&of_other, "other.example") && named(&of_me, ME));
}

/// A session on one end of a TCP connection; the other end as it is.
fn raw(home: &Home, env: &[(&str, &str)]) -> (std::net::TcpStream, Session) {
    let (ours, theirs) = tcp_pair();
    let theirs = OwnedFd::from(theirs);
    let mut command = home.command();
    command.envs(env.iter().copied()).stdin(theirs.try_clone().unwrap()).stdout(theirs).stderr(home.log_file());
    (ours, Session::of(command.spawn().unwrap()))
}

/// Three connections come as 0, 1 and 2 and go to where UCSPI-TLS has them: the client's, the control socket, and the one
/// that a superserver speaks clear text on once it has been asked to.
const SUPERSERVER: &str = "exec 5<&1 6<&2 7>&2\nexec 1>&0 2>>\"$LOG\"\nexport SSLCTLFD=5 SSLREADFD=6 SSLWRITEFD=7";

#[test]
fn a_superserver_can_hold_the_key_instead() {
    let home = Home::new("tls/ucspi");
    let (plain, plain_end) = tcp_pair();
    let (mut control, control_end) = tcp_pair();
    let (inside, inside_end) = tcp_pair();
    let mut command = home.wrapped(SUPERSERVER);
    command.env("LOG", home.path("log")).env("UCSPITLS", "");
    command.stdin(OwnedFd::from(plain_end)).stdout(OwnedFd::from(control_end)).stderr(OwnedFd::from(inside_end));
    let mut session = Session::of(command.spawn().unwrap());
    drop(command);
    let mut client = Client::over(plain.try_clone().unwrap());
    assert!(has(&client.hello("road.test"), "STARTTLS"), "{}", home.log());
    client.ask("MAIL FROM:<before@b>", 250);
    // What follows in clear is thrown away.
    client.write(b"STARTTLS\r\nNOOP\r\n");
    assert_eq!(client.reply().to_string(), "220 ready for tls");
    control.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut asked = [0];
    control.read_exact(&mut asked).unwrap();
    assert!(matches!(asked[0], b'y' | b'Y'), "{asked:?}");
    if asked[0] == b'Y' {
        // Nothing to be told.
        control.write_all(b"\0").unwrap();
    }
    let mut client = Client::over(inside);
    told(&mut client, "RCPT TO:<c@d>", "503 MAIL first (#5.5.1)");
    assert!(!has(&client.ask("EHLO inside.test", 250).lines, "STARTTLS"));
    client.deliver("a@b", "c@d", "x\r\n");
    client.ask("QUIT", 221);
    session.ends(0);
    assert!(String::from_utf8_lossy(&home.only().message).contains("(HELO inside.test)"));
    // Nothing of all that went the old way.
    let mut rest = Vec::new();
    plain.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let _ = (&plain).read_to_end(&mut rest);
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[test]
fn a_superserver_that_goes_away_ends_the_session() {
    let home = Home::new("tls/ucspi-gone");
    let (plain, plain_end) = tcp_pair();
    let (control, control_end) = tcp_pair();
    let (inside, inside_end) = tcp_pair();
    let mut command = home.wrapped(SUPERSERVER);
    command.env("LOG", home.path("log")).env("UCSPITLS", "");
    command.stdin(OwnedFd::from(plain_end)).stdout(OwnedFd::from(control_end)).stderr(OwnedFd::from(inside_end));
    let mut session = Session::of(command.spawn().unwrap());
    drop(command);
    let mut client = Client::over(plain);
    greeted(&mut client);
    drop((control, inside));
    let _ = client.try_ask("STARTTLS");
    session.ends(1);
    assert!(home.delivered().is_empty());
}
