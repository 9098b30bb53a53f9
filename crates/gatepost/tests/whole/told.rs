//! P14: what the log says a client heard is what the client heard.

use crate::gate::{CONFIG, GATEPOST, Gate, config, rogue, starttls, starttls6};
use gatepost_testkit::client::{Client, Reply};
use gatepost_testkit::host::{self, AWAY};
use gatepost_testkit::rogue::{Deed, Speaks, Stage};
use gatepost_testkit::run::{run, signal};
use gatepost_testkit::wait::{SOON, holds};
use serde_json::{Value, json};

const MAIL: &str = "MAIL FROM:<a@road.test>";
const RCPT: &str = "RCPT TO:<alice@ok.test>";
const GOOD: &[&str] = &[MAIL, RCPT, "DATA", "Subject: x\r\n\r\ntext\r\n."];

/// A name, what the backend does wrong, and the client's lines.
type Way = (&'static str, Option<(Stage, Deed)>, &'static [&'static str]);

/// Ways in which a transaction, a command or a session can end: what the backend does wrong, and what the client says, one line at a
/// time, each answered.
#[rustfmt::skip]
const WAYS: &[Way] = &[
    ("all is well",                 None, GOOD),
    ("two recipients",              None, &[MAIL, RCPT, "RCPT TO:<bob@ok.test>", "DATA", "text\r\n."]),
    ("null reverse-path",           None, &["MAIL FROM:<>", RCPT, "DATA", "text\r\n."]),
    ("by BDAT",                     None, &[MAIL, RCPT, "BDAT 6 LAST\r\ntext"]),
    ("a Message-ID with quotes",    None, &[MAIL, RCPT, "DATA", "Message-ID: <a\"b\\c@road.test>\r\n\r\ntext\r\n."]),
    ("relay denied",                None, &[MAIL, "RCPT TO:<a@foreign.test>"]),
    ("relay denied, one of two",    None, &[MAIL, "RCPT TO:<a@foreign.test>", RCPT, "DATA", "text\r\n."]),
    ("routed local part",           None, &[MAIL, "RCPT TO:<a%foreign.test@ok.test>"]),
    ("bare LF in content",          None, &[MAIL, RCPT, "DATA", "a\nb\r\n."]),
    ("bare CR in content",          None, &[MAIL, RCPT, "DATA", "a\rb\r\n."]),
    ("NUL in content",              None, &[MAIL, RCPT, "DATA", "a\0b\r\n."]),
    ("a NUL in a chunk",            None, &[MAIL, RCPT, "BDAT 5 LAST\r\na\0b"]),
    ("no such verb",                None, &["FROB"]),
    ("bad reverse-path",            None, &["MAIL FROM:<a b@road.test>"]),
    ("bad forward-path",            None, &[MAIL, "RCPT TO:<a b@ok.test>"]),
    ("unknown parameter",           None, &["MAIL FROM:<a@road.test> FROB=1"]),
    ("bad parameter",               None, &["MAIL FROM:<a@road.test> SIZE=x"]),
    ("too large, as announced",     None, &["MAIL FROM:<a@road.test> SIZE=99999999999"]),
    ("RCPT without MAIL",           None, &[RCPT]),
    ("DATA without RCPT",           None, &[MAIL, "DATA"]),
    ("MAIL twice",                  None, &[MAIL, MAIL]),
    ("no recipient was valid",      None, &[MAIL, "RCPT TO:<a@foreign.test>", "DATA"]),
    ("AUTH",                        None, &["AUTH PLAIN AGEAYg=="]),
    ("a line that is too long",     None, &[LONG]),
    ("EXPN",                        None, &["EXPN staff"]),
    ("HELP with an argument, NOOP", None, &["NOOP", "HELP"]),
    ("taken back",                  None, &[MAIL, RCPT, "RSET"]),
    ("another protocol",            None, &["GET / HTTP/1.1"]),
    ("a NUL in a command",          None, &["NOOP\0"]),
    ("content in place of BDAT",    None, &[MAIL, RCPT, "BDAT x"]),
    ("the backend refuses MAIL",    Some((Stage::Mail, Deed::Answer("550 5.7.1 not from there\r\n"))), &[MAIL, RCPT]),
    ("it defers MAIL",              Some((Stage::Mail, Deed::Answer("451 4.7.1 greylisted\r\n"))), &[MAIL, RCPT]),
    ("it refuses RCPT",             Some((Stage::Rcpt, Deed::Answer("550 5.1.1 no such user\r\n"))), &[MAIL, RCPT]),
    ("it refuses RCPT in lines",    Some((Stage::Rcpt, Deed::Answer("550-5.1.1 no such user\r\n550 5.1.1 ask \"us\"\r\n"))), &[MAIL, RCPT]),
    ("it defers RCPT",              Some((Stage::Rcpt, Deed::Answer("452 4.2.2 over quota\r\n"))), &[MAIL, RCPT]),
    ("it refuses DATA",             Some((Stage::Data, Deed::Answer("554 5.5.1 no\r\n"))), GOOD),
    ("it refuses the content",      Some((Stage::End, Deed::Answer("554 5.7.1 spam\r\n"))), GOOD),
    ("it defers the content",       Some((Stage::End, Deed::Answer("450 4.7.1 later\r\n"))), GOOD),
    ("it closes at MAIL",           Some((Stage::Mail, Deed::Close)), &[MAIL, RCPT]),
    ("it closes at RCPT",           Some((Stage::Rcpt, Deed::Close)), &[MAIL, RCPT]),
    ("it closes within content",    Some((Stage::Content, Deed::Close)), GOOD),
    ("it closes at the end",        Some((Stage::End, Deed::Close)), GOOD),
    ("it answers nonsense",         Some((Stage::End, Deed::Answer("what?\r\n"))), GOOD),
    ("it says 421",                 Some((Stage::Rcpt, Deed::Answer("421 4.3.2 going down\r\n"))), &[MAIL, RCPT]),
];

const LONG: &str = "NOOP xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// What a client heard: code, enhanced code, text without the session's id; and that id.
struct Heard {
    code: u64,
    enhanced: String,
    text: String,
    id: Option<String>,
}

fn heard(reply: &Reply) -> Heard {
    let mut lines: Vec<String> = reply.lines.clone();
    let last = lines.last_mut().unwrap();
    let id = last.rsplit_once(" [").and_then(|(_, id)| id.strip_suffix(']')).map(str::to_owned);
    if id.is_some() {
        last.truncate(last.rfind(" [").unwrap());
    }
    let mut enhanced = String::new();
    for line in &mut lines {
        if let Some((code, text)) = line.split_once(' ').filter(|(code, _)| code.split('.').count() == 3) {
            (enhanced, *line) = (code.to_owned(), text.to_owned());
        }
    }
    Heard { code: reply.code.into(), enhanced, text: lines.join(" / "), id }
}

fn events(said: &str) -> Vec<Value> {
    said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn fits(event: &Value, heard: &Heard, session: &str) -> bool {
    event["session"] == *session && event["reply"] == heard.code && event["enhanced"] == *heard.enhanced && {
        // A closing reply names us before its text.
        let text = event["heard"].as_str().unwrap_or_default();
        heard.text == text || heard.text.strip_prefix("mx.ok.test ").is_some_and(|rest| rest == text)
    }
}

/// Who is gone before the greeting is told as that, and not as trouble of ours.
#[test]
fn issue_13_a_client_that_goes_away_at_once_is_told_as_gone() {
    let Some(host) = host::for_test("issue_13_a_client_that_goes_away_at_once_is_told_as_gone", &["openssl"]) else {
        return;
    };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, "[limits]\noffences = 0\n[log]\nformat = \"json\""));
    let ends = || -> Vec<Value> {
        let all = events(&gate.process.said()).into_iter().filter(|event| event["event"] == "session");
        all.map(|event| event["end"].clone()).collect()
    };
    // About each address only so much is written.
    for n in 1..=40 {
        drop(host.connect(&if n % 2 == 0 { starttls() } else { starttls6() }));
        holds("the session's end", SOON, || ends().len() >= n);
    }
    assert!(ends().iter().all(|end| end == "ClientGone"), "{:?}", ends());
    gate.stop();
}

/// Everything that an operator asks about one message is in its one line: who, to whom, by what, both replies, the queue id, where the
/// time went.
#[test]
fn issue_13_the_line_of_a_message_has_all_that_is_known_of_it() {
    let name = "issue_13_the_line_of_a_message_has_all_that_is_known_of_it";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    mta.misbehave(Stage::End, Deed::Answer("250 2.6.0 Ok: queued as 4BFX9\r\n"));
    let gate = Gate::start(&host, &config(&backend, "[log]\nformat = \"json\""));
    let mut client = gate.client();
    client.hello("road.test");
    client.starttls("mx.ok.test");
    client.ask("EHLO road.test", 250);
    client.ask("MAIL FROM:<a@road.test>", 250);
    client.ask("RCPT TO:<alice@ok.test>", 250);
    client.ask("DATA", 354);
    // The client is waited for, as long as it likes.
    std::thread::sleep(std::time::Duration::from_millis(60));
    client.write(b"Message-ID: <1@road.test>\r\n\r\nx\r\n.\r\n");
    client.expect(250);
    let told = || events(&gate.process.said()).into_iter().find(|event| event["event"] == "recipient");
    holds("it to be told", SOON, || told().is_some());
    let event = told().unwrap();
    for (field, value) in [
        ("transaction", "1"),
        ("helo", "\"road.test\""),
        ("from", "\"a@road.test\""),
        ("to", "\"alice@ok.test\""),
        ("size", "32"),
        ("message_id", "\"<1@road.test>\""),
        ("reply", "250"),
        ("enhanced", "\"2.6.0\""),
        ("heard", "\"Ok\""),
        ("reason", "\"Ok\""),
        ("backend", "250"),
        ("said", "\"Ok: queued as 4BFX9\""),
    ] {
        assert_eq!(event[field].to_string(), value, "{field}: {event}");
    }
    assert!(event["client"].as_str().unwrap().starts_with(AWAY), "{event}");
    assert!(event["tls"].as_str().unwrap().starts_with("TLSv1."), "{event}");
    assert_eq!(event["session"].as_str().unwrap().len(), 10, "{event}");
    let time = |field: &str| event[field].as_u64().unwrap();
    assert!(time("client_ms") >= 60 && time("took_ms") >= time("client_ms") + time("backend_ms"), "{event}");
    drop(client);
    gate.stop();
}

/// Content that is refused or broken off on its way: the log says how much of it came.
#[test]
fn issue_13_content_that_does_not_come_to_its_end_has_its_size_in_the_log() {
    const LIMIT: usize = 400 * 1024;
    let name = "issue_13_content_that_does_not_come_to_its_end_has_its_size_in_the_log";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let more = "[limits]\noffences = 0\nmessage_size = \"400KiB\"\n[log]\nformat = \"json\"";
    let gate = Gate::start(&host, &config(&backend, more));
    // Octets that are sent, what is sent after them (nothing: the client goes away), and the reply that the log has.
    for (what, sent, end, reply) in [
        ("gone, little had come", 500, None, 0),
        ("gone, content was inline", 40_000, None, 0),
        ("gone, content was in a file", 300_000, None, 0),
        ("a bare LF, content was inline", 60_000, Some("a\nb\r\n."), 550),
        ("a bare LF, content was in a file", 300_000, Some("a\nb\r\n."), 550),
        ("too large", 2 * LIMIT, Some("."), 552),
    ] {
        let before = gate.process.said().len();
        let mut client = gate.client();
        client.hello("road.test");
        client.ask(MAIL, 250);
        client.ask(RCPT, 250);
        client.ask("DATA", 354);
        client.write("0123456789abcdef0123456789abcdef0123456789abcdef\r\n".repeat(sent / 50).as_bytes());
        if let Some(end) = end {
            assert_eq!(client.try_ask(end).unwrap().code, reply, "{what}");
        }
        drop(client);
        let told = || {
            let told = events(gate.process.said().get(before..).unwrap_or_default());
            told.into_iter().find(|event| event["event"] == "recipient")
        };
        holds(what, SOON, || told().is_some());
        let event = told().unwrap();
        let size = usize::try_from(event["size"].as_u64().unwrap()).unwrap();
        let came = sent.min(LIMIT);
        let lacks = if end.is_some() { came.min(64 * 1024) - 1 } else { 0 };
        assert!((came - lacks..=came).contains(&size), "{what}: {event}");
        assert_eq!(event["reply"], reply, "{what}: {event}");
    }
    gate.stop();
}

/// A reload, and a role that ends, are events as well.
#[test]
fn issue_13_reloads_and_ends_of_roles_are_events() {
    let Some(host) = host::for_test("issue_13_reloads_and_ends_of_roles_are_events", &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let right = config(&backend, "[log]\nformat = \"json\"");
    let gate = Gate::start(&host, &right);
    let told = |expected: Value| {
        let is = |event: &Value| expected.as_object().unwrap().iter().all(|(field, value)| event[field] == *value);
        holds(&format!("{expected} to be told"), SOON, || events(&gate.process.said()).iter().any(is));
    };
    let reload = || run(host.command(GATEPOST).arg("reload"));
    reload().expect_ok("reload");
    told(json!({"event": "reloaded", "level": "info", "who": "launcher", "what": "Configuration"}));
    host.write(CONFIG, "hostname = 7\n");
    assert!(!reload().ok());
    told(json!({"event": "not-reloaded", "level": "error", "what": "Configuration"}));
    let not = events(&gate.process.said()).into_iter().find(|event| event["event"] == "not-reloaded").unwrap();
    assert!(not["why"].as_str().unwrap().contains("gatepost.toml:1:"), "{not}");
    assert!(signal(gate.roles()["gp-keyholder"], "KILL"));
    told(json!({"event": "role-ended", "level": "warn", "role": "keyholder", "how": "it was killed by signal 9"}));
    told(json!({"event": "role-serves", "role": "keyholder"}));
    gate.stop();
}

#[test]
fn p14_what_the_log_says_a_client_heard_is_what_it_heard() {
    let Some(host) = host::for_test("p14_what_the_log_says_a_client_heard_is_what_it_heard", &["openssl"]) else {
        return;
    };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, "[limits]\noffences = 0\n[log]\nformat = \"json\""));
    for (n, (name, deed, lines)) in WAYS.iter().enumerate() {
        mta.behave();
        mta.hang_up();
        if let Some((stage, deed)) = deed {
            mta.misbehave(*stage, deed.clone());
        }
        // Two addresses: about each only so much is written.
        let mut client = Client::over(host.connect(&if n % 2 == 0 { starttls() } else { starttls6() }));
        client.try_hello("told.test").unwrap();
        let before = gate.process.said().len();
        let mut replies = Vec::new();
        for line in *lines {
            let line = if *line == LONG { line.repeat(20) } else { (*line).to_owned() };
            match client.try_ask(&line) {
                Ok(reply) => replies.push(heard(&reply)),
                Err(_) => break,
            }
            if replies.last().is_some_and(|heard| heard.code >= 400) && line.starts_with("MAIL") {
                break;
            }
        }
        drop(client);
        let session_of = |event: &Value| event["event"] == "session";
        let lines_since = || events(gate.process.said().get(before..).unwrap_or_default());
        holds(&format!("{name}: the session's end"), SOON, || lines_since().iter().any(session_of));
        let told = lines_since();
        let session = told.iter().find(|event| session_of(event)).unwrap()["session"].as_str().unwrap().to_owned();
        for heard in replies.iter().filter(|heard| heard.code >= 400) {
            assert_eq!(heard.id.as_deref(), Some(session.as_str()), "{name}: {}", heard.text);
            assert!(
                told.iter().any(|event| fits(event, heard, &session)),
                "{name}: the client heard {} {} {:?}, and the log says {told:#?}",
                heard.code,
                heard.enhanced,
                heard.text
            );
        }
        // And nothing that was refused is told as if it had been taken.
        let taken = replies.last().is_some_and(|heard| heard.code == 250) && lines.len() > 3 || name.contains("BDAT");
        let good = told.iter().filter(|event| event["event"] == "recipient" && event["reply"] == 250).count();
        let taken = taken && deed.is_none() && replies.last().is_some_and(|heard| heard.code == 250);
        assert_eq!(good > 0, taken, "{name}: {told:#?}");
        if *name == "two recipients" {
            assert_eq!(good, 2);
        }
        if *name == "a Message-ID with quotes" {
            assert!(told.iter().any(|event| event["message_id"] == "<a\"b\\c@road.test>"), "{told:#?}");
        }
        assert!(!gate.process.said().contains("AGEAYg"), "a password in the log");
    }
    gate.stop();
}
