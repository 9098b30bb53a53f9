//! The keyholder's keys.

use crate::error::TlsError;
use crate::kind::KeyKind;
use crate::pair;
use crate::recognise::{self, Party, Refused};
use gatepost_wire::sign::{SIGNATURES_PER_SESSION, Sign};
use rustls::SignatureScheme;
use rustls::sign::SigningKey;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Private keys of one party, each known by the index of its pair.
pub struct Keys {
    party: Party,
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
    /// As many descriptors beside the question, and there is nothing to do with one: the asker's fault.
    Descriptors(usize),
    /// It has had all the signatures that a handshake needs: the asker's fault.
    Budget,
    /// The key could not sign: ours. Out of randomness, or a damaged key.
    Failed,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pair(pair) => write!(f, "there is no certificate pair {pair}"),
            Self::Refused(why) => why.fmt(f),
            Self::Descriptors(n) => write!(f, "{n} descriptors beside a question"),
            Self::Budget => write!(f, "more than {SIGNATURES_PER_SESSION} signatures"),
            Self::Failed => f.write_str("the key could not sign"),
        }
    }
}

impl std::error::Error for SignError {}

/// Signatures that one session may still have.
#[derive(Debug)]
pub struct Budget(u8);

impl Default for Budget {
    fn default() -> Self {
        Self(SIGNATURES_PER_SESSION)
    }
}

impl Keys {
    /// Reads keys from PEM, in the order of their pairs, and wipes the texts.
    ///
    /// # Errors
    /// [`TlsError`] about the first key that cannot be used.
    pub fn load(party: Party, pems: Vec<Vec<u8>>) -> Result<Self, TlsError> {
        // All of them are put where they are wiped before the first can fail.
        let pems: Vec<Zeroizing<Vec<u8>>> = pems.into_iter().map(Zeroizing::new).collect();
        let keys = pems.iter().map(|pem| pair::signing_key(pem)).collect::<Result<_, _>>()?;
        Ok(Self { party, keys })
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

    /// Answers one question of a session, with `descriptors` beside it.
    ///
    /// # Errors
    /// [`SignError`]: there is no answer, and the session is not to be heard again.
    pub fn answer(&self, budget: &mut Budget, sign: &Sign<'_>, descriptors: usize) -> Result<Vec<u8>, SignError> {
        // Paid before the look: a question that is refused costs a signature too.
        budget.0 = budget.0.checked_sub(1).ok_or(SignError::Budget)?;
        self.answer_any(sign, descriptors)
    }

    /// Answers one question of handoff, which may have any number of signatures: one for each connection to a backend.
    ///
    /// # Errors
    /// As [`Keys::answer`].
    pub fn answer_any(&self, sign: &Sign<'_>, descriptors: usize) -> Result<Vec<u8>, SignError> {
        if descriptors > 0 {
            return Err(SignError::Descriptors(descriptors));
        }
        self.sign(sign.pair, sign.scheme, sign.message)
    }

    /// Signs `message` with the key of `pair`, if it is the part of a TLS handshake that [`recognise`] knows.
    ///
    /// # Errors
    /// [`SignError`], which tells whose fault it is.
    pub fn sign(&self, pair: u8, scheme: u16, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let (kind, key) = self.keys.get(usize::from(pair)).ok_or(SignError::Pair(pair))?;
        recognise::check(self.party, scheme, message, *kind).map_err(SignError::Refused)?;
        let signer = key.choose_scheme(&[SignatureScheme::from(scheme)]).ok_or(SignError::Failed)?;
        signer.sign(message).map_err(|_| SignError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        Keys::load(Party::Server, vec![pem.into_bytes()]).unwrap()
    }

    fn verify() -> Vec<u8> {
        [&[0x20; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat()
    }

    #[test]
    fn p5_two_signatures_a_session_and_no_more() {
        let (keys, message) = (keys(), verify());
        let sign = Sign { pair: 0, scheme: 0x0403, message: &message };
        for _ in 0..3 {
            let mut budget = Budget::default();
            for _ in 0..SIGNATURES_PER_SESSION {
                assert!(keys.answer(&mut budget, &sign, 0).is_ok());
            }
            for _ in 0..300 {
                assert_eq!(keys.answer(&mut budget, &sign, 0), Err(SignError::Budget));
            }
        }
    }

    #[test]
    fn p5_a_refused_question_is_paid_for() {
        let (keys, message) = (keys(), verify());
        let mut budget = Budget::default();
        let good = Sign { pair: 0, scheme: 0x0403, message: &message };
        let rows = [
            (Sign { message: b"a letter", ..good }, SignError::Refused(Refused::Shape)),
            (Sign { pair: 1, ..good }, SignError::Pair(1)),
            (good, SignError::Budget),
        ];
        for (sign, expected) in rows {
            assert_eq!(keys.answer(&mut budget, &sign, 0), Err(expected));
        }
        assert_eq!(keys.answer(&mut Budget::default(), &good, 1), Err(SignError::Descriptors(1)));
    }
}
