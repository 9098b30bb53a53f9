//! Issue 15: where logins come from: a real Dovecot, and one that misbehaves.

use crate::gate::{CONFIG, GATEPOST, Gate, HOSTNAME, config, prepare, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::mta::{Logins, Sink};
use gatepost_testkit::run::run;
use gatepost_testkit::scram::{Scram, coded, decoded, token};
use gatepost_testkit::wait::{SOON, holds};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A configuration with a listener for submission, and logins from there.
fn submission(source: &str) -> String {
    let backend = format!("profile = \"smtp\"\nconnect = \"tcp:{}\"\nrelay_proof = false", Sink::ADDRESS);
    let more =
        format!("[submission]\nauth = \"{source}\"\n[[listen]]\naddress = \"{HERE}:587\"\nservice = \"submission\"\n");
    config(&backend, &more)
}

/// A client of the submission service, inside TLS, and the mechanisms that it is offered.
fn client(host: &Host) -> (Client, Vec<String>) {
    let mut client = Client::over(host.connect(&starttls().replace(":25", ":587")));
    client.hello("road.test");
    client.starttls(HOSTNAME);
    let offer = client.ask("EHLO road.test", 250);
    let names = offer.lines.iter().find_map(|line| line.strip_prefix("AUTH ")).unwrap_or_default();
    (client, names.split(' ').map(str::to_owned).collect())
}

/// Tries to log in by SCRAM: the code of the last reply. What the server proves must be right.
fn scram(client: &mut Client, mechanism: &str, scram: &Scram) -> u16 {
    let said = client.try_ask(&format!("AUTH {mechanism} {}", coded(&scram.first()))).unwrap();
    if said.code != 334 {
        return said.code;
    }
    let (last, expected) = scram.last(&decoded(&said.lines[0]));
    let said = client.try_ask(&coded(&last)).unwrap();
    if said.code != 334 {
        return said.code;
    }
    assert_eq!(decoded(&said.lines[0]), expected, "the server does not know the password");
    client.try_ask("").unwrap().code
}

fn plain(user: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", coded(&format!("\0{user}\0{password}")))
}

/// All logins that the log tells of, by mechanism, name and result.
fn told(gate: &Gate<'_>) -> Vec<String> {
    let word = |line: &str, name: &str| {
        line.split(' ').find_map(|word| word.strip_prefix(name)).unwrap_or("-").trim_matches('"').to_owned()
    };
    let said = gate.process.said();
    let lines = said.lines().filter(|line| line.contains(" login ") || line.contains("login session="));
    lines.map(|line| ["mechanism=", "login=", "result="].map(|name| word(line, name)).join(" ")).collect()
}

#[test]
fn issue_15_logins_of_a_real_dovecot() {
    let name = "issue_15_logins_of_a_real_dovecot";
    let Some(host) = host::for_test(name, &["dovecot", "swaks", "openssl", "smtp-sink"]) else { return };
    let _sink = Sink::start(&host);
    let dovecot = Logins::start(&host, "joe@ok.test:{PLAIN}secret word\n", "plain login scram-sha-256 digest-md5");
    prepare(&host);
    let source = format!("dovecot:{}", Logins::SOCKET);
    let gate = Gate::start(&host, &submission(&source));

    for mechanism in ["PLAIN", "LOGIN"] {
        let mut swaks = host.command("swaks");
        swaks.args(["--server", HERE, "--port", "587", "--tls", "--helo", "road.test", "--from", "joe@ok.test"]);
        swaks.args(["--to", "friend@elsewhere.test", "--auth", mechanism]);
        swaks.args(["--auth-user", "JOE@ok.test", "--auth-password", "secret word"]);
        let said = run(&mut swaks).expect_ok("swaks");
        assert!(said.stdout.contains("235 2.7.0"), "{}", said.stdout);
    }
    let (mut honest, names) = client(&host);
    // What Dovecot has and we do not relay is not offered.
    assert_eq!(names, ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    assert_eq!(scram(&mut honest, "SCRAM-SHA-256", &Scram::new("joe@ok.test", "secret word")), 235);
    // The login is whom Dovecot takes it for, in lower case.
    honest.ask("MAIL FROM:<joe@ok.test>", 250);
    honest.ask("RSET", 250);
    honest.ask("MAIL FROM:<ann@ok.test>", 250);
    honest.ask("RCPT TO:<friend@elsewhere.test>", 553);
    honest.ask("QUIT", 221);

    let (mut wrong, _) = client(&host);
    assert_eq!(scram(&mut wrong, "SCRAM-SHA-256", &Scram::new("joe@ok.test", "other")), 535);
    wrong.ask(&plain("joe@ok.test", "other"), 535);
    wrong.ask("MAIL FROM:<joe@ok.test>", 530);
    // The next attempt finds one that has been started anew.
    let dovecot = dovecot.restart();
    wrong.ask(&plain("joe@ok.test", "secret word"), 235);
    wrong.ask("QUIT", 221);

    let checked = run(host.command(GATEPOST).args(["check", "--config", CONFIG]));
    assert!(checked.stdout.contains("clients are offered LOGIN PLAIN SCRAM-SHA-256"), "{}", checked.said());
    holds("the log tells of each attempt", SOON, || told(&gate).len() == 6);
    let mut logins = told(&gate);
    logins.sort();
    assert_eq!(
        logins,
        [
            "Login joe@ok.test Accepted",
            "Plain - Refused",
            "Plain joe@ok.test Accepted",
            "Plain joe@ok.test Accepted",
            "ScramSha256 - Refused",
            "ScramSha256 joe@ok.test Accepted",
        ]
    );
    assert!(!gate.process.said().contains("secret word") && !dovecot.log().contains("secret word"));
    gate.audit(&[]).expect_ok("audit");
    // Nobody is let in while it is away.
    dovecot.stop();
    let (mut late, _) = client(&host);
    late.ask(&plain("joe@ok.test", "secret word"), 454);
    late.ask("QUIT", 221);
    gate.stop();
}

#[test]
fn issue_15_scram_with_a_passwd_file() {
    let name = "issue_15_scram_with_a_passwd_file";
    let Some(host) = host::for_test(name, &["openssl", "smtp-sink"]) else { return };
    let _sink = Sink::start(&host);
    prepare(&host);
    let line = host.shell(&format!("echo 'secret word' | {GATEPOST} passwd joe@ok.test --scheme scram-sha-256"));
    assert!(line.stdout.starts_with("joe@ok.test:{SCRAM-SHA-256}100000,"), "{}", line.said());
    host.write_with("/etc/gatepost/passwd", &line.stdout, 0o600);
    let gate = Gate::start(&host, &submission("passwd:/etc/gatepost/passwd"));
    let (mut honest, names) = client(&host);
    assert_eq!(names, ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    honest.ask("AUTH SCRAM-SHA-256 ?", 501);
    let joe = Scram::new("joe@ok.test", "secret word");
    let bound = |client: &Client| Scram {
        header: "p=tls-exporter,,".to_owned(),
        binding: client.binding().unwrap(),
        ..joe.clone()
    };
    let right = bound(&honest);
    assert_eq!(scram(&mut honest, "SCRAM-SHA-256-PLUS", &right), 235);
    honest.ask("MAIL FROM:<joe@ok.test>", 250);
    honest.ask("QUIT", 221);
    let (mut other, _) = client(&host);
    assert_eq!(scram(&mut other, "SCRAM-SHA-256", &joe), 235);
    other.ask("QUIT", 221);
    let (mut other, _) = client(&host);
    other.ask(&plain("joe@ok.test", "secret word"), 235);
    other.ask("QUIT", 221);
    // The binding of another connection; an offer that somebody has taken away; nobody.
    let lies = [
        ("SCRAM-SHA-256-PLUS", Scram { binding: right.binding.clone(), ..right.clone() }),
        ("SCRAM-SHA-256", Scram { header: "y,,".to_owned(), ..joe.clone() }),
        ("SCRAM-SHA-256", Scram::new("nobody", "secret word")),
    ];
    std::thread::scope(|scope| {
        for (mechanism, lie) in &lies {
            let host = &host;
            scope.spawn(move || {
                let (mut liar, _) = client(host);
                assert_eq!(scram(&mut liar, mechanism, lie), 535, "{mechanism} {lie:?}");
                liar.ask("MAIL FROM:<joe@ok.test>", 530);
                liar.ask("QUIT", 221);
            });
        }
    });
    gate.audit(&[]).expect_ok("audit");
    gate.stop();
}

/// What a scripted Dovecot says to the request or response of that text in base64; the request's number stands for `#`.
type Answers = &'static [(&'static str, &'static str)];

/// A scripted Dovecot, which ends with its host.
fn scripted(host: &Host, answers: Answers) -> Receiver<String> {
    host.directory("/run/logins", 0, 0o755);
    let path = host.path(Logins::SOCKET);
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let told = told.clone();
            std::thread::spawn(move || serve(&stream, answers, &|line| drop(told.send(line))));
        }
    });
    heard
}

fn serve(stream: &UnixStream, answers: Answers, told: &dyn Fn(String)) {
    let mut out = stream;
    let greeting = ["VERSION\t1\t2", "MECH\tPLAIN\tplaintext", "MECH\tOAUTHBEARER", "MECH\tXOAUTH2", "SPID\t1", "DONE"];
    let _ = out.write_all((greeting.join("\n") + "\n").as_bytes());
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split('\t').collect();
        let (id, coded) = match words.as_slice() {
            ["AUTH", id, ..] => (*id, words.last().and_then(|word| word.strip_prefix("resp=")).unwrap_or_default()),
            ["CONT", id, response] => (*id, *response),
            _ => continue,
        };
        told(line.clone());
        let text = if coded.is_empty() { String::new() } else { decoded(coded) };
        match answers.iter().find(|(said, _)| text.contains(said)) {
            // It dies.
            None | Some((_, "")) => return drop(stream.shutdown(std::net::Shutdown::Both)),
            Some((_, answer)) => {
                let _ = out.write_all(answer.replace('#', id).as_bytes());
            }
        }
    }
}

#[test]
fn issue_15_a_hostile_dovecot_says_no_yes() {
    let name = "issue_15_a_hostile_dovecot_says_no_yes";
    let Some(host) = host::for_test(name, &["openssl", "smtp-sink"]) else { return };
    let _sink = Sink::start(&host);
    prepare(&host);
    let heard = scripted(
        &host,
        &[
            ("good token", "OK\t#\tuser=joe@ok.test\n"),
            ("old token", "CONT\t#\teyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\n"),
            ("\u{1}", "FAIL\t#\tuser=joe@ok.test\n"),
            ("another's", "OK\t1\tuser=joe@ok.test\n"),
            ("twice", "FAIL\t#\nOK\t#\tuser=joe@ok.test\n"),
            ("asked back", "CONT\t#\t\n"),
            ("nobody", "OK\t#\n"),
            ("bad name", "OK\t#\tuser=a b\n"),
            ("garbage", "HTTP/1.1 200 OK\r\n\r\n"),
            ("temporary", "FAIL\t#\ttemp\n"),
            ("dies", ""),
        ],
    );
    let gate = Gate::start(&host, &submission(&format!("dovecot:{}", Logins::SOCKET)));
    let rows = ["another's", "twice", "asked back", "nobody", "bad name", "garbage", "temporary", "dies"];
    std::thread::scope(|scope| {
        for row in rows {
            let host = &host;
            scope.spawn(move || {
                let (mut client, names) = client(host);
                assert_eq!(names, ["PLAIN", "OAUTHBEARER", "XOAUTH2"]);
                client.ask(&plain("joe@ok.test", row), 454);
                client.ask("MAIL FROM:<joe@ok.test>", 530);
                client.ask("QUIT", 221);
            });
        }
    });
    assert!(heard.iter().take(rows.len()).all(|line| line.contains("\tservice=smtp\tnologin\tsecured\trip=")));

    // OAuth: a token that has ended, of which the client hears, and then a good one.
    let (mut client, _) = client(&host);
    let bearer = |token: &str| coded(&format!("n,a=joe@ok.test,\u{1}auth=Bearer {token}\u{1}\u{1}"));
    let said = client.ask(&format!("AUTH OAUTHBEARER {}", bearer("old token")), 334);
    assert_eq!(decoded(&said.lines[0]), "{\"status\":\"invalid_token\"}");
    client.ask(&coded("\u{1}"), 535);
    client.ask("AUTH XOAUTH2", 334);
    client.ask(&coded("user=joe@ok.test\u{1}auth=Bearer good token\u{1}\u{1}"), 235);
    client.ask("MAIL FROM:<joe@ok.test>", 250);
    client.ask("QUIT", 221);
    assert!(!gate.process.said().contains("token"), "{}", gate.process.said());
    gate.stop();
}

/// No one but who has the key can make tokens; Dovecot checks them by itself.
#[test]
fn issue_15_tokens_of_a_real_dovecot() {
    const KEY: &str = "a key that Dovecot shares with who makes tokens";
    let name = "issue_15_tokens_of_a_real_dovecot";
    let Some(host) = host::for_test(name, &["dovecot", "openssl", "smtp-sink"]) else { return };
    let _sink = Sink::start(&host);
    let dovecot = Logins::by_tokens(&host, KEY);
    prepare(&host);
    let gate = Gate::start(&host, &submission(&format!("dovecot:{}", Logins::SOCKET)));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let bearer = |token: &str| coded(&format!("n,a=joe@ok.test,\u{1}auth=Bearer {token}\u{1}\u{1}"));
    let good = token(KEY, "joe@ok.test", now + 600);
    let (mut bears, names) = client(&host);
    assert_eq!(names, ["OAUTHBEARER", "XOAUTH2"]);
    bears.ask(&format!("AUTH OAUTHBEARER {}", bearer(&good)), 235);
    bears.ask("MAIL FROM:<joe@ok.test>", 250);
    bears.ask("QUIT", 221);
    let (mut older, _) = client(&host);
    older.ask("AUTH XOAUTH2", 334);
    older.ask(&coded(&format!("user=joe@ok.test\u{1}auth=Bearer {good}\u{1}\u{1}")), 235);
    older.ask("QUIT", 221);
    // Forged, over, and another's: the client hears why, and no yes. Dovecot answers an address that fails later each time.
    let lies = [
        token("another key", "joe@ok.test", now + 600),
        token(KEY, "joe@ok.test", now - 600),
        token(KEY, "ann@ok.test", now + 600),
    ];
    std::thread::scope(|scope| {
        for (from, lie) in (2..).zip(&lies) {
            let (host, bearer) = (&host, &bearer);
            scope.spawn(move || {
                let at = starttls().replace(":25", ":587");
                let mut liar = Client::over(host.connect_from(&format!("127.1.0.{from}"), &at).unwrap());
                liar.set_patience(Duration::from_secs(60));
                liar.hello("road.test");
                liar.starttls(HOSTNAME);
                liar.ask("EHLO road.test", 250);
                let said = liar.ask(&format!("AUTH OAUTHBEARER {}", bearer(lie)), 334);
                assert!(decoded(&said.lines[0]).contains("invalid_token"), "{said}");
                liar.ask(&coded("\u{1}"), 535);
                liar.ask("MAIL FROM:<joe@ok.test>", 530);
                liar.ask("QUIT", 221);
            });
        }
    });
    // The signature says enough: it is of no use to who reads a log.
    let secret = good.rsplit('.').next().unwrap();
    assert!(!gate.process.said().contains(secret) && !dovecot.log().contains(secret));
    gate.stop();
}

/// Nobody checks passwords there, so it serves nobody: not even as on port 25.
#[test]
fn issue_15_inetd_refuses_a_configuration_for_submission() {
    let name = "issue_15_inetd_refuses_a_configuration_for_submission";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    prepare(&host);
    host.write_with("/etc/gatepost/passwd", "", 0o600);
    host.write(CONFIG, &submission("passwd:/etc/gatepost/passwd"));
    let serve = ["tcpserver", "-HRl0", HERE, "587", GATEPOST, "inetd"];
    let mut server = host.start("tcpserver", host.command(GATEPOST).args(serve));
    let at = starttls().replace(":25", ":587");
    holds("tcpserver to listen", SOON, || host.listens(&at));
    let mut client = Client::over(host.connect(&at));
    assert_eq!(client.reply().code, 421);
    assert_eq!(client.next_reply().map(|reply| reply.map(|reply| reply.code)), Ok(None));
    server.wait_said("for which gatepost serve is needed", SOON);
}

/// DJB's interface: name, password and timestamp on descriptor 3; its arguments are what is run for who is let in.
const CHECKPASSWORD: &str = r#"#!/bin/sh
{ read -r user; read -r pass; } <<EOF
$(tr '\0' '\n' <&3)
EOF
case "$pass" in
"secret word") [ "$user" = joe@ok.test ] && [ "$(id -u)" = "$UID_EXPECTED" ] && exec "$@" ;;
hangs) exec sleep 601 ;;
dies) kill -9 $$ ;;
later) exit 111 ;;
misused) exit 2 ;;
strange) exit 77 ;;
leaves) echo "nobody I know" >&2; setsid sleep 602 & exit 1 ;;
esac
exit 1
"#;

#[test]
fn issue_15_logins_of_a_checkpassword_program() {
    let name = "issue_15_logins_of_a_checkpassword_program";
    let Some(host) = host::for_test(name, &["openssl", "smtp-sink"]) else { return };
    let _sink = Sink::start(&host);
    prepare(&host);
    // No account but this one's may say yes.
    let program = CHECKPASSWORD.replace("$UID_EXPECTED", "7777");
    host.write_with("/etc/gatepost/checkpassword", &program, 0o755);
    let source = "checkpassword:/etc/gatepost/checkpassword /bin/true";
    let text = submission(source).replace("[submission]\n", "[submission]\nauth_user = 7777\n");
    let mut gate = Gate::start(&host, &text);
    let checked = run(host.command(GATEPOST).args(["check", "--config", CONFIG]));
    for row in ["run with uid 7777, gid 7777; outside any jail", "clients are offered LOGIN PLAIN by checkpassword:"] {
        assert!(checked.stdout.contains(row), "{}", checked.said());
    }
    let (mut honest, names) = client(&host);
    assert_eq!(names, ["PLAIN", "LOGIN"]);
    honest.ask(&plain("joe@ok.test", "secret word"), 235);
    honest.ask("MAIL FROM:<joe@ok.test>", 250);
    honest.ask("QUIT", 221);
    // Neither yes nor no is 454, and no mail.
    let rows = [
        ("wrong", 535),
        ("", 501),
        ("dies", 454),
        ("later", 454),
        ("misused", 454),
        ("strange", 454),
        ("hangs", 454),
        ("leaves", 535),
    ];
    std::thread::scope(|scope| {
        for (password, code) in rows {
            let host = &host;
            scope.spawn(move || {
                let (mut client, _) = client(host);
                client.set_patience(Duration::from_secs(60));
                client.ask(&plain("joe@ok.test", password), code);
                client.ask("MAIL FROM:<joe@ok.test>", 530);
                client.ask("QUIT", 221);
            });
        }
    });
    gate.process.wait_said("does not end in time, and is killed", SOON);
    assert!(!gate.process.said().contains("secret word"));
    assert!(gate.process.said().contains("relaxed: checker"), "{}", gate.process.said());
    let audit = gate.audit(&[]).expect_ok("audit").stdout;
    assert!(audit.contains("The checker is unconfined by design"), "{audit}");

    // Whoever runs the program dies in the middle.
    let (mut client, _) = client(&host);
    client.write(format!("{}\r\n", plain("joe@ok.test", "hangs")).as_bytes());
    let checker = gate.roles()["gp-checker"];
    holds("the program to be run", SOON, || host.shell("pgrep -x sleep").status.success());
    run(Command::new("kill").args(["-KILL", &checker.to_string()])).expect_ok("end it");
    client.expect(454);
    holds("it is started anew", SOON, || {
        client.try_ask(&plain("joe@ok.test", "secret word")).is_ok_and(|said| said.code == 235)
    });
    client.ask("QUIT", 221);
    // What a program has left behind in a session of its own is no reason to wait, with more time to drain than is waited for here.
    assert!(host.shell("pgrep -f 'sleep 602'").status.success());
    assert!(gate.process.said().contains("says: nobody I know"));
    gate.stop();
}
