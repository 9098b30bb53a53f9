//! Private keys that another process has.

use crate::error::TlsError;
use crate::kind::{KeyKind, Scheme};
use crate::pair;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

/// Whoever has the keys: the channel to the keyholder.
pub trait AskSignature: Send + Sync + Debug {
    /// A signature with the key of `pair` by the scheme of code point `scheme` (RFC 8446 §4.2.3) over `message`, which
    /// is not hashed. May block.
    ///
    /// # Errors
    /// Whatever keeps the answer away; it ends the handshake.
    fn sign(&self, pair: u8, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>>;
}

/// The chain (DER) of `pair` with its key, by which `ask` signs.
pub(crate) fn certified(
    pair: u8,
    chain: &[Vec<u8>],
    ask: &Arc<dyn AskSignature>,
) -> Result<(KeyKind, CertifiedKey), TlsError> {
    let certificates: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let public = pair::public_key(certificates.first().ok_or(TlsError::NoCertificate)?, 0)?;
    let kind = KeyKind::of_spki(&public).ok_or(TlsError::CertificateKind)?;
    let key = RemoteKey { pair, kind, public, ask: Arc::clone(ask) };
    Ok((kind, CertifiedKey::new(certificates, Arc::new(key))))
}

/// A private key that another process has.
#[derive(Debug)]
struct RemoteKey {
    pair: u8,
    kind: KeyKind,
    public: Vec<u8>,
    ask: Arc<dyn AskSignature>,
}

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self.kind.choose(offered)?;
        Some(Box::new(RemoteSigner { pair: self.pair, scheme, ask: Arc::clone(&self.ask) }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.public.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.kind.algorithm()
    }
}

#[derive(Debug)]
struct RemoteSigner {
    pair: u8,
    scheme: Scheme,
    ask: Arc<dyn AskSignature>,
}

impl Signer for RemoteSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let answer = self.ask.sign(self.pair, self.scheme.code, message);
        answer.map_err(|e| rustls::Error::Other(OtherError(Arc::from(e))))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::from(self.scheme.code)
    }
}
