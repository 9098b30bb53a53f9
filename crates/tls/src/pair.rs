//! A certificate with its key, as the launcher reads and checks them before anything is bound.

use crate::error::TlsError;
use crate::kind::KeyKind;
use gatepost_wire::slice::Chain;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::SigningKey;
use rustls_pki_types::pem::{PemObject, SectionKind, SliceIter};
use rustls_pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;
use webpki::{EndEntityCert, Error as CertError, KeyUsage};
use zeroize::Zeroizing;

/// A certificate chain whose leaf fits a private key. The key itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What a session needs of it. Public.
    pub chain: Chain,
    /// The kind of its key.
    pub kind: KeyKind,
    /// When its leaf is valid.
    pub validity: Validity,
}

/// The time in which a certificate is valid, both ends included. Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: u64,
    /// Last second.
    pub not_after: u64,
}

/// Where a moment lies relative to a [`Validity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Term {
    NotYet,
    Current,
    Expired,
}

impl Validity {
    /// Where `now`, seconds since 1970, lies. What follows from it is the caller's: an expired certificate still
    /// encrypts, and most senders do not look.
    #[must_use]
    pub fn at(self, now: u64) -> Term {
        if now < self.not_before {
            Term::NotYet
        } else if now > self.not_after {
            Term::Expired
        } else {
            Term::Current
        }
    }
}

impl Pair {
    /// Reads a chain (leaf first) and its key from PEM, and checks that they belong together. `names` are the server
    /// names for which the pair is chosen; none makes it a default pair. A file may hold both, and other things too.
    ///
    /// # Errors
    /// [`TlsError`], a sentence that can be shown as it is: see [`TlsError::about`].
    pub fn load<N: AsRef<str>>(
        cert_pem: &[u8],
        key_pem: &[u8],
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, TlsError> {
        let certificates = certificates(cert_pem)?;
        let leaf = certificates.first().ok_or(TlsError::NoCertificate)?;
        let validity = validity(leaf)?;
        let public = public_key(leaf, 0)?;
        let kind = KeyKind::of_spki(&public).ok_or(TlsError::CertificateKind)?;
        let (_, key) = signing_key(key_pem)?;
        belongs(key.as_ref(), &public, &certificates)?;
        let names = names.into_iter().map(|n| name(n.as_ref())).collect::<Result<_, _>>()?;
        let certificates = certificates.iter().map(|der| der.to_vec()).collect();
        Ok(Self { chain: Chain { names, certificates }, kind, validity })
    }

    /// The DNS names in the leaf's subjectAltName, lower case; some may begin with `*.`.
    #[must_use]
    pub fn certified_names(&self) -> Vec<String> {
        let Some(der) = self.chain.certificates.first() else { return Vec::new() };
        let der = CertificateDer::from_slice(der);
        let Ok(leaf) = EndEntityCert::try_from(&der) else { return Vec::new() };
        leaf.valid_dns_names().map(str::to_ascii_lowercase).collect()
    }

    /// True when the chain is the leaf alone, and another certificate has signed it: whoever has not got that one already
    /// cannot verify the leaf.
    #[must_use]
    pub fn is_leaf_alone(&self) -> bool {
        self.chain.certificates.len() == 1 && !self.is_self_signed()
    }

    /// True when nobody else has signed the leaf.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        let Some(der) = self.chain.certificates.first() else { return false };
        let der = CertificateDer::from_slice(der);
        EndEntityCert::try_from(&der).is_ok_and(|leaf| leaf.issuer() == leaf.subject())
    }

    /// True when the leaf is valid for `host`: a client that verifies names would accept it.
    #[must_use]
    pub fn certifies(&self, host: &str) -> bool {
        let Some(der) = self.chain.certificates.first() else { return false };
        let der = CertificateDer::from_slice(der);
        let Ok(leaf) = EndEntityCert::try_from(&der) else { return false };
        ServerName::try_from(host).is_ok_and(|host| leaf.verify_is_valid_for_subject_name(&host).is_ok())
    }
}

/// A server name in the form in which names are compared: lower case, no dot at the end. `*.` at its begin stands for
/// one label.
///
/// # Errors
/// [`TlsError::Name`] when no client could ask for it.
pub fn name(text: &str) -> Result<String, TlsError> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let host = name.strip_prefix("*.").unwrap_or(&name);
    // The parser allows a dot at the end; one has been taken off already.
    if DnsName::try_from(host).is_ok() && !host.ends_with('.') {
        Ok(name)
    } else {
        Err(TlsError::Name(text.to_owned()))
    }
}

pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| TlsError::CertificatePem(e.to_string()))?;
    if !certificates.is_empty() {
        return Ok(certificates);
    }
    Err(if labels(pem).any(|label| label.ends_with("PRIVATE KEY")) {
        TlsError::KeyForCertificate
    } else {
        TlsError::NoCertificate
    })
}

/// The one private key of a PEM text, ready to sign.
pub(crate) fn signing_key(pem: &[u8]) -> Result<(KeyKind, Arc<dyn SigningKey>), TlsError> {
    let der = private_key(pem)?;
    let key = any_supported_type(&der).map_err(|_| TlsError::KeyKind)?;
    let public = key.public_key().ok_or(TlsError::KeyKind)?;
    let kind = KeyKind::of_spki(&public).ok_or(TlsError::KeyKind)?;
    Ok((kind, key))
}

fn private_key(pem: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, TlsError> {
    // The traditional form of encryption keeps the label of the clear one and says so in a header (RFC 1421 §4.6.1.1).
    let encrypted = |line: &[u8]| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
    if labels(pem).any(|label| label == "ENCRYPTED PRIVATE KEY")
        || pem.split(|b| *b == b'\n').any(|line| encrypted(line.trim_ascii_end()))
    {
        return Err(TlsError::KeyEncrypted);
    }
    let mut keys = Vec::new();
    for section in SliceIter::<(SectionKind, Vec<u8>)>::new(pem) {
        let (kind, der) = section.map_err(|e| TlsError::KeyPem(e.to_string()))?;
        // Whatever it is, it is wiped: a file with two keys is refused, and the second is no less secret.
        keys.extend(PrivateKeyDer::from_pem(kind, der).map(Zeroizing::new));
    }
    match (keys.pop(), keys.len()) {
        (None, _) => Err(TlsError::NoKey),
        (Some(key), 0) => Ok(key),
        (Some(_), others) => Err(TlsError::ManyKeys(others.saturating_add(1))),
    }
}

/// The labels of all PEM sections, also of those that the PEM reader passes over.
fn labels(pem: &[u8]) -> impl Iterator<Item = &str> {
    pem.split(|b| *b == b'\n').filter_map(|line| {
        let label = line.trim_ascii_end().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
        std::str::from_utf8(label).ok()
    })
}

pub(crate) fn public_key(der: &CertificateDer<'_>, index: usize) -> Result<Vec<u8>, TlsError> {
    let cert = EndEntityCert::try_from(der).map_err(|e| TlsError::Certificate { index, why: e.to_string() })?;
    Ok(cert.subject_public_key_info().to_vec())
}

fn belongs(key: &dyn SigningKey, public: &[u8], all: &[CertificateDer<'_>]) -> Result<(), TlsError> {
    let ours = key.public_key().ok_or(TlsError::KeyKind)?;
    if *ours == *public {
        return Ok(());
    }
    let place = all.iter().position(|der| public_key(der, 0).is_ok_and(|spki| *spki == *ours));
    Err(place.map_or(TlsError::Mismatch, TlsError::LeafNotFirst))
}

/// Reads the dates of a certificate by asking whether it is valid at both ends of time: the parser at hand tells the
/// dates only in its refusals.
pub(crate) fn validity(leaf: &CertificateDer<'_>) -> Result<Validity, TlsError> {
    let unreadable = |e: CertError| TlsError::Certificate { index: 0, why: e.to_string() };
    let cert = EndEntityCert::try_from(leaf).map_err(unreadable)?;
    let at = |second: u64| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(second));
        // No anchors: the answer is always a refusal, and the dates are looked at first.
        cert.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
    };
    let not_after = match at(u64::MAX) {
        Some(CertError::CertExpired { not_after, .. }) => not_after.as_secs(),
        other => return Err(unreadable(other.unwrap_or(CertError::InvalidCertValidity))),
    };
    let not_before = match at(0) {
        Some(CertError::CertNotValidYet { not_before, .. }) => not_before.as_secs(),
        _ => 0,
    };
    Ok(Validity { not_before, not_after })
}
