//! The client's half of X25519MLKEM768, with the ML-KEM of another maker than the server's.

use fips203::ml_kem_768::{CipherText, DecapsKey, KG};
use fips203::traits::{Decaps, KeyGen, SerDes};
use rustls::crypto::ring::{self, kx_group::X25519};
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};

/// Octets of the server's answer to the first half.
const CIPHERTEXT: usize = 1088;

/// The group of a client.
#[derive(Debug)]
pub(crate) struct Hybrid;

struct Started {
    share: Vec<u8>,
    key: DecapsKey,
    classical: Box<dyn ActiveKeyExchange>,
}

impl SupportedKxGroup for Hybrid {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut seeds = [[0; 32]; 2];
        for seed in &mut seeds {
            ring::default_provider().secure_random.fill(seed)?;
        }
        let (encapsulation, key) = KG::keygen_from_seed(seeds[0], seeds[1]);
        let classical = X25519.start()?;
        let share = [&encapsulation.into_bytes(), classical.pub_key()].concat();
        Ok(Box::new(Started { share, key, classical }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, answer: &[u8]) -> Result<SharedSecret, Error> {
        let (ciphertext, point) = answer.split_at_checked(CIPHERTEXT).ok_or(PeerMisbehaved::InvalidKeyShare)?;
        let ciphertext = CipherText::try_from_bytes(ciphertext.try_into().unwrap()).unwrap();
        let secret = self.key.try_decaps(&ciphertext).unwrap().into_bytes();
        Ok(SharedSecret::from([&secret, self.classical.complete(point)?.secret_bytes()].concat()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}
