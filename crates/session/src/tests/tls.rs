//! STARTTLS and implicit TLS, with a key that is elsewhere.

use super::rig::{Behaviour, Client, Heard, Outcome, Rig, client, identity, slice};
use gatepost_smtp::envelope::{CloseReason, Tls};
use gatepost_wire::slice::TlsMode;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, version};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::Arc;

pub(crate) type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

/// Shakes hands as a client that trusts the test's certificate.
pub(crate) fn tls(stream: TcpStream, versions: &[&'static SupportedProtocolVersion]) -> TlsClient {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity().der.as_slice())).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("mx.example.org").unwrap();
    Client::new(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream))
}

pub(crate) const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

fn tls_facts(outcome: &Outcome) -> Option<Tls> {
    outcome.heard.iter().find_map(|heard| match heard {
        Heard::Mail { tls, .. } => *tls,
        _ => None,
    })
}

fn deliver(client: &mut TlsClient) {
    client.envelope();
    client.expect("DATA", "354 ");
    client.send("secret\r\n");
    client.expect(".", "250 2.0.0");
}

#[test]
fn p5_starttls_with_a_key_that_is_elsewhere() {
    for (versions, expected) in [(&BOTH[..], 0x0304), (&BOTH[..1], 0x0304), (&BOTH[1..], 0x0303)] {
        let rig = Rig::new(TlsMode::StartTls, Behaviour::default());
        let mut clear = client(&rig);
        clear.hear("220 ");
        assert!(clear.ask("EHLO spoofed.example").contains("STARTTLS"));
        clear.expect("MAIL FROM:<evil@client.example>", "250 ");
        clear.expect("RSET", "250 ");
        clear.expect("STARTTLS", "220 ");
        let mut secret = tls(clear.into_inner(), versions);
        // RFC 3207 §4.2: what was said in clear is forgotten, EHLO included.
        secret.expect("MAIL FROM:<a@client.example>", "503 5.5.1");
        assert!(!secret.ask("EHLO client.example").contains("STARTTLS"));
        secret.expect("STARTTLS", "503 5.5.1");
        deliver(&mut secret);
        secret.expect("QUIT", "221 ");
        secret.closed();
        drop(secret);
        let outcome = rig.end();
        assert_eq!(outcome.reason, CloseReason::Quit);
        assert_eq!(outcome.signatures, 1);
        let facts = tls_facts(&outcome).expect("told of TLS");
        assert_eq!(facts.version, expected);
        assert_ne!(facts.suite, 0);
        assert!(
            outcome.heard.iter().any(|heard| matches!(heard, Heard::Commit { inline, .. } if inline == b"secret\r\n"))
        );
    }
}

#[test]
fn implicit_tls_greets_inside() {
    let rig = Rig::new(TlsMode::Implicit, Behaviour::default());
    let mut secret = tls(rig.client.try_clone().unwrap(), &BOTH);
    secret.hear("220 mx.example.org ESMTP");
    assert!(!secret.ask("EHLO client.example").contains("STARTTLS"));
    deliver(&mut secret);
    secret.expect("QUIT", "221 ");
    drop(secret);
    let outcome = rig.end();
    assert_eq!((outcome.reason, outcome.signatures), (CloseReason::Quit, 1));
    assert!(tls_facts(&outcome).is_some());
}

#[test]
fn tls_1_3_only_refuses_1_2() {
    let mut settings = slice(TlsMode::Implicit);
    settings.tls13_only = true;
    let rig = Rig::with(settings, Behaviour::default());
    let mut old = tls(rig.client.try_clone().unwrap(), &BOTH[1..]).into_inner();
    assert!(old.read(&mut [0; 16]).is_err());
    drop(old);
    let outcome = rig.end();
    assert_eq!((outcome.reason, outcome.signatures), (CloseReason::TlsFailed, 0));
    assert_eq!(outcome.heard, [Heard::Bye(CloseReason::TlsFailed)]);
}

#[test]
fn tls_required_refuses_mail_in_clear() {
    let mut settings = slice(TlsMode::StartTls);
    settings.tls_required = true;
    let rig = Rig::with(settings, Behaviour::default());
    let mut clear = client(&rig);
    clear.hear("220 ");
    clear.expect("EHLO client.example", "250-");
    clear.expect("MAIL FROM:<a@client.example>", "530 5.7.0");
    clear.expect("STARTTLS", "220 ");
    let mut secret = tls(clear.into_inner(), &BOTH);
    deliver(&mut secret);
}

#[test]
fn starttls_is_offered_only_with_certificate_and_keyholder() {
    let mut settings = slice(TlsMode::StartTls);
    settings.chains.clear();
    for settings in [settings, slice(TlsMode::Off)] {
        let rig = Rig::with(settings, Behaviour::default());
        let mut clear = client(&rig);
        clear.hear("220 ");
        assert!(!clear.ask("EHLO client.example").contains("STARTTLS"));
        assert!(!clear.ask("STARTTLS").starts_with("220"));
    }
}

#[test]
fn starttls_injection_in_the_same_segment_closes() {
    for injected in ["NOOP\r\n", "MAIL FROM:<evil@client.example>\r\n", "\u{16}\u{3}\u{1}"] {
        let rig = Rig::new(TlsMode::StartTls, Behaviour::default());
        let mut clear = client(&rig);
        clear.hear("220 ");
        clear.expect("EHLO client.example", "250-");
        clear.send(format!("STARTTLS\r\n{injected}"));
        let said = clear.reply();
        assert!(!said.starts_with("220"), "{said:?}");
        clear.closed();
        drop(clear);
        let outcome = rig.end();
        assert_eq!(outcome.reason, CloseReason::Abuse);
        assert_eq!(outcome.heard, [Heard::Bye(CloseReason::Abuse)]);
    }
}

#[test]
fn starttls_injection_in_a_second_segment_is_no_command() {
    let rig = Rig::new(TlsMode::StartTls, Behaviour::default());
    let mut clear = client(&rig);
    clear.hear("220 ");
    clear.expect("EHLO client.example", "250-");
    clear.expect("STARTTLS", "220 ");
    clear.send("MAIL FROM:<evil@client.example>\r\nRCPT TO:<b@example.org>\r\n");
    drop(clear);
    let outcome = rig.end();
    assert_eq!(outcome.reason, CloseReason::TlsFailed);
    assert_eq!(outcome.heard, [Heard::Bye(CloseReason::TlsFailed)]);
}

#[test]
fn p9_tls_cut_off_is_no_end_of_content() {
    for notify in [false, true] {
        let rig = Rig::new(TlsMode::Implicit, Behaviour::default());
        let mut secret = tls(rig.client.try_clone().unwrap(), &BOTH);
        secret.hear("220 ");
        secret.envelope();
        secret.expect("DATA", "354 ");
        secret.send("half\r\n");
        let mut stream = secret.into_inner();
        if notify {
            stream.conn.send_close_notify();
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        drop(stream);
        let outcome = rig.end();
        assert_eq!(outcome.reason, CloseReason::ClientGone, "{notify}");
        assert!(!outcome.heard.iter().any(|heard| matches!(heard, Heard::Commit { .. })));
    }
}

#[test]
fn the_last_reply_in_tls_ends_by_close_notify() {
    let rig = Rig::new(TlsMode::Implicit, Behaviour::default());
    let mut secret = tls(rig.client.try_clone().unwrap(), &BOTH);
    secret.hear("220 ");
    secret.expect("QUIT", "221 ");
    // rustls says so when it is missing.
    let mut stream = secret.into_inner();
    match stream.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => panic!("no close_notify"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn p5_without_a_signature_there_is_no_tls() {
    let rig = Rig::new(TlsMode::StartTls, Behaviour::default());
    let mut clear = client(&rig);
    clear.hear("220 ");
    clear.expect("EHLO client.example", "250-");
    clear.expect("STARTTLS", "220 ");
    // A client that offers no scheme that the key can sign by: the resolver has no answer.
    clear.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
    drop(clear);
    assert_eq!(rig.end().reason, CloseReason::TlsFailed);
}
