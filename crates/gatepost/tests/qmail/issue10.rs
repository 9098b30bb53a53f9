//! Issue 10: what was found by trying the drop-in beside notqmail's own qmail-smtpd.

use crate::patches::{greeted, told};
use crate::room::{Home, ME, Session, certificate};
use gatepost_testkit::client::Client;
use gatepost_testkit::facts::{status, tree};
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
    home.control("servercert.pem", certificate(ME));
    let (mut client, mut session) = home.serve(&mut home.command());
    client.hello("road.test");
    client.starttls(ME);
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

/// Lists as a hosting provider has them: `lines` entries that nobody asks about, and `last`.
fn long_list(lines: usize, last: &str) -> String {
    let mut text = String::new();
    for number in 0..lines {
        text.push_str(&format!("user{number}@host{number}.example\n"));
    }
    text + last + "\n"
}

fn with_long_lists(home: &Home, lines: usize) {
    home.control("rcpthosts", long_list(lines, "d"));
    home.control("badmailfrom", long_list(lines, "bad@b"));
    home.control("badmailfromnorelay", long_list(lines, "@worse.b"));
    home.control("badhelo", long_list(lines, "^friend$"));
    home.control("badrcptto", long_list(lines, "^trap@"));
    home.control("validrcptto", long_list(lines, "c@d"));
}

/// Asks every list about its last entry, by TLS and in clear, and delivers.
fn uses_its_lists(home: &Home, command: &mut std::process::Command) -> (Client, Session) {
    let bad = "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)";
    let (mut client, session) = home.serve(command);
    client.hello("friend");
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    told(&mut client, "RCPT TO:<c@d>", "553 sorry, your HELO host name has been denied (#5.7.1)");
    client.starttls(ME);
    client.ask("EHLO road.test", 250);
    for sender in ["bad@b", "x@worse.b"] {
        told(&mut client, &format!("MAIL FROM:<{sender}>"), "250 ok");
        told(&mut client, "RCPT TO:<c@d>", bad);
    }
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    for (to, reply) in [
        ("c@e", "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
        ("trap@d", "553 sorry, your envelope recipient has been denied (#5.7.1)"),
        ("x@d", "553 sorry, this recipient is not in my validrcptto list (#5.7.1)"),
        ("c@d", "250 ok"),
    ] {
        told(&mut client, &format!("RCPT TO:<{to}>"), reply);
    }
    client.deliver("a@b", "c@d", "x\r\n");
    (client, session)
}

/// The most that any process of the session has had: `VmData` now, `VmPeak` ever, in kB.
fn memory(session: &Session) -> [u64; 2] {
    ["VmData", "VmPeak"].map(|field| {
        let all = tree(session.pid()).into_iter().filter_map(|pid| {
            status(pid).get(field).and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        });
        all.max().unwrap()
    })
}

#[test]
fn issue_10_lists_of_any_length_take_no_memory() {
    let home = Home::new("issue10/lists");
    home.control("servercert.pem", certificate(ME));
    let mut seen = Vec::new();
    for lines in [0, 200_000] {
        with_long_lists(&home, lines);
        let (mut client, mut session) = uses_its_lists(&home, &mut home.command());
        seen.push(memory(&session));
        client.ask("QUIT", 221);
        session.ends(0);
    }
    println!("VmData and VmPeak without lists and with: {seen:?} kB");
    assert!(seen[1].iter().zip(seen[0]).all(|(with, without)| with.abs_diff(without) <= 64), "{seen:?}");
}

#[test]
fn issue_10_lists_of_any_length_work_under_the_wrapper() {
    let home = Home::new("issue10/wrapped-lists");
    home.control("servercert.pem", certificate(ME));
    with_long_lists(&home, 200_000);
    let (mut client, mut session) = uses_its_lists(&home, &mut home.wrapped("ulimit -d 1024"));
    client.ask("QUIT", 221);
    session.ends(0);
    assert_eq!(home.delivered().len(), 1);
}

#[test]
fn issue_10_a_list_that_goes_while_a_session_lasts_refuses_nobody_for_good() {
    for (file, text) in
        [("rcpthosts", "d\n"), ("badmailfrom", "x@y\n"), ("badrcptto", "^x$\n"), ("validrcptto", "c@d\n")]
    {
        let (home, mut client, mut session) = session(&format!("gone-{file}"), &[(file, text)], &[]);
        std::fs::remove_file(home.path("control").join(file)).unwrap();
        let mut reply = client.try_ask("MAIL FROM:<a@b>").unwrap();
        if reply.code == 250 {
            reply = client.try_ask("RCPT TO:<c@d>").unwrap();
        }
        assert_eq!(reply.to_string(), "421 unable to read controls (#4.3.0)", "{file}");
        session.ends(1);
    }
}

#[test]
fn issue_10_the_longest_addresses_end_in_a_reply_under_the_wrapper() {
    // Recipients, octets of each, and those that must be taken at once.
    for (recipients, octets, taken) in [(500, 800, 500), (10_000, 60, 5000), (600, 895, 400)] {
        let home = Home::new(&format!("issue10/recipients-{octets}"));
        let (mut client, mut session) = home.serve(&mut home.wrapped("ulimit -d 1024"));
        greeted(&mut client);
        told(&mut client, "MAIL FROM:<a@b>", "250 ok");
        let address = format!("{}@road.x", "r".repeat(octets - "@road.x".len()));
        let mut granted = 0;
        for _ in 0..recipients / 100 {
            client.write(format!("RCPT TO:<{address}>\r\n").repeat(100).as_bytes());
            for _ in 0..100 {
                let reply = client.reply();
                granted += usize::from(reply.code == 250);
                // The sender comes back with these.
                assert!([250, 452].contains(&reply.code), "{reply}");
            }
        }
        println!("{granted} of {recipients} recipients of {octets} octets");
        assert!(granted >= taken, "{granted} of {recipients} recipients of {octets} octets");
        client.ask("DATA", 354);
        client.write(b"x\r\n.\r\n");
        client.expect(250);
        client.ask("QUIT", 221);
        session.ends(0);
        assert_eq!(
            home.only().envelope,
            [b"Fa@b\0", format!("T{address}\0").repeat(granted).as_bytes(), b"\0"].concat()
        );
    }
}
