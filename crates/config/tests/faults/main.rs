//! Faulty configurations, and how each mistake is shown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // Functions shared by tests, too.

mod rows;

use gatepost_config::{Config, Fault, Faults};
use rows::ROWS;
use std::path::Path;

/// Sound; each test breaks a piece of it.
const SOUND: &str = r#"hostname = "mx.example.org"
spool = "/var/spool/gatepost"
users = "gatepost"

[[listen]]
address = "0.0.0.0:25"
tls = "starttls"
proxy_from = []

[tls]
certificate = "/etc/gatepost/tls/cert.pem"
key = "/etc/gatepost/tls/key.pem"
required = false
minimum = "1.2"

[relay]
domains = ["example.org", ".example.net"]
clients = []

[backend]
profile = "postfix"
connect = "unix:/var/spool/postfix/public/gatepost"
identity = "xclient"
relay_proof = true
reply_timeout = "540s"

[smtp]
no_helo = false
bare_lf = "refuse"

[names]
servers = ["192.0.2.53"]

[limits]
data = "1MiB"
sessions = 1000
sessions_per_address = 20
message_size = "50MiB"
recipients = 1000
command_timeout = "5m"
session_time = "1h"
drain = "60s"

[jail]
relax = []
"#;

fn faults(text: &str) -> Faults {
    Config::parse(text, Path::new("gatepost.toml")).expect_err(text)
}

/// What the carets of a fault stand under.
fn marked(fault: &Fault) -> String {
    let shown = fault.to_string();
    let (source, carets) = shown
        .lines()
        .zip(shown.lines().skip(1))
        .find(|(_, below)| below.contains('|') && below.trim_end().ends_with('^'))
        .unwrap_or_else(|| panic!("no carets in {shown}"));
    source.chars().zip(carets.chars()).filter(|(_, caret)| *caret == '^').map(|(c, _)| c).collect()
}

/// Line and column, from 1, of `part` in `text`.
fn position(text: &str, part: &str) -> (usize, usize) {
    let before = &text[..text.find(part).unwrap_or_else(|| panic!("no {part} in {text}"))];
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

#[test]
fn config_faults_are_shown_where_they_are_with_what_to_write() {
    for (piece, instead, under, what, advice) in ROWS {
        assert!(SOUND.contains(piece), "{piece}");
        let text = SOUND.replacen(piece, instead, 1);
        let faults = faults(&text);
        let all: Vec<&Fault> = faults.iter().collect();
        let [fault] = all[..] else { panic!("one mistake, {} faults for {instead}:\n{faults}", all.len()) };
        let (line, column) = fault.position().unwrap();
        let shown = fault.to_string();
        assert!(fault.what().contains(what), "{what:?} in\n{shown}");
        assert!(fault.advice().contains(advice), "{advice:?} in\n{shown}");
        assert!(shown.starts_with(&format!("gatepost.toml:{line}:{column}: ")), "{shown}");
        let source = text.lines().nth(line - 1).unwrap();
        assert!(shown.contains(&format!("\n{line} | {source}\n").replace(" \n", "\n")), "{shown}");
        // A caret may stand right after the end of a line.
        let marked = marked(fault);
        if !(marked.is_empty() && *under == " ") {
            assert_eq!(marked, *under, "{shown}");
            let part: String = source.chars().skip(column - 1).take(under.chars().count()).collect();
            assert_eq!(part, *under, "{shown}");
        }
    }
}

#[test]
fn config_no_path_of_a_socket_is_longer_than_a_socket_has() {
    let path = |octets: usize| format!("/{}", "s".repeat(octets - 1));
    let backend = |octets| SOUND.replace("/var/spool/postfix/public/gatepost", &path(octets));
    let local = |octets: usize| {
        SOUND.replace(
            "[tls]\n",
            &format!("[[listen]]\naddress = \"unix:{}\"\nservice = \"submission\"\n[tls]\n", path(octets)),
        )
    };
    for text in [&backend as &dyn Fn(usize) -> String, &local] {
        assert!(Config::parse(&text(107), Path::new("gatepost.toml")).is_ok());
        let faults = faults(&text(108));
        assert_eq!(faults.iter().count(), 1, "{faults}");
        let fault = faults.iter().next().unwrap();
        assert!(fault.what().contains("the path has 108 octets, a socket's has at most 107"), "{fault}");
    }
}

#[test]
fn config_what_is_no_file_is_not_waited_for() {
    let fifo = std::env::temp_dir().join(format!("gatepost-config-{}", std::process::id()));
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (tell, told) = std::sync::mpsc::channel();
    let path = fifo.clone();
    std::thread::spawn(move || tell.send(Config::load(&path).unwrap_err().to_string()));
    let said = told.recv_timeout(std::time::Duration::from_secs(5));
    std::fs::remove_file(&fifo).unwrap();
    let said = said.expect("it is not waited for who writes to a FIFO");
    assert!(said.contains("cannot be read: no regular file"), "{said}");
    let directory = Config::load(&std::env::temp_dir()).unwrap_err().to_string();
    assert!(directory.contains("name the file, not its directory"), "{directory}");
}

#[test]
fn config_a_queue_program_is_named_by_its_path() {
    let text = |connect: &str, more: &str| {
        SOUND
            .replace("profile = \"postfix\"", "profile = \"qmail-queue\"")
            .replace("\"unix:/var/spool/postfix/public/gatepost\"", connect)
            .replace("relay_proof = true", more)
            .replace("identity = \"xclient\"", "")
    };
    let table = [
        ("\"tcp:127.0.0.1:25\"", "", "is no path of a program"),
        ("\"bin/qmail-queue\"", "", "is no path of a program"),
        ("\"/var/qmail/bin/qmail-queue\"", "relay_proof = true", "qmail-queue takes a message for whomever it is"),
        ("\"/var/qmail/bin/qmail-queue\"", "queue_user = \"qmaild:\"", "is no account"),
        ("\"/var/qmail/bin/qmail-queue\"", "queue_as = 0", "0 is too little"),
        ("\"/var/qmail/bin/qmail-queue\"", "home = \"qmail\"", "home"),
    ];
    for (connect, more, fragment) in table {
        let faults = faults(&text(connect, more));
        assert_eq!(faults.iter().count(), 1, "{faults}");
        assert!(faults.to_string().contains(fragment), "{fragment:?} in\n{faults}");
    }
    let other = faults(&SOUND.replace("relay_proof = true", "queue_user = \"qmaild\""));
    assert!(other.to_string().contains("only a queue program has that"), "{other}");
}

#[test]
fn issue_8_tls_is_for_backends_that_speak_it_and_has_authorities_of_its_own() {
    let tcp = SOUND.replace("unix:/var/spool/postfix/public/gatepost", "tcp:192.0.2.5:587\"\ntls = \"starttls");
    let tls = Config::parse(&tcp, Path::new("gatepost.toml")).unwrap().backend.tls.unwrap();
    // The address is verified by the system's authorities.
    assert_eq!((tls.name, tls.pair), (None, None));
    assert_eq!(tls.ca, Path::new("/etc/ssl/certs/ca-certificates.crt"));
    let qmqp = tcp.replace("profile = \"postfix\"", "profile = \"qmqp\"").replace("identity = \"xclient\"\n", "");
    let shown = faults(&qmqp.replace("relay_proof = true\n", "")).to_string();
    assert!(shown.contains("backend.tls: qmqp knows no TLS"), "{shown}");
}

#[test]
fn p7_a_backend_that_nothing_can_be_asked_of_proves_nothing() {
    let text = SOUND.replace("profile = \"postfix\"", "profile = \"qmqp\"").replace("identity = \"xclient\"\n", "");
    let faults = faults(&text);
    assert_eq!(faults.iter().count(), 1, "{faults}");
    assert!(faults.to_string().contains("relay_proof: qmqp takes a message for whomever it is"), "{faults}");
    for line in ["relay_proof = false", ""] {
        let config = Config::parse(&text.replace("relay_proof = true", line), Path::new("gatepost.toml")).unwrap();
        assert!(!config.backend.relay_proof);
    }
}

#[test]
fn p4_identity_must_make_sense_to_the_backend() {
    const UNIX: &str = "\"unix:/run/mta.sock\"";
    const TCP: &str = "\"tcp:127.0.0.1:26\"";
    const BOTH: &str = "[\"unix:/run/mta.sock\", \"tcp:127.0.0.1:26\"]";
    // Profile, place, given; then what comes of it, or a fragment of the fault.
    let table: &[(&str, &str, &str, Result<&str, &str>)] = &[
        ("postfix", UNIX, "", Ok("Xclient")),
        ("postfix", TCP, "", Ok("Xclient")),
        ("postfix", BOTH, "proxy-v2", Ok("ProxyV2")),
        ("postfix", UNIX, "none", Err("takes every client for its own machine")),
        ("exim", TCP, "", Ok("ProxyV2")),
        ("exim", TCP, "xclient", Ok("Xclient")),
        ("exim", TCP, "none", Err("takes every client for its own machine")),
        ("exim", UNIX, "", Err("exim does not listen for SMTP on a unix socket")),
        ("opensmtpd", TCP, "", Ok("ProxyV2")),
        ("opensmtpd", TCP, "xclient", Err("opensmtpd cannot be told by \"xclient\"")),
        ("opensmtpd", BOTH, "", Err("opensmtpd does not listen for SMTP on a unix socket")),
        ("sendmail", UNIX, "", Ok("None")),
        ("qmqp", BOTH, "", Ok("None")),
        ("qmqp", TCP, "xclient", Err("write \"none\"")),
        ("sendmail", TCP, "", Ok("None")),
        ("sendmail", TCP, "xclient", Err("write \"none\"")),
        ("dovecot-lmtp", TCP, "", Ok("Xclient")),
        ("dovecot-lmtp", TCP, "proxy-v2", Ok("ProxyV2")),
        ("dovecot-lmtp", TCP, "none", Ok("None")),
        ("dovecot-lmtp", UNIX, "", Ok("None")),
        ("dovecot-lmtp", BOTH, "", Ok("None")),
        ("dovecot-lmtp", UNIX, "xclient", Err("write \"none\"")),
        ("dovecot-lmtp", BOTH, "xclient", Err("write \"none\"")),
        ("cyrus-lmtp", UNIX, "", Ok("None")),
        ("cyrus-lmtp", UNIX, "proxy-v2", Err("write \"none\"")),
        ("smtp", TCP, "", Ok("None")),
        ("smtp", TCP, "xclient", Ok("Xclient")),
        ("smtp", UNIX, "proxy-v2", Ok("ProxyV2")),
        ("lmtp", UNIX, "", Ok("None")),
        ("lmtp", UNIX, "xclient", Ok("Xclient")),
    ];
    for (profile, place, given, expected) in table {
        let identity = if given.is_empty() { String::new() } else { format!("identity = \"{given}\"") };
        let text = SOUND
            .replace("profile = \"postfix\"", &format!("profile = \"{profile}\""))
            .replace("\"unix:/var/spool/postfix/public/gatepost\"", place)
            .replace("relay_proof = true\n", "")
            .replace("identity = \"xclient\"", &identity);
        match (Config::parse(&text, Path::new("gatepost.toml")), expected) {
            (Ok(config), Ok(identity)) => {
                assert_eq!(format!("{:?}", config.backend.identity), *identity, "{profile} {place} {given}");
            }
            (Err(faults), Err(fragment)) => assert!(faults.to_string().contains(fragment), "{fragment:?} in\n{faults}"),
            (other, _) => panic!("{profile} {place} {given}: {other:?}"),
        }
    }
}

#[test]
fn issue_12_mistakes_in_a_route() {
    for (route, what, advice) in [
        ("domains = [\"a.test\"]", "route.backend.profile is missing", "write in [route.backend]"),
        ("backend = { profile = \"lmtp\", connect = \"tcp:127.0.0.1:24\" }", "route.domains is missing", "domains = ["),
        (
            "domains = [\"*.a.test\"]\nbackend = { profile = \"lmtp\", connect = \"tcp:127.0.0.1:24\" }",
            "a star",
            "\".a.test\"",
        ),
        (
            "domains = [\"a.test\", \"A.test\"]\nbackend = { profile = \"lmtp\", connect = \"tcp:127.0.0.1:24\" }",
            "\"a.test\" stands in two places",
            "take one of them out",
        ),
        (
            "recipients = [\"a.test\"]\nbackend = { profile = \"lmtp\", connect = \"tcp:127.0.0.1:24\" }",
            "no address",
            "user@",
        ),
        ("domains = [\"a.test\"]\nbackend = { profile = \"qmail-queue\" }", "a queue program can't be", "qmqp"),
        (
            "domains = [\"a.test\"]\nbackend = { profile = \"lmtp\", connect = \"tcp:127.0.0.1:24\", connections = 150 }",
            "connections: 150 in all backends, and 150 may be",
            "write fewer",
        ),
        (
            "domains = [\"a.test\"]\nbackend = { profile = \"smtp\", connect = \"tcp:127.0.0.1:25\" }",
            "mail would loop",
            "",
        ),
        (
            "domain = [\"a.test\"]\nbackend = { profil = \"lmtp\" }",
            "unknown key \"profil\" in [route.backend]",
            "profile",
        ),
    ] {
        let shown = faults(&format!("{SOUND}\n[[route]]\n{route}\n")).to_string();
        assert!(shown.contains(what) && shown.contains(advice), "{route}\n{shown}");
    }
}

#[test]
fn config_tells_all_mistakes_at_once_in_the_order_of_the_text() {
    let text = SOUND
        .replace("\"mx.example.org\"", "\"mx\"")
        .replace("spool =", "spol =")
        .replace("tls = \"starttls\"", "tls = \"on\"")
        .replace("\"example.org\", \".example.net\"", "\"*.a.test\", \"fine.test\", \"b@c.test\"")
        .replace("\"540s\"", "\"1d\"")
        .replace("sessions = 1000", "sessions = -1");
    let faults = faults(&text);
    let places: Vec<(usize, usize)> = faults.iter().map(|fault| fault.position().unwrap()).collect();
    let expected: Vec<(usize, usize)> = ["\"mx\"", "spol", "\"on\"", "\"*.a.test\"", "\"b@c.test\"", "\"1d\"", "-1"]
        .iter()
        .map(|part| position(&text, part))
        .collect();
    assert_eq!(places, expected, "{faults}");
}

#[test]
fn config_missing_altogether_names_every_key_without_a_default() {
    let faults = faults("");
    let shown = faults.to_string();
    for line in [
        "gatepost.toml:1:1: hostname is missing",
        "gatepost.toml:1:1: the listener at [::]:25 is to speak TLS, and there is no certificate",
        "gatepost.toml:1:1: relay.domains is missing",
        "gatepost.toml:1:1: backend.profile is missing",
        "gatepost.toml:1:1: backend.connect is missing",
    ] {
        assert!(shown.lines().any(|each| each == line), "{line:?} in\n{shown}");
    }
    assert_eq!(faults.iter().count(), 5, "{shown}");
}

#[test]
fn config_text_that_is_no_toml_does_not_make_its_keys_missing() {
    let text = SOUND.replace("\"mx.example.org\"", "mx").replace("profile = \"postfix\"", "profile \"postfix\"");
    let text = text.replace("\"540s\"", "\"600s\"");
    let faults = faults(&text);
    let lines: Vec<usize> = faults.iter().map(|fault| fault.position().unwrap().0).collect();
    assert_eq!(lines, [1, position(&text, "profile").0, position(&text, "\"600s\"").0], "{faults}");
}

#[test]
fn config_no_toml_here_hides_no_mistake_there() {
    // What breaks the text; the lines of the faults then, besides that of the wrong timeout.
    let list = "domains = [\n  \"a.test\"\n  \"b.test\",\n]";
    for (piece, instead, lines) in [
        ("[relay]", "[relay", &[16][..]),
        ("[[listen]]", "[[listen]", &[5]),
        ("\".example.net\"]", "\".example.net\"", &[18]),
        ("\".example.net\"]\nclients = []", "\".example.net\"", &[19]),
        ("\"example.org\", \".example.net\"", "\"example.org\" \".example.net\"", &[17]),
        ("domains = [\"example.org\", \".example.net\"]", list, &[19]),
        ("clients = []", "clients", &[18]),
        ("clients = []", "\"clients = []", &[18]),
        ("clients = []", "= []", &[18]),
        ("clients = []", "]", &[18]),
        ("[tls]", "]tls[", &[10]),
        ("\"/etc/gatepost/tls/key.pem\"", "'/etc", &[12]),
        ("\"/etc/gatepost/tls/key.pem\"", "/etc", &[12]),
        ("\"gatepost\"", "007", &[3]),
        ("\"gatepost\"", "\"\\q\"", &[3]),
        ("[jail]", "[limits]", &[44]),
    ] {
        assert!(SOUND.contains(piece), "{piece}");
        let text = SOUND.replacen(piece, instead, 1).replace("\"540s\"", "\"600s\"");
        let faults = faults(&text);
        let found: Vec<usize> = faults.iter().map(|fault| fault.position().unwrap().0).collect();
        let mut expected = lines.to_vec();
        expected.push(position(&text, "\"600s\"").0);
        expected.sort_unstable();
        assert_eq!(found, expected, "{instead}\n{faults}");
    }
}

#[test]
fn config_tls_must_fit_the_listeners() {
    let bare = SOUND.replace("certificate =", "#").replace("key =", "#");
    let named = "[[tls.pair]]\nnames = [\"a.test\"]\ncertificate = \"/c\"\nkey = \"/k\"\n[relay]";
    for (text, fragment) in [
        (bare.clone(), "the listener at 0.0.0.0:25 is to speak TLS, and there is no certificate"),
        (bare.replace("\"starttls\"", "\"implicit\""), "there is no certificate"),
        (
            bare.replace("\"starttls\"", "\"off\"").replace("required = false", "required = true"),
            "no listener speaks TLS",
        ),
        (bare.replace("[relay]", named), "no pair for clients that name no server"),
    ] {
        let faults = faults(&text);
        assert_eq!(faults.iter().count(), 1, "{faults}");
        assert!(faults.to_string().contains(fragment), "{fragment:?} in\n{faults}");
    }
}

#[test]
fn config_faults_reach_a_terminal_clean_and_short() {
    let escape = "hostname = \"\u{1b}[2J\"\n".replace("\u{1b}[2J", "\\u001b[2J\\n\\u0007");
    let raw = "hostname = \"\u{1b}[2J\"\n".to_owned();
    let long = format!("hostname = \"{}\"\n", "x".repeat(1 << 20));
    let deep = format!("hostname = {}", "[".repeat(100_000));
    let tabs = "\thostname\t=\t\"mx\"\n".to_owned();
    for text in [escape, raw, long, deep, tabs] {
        let shown = faults(&text).to_string();
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{}", shown.escape_debug());
        assert!(
            shown.ends_with('\n') && shown.lines().all(|line| line.chars().count() < 600),
            "{} octets",
            shown.len()
        );
    }
}

#[test]
fn config_carets_of_a_long_line_stay_under_what_they_mean() {
    let filler: Vec<String> = (0..2000).map(|n| format!("\"d{n}.test\"")).collect();
    let list = format!("domains = [{}, \"*.bad.test\", {}]", filler.join(", "), filler.join(", "));
    let text = SOUND.replace("domains = [\"example.org\", \".example.net\"]", &list);
    let faults = faults(&text);
    let fault = faults.iter().next().unwrap();
    assert_eq!(marked(fault), "\"*.bad.test\"", "{fault}");
    assert_eq!(fault.position().unwrap(), position(&text, "\"*.bad.test\""));
}

#[test]
fn issue_12_a_load_balancer_may_not_relay_by_its_own_address() {
    let text = |proxies: &str| {
        let clients = SOUND.replace("clients = []", "clients = [\"192.0.2.0/24\", \"2001:db8::/32\"]");
        clients.replace("proxy_from = []", &format!("proxy_from = [{proxies}]"))
    };
    for proxies in ["\"192.0.2.9\"", "\"192.0.0.0/16\"", "\"198.51.100.1\", \"2001:db8::1\""] {
        let shown = faults(&text(proxies)).to_string();
        assert!(
            shown.contains("may relay by relay.clients") && shown.contains("take it out of one of them"),
            "{shown}"
        );
    }
    let config = Config::parse(&text("\"198.51.100.1\", \"2001:db9::/32\""), Path::new("gatepost.toml")).unwrap();
    let proxies: Vec<String> = config.listen[0].proxy_from.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["198.51.100.1/32", "2001:db9::/32"]);
}
