//! TLS towards the backend: a certificate that is verified, or no mail.

use super::*;
use gatepost_smtp::envelope::Reason;
use gatepost_testkit::authority::{Authority, Issued};
use gatepost_testkit::rogue::{Deed, Stage, Tls};
use gatepost_tls::recognise::Party;
use gatepost_tls::sign::Keys;
use gatepost_wire::sign::Signature;
use gatepost_wire::slice::TlsMode;
use gatepost_wire::{KeyholderToSession, SessionToKeyholder};

const NAME: &str = "mta.ok.test";
const MODES: [(TlsMode, Tls); 2] = [(TlsMode::StartTls, Tls::StartTls), (TlsMode::Implicit, Tls::Implicit)];

/// A fixture whose backend has to show a certificate of `authority` for [`NAME`].
fn fixture(mode: TlsMode, authority: &Authority) -> Fixture {
    let tls = BackendTls { mode, roots: vec![authority.der()], name: NAME.to_owned(), ..BackendTls::OFF };
    Fixture::new().with(|slice| slice.backend.tls = tls)
}

/// A keyholder with the key of `issued`, for as long as handoff lives.
fn keyholder(shared: &Shared, issued: &Issued) {
    let keys = Keys::load(Party::Client, vec![issued.key.clone().into_bytes()]).unwrap();
    let (theirs, ours) = End::<KeyholderToSession, SessionToKeyholder>::pair().unwrap();
    shared.signer.connect(ours);
    std::thread::spawn(move || {
        let mut inbox = Inbox::default();
        while let Ok(sign) = theirs.recv(&mut inbox) {
            let signature = keys.sign(sign.pair, sign.scheme, sign.message).unwrap();
            theirs.tell(&Signature(&signature)).unwrap();
        }
    });
}

/// One message, in a session of its own.
async fn deliver(shared: &Arc<Shared>) -> Verdict {
    let mut session = Session::begin(shared).await;
    let mut verdict = session.mail_and("user@ok.test").await;
    if verdict.code == 250 {
        verdict = session.send(MESSAGE).await;
    }
    session.bye().await;
    verdict
}

#[test]
fn issue_8_mail_goes_by_tls_to_a_backend_of_the_right_name() {
    for (mode, tls) in MODES {
        for dialect in [Dialect::Smtp, Dialect::Lmtp] {
            let authority = Authority::new();
            let fixture = fixture(mode, &authority)
                .with(|slice| (slice.backend.dialect, slice.backend.relay_proof) = (dialect, true));
            let mta = fixture.mta();
            mta.offer(&["PIPELINING", "CHUNKING", "XCLIENT ADDR"]);
            mta.secure(tls, authority.server(&authority.valid(NAME), false));
            run(async {
                let shared = fixture.shared();
                shared.routes.prove().await.unwrap();
                assert_eq!(deliver(&shared).await.code, 250);
            });
            assert!(mta.taken()[0].content.ends_with("A line.\r\n.stuffed\r\n..\r\nThe last line.\r\n"));
            assert_eq!(mta.taken()[0].peer, "192.0.2.9");
            let hello = if dialect == Dialect::Lmtp { "LHLO" } else { "EHLO" };
            let own = format!("{hello} mx.ok.test");
            let mut order = vec![own.clone(), "STARTTLS".to_owned(), format!("tls: {own}")];
            if mode == TlsMode::Implicit {
                order.drain(..2);
            }
            order.push("tls: XCLIENT ADDR=192.0.2.9".to_owned());
            order.push(format!("tls: {hello} client.test"));
            let lines = mta.lines();
            assert!(lines.windows(order.len()).any(|lines| *lines == *order), "{lines:?}");
            assert!(lines.contains(&"tls: RCPT TO:<relay-test@[192.0.2.3]>".to_owned()), "{lines:?}");
        }
    }
}

#[test]
fn issue_8_a_proxy_header_comes_before_tls() {
    let authority = Authority::new();
    let fixture = fixture(TlsMode::Implicit, &authority).with(|slice| slice.backend.identity = Identity::ProxyV2);
    let mta = fixture.mta();
    mta.secure(Tls::Implicit, authority.server(&authority.valid(NAME), false));
    assert_eq!(run(async { deliver(&fixture.shared()).await }).code, 250);
    let lines = mta.lines();
    assert_eq!(lines[0], "PROXY 2111000cc0000209cb00710112690019");
    assert!(lines[1..].iter().all(|line| line.starts_with("tls: ")), "{lines:?}");
}

#[test]
fn issue_8_a_connection_with_tls_is_used_again() {
    for (mode, tls) in MODES {
        let authority = Authority::new();
        let fixture = fixture(mode, &authority).with(|slice| slice.backend.identity = Identity::None);
        let mta = fixture.mta();
        mta.secure(tls, authority.server(&authority.valid(NAME), false));
        run(async {
            let shared = fixture.shared();
            for _ in 0..3 {
                assert_eq!(deliver(&shared).await.code, 250);
            }
        });
        assert_eq!((mta.count(), mta.connections()), (3, 1));
    }
}

#[test]
fn issue_8_a_backend_without_a_valid_certificate_gets_no_mail() {
    let (authority, other) = (Authority::new(), Authority::new());
    let years = |from, to| authority.server(&authority.issue(NAME, (from, to)), false);
    for (mode, tls) in MODES {
        let table = [
            ("another name", authority.server(&authority.valid("other.ok.test"), false), "is for another name"),
            ("expired", years(2020, 2021), "has expired"),
            ("not yet valid", years(2110, 2120), "is not valid yet"),
            ("another authority", other.server(&other.valid(NAME), false), "is from none of the authorities"),
            ("a certificate of ours", authority.server(&authority.valid(NAME), true), "for want of a certificate"),
        ];
        for (what, server, why) in table {
            let fixture = fixture(mode, &authority);
            let mta = fixture.mta();
            mta.secure(tls, server);
            run(async {
                let shared = fixture.shared();
                let failure = shared.routes.prove().await.unwrap_err();
                assert!(failure.to_string().contains(why), "{mode:?} {what}: {failure}");
                let verdict = deliver(&shared).await;
                assert_eq!((verdict.code, verdict.reason), (451, Reason::BackendDown), "{mode:?} {what}");
            });
            assert!(!mta.lines().iter().any(|line| line.contains("MAIL")), "{mode:?} {what}: {:?}", mta.lines());
        }
    }
}

#[test]
fn issue_8_a_backend_that_asks_for_a_certificate_gets_ours_and_its_key_stays_with_the_keyholder() {
    for (mode, tls) in MODES {
        let authority = Authority::new();
        let ours = authority.valid("mx.ok.test");
        let fixture = fixture(mode, &authority).with(|slice| slice.backend.tls.certificates = vec![ours.der.clone()]);
        let mta = fixture.mta();
        mta.secure(tls, authority.server(&authority.valid(NAME), true));
        run(async {
            let shared = fixture.shared();
            // No keyholder: no signature.
            assert_eq!(deliver(&shared).await.code, 451, "{mode:?}");
            keyholder(&shared, &ours);
            assert_eq!(deliver(&shared).await.code, 250, "{mode:?}");
        });
        assert_eq!(mta.count(), 1);
    }
}

#[test]
fn issue_8_mail_never_goes_in_clear_text_instead() {
    let authority = Authority::new();
    let answers = [
        ("454 4.7.0 TLS not available\r\n", "answers 454 to STARTTLS"),
        ("502 5.5.1 Unrecognized\r\n", "answers 502 to STARTTLS"),
        // What came in clear text would be the answer to the first command within TLS.
        ("220 2.0.0 Go\r\n250 mx.test\r\n", "more octets come behind"),
        ("220 2.0.0 Go\r\n250-", "more octets come behind"),
    ];
    for (answer, why) in answers.map(|(answer, why)| (Some(answer), why)).into_iter().chain([(None, "does not offer")])
    {
        let fixture = fixture(TlsMode::StartTls, &authority);
        let mta = fixture.mta();
        if let Some(answer) = answer {
            mta.secure(Tls::StartTls, authority.server(&authority.valid(NAME), false));
            mta.misbehave(Stage::StartTls, Deed::Answer(answer));
        }
        run(async {
            let shared = fixture.shared();
            let failure = shared.routes.prove().await.unwrap_err();
            assert!(failure.to_string().contains(why), "{answer:?}: {failure}");
            let verdict = deliver(&shared).await;
            assert_eq!((verdict.code, verdict.reason), (451, Reason::BackendDown), "{answer:?}");
        });
        assert!(!mta.lines().iter().any(|line| line.contains("MAIL")), "{answer:?}: {:?}", mta.lines());
    }
}

#[test]
fn issue_8_a_backend_that_speaks_no_tls_or_breaks_off_gets_no_mail() {
    let authority = Authority::new();
    for (stage, mode, tls) in [
        // In clear text where TLS is due.
        (Stage::Greeting, TlsMode::Implicit, None),
        (Stage::StartTls, TlsMode::StartTls, Some(Deed::Close)),
        (Stage::StartTls, TlsMode::StartTls, Some(Deed::Cut(14))),
        (Stage::StartTls, TlsMode::StartTls, Some(Deed::Flood)),
    ] {
        let fixture = fixture(mode, &authority);
        let mta = fixture.mta();
        if let Some(deed) = tls {
            mta.secure(Tls::StartTls, authority.server(&authority.valid(NAME), false));
            mta.misbehave(stage, deed);
        }
        assert_eq!(run(async { deliver(&fixture.shared()).await }).code, 451, "{stage:?} {mode:?}");
        assert_eq!(mta.count(), 0);
    }
    // A handshake that never ends.
    let fixture = fixture(TlsMode::StartTls, &authority).timeouts(|timeouts| timeouts.greeting = SHORT);
    let mta = fixture.mta();
    mta.secure(Tls::StartTls, authority.server(&authority.valid(NAME), false));
    mta.misbehave(Stage::StartTls, Deed::Hang);
    let verdict = run(async { deliver(&fixture.shared()).await });
    assert_eq!((verdict.code, verdict.reason), (451, Reason::BackendTimeout));
}
