//! X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem), the key exchange whose secret stays one when somebody who has recorded it comes by
//! a quantum computer. The server's half only, for TLS 1.3.
//!
//! Two shares one after the other, and two secrets: whoever wants to read has to break both. The ML-KEM half answers a stranger's
//! one-time key, so there is no secret of ours here that lives longer than a handshake.

use ml_kem::{EncapsulationKey, MlKem768};
use rustls::crypto::ring::{self, kx_group::X25519};
use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup,
};
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};
use std::sync::LazyLock;

/// Octets of an ML-KEM-768 encapsulation key, and of an X25519 share: in this order they are the client's share.
const ENCAPSULATION_KEY: usize = 1184;
const POINT: usize = 32;
/// Octets of the message from which ML-KEM derives its secret.
const COINS: usize = 32;

/// The group, for `kx_groups` of a server.
pub(crate) static X25519_MLKEM768: &dyn SupportedKxGroup = &Hybrid;

/// ring's generator: no other is made in a jail, where there is no device to seed one from.
static RANDOM: LazyLock<&'static dyn SecureRandom> = LazyLock::new(|| ring::default_provider().secure_random);

#[derive(Debug)]
struct Hybrid;

impl SupportedKxGroup for Hybrid {
    /// What a client does first. None of ours offers this group.
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Err(Error::General("X25519MLKEM768 is for servers only".to_owned()))
    }

    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let invalid = || Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
        let (key, point) = share.split_at_checked(ENCAPSULATION_KEY).ok_or_else(invalid)?;
        if point.len() != POINT {
            return Err(invalid());
        }
        // FIPS 203 §7.2: a key of the right length whose coefficients are all below q.
        let key = key.try_into().map_err(|_| invalid())?;
        let key = EncapsulationKey::<MlKem768>::new(key).map_err(|_| invalid())?;
        let classical = X25519.start_and_complete(point)?;
        let mut coins = [0; COINS];
        RANDOM.fill(&mut coins).map_err(|GetRandomFailed| Error::FailedToGetRandomBytes)?;
        let (ciphertext, secret) = key.encapsulate_deterministic(&coins.into());
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: [ciphertext.as_slice(), &classical.pub_key].concat(),
            secret: SharedSecret::from([secret.as_slice(), classical.secret.secret_bytes()].concat()),
        })
    }

    fn ffdhe_group(&self) -> Option<rustls::ffdhe_groups::FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    /// TLS 1.2 has no such group: what the keyholder signs there stays a curve and a point.
    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

/// Does the exchange once with nobody: what is found out about the processor the first time is found out then.
pub(crate) fn rehearse() {
    // Zeros are a key that ML-KEM takes; of X25519, the base point.
    let mut share = [0; ENCAPSULATION_KEY + POINT];
    if let Some(octet) = share.get_mut(ENCAPSULATION_KEY) {
        *octet = 9;
    }
    drop(Hybrid.start_and_complete(&share));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's share of that many octets: of zeros, but for its X25519 part.
    fn share(octets: usize) -> Vec<u8> {
        let mut share = vec![0; octets];
        if let Some(octet) = share.get_mut(ENCAPSULATION_KEY) {
            *octet = 9;
        }
        share
    }

    #[test]
    fn a_share_that_is_none_gets_no_secret() {
        let good = share(ENCAPSULATION_KEY + POINT);
        let done = Hybrid.start_and_complete(&good).unwrap();
        assert_eq!((done.pub_key.len(), done.secret.secret_bytes().len()), (1088 + 32, 64));
        // Coefficients of 4095, one that is just q, and points that lead to a secret of zeros.
        let mut at_q = good.clone();
        at_q[..2].copy_from_slice(&[0x01, 0x0d]);
        let mut below_q = good.clone();
        below_q[..2].copy_from_slice(&[0x00, 0x0d]);
        let wrong = [0, 1, 32, 1184, 1215, 1217, 4096].map(share);
        let zero_point = vec![0; ENCAPSULATION_KEY + POINT];
        for share in wrong.iter().chain([&vec![0xff; ENCAPSULATION_KEY + POINT], &at_q, &zero_point]) {
            assert!(Hybrid.start_and_complete(share).is_err(), "{} octets", share.len());
        }
        assert!(Hybrid.start_and_complete(&below_q).is_ok());
    }

    #[test]
    fn no_two_exchanges_have_the_same_secret() {
        let share = share(ENCAPSULATION_KEY + POINT);
        let secrets: Vec<_> = (0..8).map(|_| Hybrid.start_and_complete(&share).unwrap().pub_key).collect();
        assert!(secrets.iter().enumerate().all(|(at, one)| !secrets[at + 1..].contains(one)));
    }
}
