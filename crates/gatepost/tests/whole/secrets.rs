//! Issue 15: passwords are nowhere once they have been checked: the memory of every process is searched for them, as root.

use crate::gate::{GATEPOST, Gate, HOSTNAME, config, prepare, rogue};
use crate::submission::{PASSWD, passwd, submission};
use gatepost_testkit::client::Client;
use gatepost_testkit::facts;
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::mta::Logins;
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::scram::{Scram, coded, decoded};
use gatepost_testkit::wait::{SOON, holds};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Octets of a password that nobody else has in memory, and no part of which another one has.
fn password(number: usize, length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        write!(text, "{}~", (number + 1) * 7_654_321 + text.len() * 104_729).unwrap();
    }
    text.truncate(length);
    text
}

/// In base64, with its padding.
fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in octets.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap();
            text.push(if place <= chunk.len() { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    text
}

/// What a password looks like: pieces of it as it is, and of the line in which it was said.
fn needles(password: &str, line: &str) -> Vec<Vec<u8>> {
    let password = password.as_bytes();
    let line = line.trim_end_matches('=').as_bytes();
    let mut needles: Vec<Vec<u8>> = password.chunks_exact(12).map(<[u8]>::to_vec).collect();
    // The last half of the line holds nothing but the password.
    needles.extend(line[line.len() / 2..].chunks_exact(12).map(<[u8]>::to_vec));
    needles
}

/// Who of gatepost's processes has any of it, and how many pieces.
fn holders(gate: &Gate<'_>, needles: &[Vec<u8>]) -> Vec<(String, usize)> {
    let found = |pid| facts::found_in_memory(pid, needles).into_iter().filter(|found| *found).count();
    gate.tree().into_iter().map(|(pid, name)| (name, found(pid))).filter(|(_, found)| *found > 0).collect()
}

/// How a password is said: what the client sends, and what it waits for.
struct Way {
    name: &'static str,
    login: String,
    password: String,
    /// Lines before the one with the password, each answered by 334.
    before: Vec<String>,
    line: String,
    /// The reply to that.
    code: u16,
    /// Octets that are sent at once; 0: all.
    piece: usize,
}

fn way(number: usize) -> Way {
    let (login, password) = (format!("joe{number}"), password(number, if number == 9 { 900 } else { 40 }));
    let alone = base64(password.as_bytes());
    let plain = |behind: &str| base64(format!("\0{login}\0{password}{behind}").as_bytes());
    let by_login = vec!["AUTH LOGIN".to_owned(), base64(login.as_bytes())];
    let (name, before, line, code, piece) = match number {
        0 => ("PLAIN at once", vec![], format!("AUTH PLAIN {}", plain("")), 235, 0),
        1 => ("PLAIN when asked", vec!["AUTH PLAIN".to_owned()], plain(""), 235, 0),
        2 => ("LOGIN", by_login, alone, 235, 0),
        3 => ("PLAIN in small pieces", vec![], format!("AUTH PLAIN {}", plain("")), 235, 5),
        4 => ("LOGIN in pieces", by_login, alone, 235, 31),
        5 => ("a wrong one", vec![], format!("AUTH PLAIN {}", plain("x")), 535, 0),
        6 => ("not quite base64", by_login, format!("{alone}!"), 501, 0),
        7 => ("a NUL behind it", vec![], format!("AUTH PLAIN {}", plain("\0")), 501, 0),
        8 => ("no such mechanism", vec![], format!("AUTH CRAM {}", plain("")), 504, 0),
        _ => ("a long one in two records", by_login, alone, 235, 600),
    };
    Way { name, login, password, before, line, code, piece }
}
const WAYS: usize = 10;

fn secure(host: &Host) -> Client {
    let mut client = Client::over(host.connect(&format!("{HERE}:587")));
    client.hello("road.test");
    client.starttls(HOSTNAME);
    client.ask("EHLO road.test", 250);
    client
}

fn say(client: &mut Client, octets: &[u8], piece: usize) {
    for part in octets.chunks(if piece == 0 { octets.len() } else { piece }) {
        client.write(part);
    }
}

#[test]
fn issue_15_no_process_holds_a_password_after_the_login() {
    let name = "issue_15_no_process_holds_a_password_after_the_login";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    let ways: Vec<Way> = (0..WAYS).map(way).collect();
    let lines: String = ways.iter().map(|way| passwd(&host, &way.login, &way.password)).collect();
    host.write_with(PASSWD, &lines, 0o600);
    let gate = Gate::start(&host, &config(&backend, &submission()));
    let mut complaints = Vec::new();
    for way in &ways {
        let needles = needles(&way.password, &way.line);
        let mut client = secure(&host);
        for line in &way.before {
            client.ask(line, 334);
        }
        // The search itself works: what has come so far of a line is in the session, and nowhere else.
        let (most, rest) = way.line.as_bytes().split_at(way.line.len() - 1);
        say(&mut client, most, way.piece);
        holds("the session to hold it", SOON, || {
            let holders = holders(&gate, &needles);
            !holders.is_empty() && holders.iter().all(|(process, _)| process == "gp-session")
        });
        say(&mut client, &[rest, b"\r\n"].concat(), way.piece);
        client.expect(way.code);
        let held = holders(&gate, &needles);
        let session = facts::status(gate.sessions()[0]);
        let kib = session["VmData"].split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap();
        assert!(kib < 1024, "{}: P6, the session has {kib} KiB", way.name);
        println!("{}: {} pieces, found {held:?}", way.name, needles.len());
        complaints.extend(held.into_iter().map(|(process, pieces)| format!("{}: {pieces} in {process}", way.name)));
        client.ask("QUIT", 221);
    }
    assert_eq!(complaints, [""; 0]);
    let audit = gate.audit(&[]).expect_ok("audit").stdout;
    assert!(audit.lines().any(|line| line.contains("auth") && line.ends_with(" ok")), "{audit}");
    gate.stop();
}

/// As above, where others than the passwd file know the password: Dovecot, a program, a hash for SCRAM.
#[test]
fn issue_15_no_process_holds_a_password_whoever_knows_it() {
    let name = "issue_15_no_process_holds_a_password_whoever_knows_it";
    let Some(host) = host::for_test(name, &["openssl", "dovecot"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    let ways: Vec<Way> = [0, 2].into_iter().map(way).collect();
    let users: String = ways.iter().map(|way| format!("{}:{{PLAIN}}{}\n", way.login, way.password)).collect();
    let _dovecot = Logins::start(&host, &users, "plain login scram-sha-256");
    // It keeps nothing, and so lets in whoever says something.
    let program = "#!/bin/sh\n[ \"$(tr -d '\\0' <&3 | wc -c)\" -gt 40 ]\n";
    host.write_with("/etc/gatepost/checkpassword", program, 0o755);
    let hashes: Vec<String> = ways
        .iter()
        .map(|Way { login, password, .. }| {
            let line = format!("echo '{password}' | {GATEPOST} passwd {login} --scheme scram-sha-256");
            host.shell(&line).expect_ok("passwd").stdout
        })
        .collect();
    host.write_with(PASSWD, &hashes.concat(), 0o600);
    let dovecot = format!("dovecot:{}", Logins::SOCKET);
    let mut complaints = Vec::new();
    for source in [dovecot.as_str(), "checkpassword:/etc/gatepost/checkpassword", "passwd:/etc/gatepost/passwd"] {
        let text = submission().replace(&format!("passwd:{PASSWD}"), source);
        let gate = Gate::start(&host, &config(&backend, &text));
        for way in &ways {
            let needles = needles(&way.password, &way.line);
            let mut client = secure(&host);
            way.before.iter().for_each(|line| drop(client.ask(line, 334)));
            client.ask(&way.line, way.code);
            // Who has waited for a program ends after the answer.
            let until = Instant::now() + Duration::from_secs(1);
            let held = loop {
                let held = holders(&gate, &needles);
                if held.is_empty() || until < Instant::now() {
                    break held;
                }
            };
            println!("{source}, {}: found {held:?}", way.name);
            complaints.extend(
                held.into_iter().map(|(process, pieces)| format!("{source}, {}: {pieces} in {process}", way.name)),
            );
            client.ask("QUIT", 221);
        }
        if source.starts_with("checkpassword") {
            gate.stop();
            continue;
        }
        // By SCRAM it is not even told; nor is what could be used in its place.
        let Way { login, password, .. } = &ways[0];
        let mut client = secure(&host);
        let scram = Scram::new(login, password);
        let said = client.ask(&format!("AUTH SCRAM-SHA-256 {}", coded(&scram.first())), 334);
        let (last, _) = scram.last(&decoded(&said.lines[0]));
        let last = coded(&last);
        client.ask(&last, 334);
        client.ask("", 235);
        let held = holders(&gate, &needles(password, &last));
        println!("{source}, SCRAM: found {held:?}");
        complaints.extend(held.into_iter().map(|(process, pieces)| format!("{source}, SCRAM: {pieces} in {process}")));
        client.ask("QUIT", 221);
        gate.stop();
    }
    assert_eq!(complaints, [""; 0]);
}
