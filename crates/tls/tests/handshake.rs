//! Whole handshakes against a real client, with the key where the server cannot reach it.

#![allow(clippy::unwrap_used)] // Functions shared by tests, too.

mod common;
#[path = "common/hybrid.rs"]
mod hybrid;

use common::{KINDS, P256, P384, RSA, certificate};
use gatepost_tls::ServerConfig;
use gatepost_tls::pair::Pair;
use gatepost_tls::recognise::Party;
use gatepost_tls::server::{AskSignature, config};
use gatepost_tls::sign::Keys;
use gatepost_wire::slice::Chain;
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::crypto::ring::kx_group::{SECP256R1, X25519};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::server::ServerConnection;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use std::error::Error;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

/// A keyholder without a process: it keeps what it was asked.
#[derive(Debug)]
struct Holder {
    keys: Option<Keys>,
    asked: Arc<Mutex<Vec<(u8, u16)>>>,
}

impl AskSignature for Holder {
    fn sign(&self, pair: u8, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        assert!(message.len() <= gatepost_wire::sign::TO_SIGN_MAX);
        self.asked.lock().unwrap().push((pair, scheme));
        let signature = self.keys.as_ref().ok_or("the keyholder is gone")?.sign(pair, scheme, message)?;
        assert!(signature.len() <= gatepost_wire::sign::SIGNATURE_MAX);
        Ok(signature)
    }
}

struct Server {
    config: Arc<ServerConfig>,
    asked: Arc<Mutex<Vec<(u8, u16)>>>,
    roots: RootCertStore,
}

/// A server with the pairs of these PKCS#8 keys, each with its names.
fn server(pairs: &[(&str, &[&str])], tls13_only: bool, gone: bool) -> Server {
    let mut roots = RootCertStore::empty();
    let mut chains: Vec<Chain> = Vec::new();
    for (key, names) in pairs {
        let cert = certificate(key, &["mx.example.org", "other.example"]);
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()).unwrap();
        chains.push(Pair::load(cert.as_bytes(), key.as_bytes(), *names).unwrap().chain);
    }
    let keys = Keys::load(Party::Server, pairs.iter().map(|(key, _)| key.as_bytes().to_vec()).collect()).unwrap();
    let asked = Arc::default();
    let holder = Holder { keys: (!gone).then_some(keys), asked: Arc::clone(&asked) };
    Server { config: config(&chains, tls13_only, Box::new(holder)).unwrap(), asked, roots }
}

fn client(server: &Server, provider: CryptoProvider, version: &'static SupportedProtocolVersion) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(server.roots.clone())
        .with_no_client_auth()
}

/// Runs the handshake in memory, then one line each way.
fn shake(
    server: &Server,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut c = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut s = ServerConnection::new(Arc::clone(&server.config)).unwrap();
    let talk = |s: &mut ServerConnection, c: &mut ClientConnection| {
        while c.wants_write() || s.wants_write() {
            let mut wire = Vec::new();
            c.write_tls(&mut wire).unwrap();
            let mut wire = wire.as_slice();
            while !wire.is_empty() {
                s.read_tls(&mut wire).unwrap();
                s.process_new_packets()?;
            }
            let mut wire = Vec::new();
            s.write_tls(&mut wire).unwrap();
            let mut wire = wire.as_slice();
            while !wire.is_empty() {
                c.read_tls(&mut wire).unwrap();
                c.process_new_packets()?;
            }
        }
        Ok::<_, rustls::Error>(())
    };
    talk(&mut s, &mut c)?;
    assert!(!s.is_handshaking() && !c.is_handshaking());
    c.writer().write_all(b"EHLO client.example\r\n").unwrap();
    s.writer().write_all(b"250 mx.example.org\r\n").unwrap();
    talk(&mut s, &mut c)?;
    let mut line = [0; 64];
    assert_eq!(s.reader().read(&mut line).unwrap(), 21);
    assert_eq!(c.reader().read(&mut line).unwrap(), 20);
    Ok((s, c))
}

/// The provider, with nothing offered but the suites and schemes that `keep` likes.
fn provider(signatures: impl Fn(rustls::SignatureScheme) -> bool) -> CryptoProvider {
    let mut provider = ring::default_provider();
    let all = provider.signature_verification_algorithms;
    let mapping: Vec<_> = all.mapping.iter().filter(|(scheme, _)| signatures(*scheme)).copied().collect();
    provider.signature_verification_algorithms =
        rustls::crypto::WebPkiSupportedAlgorithms { all: all.all, mapping: Box::leak(mapping.into_boxed_slice()) };
    provider
}

#[test]
fn p5_handshakes_of_every_key_and_version_with_the_key_elsewhere() {
    for (kind, key, _) in KINDS {
        for version in [&TLS13, &TLS12] {
            let scheme = kind.schemes().next().unwrap().code;
            let server = server(&[(key, &[])], false, false);
            let client = Arc::new(client(&server, ring::default_provider(), version));
            let (s, c) = shake(&server, &client, "mx.example.org").unwrap();
            assert_eq!(s.protocol_version(), Some(version.version), "{kind:?}");
            assert_eq!(c.protocol_version(), Some(version.version), "{kind:?}");
            assert_eq!(*server.asked.lock().unwrap(), [(0, scheme)], "{kind:?} {version:?}");
        }
    }
}

#[test]
fn p5_every_group_and_cipher_suite_stays_within_what_the_keyholder_recognises() {
    let all = ring::default_provider();
    for version in [&TLS13, &TLS12] {
        for group in &all.kx_groups {
            for suite in all.cipher_suites.iter().filter(|suite| suite.version() == version) {
                let server = server(&[(P256, &[]), (RSA, &[])], false, false);
                let mut provider = ring::default_provider();
                provider.kx_groups = vec![*group];
                provider.cipher_suites = vec![*suite];
                let client = Arc::new(client(&server, provider, version));
                let (s, _) = shake(&server, &client, "mx.example.org").unwrap();
                assert_eq!(s.negotiated_cipher_suite(), Some(*suite), "{group:?}");
                assert_eq!(server.asked.lock().unwrap().len(), 1, "{group:?} {suite:?}");
            }
        }
    }
}

/// A client's first guess that the server lacks, so that it is asked again.
#[derive(Debug)]
struct Unknown(&'static dyn SupportedKxGroup);

impl SupportedKxGroup for Unknown {
    fn start(&self) -> Result<Box<dyn rustls::crypto::ActiveKeyExchange>, rustls::Error> {
        Ok(Box::new(Started(self.0.start()?)))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X448
    }
}

struct Started(Box<dyn rustls::crypto::ActiveKeyExchange>);

impl rustls::crypto::ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<rustls::crypto::SharedSecret, rustls::Error> {
        self.0.complete(peer)
    }

    fn pub_key(&self) -> &[u8] {
        self.0.pub_key()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X448
    }
}

#[test]
fn p5_a_hello_retry_costs_no_more_signatures_than_a_session_has() {
    let server = server(&[(P256, &[])], false, false);
    let mut provider = ring::default_provider();
    let real = provider.kx_groups[0];
    provider.kx_groups.insert(0, Box::leak(Box::new(Unknown(real))));
    let client = Arc::new(client(&server, provider, &TLS13));
    let (s, _) = shake(&server, &client, "mx.example.org").unwrap();
    assert_eq!(s.handshake_kind(), Some(HandshakeKind::FullWithHelloRetryRequest));
    assert!(server.asked.lock().unwrap().len() <= usize::from(gatepost_wire::sign::SIGNATURES_PER_SESSION));
}

#[test]
fn issue_14_the_exchange_that_withstands_quantum_computers_is_taken_by_who_offers_it() {
    const HYBRID: &dyn SupportedKxGroup = &hybrid::Hybrid;
    const UNKNOWN: &dyn SupportedKxGroup = &Unknown(X25519);
    let first = Some(HandshakeKind::Full);
    let again = Some(HandshakeKind::FullWithHelloRetryRequest);
    // (what the client offers, its share first; what is agreed on; how)
    let rows: [(&[&'static dyn SupportedKxGroup], NamedGroup, Option<HandshakeKind>); 5] = [
        (&[HYBRID, X25519], NamedGroup::X25519MLKEM768, first),
        (&[HYBRID], NamedGroup::X25519MLKEM768, first),
        (&[X25519, HYBRID], NamedGroup::X25519, first),
        (&[X25519, SECP256R1], NamedGroup::X25519, first),
        (&[UNKNOWN, HYBRID], NamedGroup::X25519MLKEM768, again),
    ];
    for (offered, agreed, kind) in rows {
        for key in [P256, RSA] {
            let server = server(&[(key, &[])], true, false);
            let mut provider = ring::default_provider();
            provider.kx_groups = offered.to_vec();
            let client = Arc::new(client(&server, provider, &TLS13));
            let (s, c) = shake(&server, &client, "mx.example.org").unwrap();
            let group = |group: Option<&'static dyn SupportedKxGroup>| group.map(SupportedKxGroup::name);
            assert_eq!(group(s.negotiated_key_exchange_group()), Some(agreed), "{offered:?}");
            assert_eq!(group(c.negotiated_key_exchange_group()), Some(agreed), "{offered:?}");
            assert_eq!(s.handshake_kind(), kind, "{offered:?}");
            // What the keyholder recognises is the same as ever, and so often.
            assert_eq!(server.asked.lock().unwrap().len(), 1, "{offered:?}");
        }
    }
}

#[test]
fn p5_an_old_client_gets_pkcs1_by_tls_1_2_only() {
    let server = server(&[(RSA, &[])], false, false);
    let old = |scheme: rustls::SignatureScheme| format!("{scheme:?}").starts_with("RSA_PKCS1_SHA384");
    let client12 = Arc::new(client(&server, provider(old), &TLS12));
    shake(&server, &client12, "mx.example.org").unwrap();
    assert_eq!(*server.asked.lock().unwrap(), [(0, 0x0501)]);
    let client13 = Arc::new(client(&server, provider(old), &TLS13));
    shake(&server, &client13, "mx.example.org").unwrap_err();
    assert_eq!(server.asked.lock().unwrap().len(), 1);
}

#[test]
fn p5_the_pair_is_chosen_by_name_and_by_what_the_client_can_verify() {
    let server = server(&[(P256, &[]), (P384, &["other.example"]), (RSA, &["other.example"])], false, false);
    let all = Arc::new(client(&server, ring::default_provider(), &TLS13));
    let rsa = |scheme: rustls::SignatureScheme| format!("{scheme:?}").starts_with("RSA");
    let only_rsa = Arc::new(client(&server, provider(rsa), &TLS13));
    let mut silent = client(&server, ring::default_provider(), &TLS12);
    silent.enable_sni = false;
    let silent = Arc::new(silent);
    for (client, name, pair) in [
        (&all, "mx.example.org", 0),
        (&all, "OTHER.example", 1),
        (&only_rsa, "other.example", 2),
        (&only_rsa, "mx.example.org", 2),
        (&silent, "other.example", 0),
    ] {
        shake(&server, client, name).unwrap();
        let asked = server.asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked.0, pair, "{name}");
    }
}

#[test]
fn p5_tls_1_3_only_means_that() {
    let server = server(&[(P256, &[])], true, false);
    let client12 = Arc::new(client(&server, ring::default_provider(), &TLS12));
    shake(&server, &client12, "mx.example.org").unwrap_err();
    assert!(server.asked.lock().unwrap().is_empty());
    let client13 = Arc::new(client(&server, ring::default_provider(), &TLS13));
    let (s, _) = shake(&server, &client13, "mx.example.org").unwrap();
    assert_eq!(s.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn p5_nothing_is_resumed_and_nothing_is_early() {
    for version in [&TLS13, &TLS12] {
        let server = server(&[(P256, &[])], false, false);
        let mut client = client(&server, ring::default_provider(), version);
        client.resumption = Resumption::in_memory_sessions(8);
        client.enable_early_data = true;
        let client = Arc::new(client);
        for n in 1..=3 {
            let (s, mut c) = shake(&server, &client, "mx.example.org").unwrap();
            assert_eq!(s.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(c.tls13_tickets_received(), 0);
            assert!(c.early_data().is_none() && !c.is_early_data_accepted());
            assert_eq!(server.asked.lock().unwrap().len(), n);
        }
    }
}

#[test]
fn p5_a_client_that_speaks_another_protocol_gets_no_handshake() {
    for version in [&TLS13, &TLS12] {
        for (offered, chosen) in [
            (&[][..], Some(None)),
            (&["smtp"], Some(Some("smtp"))),
            (&["h2", "esmtp"], Some(Some("esmtp"))),
            (&["h2", "http/1.1"], None),
            (&["imap"], None),
        ] {
            let server = server(&[(P256, &[])], false, false);
            let mut client = client(&server, ring::default_provider(), version);
            client.alpn_protocols = offered.iter().map(|name: &&str| name.as_bytes().to_vec()).collect();
            let shaken = shake(&server, &Arc::new(client), "mx.example.org").ok();
            let found = shaken.map(|(s, _)| s.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()));
            assert_eq!(found, chosen.map(|chosen| chosen.map(str::to_owned)), "{offered:?}");
            assert_eq!(server.asked.lock().unwrap().is_empty(), chosen.is_none(), "{offered:?}");
        }
    }
}

#[test]
fn p5_without_a_keyholder_there_is_no_handshake() {
    for version in [&TLS13, &TLS12] {
        let server = server(&[(P256, &[])], false, true);
        let client = Arc::new(client(&server, ring::default_provider(), version));
        let error = shake(&server, &client, "mx.example.org").err().unwrap();
        assert!(error.to_string().contains("the keyholder is gone"), "{error}");
    }
}

#[test]
fn p5_keys_sign_handshakes_and_nothing_else() {
    let keys = Keys::load(Party::Server, vec![P256.into(), RSA.into()]).unwrap();
    let verify = [&[0x20; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat();
    let client = [&[0x20; 64][..], b"TLS 1.3, client CertificateVerify\0", &[7; 32]].concat();
    let rows: [(u8, u16, &[u8], bool); 8] = [
        (0, 0x0403, &verify, true),
        (1, 0x0804, &verify, true),
        (0, 0x0804, &verify, false),
        (1, 0x0403, &verify, false),
        (1, 0x0401, &verify, false),
        (2, 0x0403, &verify, false),
        (0, 0x0403, &client, false),
        (0, 0x0403, b"I, the undersigned", false),
    ];
    for (pair, scheme, message, good) in rows {
        assert_eq!(keys.sign(pair, scheme, message).is_ok(), good, "pair {pair} scheme {scheme:#x}");
    }
}

#[test]
fn p5_printing_keys_prints_no_key() {
    let keys = Keys::load(Party::Server, vec![P256.into(), RSA.into()]).unwrap();
    assert_eq!(format!("{keys:?}"), "[P256, Rsa]");
    assert!(Keys::load(Party::Server, vec![P256.into(), b"nothing".to_vec()]).is_err());
}
