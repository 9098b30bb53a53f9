//! AUTH where mail is submitted, RFC 4954 and RFC 6409.

use gatepost_smtp::envelope::{CloseReason, Login, Mechanism, Reason, Service, Verdict};
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_smtp::sasl::RESPONSE_MAX;
use gatepost_smtp::server::{Engine, Event, Said, Settings};

const OK: Verdict = Verdict { code: 250, enhanced: (2, 0, 0), reason: Reason::Ok };
const PLAIN: &str = "AUTH PLAIN AGpvZQBzZWNyZXQ=|";

/// What is said to a server that finds `login`, in pieces of `piece` octets: all that was claimed, and each reply without its text.
fn talk(tls: bool, login: Login, said: &str, piece: usize) -> (Vec<String>, Vec<String>) {
    let mut engine = Engine::new(Settings { service: Service::Submission, starttls: !tls, ..Settings::default() });
    if tls {
        engine.tls_established(0x0304, 0x1301);
    }
    engine.set_mechanisms(Mechanism::ALL.into_iter().collect::<Mechanisms>().without(Mechanism::ScramSha256Plus));
    engine.greet();
    let (mut asked, mut output) = (Vec::new(), Vec::new());
    for octets in said.replace('|', "\r\n").as_bytes().chunks(piece) {
        let mut rest = octets;
        loop {
            let (used, event) = engine.read(rest);
            rest = &rest[used..];
            match event {
                Event::Auth => {
                    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
                    match engine.said().unwrap() {
                        Said::Claim(claim) => {
                            asked.push(format!("{:?} {} {}", claim.mechanism, text(claim.user), text(claim.pass)));
                            engine.challenge(b"without effect");
                            engine.judge(login);
                        }
                        Said::Response(said) => {
                            asked.push(format!("{:?} {} {}", said.mechanism, said.first, text(said.octets)));
                            let ends = said.octets.ends_with(b"end");
                            if ends { engine.judge(login) } else { engine.challenge(b"more") }
                        }
                    }
                    assert!(engine.said().is_none());
                }
                Event::Mail | Event::Rcpt => engine.answer(&OK),
                Event::Close(reason) => {
                    asked.push(format!("{reason:?}"));
                    break;
                }
                Event::Starved => break,
                _ => {}
            }
        }
        output.extend_from_slice(engine.output());
        engine.sent(engine.output().len());
        if let Some(refusal) = engine.take_refusal() {
            assert!(!String::from_utf8_lossy(&refusal.line).to_uppercase().contains("AUTH"));
        }
    }
    let text = String::from_utf8(output).unwrap();
    let last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
    let short = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ").trim_end().to_owned();
    (asked, text.lines().filter(last).skip(1).map(short).collect())
}

#[test]
fn issue_15_auth_is_spoken_as_the_rfc_has_it() {
    let joe = "joe secret";
    let plain = format!("Plain {joe}");
    let login = format!("Login {joe}");
    let rows: &[(&str, Login, &str, &[&str], &str)] = &[
        ("PLAIN", Login::Accepted, PLAIN, &[&plain], "235 2.7.0"),
        ("in lower case", Login::Accepted, "auth plain AGpvZQBzZWNyZXQ=|", &[&plain], "235 2.7.0"),
        ("asked for", Login::Accepted, "AUTH PLAIN|AGpvZQBzZWNyZXQ=|", &[&plain], "334, 235 2.7.0"),
        (
            "LOGIN",
            Login::Accepted,
            "AUTH LOGIN|am9l|c2VjcmV0|",
            &[&login],
            "334 VXNlcm5hbWU6, 334 UGFzc3dvcmQ6, 235 2.7.0",
        ),
        ("LOGIN, initial", Login::Accepted, "AUTH LOGIN am9l|c2VjcmV0|", &[&login], "334 UGFzc3dvcmQ6, 235 2.7.0"),
        ("refused", Login::Refused, PLAIN, &[&plain], "535 5.7.8"),
        ("not known", Login::Unknown, PLAIN, &[&plain], "454 4.7.0"),
        ("cancelled", Login::Accepted, "AUTH LOGIN|*|", &[], "334 VXNlcm5hbWU6, 501 5.7.0"),
        ("no base64", Login::Accepted, "AUTH PLAIN ?|", &[], "501 5.5.2"),
        ("empty", Login::Accepted, "AUTH PLAIN =|", &[], "501 5.5.2"),
        ("no mechanism", Login::Accepted, "AUTH|", &[], "501 5.5.4"),
        ("none such", Login::Accepted, "AUTH CRAM-MD5|", &[], "504 5.5.4"),
        ("twice", Login::Accepted, &format!("{PLAIN}{PLAIN}"), &[&plain], "235 2.7.0, 503 5.5.1"),
        (
            "MAIL after",
            Login::Accepted,
            &format!("{PLAIN}MAIL FROM:<a@b.test> AUTH=<>|"),
            &[&plain],
            "235 2.7.0, 250 2.1.0",
        ),
        ("MAIL before", Login::Accepted, "MAIL FROM:<a@b.test>|", &[], "530 5.7.0"),
        ("MAIL after no", Login::Refused, &format!("{PLAIN}MAIL FROM:<a@b.test>|"), &[&plain], "535 5.7.8, 530 5.7.0"),
        ("MAIL after 454", Login::Unknown, &format!("{PLAIN}MAIL FROM:<a@b.test>|"), &[&plain], "454 4.7.0, 530 5.7.0"),
        // Octets for somebody else: "one", "end".
        (
            "SCRAM",
            Login::Accepted,
            "AUTH SCRAM-SHA-256 b25l|ZW5k|",
            &["ScramSha256 true one", "ScramSha256 false end"],
            "334 bW9yZQ==, 235 2.7.0",
        ),
        (
            "asked for, refused",
            Login::Refused,
            "AUTH OAUTHBEARER|b25l||ZW5k|",
            &["OAuthBearer true one", "OAuthBearer false ", "OAuthBearer false end"],
            "334, 334 bW9yZQ==, 334 bW9yZQ==, 535 5.7.8",
        ),
        (
            "cancelled SCRAM",
            Login::Accepted,
            "AUTH XOAUTH2 b25l|*|NOOP|",
            &["XOAuth2 true one"],
            "334 bW9yZQ==, 501 5.7.0, 250 2.0.0",
        ),
        ("not offered", Login::Accepted, "AUTH SCRAM-SHA-256-PLUS b25l|", &[], "504 5.5.4"),
        (
            "no end of it",
            Login::Accepted,
            &format!("AUTH SCRAM-SHA-256 b25l|{}", "b25l|".repeat(8)),
            &{
                let mut all = ["ScramSha256 false one"; 8];
                all[0] = "ScramSha256 true one";
                all
            },
            &format!("{}501 5.5.2", "334 bW9yZQ==, ".repeat(8)),
        ),
        ("a verb for a password", Login::Accepted, "AUTH LOGIN|QUIT|QUIT|", &["Login @\u{15} @\u{15}"], ""),
    ];
    for (name, login, said, asked, replies) in rows {
        for piece in [1, 7, 100_000] {
            let (claims, heard) = talk(true, *login, &format!("EHLO c.test|{said}"), piece);
            // "QUIT" is base64 of octets that are no UTF-8.
            if *name != "a verb for a password" {
                assert_eq!(heard.split_first().unwrap().1.join(", "), *replies, "{name} by {piece}");
                assert_eq!(claims, *asked, "{name} by {piece}");
            } else {
                assert_eq!((claims.len(), heard.len()), (1, 4), "{name}: {claims:?} {heard:?}");
            }
        }
    }
}

#[test]
fn issue_15_nothing_is_offered_or_taken_in_clear() {
    let (claims, heard) =
        talk(false, Login::Accepted, &format!("EHLO c.test|{PLAIN}MAIL FROM:<a@b.test>|AUTH LOGIN|"), 1);
    assert_eq!(claims, Vec::<String>::new());
    assert_eq!(heard[1..], ["538 5.7.11", "530 5.7.0", "538 5.7.11"]);
    for (tls, offered) in [(false, false), (true, true)] {
        let mut engine = Engine::new(Settings { service: Service::Submission, ..Settings::default() });
        if tls {
            engine.tls_established(0x0304, 0x1301);
        }
        engine.greet();
        engine.read(b"EHLO c.test\r\n");
        assert_eq!(String::from_utf8_lossy(engine.output()).contains("AUTH"), offered);
    }
    // And where mail is relayed never, TLS or not.
    let mut engine = Engine::new(Settings::default());
    engine.tls_established(0x0304, 0x1301);
    engine.greet();
    engine.read(b"EHLO c.test\r\nAUTH PLAIN AGpvZQBzZWNyZXQ=\r\nMAIL FROM:<> AUTH=<>\r\n");
    let output = String::from_utf8_lossy(engine.output()).into_owned();
    assert!(!output.contains("AUTH") && output.contains("503 5.5.1") && output.contains("555 5.5.4"), "{output}");
}

#[test]
fn issue_15_guessing_ends_the_session_and_is_no_abuse() {
    let guesses = format!("EHLO c.test|{}NOOP|", "AUTH LOGIN|am9l|c2VjcmV0|".repeat(5));
    let (claims, heard) = talk(true, Login::Refused, &guesses, 100_000);
    assert_eq!(claims.len(), 5, "four claims and the end: {claims:?}");
    assert_eq!(claims.last(), Some(&format!("{:?}", CloseReason::Refused)));
    assert_eq!(heard.last().map(String::as_str), Some("421 4.7.0"));
}

#[test]
fn issue_15_lines_are_bounded() {
    let long = "A".repeat(12_289);
    let (claims, heard) = talk(true, Login::Accepted, &format!("EHLO c.test|AUTH PLAIN|{long}|NOOP|"), 1000);
    assert_eq!((claims, heard[1..].join(", ")), (vec![], "334, 500 5.5.6, 250 2.0.0".to_owned()));
    let (_, heard) = talk(true, Login::Accepted, &format!("EHLO c.test|AUTH PLAIN {}|NOOP|", "A".repeat(4000)), 1000);
    assert_eq!(heard[1..].join(", "), "501 5.5.2, 250 2.0.0");
}

#[test]
fn issue_15_ehlo_names_what_can_be_had() {
    let named = |mechanisms: &[Mechanism]| {
        let mut engine = Engine::new(Settings { service: Service::Submission, ..Settings::default() });
        engine.tls_established(0x0304, 0x1301);
        engine.greet();
        engine.set_mechanisms(mechanisms.iter().copied().collect());
        engine.read(b"EHLO c.test\r\n");
        let said = String::from_utf8(engine.output().to_vec()).unwrap();
        said.lines().find_map(|line| Some(line.get(4..)?.strip_prefix("AUTH ")?.to_owned())).unwrap_or_default()
    };
    assert_eq!(named(&[]), "");
    assert_eq!(named(&[Mechanism::Login, Mechanism::Plain]), "PLAIN LOGIN");
    let all = "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN OAUTHBEARER XOAUTH2";
    assert_eq!(named(&Mechanism::ALL), all);
    // A response that no source would take.
    let long = "A".repeat(RESPONSE_MAX.div_ceil(3) * 4 + 4);
    let (said, heard) = talk(true, Login::Accepted, &format!("EHLO c.test|AUTH XOAUTH2 {long}|"), 1000);
    assert_eq!((said, heard[1..].join(", ")), (vec![], "501 5.5.2".to_owned()));
}
