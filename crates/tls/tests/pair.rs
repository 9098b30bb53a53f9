//! What the launcher can tell an administrator about a certificate and a key before anything is bound.

#![allow(clippy::unwrap_used)] // Functions shared by tests, too.

mod common;

use common::{ED25519, KINDS, P256, P256_CERT, P256_SEC1, P384, RSA, certificate};
use gatepost_tls::TlsError;
use gatepost_tls::pair::{Pair, Term, Validity, name};

fn load(cert: &str, key: &str) -> Result<Pair, TlsError> {
    Pair::load(cert.as_bytes(), key.as_bytes(), [""; 0])
}

#[test]
fn i2_every_form_of_every_kind_of_key_is_read() {
    for (kind, pkcs8, forms) in KINDS {
        let cert = certificate(pkcs8, &["mx.example.org"]);
        for form in forms {
            let pair = load(&cert, form).unwrap();
            assert_eq!(pair.kind, kind);
            assert_eq!(pair.chain.certificates.len(), 1);
            let crlf = form.replace('\n', "\r\n");
            assert_eq!(load(&cert.replace('\n', "\r\n"), &crlf), Ok(pair));
        }
    }
}

#[test]
fn i2_a_mistake_in_certificate_or_key_is_a_sentence() {
    let p256 = certificate(P256, &["mx.example.org"]);
    let p384 = certificate(P384, &["mx.example.org"]);
    let rsa1024 = (include_str!("data/rsa1024.cert.pem"), include_str!("data/rsa1024.pem"));
    let p521 = (include_str!("data/p521.cert.pem"), include_str!("data/p521.pem"));
    let rows: [(&str, &str, TlsError, &str); 16] = [
        (&p256, P384, TlsError::Mismatch, "the key in K does not belong to the certificate in C"),
        (&p256, ED25519, TlsError::Mismatch, "the key in K does not belong to the certificate in C"),
        (
            &[p384.as_str(), &p256].concat(),
            P256,
            TlsError::LeafNotFirst(1),
            "the key in K belongs to certificate 2 in C, which must come first",
        ),
        ("", P256, TlsError::NoCertificate, "C holds no certificate"),
        ("hello", P256, TlsError::NoCertificate, "C holds no certificate"),
        (P256, &p256, TlsError::KeyForCertificate, "C holds a private key and no certificate: are"),
        (&p256, "", TlsError::NoKey, "K holds no private key"),
        (&p256, &p256, TlsError::NoKey, "K holds no private key"),
        (&p256, &[P256, P384].concat(), TlsError::ManyKeys(2), "K holds 2 private keys"),
        (&p256, include_str!("data/encrypted.pem"), TlsError::KeyEncrypted, "the key in K is encrypted: store it"),
        (&p256, include_str!("data/encrypted.sec1.pem"), TlsError::KeyEncrypted, "the key in K is encrypted: store it"),
        (rsa1024.0, rsa1024.1, TlsError::KeyKind, "the key in K is damaged or of an unusable kind or size: use ECDSA"),
        (p521.0, p521.1, TlsError::CertificateKind, "the certificate in C has a public key of an unusable kind: use"),
        (&p256, p521.1, TlsError::KeyKind, "the key in K is damaged or of an unusable kind or size: use ECDSA"),
        (&P256_CERT[..200], P256, TlsError::CertificatePem(String::new()), "C is not a PEM file: "),
        (&p256, &P256[..100], TlsError::KeyPem(String::new()), "K is not a PEM file: "),
    ];
    for (cert, key, expected, text) in rows {
        let error = load(cert, key).unwrap_err();
        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&expected), "{error:?}");
        let shown = error.about("C", "K").to_string();
        assert!(shown.starts_with(text), "{shown:?} does not begin with {text:?}");
        assert!(!shown.ends_with('.') && !shown.contains('\n'), "{shown}");
    }
}

#[test]
fn i2_a_certificate_that_is_not_x509_is_named_by_its_place() {
    let damaged = P256_CERT.replacen("MIIB", "AAAA", 1);
    assert!(matches!(load(&damaged, P256), Err(TlsError::Certificate { index: 0, .. })), "{:?}", load(&damaged, P256));
}

#[test]
fn i2_one_file_may_hold_certificate_and_key() {
    let both = [P256_SEC1, P256_CERT].concat();
    let pair = load(&both, &both).unwrap();
    assert_eq!(pair.chain.certificates.len(), 1);
    let der = &pair.chain.certificates[0];
    // The chain goes to the sessions: nothing of the key may ride along.
    assert_eq!(
        der.len(),
        P256_CERT.lines().filter(|l| !l.starts_with('-')).collect::<String>().trim_end_matches('=').len() * 3 / 4
    );
}

#[test]
fn i2_a_chain_keeps_its_order() {
    let chain = [certificate(P256, &["mx.example.org"]), certificate(RSA, &["ca"]), certificate(P384, &["root"])];
    let pair = load(&chain.concat(), P256).unwrap();
    for (der, pem) in pair.chain.certificates.iter().zip(&chain) {
        let key = match pem {
            p if *p == chain[0] => P256,
            p if *p == chain[1] => RSA,
            _ => P384,
        };
        assert_eq!(load(pem, key).unwrap().chain.certificates, std::slice::from_ref(der));
    }
}

#[test]
fn i2_dates_and_names_are_read_from_the_leaf() {
    let pair = load(P256_CERT, P256).unwrap();
    // As `openssl x509 -noout -dates` and `date -u +%s` give them.
    assert_eq!(pair.validity, Validity { not_before: NOT_BEFORE, not_after: NOT_AFTER });
    let rows = [
        (0, Term::NotYet),
        (NOT_BEFORE - 1, Term::NotYet),
        (NOT_BEFORE, Term::Current),
        (NOT_AFTER, Term::Current),
        (NOT_AFTER + 1, Term::Expired),
        (u64::MAX, Term::Expired),
    ];
    for (now, term) in rows {
        assert_eq!(pair.validity.at(now), term, "{now}");
    }
    assert_eq!(pair.certified_names(), ["mx.example.org", "*.example.net"]);
    for (host, good) in [
        ("mx.example.org", true),
        ("MX.example.org", true),
        ("b.example.net", true),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("example.org", false),
        ("a.b.example.net", false),
        ("", false),
    ] {
        assert_eq!(pair.certifies(host), good, "{host}");
    }
}

const NOT_BEFORE: u64 = 1795320130;
const NOT_AFTER: u64 = 4948920130;

#[test]
fn i2_server_names_are_kept_in_the_form_in_which_they_are_compared() {
    let rows = [
        ("mx.example.org", Some("mx.example.org")),
        ("MX.Example.ORG.", Some("mx.example.org")),
        ("*.Example.org", Some("*.example.org")),
        ("localhost", Some("localhost")),
        ("", None),
        (".", None),
        ("*", None),
        ("*.", None),
        ("mx..example.org", None),
        ("*.*.example.org", None),
        ("m*.example.org", None),
        ("mx example.org", None),
        ("müller.example", None),
        ("192.0.2.1", None),
        ("mx.example.org..", None),
        ("a\0b", None),
    ];
    for (text, expected) in rows {
        assert_eq!(name(text).ok().as_deref(), expected, "{text:?}");
    }
    let pair = Pair::load(P256_CERT.as_bytes(), P256.as_bytes(), ["MX.Example.ORG."]).unwrap();
    assert_eq!(pair.chain.names, ["mx.example.org"]);
    let bad = Pair::load(P256_CERT.as_bytes(), P256.as_bytes(), ["good.example", "not good"]);
    assert_eq!(bad, Err(TlsError::Name("not good".to_owned())));
}
