//! RCPTCHECK, the lists of bad and of valid ones, maxrcpt, tarpit, greetdelay.

use super::{greeted, told};
use crate::room::{Home, Session};
use gatepost_testkit::client::Client;
use std::time::{Duration, Instant};

/// A session with these control files and variables, greeted.
fn session(name: &str, control: &[(&str, &str)], env: &[(&str, &str)]) -> (Home, Client, Session) {
    let home = Home::new(&format!("checks/{name}"));
    control.iter().for_each(|(file, text)| home.control(file, text));
    let (mut client, session) = home.serve(home.command().envs(env.iter().copied()));
    greeted(&mut client);
    (home, client, session)
}

const CHECK: &str = r#"#!/bin/sh
echo "$SENDER $RECIPIENT $TCPREMOTEIP" >>asked
case "$RECIPIENT" in
    no@*) exit 100 ;;
    later@*) exit 111 ;;
    broken@*) exit 120 ;;
    crash@*) kill -9 $$ ;;
    odd@*) exit 3 ;;
esac
exit 0
"#;

#[test]
fn rcptcheck_is_asked_for_each_recipient_that_rcpthosts_allows() {
    const FATAL: &[(&str, &str)] = &[
        ("later@d", "421 unable to verify recipient (#4.3.0)"),
        ("broken@d", "421 unable to execute recipient check (#4.3.0)"),
        ("crash@d", "421 unable to execute recipient check (#4.3.0)"),
    ];
    for (fatal, reply) in FATAL {
        let home = Home::new(&format!("checks/rcptcheck-{fatal}"));
        home.control("rcpthosts", "d\n");
        let check = home.program("bin/check", CHECK);
        let (mut client, mut session) = home.serve(home.command().env("RCPTCHECK", check));
        greeted(&mut client);
        told(&mut client, "MAIL FROM:<a@b>", "250 ok");
        told(&mut client, "RCPT TO:<no@d>", "553 sorry, no mailbox here by that name. (#5.1.1)");
        told(&mut client, "RCPT TO:<c@d>", "250 ok");
        told(&mut client, "RCPT TO:<odd@d>", "250 ok");
        client.ask("RCPT TO:<c@elsewhere>", 553);
        told(&mut client, &format!("RCPT TO:<{fatal}>"), reply);
        assert_eq!(client.rest(), "");
        session.ends(1);
        // In the qmail home, with the whole environment, and only for those that could be.
        let asked = std::fs::read_to_string(home.path("asked")).unwrap();
        let all = ["no@d", "c@d", "odd@d", fatal].map(|to| format!("a@b {to} 192.0.2.7\n")).concat();
        assert_eq!(asked, all);
    }
}

#[test]
fn rcptcheck_is_not_asked_about_those_who_may_relay_and_must_be_there_for_others() {
    let check = ("RCPTCHECK", "/nonexistent/check");
    let (_home, mut client, _session) = session("rcptcheck-relay", &[], &[check, ("RELAYCLIENT", "")]);
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    told(&mut client, "RCPT TO:<c@d>", "250 ok");
    let (_home, mut client, mut session) = session("rcptcheck-missing", &[], &[check]);
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    told(&mut client, "RCPT TO:<c@d>", "421 unable to execute recipient check (#4.3.0)");
    session.ends(1);
}

/// As the superserver of somebody may have it; exec passes it on.
const IGNORED: &str = "exec env --ignore-signal=CHLD \"$0\" qmail-smtpd \"$@\"";

#[test]
fn a_check_that_refuses_is_obeyed_where_sigchld_is_ignored() {
    let home = Home::new("checks/rcptcheck-ignored");
    let check = home.program("bin/check", CHECK);
    let (mut client, mut session) = home.serve(home.wrapped(IGNORED).env("RCPTCHECK", check));
    greeted(&mut client);
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    told(&mut client, "RCPT TO:<no@d>", "553 sorry, no mailbox here by that name. (#5.1.1)");
    client.deliver("a@b", "c@d", "queued\r\n");
    client.ask("QUIT", 221);
    session.ends(0);
    assert!(home.only().is_complete());
}

#[test]
fn badrcptto_denies_by_patterns() {
    let list = "# comments are none\n^spam@\n@bad\\.example$\n!@\n";
    let (_home, mut client, _session) = session("badrcptto", &[("badrcptto", list)], &[]);
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    let denied = "553 sorry, your envelope recipient has been denied (#5.7.1)";
    for to in ["spam@d", "SPAM@d", "x@bad.example", "x@BAD.example", "no-at-sign"] {
        told(&mut client, &format!("RCPT TO:<{to}>"), denied);
    }
    for to in ["c@d", "nospam@d", "x@badexample", "x@bad.example.org"] {
        told(&mut client, &format!("RCPT TO:<{to}>"), "250 ok");
    }
}

#[test]
fn badhelo_denies_by_patterns() {
    let list = "^friend$\n!\\.\n\\.dyn\\.example$\n";
    let denied = "553 sorry, your HELO host name has been denied (#5.7.1)";
    let cases = [
        ("friend", true),
        ("FRIEND", true),
        ("localhost", true),
        ("a.dyn.example", true),
        ("a.friend", false),
        ("road.test", false),
    ];
    for (name, bad) in cases {
        for env in [&[][..], &[("NOBADHELO", "1")]] {
            let (_home, mut client, _session) = session(&format!("badhelo-{name}"), &[("badhelo", list)], env);
            let lines = [format!("HELO {name}"), "MAIL FROM:<a@b>".into(), "RCPT TO:<c@d>".into()];
            let replies: Vec<String> = lines.iter().map(|line| client.try_ask(line).unwrap().to_string()).collect();
            // At which of the three is the patch's own business; in the end nothing is taken.
            let refused = replies.iter().any(|reply| reply == denied) && !replies[2].starts_with("250");
            assert_eq!(refused, bad && env.is_empty(), "{name}: {replies:?}");
            assert!(refused || replies[2] == "250 ok", "{name}: {replies:?}");
        }
    }
}

#[test]
fn validrcptto_takes_no_others_and_brtlimit_ends_guessing() {
    let control = [("validrcptto", "c@d\n@all.example\n"), ("brtlimit", "2\n")];
    let (_home, mut client, mut session) = session("validrcptto", &control, &[]);
    let invalid = "553 sorry, this recipient is not in my validrcptto list (#5.7.1)";
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    told(&mut client, "RCPT TO:<c@d>", "250 ok");
    told(&mut client, "RCPT TO:<C@D>", "250 ok");
    told(&mut client, "RCPT TO:<x@d>", invalid);
    told(&mut client, "RCPT TO:<any@all.example>", "250 ok");
    told(&mut client, "RCPT TO:<y@d>", invalid);
    told(&mut client, "RCPT TO:<z@d>", "421 too many invalid addresses, goodbye (#4.3.0)");
    assert_eq!(client.rest(), "");
    session.ends(1);
}

#[test]
fn maxrcpt_ends_with_452() {
    let most = "452 max rcpt limit exceeded (#5.7.1)";
    let control: &[(&str, &str)] = &[("maxrcpt", "2\n")];
    type Case = (&'static str, &'static [(&'static str, &'static str)], usize);
    let cases: [Case; 3] =
        [("file", &[], 2), ("variable", &[("MAXRCPT", "3")], 3), ("disabled", &[("DISABLE_MAXRCPT", "1")], 5)];
    for (name, env, limit) in cases {
        let (_home, mut client, _session) = session(&format!("maxrcpt-{name}"), control, env);
        told(&mut client, "MAIL FROM:<a@b>", "250 ok");
        for number in 0..5 {
            told(&mut client, "RCPT TO:<c@d>", if number < limit { "250 ok" } else { most });
        }
    }
}

#[test]
fn tarpit_makes_each_recipient_past_the_count_wait() {
    let files: &[(&str, &str)] = &[("tarpitcount", "2\n"), ("tarpitdelay", "1\n")];
    let variables: &[(&str, &str)] = &[("TARPITCOUNT", "2"), ("TARPITDELAY", "1")];
    for (name, control, env) in [("files", files, &[][..]), ("variables", &[][..], variables)] {
        let (_home, mut client, _session) = session(&format!("tarpit-{name}"), control, env);
        told(&mut client, "MAIL FROM:<a@b>", "250 ok");
        told(&mut client, "RCPT TO:<c@d>", "250 ok");
        told(&mut client, "RCPT TO:<c@d>", "250 ok");
        let begin = Instant::now();
        told(&mut client, "RCPT TO:<c@d>", "250 ok");
        assert!(begin.elapsed() >= Duration::from_secs(1), "{name}: {:?}", begin.elapsed());
    }
}

#[test]
fn greetdelay_finds_early_talkers() {
    for name in ["GREETDELAY", "SMTPD_GREETDELAY"] {
        let home = Home::new(&format!("checks/greetdelay-{name}"));
        let delayed = || {
            let mut command = home.command();
            command.env(name, "1").env("DROP_PRE_GREET", "1");
            command
        };
        let begin = Instant::now();
        let (mut client, mut session) = home.serve(&mut delayed());
        client.expect(220);
        assert!(begin.elapsed() >= Duration::from_secs(1), "{name}");
        client.ask("QUIT", 221);
        session.ends(0);
        let (mut client, mut session) = home.serve(&mut delayed());
        client.send("HELO early");
        assert_eq!(client.rest(), "554 SMTP protocol violation\r\n", "{name}");
        session.ends(1);
        // Whoever may relay may talk.
        let (mut client, _session) = home.serve(delayed().env("RELAYCLIENT", ""));
        client.send("HELO early");
        client.expect(220);
        client.expect(250);
    }
}

#[test]
fn a_session_that_never_stops_talking_ends_too() {
    let (home, mut client, mut session) = session("talker", &[], &[("GATEPOST_SESSION_TIME", "1")]);
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    told(&mut client, "RCPT TO:<c@d>", "250 ok");
    client.ask("DATA", 354);
    // It always has something to say, so no read of the session's ever waits.
    let line = "x".repeat(70) + "\r\n";
    while client.try_write(line.repeat(100).as_bytes()).is_ok() {}
    session.ends(1);
    assert!(home.delivered().is_empty());
    assert!(home.log().contains("421 session too long (#4.4.2)") || home.log().contains("end=limit"), "{}", home.log());
}
