//! Issue 10: what was found by trying the drop-in beside notqmail's own qmail-smtpd.

use crate::patches::{greeted, told};
use crate::room::{Home, Session};
use gatepost_testkit::client::Client;
use gatepost_testkit::wait::{SOON, holds};

const TOO_LARGE: &str = "552 sorry, that message size exceeds my databytes limit (#5.3.4)";
const LOOPING: &str = "554 too many hops, this message is looping (#5.4.6)";

/// A session with these control files and variables, greeted.
fn session(name: &str, control: &[(&str, &str)], env: &[(&str, &str)]) -> (Home, Client, Session) {
    let home = Home::new(&format!("issue10/{name}"));
    control.iter().for_each(|(file, text)| home.control(file, text));
    let (mut client, session) = home.serve(home.command().envs(env.iter().copied()));
    greeted(&mut client);
    (home, client, session)
}

#[test]
fn issue_10_refused_content_ends_its_queue_program_at_once_and_is_in_the_log() {
    let looping = "Received: x\r\n".repeat(100);
    for (name, content, reply) in [("large", "x".repeat(2000), TOO_LARGE), ("looping", looping, LOOPING)] {
        let (home, mut client, mut session) = session(&format!("refused-{name}"), &[("databytes", "1999\n")], &[]);
        let got = client.try_deliver("a@b", "c@d", &format!("{content}\r\n")).unwrap();
        assert_eq!(got.to_string(), reply);
        // The session goes on and asks nothing: the program's end is waited for here.
        holds("the queue program to have begun and ended", SOON, || home.records().len() == 1);
        assert!(home.delivered().is_empty(), "{name}");
        client.ask("QUIT", 221);
        session.ends(0);
        assert!(home.log().contains(&format!("verdict=\"{reply}\"")), "{}", home.log());
    }
}

#[test]
fn issue_10_the_log_has_the_cipher_of_a_session_that_only_shook_hands() {
    let home = Home::new("issue10/handshake");
    home.control("servercert.pem", crate::room::certificate(crate::room::ME));
    let (mut client, mut session) = home.serve(&mut home.command());
    client.hello("road.test");
    client.starttls(crate::room::ME);
    client.ask("QUIT", 221);
    session.ends(0);
    assert!(home.log().contains(" tls=TLS"), "{}", home.log());
}

#[test]
fn issue_10_the_log_has_the_reply_to_a_bare_lf() {
    let (home, mut client, mut session) = session("bare-lf", &[], &[]);
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    told(&mut client, "RCPT TO:<c@d>", "250 ok");
    client.ask("DATA", 354);
    client.write(b"a\nb\r\n");
    assert_eq!(client.rest(), "451 See https://cr.yp.to/docs/smtplf.html.\r\n");
    session.ends(1);
    assert!(home.log().contains("verdict=\"451 See https://cr.yp.to/docs/smtplf.html.\""), "{}", home.log());
}
