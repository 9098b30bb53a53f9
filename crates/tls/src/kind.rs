//! Kinds of key, and the signature schemes that each can make.

use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{AlgorithmIdentifier, alg_id};

/// The kind of a key pair, as its SubjectPublicKeyInfo says: public knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA on secp256r1.
    P256,
    /// ECDSA on secp384r1.
    P384,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// RSA, 2048 to 4096 bits.
    Rsa,
}

/// One TLS SignatureScheme (RFC 8446 §4.2.3) and when it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// Its code point.
    pub code: u16,
    /// The kind of key that can make it.
    pub kind: KeyKind,
    /// False: TLS 1.2 only.
    pub tls13: bool,
}

const fn scheme(code: u16, kind: KeyKind, tls13: bool) -> Scheme {
    Scheme { code, kind, tls13 }
}

/// Every scheme that gatepost signs with, the preferred ones of a kind first: PSS before PKCS#1 v1.5, and SHA-256 first
/// because nothing behind it in the handshake is stronger.
pub(crate) const SCHEMES: &[Scheme] = &[
    scheme(0x0403, KeyKind::P256, true),
    scheme(0x0503, KeyKind::P384, true),
    scheme(0x0807, KeyKind::Ed25519, true),
    scheme(0x0804, KeyKind::Rsa, true),
    scheme(0x0805, KeyKind::Rsa, true),
    scheme(0x0806, KeyKind::Rsa, true),
    scheme(0x0401, KeyKind::Rsa, false),
    scheme(0x0501, KeyKind::Rsa, false),
    scheme(0x0601, KeyKind::Rsa, false),
];

impl Scheme {
    /// The scheme with that code point, if it is one of `SCHEMES`.
    #[must_use]
    pub fn of(code: u16) -> Option<Scheme> {
        SCHEMES.iter().copied().find(|scheme| scheme.code == code)
    }
}

impl KeyKind {
    /// The kind of the key in a DER SubjectPublicKeyInfo; none for a kind that gatepost does not sign with.
    #[must_use]
    pub(crate) fn of_spki(spki: &[u8]) -> Option<KeyKind> {
        let known: [(AlgorithmIdentifier, KeyKind); 4] = [
            (alg_id::ECDSA_P256, KeyKind::P256),
            (alg_id::ECDSA_P384, KeyKind::P384),
            (alg_id::ED25519, KeyKind::Ed25519),
            (alg_id::RSA_ENCRYPTION, KeyKind::Rsa),
        ];
        let identifier = sequence(sequence(spki)?)?;
        known.into_iter().find(|(id, _)| identifier.starts_with(id.as_ref())).map(|(_, kind)| kind)
    }

    /// The schemes it can make, preferred first.
    pub fn schemes(self) -> impl Iterator<Item = Scheme> {
        SCHEMES.iter().copied().filter(move |scheme| scheme.kind == self)
    }

    /// The preferred scheme among those that a client offers.
    #[must_use]
    pub(crate) fn choose(self, offered: &[SignatureScheme]) -> Option<Scheme> {
        self.schemes().find(|scheme| offered.contains(&SignatureScheme::from(scheme.code)))
    }

    pub(crate) fn algorithm(self) -> SignatureAlgorithm {
        match self {
            KeyKind::P256 | KeyKind::P384 => SignatureAlgorithm::ECDSA,
            KeyKind::Ed25519 => SignatureAlgorithm::ED25519,
            KeyKind::Rsa => SignatureAlgorithm::RSA,
        }
    }

    /// The word for tables and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            KeyKind::P256 => "ECDSA P-256",
            KeyKind::P384 => "ECDSA P-384",
            KeyKind::Ed25519 => "Ed25519",
            KeyKind::Rsa => "RSA",
        }
    }
}

/// What follows the header of a DER SEQUENCE, whatever follows its end included.
fn sequence(der: &[u8]) -> Option<&[u8]> {
    let [0x30, length, rest @ ..] = der else { return None };
    let more = if *length < 0x80 { 0 } else { usize::from(*length & 0x7f) };
    rest.get(more..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_every_scheme_is_one_that_the_library_knows_by_the_same_code() {
        for scheme in SCHEMES {
            let theirs = SignatureScheme::from(scheme.code);
            assert!(!matches!(theirs, SignatureScheme::Unknown(_)), "{scheme:?}");
            let name = format!("{theirs:?}");
            assert_eq!(name.starts_with("RSA_PKCS1"), !scheme.tls13, "{name}");
        }
    }

    #[test]
    fn p5_schemes_are_chosen_by_our_preference_and_never_across_kinds() {
        let all: Vec<SignatureScheme> = SCHEMES.iter().rev().map(|s| SignatureScheme::from(s.code)).collect();
        let cases = [
            (KeyKind::P256, &all[..], Some(0x0403)),
            (KeyKind::P384, &all[..], Some(0x0503)),
            (KeyKind::Ed25519, &all[..], Some(0x0807)),
            (KeyKind::Rsa, &all[..], Some(0x0804)),
            (KeyKind::Rsa, &[SignatureScheme::RSA_PKCS1_SHA384, SignatureScheme::RSA_PKCS1_SHA1], Some(0x0501)),
            (KeyKind::Rsa, &[SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::RSA_PSS_SHA512], Some(0x0806)),
            (KeyKind::P256, &[SignatureScheme::ECDSA_NISTP384_SHA384, SignatureScheme::ED25519], None),
            (KeyKind::P384, &[SignatureScheme::ECDSA_NISTP256_SHA256], None),
            (KeyKind::Ed25519, &[SignatureScheme::ED448], None),
            (KeyKind::Rsa, &[], None),
        ];
        for (kind, offered, expected) in cases {
            assert_eq!(kind.choose(offered).map(|s| s.code), expected, "{kind:?} {offered:?}");
        }
    }

    #[test]
    fn p5_unknown_public_keys_have_no_kind() {
        let p521 = [&[0x30, 0x81, 0x9b, 0x30, 0x10][..], alg_id::ECDSA_P521.as_ref(), &[0x03]].concat();
        let p256 = [&[0x30, 0x59, 0x30, 0x13][..], alg_id::ECDSA_P256.as_ref(), &[0x03]].concat();
        assert_eq!(KeyKind::of_spki(&p256), Some(KeyKind::P256));
        assert_eq!(KeyKind::of_spki(&p521), None);
        assert_eq!(KeyKind::of_spki(&p256[1..]), None);
        for cut in 0..p256.len() - 2 {
            assert_eq!(KeyKind::of_spki(&p256[..cut]), None, "cut at {cut}");
        }
        assert_eq!(KeyKind::of_spki(&[0x30, 0xff, 0x30]), None);
    }
}
