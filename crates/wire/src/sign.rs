//! Session and keyholder: two signatures at most, each over something that looks like a TLS handshake (P5).

use crate::codec::{Message, Reader, WireError, Writer};

/// Signatures that a session may ask for: one handshake takes one; the other is slack.
pub const SIGNATURES_PER_SESSION: u8 = 2;
/// Longest message that may be offered for signing: a TLS 1.2 ServerKeyExchange with its randoms is far below.
pub const TO_SIGN_MAX: usize = 512;
/// Longest signature: RSA-4096 with room to spare.
pub const SIGNATURE_MAX: usize = 1024;

/// Sign this with that key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign<'a> {
    /// Index of the certificate pair.
    pub pair: u8,
    /// TLS SignatureScheme code point (RFC 8446 §4.2.3).
    pub scheme: u16,
    /// The message as TLS hands it to the signer: not hashed, so that the keyholder sees what it signs.
    pub message: &'a [u8],
}

impl<'a> Message<'a> for Sign<'a> {
    fn tag(&self) -> u8 {
        1
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.u8(self.pair);
        w.u16(self.scheme);
        w.bytes16(self.message);
    }
    fn read(tag: u8, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if tag != 1 {
            return Err(WireError::Tag(tag));
        }
        let sign = Self { pair: r.u8()?, scheme: r.u16()?, message: r.bytes16()? };
        if sign.message.len() > TO_SIGN_MAX { Err(WireError::Value("message")) } else { Ok(sign) }
    }
}

/// The signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature<'a>(pub &'a [u8]);

impl<'a> Message<'a> for Signature<'a> {
    fn tag(&self) -> u8 {
        1
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.bytes16(self.0);
    }
    fn read(tag: u8, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if tag != 1 {
            return Err(WireError::Tag(tag));
        }
        let signature = r.bytes16()?;
        if signature.len() > SIGNATURE_MAX { Err(WireError::Value("signature")) } else { Ok(Self(signature)) }
    }
}
