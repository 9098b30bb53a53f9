//! Session or handoff, and keyholder: at most two signatures for a session, each over octets that are recognised as part of a TLS handshake (P5).

use crate::codec::Octets;
use crate::declare::{fields, foreign};

/// Signatures that a session may ask for. A handshake needs one.
pub const SIGNATURES_PER_SESSION: u8 = 2;
/// Longest message that may be offered for signing: a TLS 1.2 ServerKeyExchange with its randoms is far below.
pub const TO_SIGN_MAX: usize = 512;
/// Longest signature: twice that of RSA-4096.
pub const SIGNATURE_MAX: usize = 1024;

fields! {
    /// Asks for a signature.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Sign<'a> {
        /// Index of the certificate pair.
        pub pair: u8,
        /// TLS SignatureScheme code point (RFC 8446 §4.2.3).
        pub scheme: u16,
        /// The message as TLS gives it to the signer: not hashed, so that the keyholder sees what it signs.
        pub message: &'a [u8] as Octets<TO_SIGN_MAX>,
    }
}

/// The signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature<'a>(pub &'a [u8]);

foreign! { Signature<'a> { 0: &'a [u8] as Octets<SIGNATURE_MAX>, } }
