//! AUTH and STARTTLS, as the patches that everyone applies speak them.

use gatepost_qmail::engine::{AuthOffer, Settings};
use gatepost_smtp::envelope::Then;

use crate::rows::{MAIL_FIRST, UNKNOWN, check, row};

fn offer(settings: &mut Settings) {
    let offer = AuthOffer { plain_login: true, cram_md5: true, available: true, ..AuthOffer::default() };
    (settings.auth, settings.databytes) = (Some(offer), 1000);
}

fn offer_behind_tls(settings: &mut Settings) {
    offer(settings);
    settings.starttls = true;
    settings.auth = settings.auth.map(|offer| AuthOffer { needs_tls: true, mandatory: true, ..offer });
}

const OK: &str = "235 ok, go ahead (#2.0.0)|";
const USER: &str = "334 VXNlcm5hbWU6|";
const PASS: &str = "334 UGFzc3dvcmQ6|";
const CHALLENGE: &str = "334 PDEuMkBteD4=|";
const MALFORMED: &str = "501 malformed auth input (#5.5.4)|";
const CANCELED: &str = "501 auth exchange canceled (#5.0.0)|";
/// NUL, joe, NUL, secret.
const PLAIN: &str = "AUTH PLAIN AGpvZQBzZWNyZXQ=|";
const CHECK: &str = "CHECK Plain joe secret";

#[test]
fn auth_is_offered_and_spoken() {
    let ehlo = "250-mx.example.org|250-PIPELINING|250-8BITMIME|250-SIZE 1000|250 AUTH ";
    let cram = "AUTH CRAM-MD5|am9lIDAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm|";
    let rows = [
        row("EHLO", "EHLO x|", "EHLO x", &format!("{ehlo}LOGIN PLAIN CRAM-MD5|")),
        row("PLAIN", "AUTH plain  AGpvZQBzZWNyZXQ=|", CHECK, OK),
        row("PLAIN, asked for", "AUTH PLAIN|AGpvZQBzZWNyZXQ=|NOOP|", CHECK, &format!("334 |{OK}250 ok|")),
        row("for another", "AUTH PLAIN YW5uAGpvZQBzZWNyZXQ=|", CHECK, OK),
        row("LOGIN, asked for", "AUTH LOGIN|am9l|c2VjcmV0|", "CHECK Login joe secret", &format!("{USER}{PASS}{OK}")),
        row("LOGIN", "AUTH LOGIN am9l|c2VjcmV0|", "CHECK Login joe secret", &format!("{PASS}{OK}")),
        row(
            "CRAM-MD5",
            cram,
            "CHALLENGE; CHECK CramMd5 joe 0123456789abcdef0123456789abcdef <1.2@mx>",
            &format!("{CHALLENGE}{OK}"),
        ),
        row("canceled", "AUTH LOGIN|*|AUTH LOGIN|am9l|*|", "", &format!("{USER}{CANCELED}{USER}{PASS}{CANCELED}")),
        row("twice", &PLAIN.repeat(2), CHECK, &format!("{OK}503 you're already authenticated (#5.5.0)|")),
        row("in MAIL", &format!("MAIL|{PLAIN}"), "MAIL ", "250 ok|503 no auth during mail transaction (#5.5.0)|"),
        row("none such", "AUTH|AUTH XOAUTH2 x|", "", &"504 auth type unimplemented (#5.5.1)|".repeat(2)),
        row("a NUL ends it", "AUTH LOGIN\0 am9l|*|", "", &format!("{USER}{CANCELED}")),
    ];
    check(rows.map(|row| row.with(offer)));
    check([row(
        "one",
        "EHLO x|AUTH LOGIN|",
        "EHLO x",
        &format!("{ehlo}CRAM-MD5|504 auth type unimplemented (#5.5.1)|"),
    )
    .with(|s| {
        offer(s);
        s.auth = s.auth.map(|offer| AuthOffer { plain_login: false, ..offer });
    })]);
}

#[test]
fn the_parent_refuses_credentials() {
    check([
        row("no", &format!("{PLAIN}MAIL|"), &format!("{CHECK}; MAIL "), "535 authentication failed (#5.7.1)|250 ok|")
            .told(&[(CHECK, "", Then::Refused)])
            .with(offer),
        row("no checker", &format!("{PLAIN}{PLAIN}"), &format!("{CHECK}; {CHECK}"), "454 oops|454 oops|")
            .told(&[(CHECK, "454 oops\r\n", Then::Refused)])
            .with(offer),
        row("no challenge", "AUTH CRAM-MD5|NOOP|", "CHALLENGE", "454 no|250 ok|")
            .told(&[("CHALLENGE", "454 no\r\n", Then::Refused)])
            .with(offer),
        row("nonsense", "AUTH CRAM-MD5|", "CHALLENGE; CLOSE Internal", "334 x|421 internal trouble (#4.3.0)|")
            .told(&[("CHALLENGE", "334 x\r\n", Then::Go)])
            .with(offer),
    ]);
}

#[test]
fn malformed_auth_is_refused_and_the_session_goes_on() {
    for (what, response) in [
        ("not base64", "PLAIN !!!!"),
        ("not padded", "PLAIN AGpvZQBzZWNyZXQ"),
        ("empty", "PLAIN ="),
        ("one field", "PLAIN am9l"),
        ("no password", "PLAIN AGpvZQA="),
        ("four fields", "PLAIN AGpvZQBhAGI="),
        ("no user", "LOGIN ="),
        ("NUL in user", "LOGIN am9lAHg="),
        ("the server speaks first", "CRAM-MD5 am9l"),
    ] {
        check([row(what, &format!("AUTH {response}|NOOP|"), "", &format!("{MALFORMED}250 ok|")).with(offer)]);
    }
    check([
        row("short digest", "AUTH CRAM-MD5|am9lIGRlYWRiZWVm|", "CHALLENGE", &format!("{CHALLENGE}{MALFORMED}"))
            .with(offer),
        row("no digest", "AUTH CRAM-MD5||", "CHALLENGE", &format!("{CHALLENGE}{MALFORMED}")).with(offer),
        row("long", &format!("AUTH LOGIN|{}|NOOP|", "aaaa".repeat(342)), "", &format!("{USER}{MALFORMED}250 ok|"))
            .with(offer),
    ]);
}

#[test]
fn a_response_is_bounded() {
    for (length, events, output) in [
        (12_287, "", format!("{USER}{MALFORMED}250 ok|")),
        (65_534, "", format!("{USER}{MALFORMED}250 ok|")),
        (65_535, "CLOSE Limit", format!("{USER}421 out of memory (#4.3.0)|")),
    ] {
        let input = format!("AUTH LOGIN|{}|NOOP|", "a".repeat(length));
        row("long", &input, events, &output).with(offer).check_pieces(&[1, 1000, 70_000]);
    }
}

#[test]
fn auth_waits_for_what_it_needs() {
    check([
        row("none", PLAIN, "", UNKNOWN).with(|s| s.patched = true),
        row(
            "no checker",
            &format!("EHLO x|{PLAIN}"),
            "EHLO x",
            &format!("{}503 auth not available (#5.3.3)|", ehlo("")),
        )
        .with(|s| s.auth = Some(AuthOffer { plain_login: true, ..AuthOffer::default() })),
        row(
            "not in clear",
            &format!("EHLO x|{PLAIN}MAIL|RCPT|"),
            "EHLO x",
            &format!(
                "{}538 auth not available without TLS (#5.3.3)|530 Authorization required (#5.7.1) |{MAIL_FIRST}",
                ehlo("250-STARTTLS|").replace("SIZE 0", "SIZE 1000")
            ),
        )
        .with(offer_behind_tls),
        row(
            "in TLS",
            "STARTTLS|",
            "STARTTLS; EHLO y; CHECK Plain joe secret; MAIL ",
            &format!(
                "220 ready for tls|250-mx.example.org|250-PIPELINING|250-8BITMIME|250-SIZE 1000|\
                 250 AUTH LOGIN PLAIN CRAM-MD5|{OK}250 ok|"
            ),
        )
        .tls("EHLO y|AUTH PLAIN AGpvZQBzZWNyZXQ=|MAIL|")
        .with(offer_behind_tls),
    ]);
}

fn ehlo(more: &str) -> String {
    format!("250-mx.example.org|{more}250-PIPELINING|250-8BITMIME|250 SIZE 0|")
}

#[test]
fn a95_what_was_typed_ahead_in_clear_is_not_obeyed_in_tls() {
    let offer_tls: fn(&mut Settings) = |s| s.starttls = true;
    let ready = "220 ready for tls|";
    check([
        row("A95", "STARTTLS|RSET|NOOP|", "STARTTLS", &format!("{ready}250 ok|")).tls("NOOP|").with(offer_tls),
        row("A95 begun", "STARTTLS|QU", "STARTTLS", &format!("{ready}{UNKNOWN}")).tls("IT|").with(offer_tls),
        row(
            "forgotten",
            "MAIL|RCPT|STARTTLS|",
            "MAIL ; RCPT ; STARTTLS",
            &format!("250 ok|250 ok|{ready}{MAIL_FIRST}"),
        )
        .tls("DATA|")
        .with(offer_tls),
        row(
            "AUTH forgotten",
            &format!("{PLAIN}STARTTLS|"),
            &format!("{CHECK}; STARTTLS; {CHECK}"),
            &format!("{OK}{ready}{OK}"),
        )
        .tls(PLAIN)
        .with(|s| {
            offer(s);
            s.starttls = true;
        }),
        row("once", "STARTTLS|", "STARTTLS; EHLO x", &format!("{ready}{UNKNOWN}{}", ehlo("")))
            .tls("STARTTLS|EHLO x|")
            .with(offer_tls),
        row("argument", "STARTTLS x|", "", "501 Syntax error (no parameters allowed) (#5.5.4)|").with(offer_tls),
        row("no key", "STARTTLS|", "STARTTLS", "454 TLS not available (#4.3.0)|")
            .told(&[("STARTTLS", "454 TLS not available (#4.3.0)\r\n", Then::Refused)])
            .with(offer_tls),
        row(
            "FORCETLS",
            &format!("EHLO x|MAIL|{PLAIN}"),
            "EHLO x",
            &format!(
                "{}530 Must issue a STARTTLS command first (#5.7.0)|538 auth not available without TLS (#5.3.3)|",
                ehlo("250-STARTTLS|").replace("SIZE 0", "SIZE 1000")
            ),
        )
        .with(|s| {
            offer(s);
            (s.starttls, s.tls_first) = (true, true);
        }),
    ]);
}
