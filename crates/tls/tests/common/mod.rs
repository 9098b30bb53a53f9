//! Keys from `data`, and certificates made for them.

#![allow(dead_code, clippy::unwrap_used)] // Each test file uses a part of it.

use gatepost_tls::KeyKind;

pub(crate) const P256: &str = include_str!("../data/p256.pem");
pub(crate) const P256_SEC1: &str = include_str!("../data/p256.sec1.pem");
pub(crate) const P256_CERT: &str = include_str!("../data/p256.cert.pem");
pub(crate) const P384: &str = include_str!("../data/p384.pem");
pub(crate) const P384_SEC1: &str = include_str!("../data/p384.sec1.pem");
pub(crate) const ED25519: &str = include_str!("../data/ed25519.pem");
pub(crate) const RSA: &str = include_str!("../data/rsa2048.pem");
pub(crate) const RSA_PKCS1: &str = include_str!("../data/rsa2048.pkcs1.pem");

/// Each kind: its key in PKCS#8, and in each form it comes in.
pub(crate) const KINDS: [(KeyKind, &str, &[&str]); 4] = [
    (KeyKind::P256, P256, &[P256, P256_SEC1]),
    (KeyKind::P384, P384, &[P384, P384_SEC1]),
    (KeyKind::Ed25519, ED25519, &[ED25519]),
    (KeyKind::Rsa, RSA, &[RSA, RSA_PKCS1]),
];

/// A self-signed certificate in PEM for a PKCS#8 key.
pub(crate) fn certificate(key: &str, names: &[&str]) -> String {
    let key = rcgen::KeyPair::from_pem(key).unwrap();
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem()
}
