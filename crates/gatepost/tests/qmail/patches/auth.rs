//! SMTPAUTH and a checker by checkpassword's interface.

use super::told;
use crate::room::{Home, Session};
use gatepost_testkit::client::Client;

/// As checkpassword: fd 3, then the program in its arguments. What it was given stays for reading.
const CHECKER: &str = r#"#!/bin/sh
cat <&3 >given
user=$(tr '\0' '\n' <given | sed -n 1p)
pass=$(tr '\0' '\n' <given | sed -n 2p)
[ "$user" = crash ] && kill -9 $$
case "$user:$pass" in
    joe:secret | joe:0123456789abcdef0123456789abcdef) exec "$@" ;;
esac
exit 1
"#;
/// NUL joe NUL secret.
const JOE: &str = "AGpvZQBzZWNyZXQ=";

fn home(name: &str) -> Home {
    let home = Home::new(&format!("auth/{name}"));
    // What is asked for at the end: may he relay?
    home.control("rcpthosts", "");
    home.program("bin/checker", CHECKER);
    home
}

fn serve(home: &Home, mechanisms: &str) -> (Client, Session, Vec<String>) {
    let mut command = home.command();
    command.env("SMTPAUTH", mechanisms).arg(home.path("bin/checker")).arg("/bin/true");
    let (mut client, session) = home.serve(&mut command);
    let extensions = client.hello("road.test");
    (client, session, extensions)
}

/// He may relay, and it is told who he is.
fn relays(home: &Home, client: &mut Client) {
    client.deliver("a@b", "c@elsewhere", "x\r\n");
    let record = home.only();
    assert_eq!(record.envelope, b"Fa@b\0Tc@elsewhere\0\0");
    let head = String::from_utf8_lossy(&record.message).into_owned();
    assert!(head.contains("(joe@192.0.2.7)") && head.contains(" with ESMTPA; "), "{head}");
    assert_eq!(record.variable("RELAYCLIENT").as_deref(), Some(""));
    assert_eq!(record.variable("TCPREMOTEINFO").as_deref(), Some("joe"));
}

fn given(home: &Home) -> Vec<u8> {
    std::fs::read(home.path("given")).unwrap_or_default()
}

#[test]
fn auth_is_offered_as_smtpauth_says() {
    const CASES: &[(&str, &str)] =
        &[("", "LOGIN PLAIN"), ("+cram", "LOGIN PLAIN CRAM-MD5"), ("cram", "CRAM-MD5"), ("-", "")];
    for (value, mechanisms) in CASES {
        let home = home(&format!("offered{value}"));
        let (_client, _session, extensions) = serve(&home, value);
        let offered = extensions.iter().find_map(|line| line.strip_prefix("AUTH ")).unwrap_or_default();
        let sorted = |text: &str| {
            let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(sorted(offered), sorted(mechanisms), "SMTPAUTH={value:?}: {extensions:?}");
    }
}

#[test]
fn plain_gives_the_checker_user_and_password() {
    for initial in [true, false] {
        let home = home(&format!("plain-{initial}"));
        let (mut client, _session, _) = serve(&home, "");
        if initial {
            told(&mut client, &format!("AUTH PLAIN {JOE}"), "235 ok, go ahead (#2.0.0)");
        } else {
            told(&mut client, "AUTH PLAIN", "334 ");
            told(&mut client, JOE, "235 ok, go ahead (#2.0.0)");
        }
        assert_eq!(given(&home), b"joe\0secret\0\0");
        told(&mut client, &format!("AUTH PLAIN {JOE}"), "503 you're already authenticated (#5.5.0)");
        relays(&home, &mut client);
    }
}

#[test]
fn login_asks_for_both() {
    for initial in [true, false] {
        let home = home(&format!("login-{initial}"));
        let (mut client, _session, _) = serve(&home, "");
        if initial {
            told(&mut client, "AUTH LOGIN am9l", "334 UGFzc3dvcmQ6");
        } else {
            told(&mut client, "AUTH LOGIN", "334 VXNlcm5hbWU6");
            told(&mut client, "am9l", "334 UGFzc3dvcmQ6");
        }
        told(&mut client, "c2VjcmV0", "235 ok, go ahead (#2.0.0)");
        assert_eq!(given(&home), b"joe\0secret\0\0");
        relays(&home, &mut client);
    }
}

#[test]
fn cram_md5_gives_the_checker_challenge_and_digest() {
    let home = home("cram");
    let (mut client, _session, _) = serve(&home, "+cram");
    let challenge = decoded(&client.ask("AUTH CRAM-MD5", 334).text());
    let challenge = String::from_utf8(challenge).unwrap();
    assert!(challenge.starts_with('<') && challenge.ends_with("@mx.example.org>"), "{challenge}");
    // "joe 0123456789abcdef0123456789abcdef"
    told(&mut client, "am9lIDAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm", "235 ok, go ahead (#2.0.0)");
    let all = format!("joe\0{}\0{challenge}\0", "0123456789abcdef".repeat(2));
    assert_eq!(String::from_utf8_lossy(&given(&home)), all);
    relays(&home, &mut client);
}

#[test]
fn what_is_wrong_has_its_own_reply() {
    let home = home("wrong");
    let (mut client, _session, _) = serve(&home, "");
    told(&mut client, "AUTH PLAIN", "334 ");
    told(&mut client, "*", "501 auth exchange canceled (#5.0.0)");
    told(&mut client, "AUTH PLAIN !!!", "501 malformed auth input (#5.5.4)");
    let unknown = client.ask("AUTH GSSAPI", 504).to_string();
    assert!(
        unknown == "504 auth type unimplemented (#5.5.1)" || unknown == "504 auth type invalid (#5.5.1)",
        "{unknown}"
    );
    assert_eq!(given(&home), b"", "nobody was to be asked");
    // NUL joe NUL wrong; NUL crash NUL x.
    told(&mut client, "AUTH PLAIN AGpvZQB3cm9uZw==", "535 authentication failed (#5.7.1)");
    assert_eq!(given(&home), b"joe\0wrong\0\0");
    told(&mut client, "AUTH PLAIN AGNyYXNoAHg=", "454 oops, problem with child and I can't auth (#4.3.0)");
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    told(&mut client, &format!("AUTH PLAIN {JOE}"), "503 no auth during mail transaction (#5.5.0)");
    client.ask("RCPT TO:<c@elsewhere>", 553);
}

#[test]
fn auth_can_be_mandatory() {
    let home = home("mandatory");
    let (mut client, _session, _) = serve(&home, "!");
    told(&mut client, "MAIL FROM:<a@b>", "530 Authorization required (#5.7.1) ");
    told(&mut client, &format!("AUTH PLAIN {JOE}"), "235 ok, go ahead (#2.0.0)");
    relays(&home, &mut client);
}

#[test]
fn the_checker_of_older_patches_stands_behind_a_host_name() {
    let home = home("three");
    let mut command = home.command();
    command.env("SMTPAUTH", "").arg("mx.example.org").arg(home.path("bin/checker")).arg("/bin/true");
    let (mut client, _session) = home.serve(&mut command);
    client.hello("road.test");
    told(&mut client, &format!("AUTH PLAIN {JOE}"), "235 ok, go ahead (#2.0.0)");
}

/// Base64, padding and all.
fn decoded(text: &str) -> Vec<u8> {
    let value = |octet: u8| match octet {
        b'A'..=b'Z' => octet - b'A',
        b'a'..=b'z' => octet - b'a' + 26,
        b'0'..=b'9' => octet - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("no base64: {text}"),
    };
    let bits: Vec<u8> = text.trim_end_matches('=').bytes().map(value).collect();
    let of = |four: &[u8]| {
        let all = four.iter().fold(0_u32, |all, six| all << 6 | u32::from(*six)) << (6 * (4 - four.len()));
        all.to_be_bytes()[1..four.len()].to_vec()
    };
    bits.chunks(4).flat_map(of).collect()
}
