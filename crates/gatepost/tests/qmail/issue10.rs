//! Issue 10: what was found by trying the drop-in beside notqmail's own qmail-smtpd.

use crate::patches::{greeted, told};
use crate::room::{GATEPOST, Home, ME, Session, certificate};
use gatepost_testkit::client::Client;
use gatepost_testkit::facts::{status, tree};
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

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
fn uses_its_lists(home: &Home, command: &mut Command) -> (Client, Session) {
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

/// A self-signed certificate of version 1 with its key, as old how-tos make it.
fn version_1() -> String {
    let directory = Home::new("issue10/version-1");
    let at = |name: &str| directory.path(name).to_string_lossy().into_owned();
    let openssl = |arguments: &[&str]| run(Command::new("openssl").args(arguments)).expect_ok("openssl");
    openssl(&[
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-noenc",
        "-subj",
        "/CN=mx",
        "-keyout",
        &at("key"),
        "-out",
        &at("csr"),
    ]);
    openssl(&["x509", "-req", "-in", &at("csr"), "-signkey", &at("key"), "-out", &at("cert")]);
    let text = openssl(&["x509", "-noout", "-text", "-in", &at("cert")]).stdout;
    assert!(text.contains("Version: 1"), "{text}");
    ["key", "cert"].map(|name| std::fs::read_to_string(at(name)).unwrap()).concat()
}

#[test]
fn issue_10_a_certificate_that_cannot_be_used_is_not_offered() {
    let (good, other) = (certificate(ME), certificate(ME));
    let certificate_begins = good.find("-----BEGIN CERTIFICATE").unwrap();
    let (key, chain) = good.split_at(certificate_begins);
    let other_chain = &other[other.find("-----BEGIN CERTIFICATE").unwrap()..];
    let cases = [
        ("version-1", version_1()),
        ("no-certificate", "no certificate\n".to_owned()),
        ("empty", String::new()),
        ("key-alone", key.to_owned()),
        ("no-key", chain.to_owned()),
        ("key-of-another", format!("{key}{other_chain}")),
    ];
    for (name, pem) in cases {
        let home = Home::new(&format!("issue10/certificate-{name}"));
        home.control("servercert.pem", pem);
        let (mut client, mut session) =
            home.serve(home.command().env("SMTPAUTH", "").args(["/bin/false", "/bin/true"]));
        let extensions = client.hello("road.test");
        // And no password in clear because of it.
        assert!(
            !extensions.iter().any(|line| line == "STARTTLS" || line.starts_with("AUTH")),
            "{name}: {extensions:?}"
        );
        told(&mut client, "STARTTLS", "502 unimplemented (#5.5.1)");
        client.deliver("a@b", "c@d", "x\r\n");
        client.ask("QUIT", 221);
        session.ends(0);
        assert!(home.log().contains("STARTTLS is not offered"), "{name}: {}", home.log());
    }
}

#[test]
fn issue_10_a_fork_that_fails_is_told_to_the_client() {
    // Root is beyond such a limit.
    let user = "exec setpriv --reuid 64099 --regid 64099 --clear-groups prlimit --nproc=1 \"$0\" qmail-smtpd";
    let home = Home::new("issue10/fork");
    let (mut client, mut session) = home.serve(&mut home.wrapped(user));
    assert_eq!(client.rest(), "421 internal trouble (#4.3.0)\r\n", "{}", home.log());
    session.ends(1);
    assert!(home.log().contains("cannot fork the session"), "{}", home.log());
}

#[test]
fn issue_10_ten_open_files_are_enough_for_all_of_it() {
    let home = Home::new("issue10/files");
    home.control("servercert.pem", certificate(ME));
    home.control("smtpplugins", "[rcpt]\n:true\n");
    let check = home.program("bin/check", "#!/bin/sh\nexit 0\n");
    // A shell needs more than ten.
    let queue = "#!/usr/bin/perl\nlocal $/; <STDIN>; open(E, '<&=1'); print STDERR <E>; open(L, '/proc/self/limits'); \
                 print STDERR <L>; exit 0\n";
    home.program("bin/qmail-queue", queue);
    // softlimit sets the soft limit alone.
    let mut command = home.wrapped("ulimit -S -n 10");
    command.env("RCPTCHECK", check).env("SMTPAUTH", "").args(["/bin/true", "/bin/true"]);
    let (mut client, mut session) = home.serve(&mut command);
    client.hello("road.test");
    client.starttls(ME);
    client.ask("EHLO road.test", 250);
    told(&mut client, "AUTH PLAIN AGEAYg==", "235 ok, go ahead (#2.0.0)");
    client.deliver("a@b", "c@d", "x\r\n");
    client.ask("QUIT", 221);
    session.ends(0);
    // It has what it would have had from qmail-smtpd.
    let log = home.log();
    assert!(log.contains("Fa@b\0Tc@d\0\0") && log.contains("\nMax open files            10 "), "{log}");
}

#[test]
fn issue_10_nothing_is_said_on_a_terminal_unless_it_is_asked_for() {
    for (name, value, speaks) in [("silent", None, false), ("asked", Some("on"), true)] {
        let home = Home::new(&format!("issue10/terminal-{name}"));
        let mut command = home.command();
        command.env("GATEPOST_LOG", value.unwrap_or("off"));
        if value.is_none() {
            command.env_remove("GATEPOST_LOG");
        }
        let envs: Vec<String> = command
            .get_envs()
            .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value?.to_str()?)))
            .map(|pair| format!("'{pair}'"))
            .collect();
        // script(1) gives it a terminal; the dialogue goes through files.
        std::fs::write(home.path("input"), "QUIT\r\n").unwrap();
        let line = format!(
            "env -i {} {GATEPOST} qmail-smtpd <{} >{}",
            envs.join(" "),
            home.path("input").display(),
            home.path("output").display()
        );
        let ended = run(Command::new("script").args(["-qec", &line, "/dev/null"]));
        let output = std::fs::read_to_string(home.path("output")).unwrap();
        assert_eq!(output, "220 mx.example.org ESMTP\r\n221 mx.example.org\r\n", "{ended:?}");
        assert_eq!(ended.stdout.contains("gatepost: session "), speaks, "{name}: {ended:?}");
        assert_eq!(ended.stdout.is_empty(), !speaks, "{name}: {ended:?}");
    }
}

#[test]
fn issue_10_a_hard_limit_is_told_when_a_program_fails_and_not_before() {
    let home = Home::new("issue10/hard-limit");
    home.control("rcpthosts", "d\n");
    let (mut client, mut session) = home.serve(&mut home.wrapped("ulimit -d 1024"));
    greeted(&mut client);
    client.deliver("a@b", "c@d", "x\r\n");
    client.ask("QUIT", 221);
    session.ends(0);
    let log = home.log();
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn issue_10_help_says_what_it_is() {
    let home = Home::new("issue10/help");
    for (argument, words) in [
        ("--help", &["GATEPOST_OPENRELAY", "tcpserver", "checkpassword"][..]),
        ("-h", &["GATEPOST_LOG"]),
        ("--version", &[env!("CARGO_PKG_VERSION")]),
    ] {
        let ended = run(home.command().arg(argument));
        assert!(ended.ok() && words.iter().all(|word| ended.stdout.contains(word)), "{argument}: {ended:?}");
        assert!(ended.stdout.lines().all(|line| !line.starts_with('4')), "{argument}: {ended:?}");
    }
    // A password checker's argument is none of ours.
    let (mut client, mut session) = home.serve(home.command().args(["/bin/true", "--help"]));
    client.expect(220);
    client.ask("QUIT", 221);
    session.ends(0);
}

#[test]
fn issue_10_a_queue_program_that_would_lose_its_ids_is_not_run_and_is_told() {
    for (name, bits, line, reason) in [
        ("set-uid", 0o4755, "exec setpriv --no-new-privs -- \"$0\" qmail-smtpd", Some("NoNewPrivileges=")),
        ("set-gid", 0o2755, "exec setpriv --no-new-privs -- \"$0\" qmail-smtpd", Some("NoNewPrivileges=")),
        ("plain", 0o755, "exec setpriv --no-new-privs -- \"$0\" qmail-smtpd", None),
        ("allowed", 0o4755, "", None),
    ] {
        let home = Home::new(&format!("issue10/ids-{name}"));
        let program = home.path("bin/qmail-queue");
        std::os::unix::fs::chown(&program, Some(64_098), Some(64_098)).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(bits)).unwrap();
        let (mut client, mut session) = home.serve(&mut home.wrapped(line));
        greeted(&mut client);
        if reason.is_some() {
            // Said at once, and not only when the first mail comes.
            holds("the warning", SOON, || home.log().contains("is set-id and runs without its ids"));
        }
        told(&mut client, "MAIL FROM:<a@b>", "250 ok");
        told(&mut client, "RCPT TO:<c@d>", "250 ok");
        let reply = client.try_ask("DATA").unwrap().to_string();
        match reason {
            Some(reason) => {
                assert_eq!(reply, "451 unable to exec qq (#4.3.0)", "{name}");
                assert!(home.log().contains(reason), "{}", home.log());
            }
            None => {
                assert_eq!(reply, "354 go ahead", "{name}");
                client.write(b"x\r\n.\r\n");
                client.expect(250);
            }
        }
        client.ask("QUIT", 221);
        session.ends(0);
        assert_eq!(home.delivered().len(), usize::from(reason.is_none()), "{name}");
    }
}

#[test]
fn issue_10_a_session_whose_memory_ends_says_so_to_the_log_and_to_its_client() {
    let home = Home::new("issue10/memory");
    let (mut client, mut session) = home.serve(home.command().env("GATEPOST_LINE", "65536"));
    greeted(&mut client);
    let child = tree(session.pid()).into_iter().find(|pid| *pid != session.pid()).expect("the jailed process");
    // By its own uid: in some containers root may not.
    let mut lower = Command::new("setpriv");
    lower.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "prlimit",
        "--pid",
        &child.to_string(),
        "--data=1",
    ]);
    run(&mut lower).expect_ok("prlimit");
    // More than what is left over.
    client.send(&format!("HELO {}", "x".repeat(65_000)));
    assert_eq!(client.rest(), "421 internal trouble (#4.3.0)\r\n", "{}", home.log());
    session.ends(1);
    let log = home.log();
    assert!(log.contains("memory allocation of ") && !log.contains("signal"), "{log}");
    assert!(log.contains("verdict=\"421 internal trouble (#4.3.0)\""), "{log}");
}

#[test]
fn issue_10_it_runs_behind_the_programs_that_stand_in_front_of_qmail_smtpd() {
    for program in ["rblsmtpd", "recordio", "fixcrio"] {
        let home = Home::new(&format!("issue10/behind-{program}"));
        // An empty RBLSMTPD: this client was looked up already.
        let mut command = home.wrapped(&format!("exec {program} \"$0\" qmail-smtpd"));
        let (mut client, mut session) = home.serve(command.env("RBLSMTPD", ""));
        client.hello("road.test");
        client.deliver("a@b", "c@d", "x\r\n");
        client.ask("QUIT", 221);
        session.wait();
        assert_eq!(home.only().envelope, b"Fa@b\0Tc@d\0\0", "{program}");
    }
}

#[test]
fn issue_14_the_small_program_is_the_same() {
    for (name, program) in [("whole", None), ("small", Some(env!("CARGO_BIN_EXE_gatepost-qmail-smtpd")))] {
        let home = Home::new(&format!("issue14/{name}"));
        home.control("servercert.pem", certificate(ME));
        let mut command = home.command();
        if let Some(program) = program {
            let whole = std::mem::replace(&mut command, std::process::Command::new(program));
            command.envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
        }
        let (mut client, mut session) = home.serve(&mut command);
        client.hello("road.test");
        client.starttls(ME);
        client.ask("EHLO road.test", 250);
        client.deliver("a@b", "c@d", "x\r\n");
        client.ask("QUIT", 221);
        session.ends(0);
        assert_eq!(home.only().envelope, b"Fa@b\0Tc@d\0\0", "{name}");
        assert!(home.log().contains(" messages=1 end=quit "), "{name}: {}", home.log());
    }
}

/// What a session may take to end after its last reply.
const SOON_ENOUGH: Duration = Duration::from_millis(1500);

#[test]
fn issue_11_a_silent_client_has_its_place_for_timeoutsmtpd_and_no_longer() {
    for begun in ["", "NOOP"] {
        let (_home, mut client, mut session) = session("silent", &[("timeoutsmtpd", "1\n")], &[]);
        if !begun.is_empty() {
            told(&mut client, begun, "250 ok");
        }
        // Until the connection's end, which it does not answer by its own.
        assert_eq!(client.rest(), "451 timeout (#4.4.2)\r\n");
        let status = session.wait_within(SOON_ENOUGH).expect("the end soon after the reply");
        assert_eq!(status.code(), Some(1));
    }
}
