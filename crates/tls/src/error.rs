//! What can be wrong with a certificate or key: always the administrator's files, never a peer.

use std::fmt;

/// A certificate file, a key file or the two together cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsError {
    /// The certificate file is not PEM; the text says how.
    CertificatePem(String),
    /// The certificate file holds no certificate.
    NoCertificate,
    /// The certificate file holds a private key and no certificate: the two settings are probably swapped.
    KeyForCertificate,
    /// The certificate at `index` (0 is the leaf) is not X.509 version 3.
    Certificate {
        /// Which, counted from 0 in the order of the file.
        index: usize,
        /// What the parser said.
        why: String,
    },
    /// The leaf's public key is of a kind that [`crate::KeyKind`] does not list.
    CertificateKind,
    /// The key file is not PEM; the text says how.
    KeyPem(String),
    /// The key file holds no private key.
    NoKey,
    /// The key file holds more than one private key.
    ManyKeys(usize),
    /// The private key is encrypted: a daemon has nobody to ask for the passphrase.
    KeyEncrypted,
    /// The private key is damaged, or of a kind or size that cannot be used.
    KeyKind,
    /// The key belongs to none of the certificates.
    Mismatch,
    /// The key belongs to the certificate at this index, which must come first (RFC 8446 §4.4.2).
    LeafNotFirst(usize),
    /// A configured server name is not a DNS name.
    Name(String),
    /// More pairs than a pair's index on the wire can tell apart.
    ManyPairs(usize),
    /// TLS was asked for and there is no pair at all.
    NoPair,
    /// The TLS library does not accept the settings; a fault of ours.
    Settings(String),
}

impl TlsError {
    /// The error as a sentence that names the two files.
    #[must_use]
    pub fn about<'a>(&'a self, certificate: &'a str, key: &'a str) -> About<'a> {
        About { error: self, certificate, key }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.about("the certificate file", "the key file").fmt(f)
    }
}

impl std::error::Error for TlsError {}

/// A [`TlsError`] with the names of the files it is about. Display gives one sentence, without a full stop.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    error: &'a TlsError,
    certificate: &'a str,
    key: &'a str,
}

/// What can be used, for the sentences that refuse something else.
const USABLE: &str = "use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits";

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, certificate, key } = self;
        match error {
            TlsError::CertificatePem(why) => write!(f, "{certificate} is not a PEM file: {why}"),
            TlsError::NoCertificate => write!(f, "{certificate} holds no certificate"),
            TlsError::KeyForCertificate => {
                write!(f, "{certificate} holds a private key and no certificate: are certificate and key swapped?")
            }
            TlsError::Certificate { index, why } => {
                write!(f, "certificate {} in {certificate} cannot be read: {why}", index.saturating_add(1))
            }
            TlsError::CertificateKind => {
                write!(f, "the certificate in {certificate} has a public key of an unusable kind: {USABLE}")
            }
            TlsError::KeyPem(why) => write!(f, "{key} is not a PEM file: {why}"),
            TlsError::NoKey => write!(f, "{key} holds no private key"),
            TlsError::ManyKeys(n) => write!(f, "{key} holds {n} private keys: leave only the certificate's"),
            TlsError::KeyEncrypted => {
                write!(f, "the key in {key} is encrypted: store it without passphrase (openssl pkey -in {key})")
            }
            TlsError::KeyKind => write!(f, "the key in {key} is damaged or of an unusable kind or size: {USABLE}"),
            TlsError::Mismatch => write!(f, "the key in {key} does not belong to the certificate in {certificate}"),
            TlsError::LeafNotFirst(index) => write!(
                f,
                "the key in {key} belongs to certificate {} in {certificate}, which must come first",
                index.saturating_add(1)
            ),
            TlsError::Name(name) => write!(f, "{name:?} is not a DNS name that a client could ask for"),
            TlsError::ManyPairs(n) => write!(f, "{n} certificate pairs are more than the 256 that can be served"),
            TlsError::NoPair => f.write_str("TLS needs a certificate and a key"),
            TlsError::Settings(why) => write!(f, "the TLS library refuses its settings: {why}"),
        }
    }
}
