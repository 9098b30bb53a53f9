//! The keyholder's keys.

use crate::error::TlsError;
use crate::kind::KeyKind;
use crate::pair;
use crate::recognise::{self, Refused};
use rustls::SignatureScheme;
use rustls::sign::SigningKey;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Private keys, each known by the index of its pair.
pub struct Keys {
    keys: Vec<(KeyKind, Arc<dyn SigningKey>)>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(kind, _)| kind)).finish()
    }
}

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignError {
    /// No pair has that index: the asker's fault.
    Pair(u8),
    /// Not something that is signed: the asker's fault.
    Refused(Refused),
    /// The key could not sign: ours. Out of randomness, or a damaged key.
    Failed,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pair(pair) => write!(f, "there is no certificate pair {pair}"),
            Self::Refused(why) => why.fmt(f),
            Self::Failed => f.write_str("the key could not sign"),
        }
    }
}

impl std::error::Error for SignError {}

impl Keys {
    /// Reads keys from PEM, in the order of their pairs, and wipes the texts.
    ///
    /// # Errors
    /// [`TlsError`] about the first key that cannot be used.
    pub fn load(pems: Vec<Vec<u8>>) -> Result<Self, TlsError> {
        // All of them are put where they are wiped before the first can fail.
        let pems: Vec<Zeroizing<Vec<u8>>> = pems.into_iter().map(Zeroizing::new).collect();
        let keys = pems.iter().map(|pem| pair::signing_key(pem)).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Signs `message` with the key of `pair`, if it is the part of a TLS handshake that [`recognise`] knows.
    ///
    /// # Errors
    /// [`SignError`], which tells whose fault it is.
    pub fn sign(&self, pair: u8, scheme: u16, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let (kind, key) = self.keys.get(usize::from(pair)).ok_or(SignError::Pair(pair))?;
        recognise::check(scheme, message, *kind).map_err(SignError::Refused)?;
        let signer = key.choose_scheme(&[SignatureScheme::from(scheme)]).ok_or(SignError::Failed)?;
        signer.sign(message).map_err(|_| SignError::Failed)
    }
}
