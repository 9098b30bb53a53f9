//! What is weak or wrong in a chain of certificates, where senders that verify would find it. Read from DER as far as that takes:
//! the chain is an admin's own file, and nothing is believed because of what is found here.

use crate::pair::{Pair, validity};
use rustls_pki_types::CertificateDer;
use std::fmt;
use webpki::EndEntityCert;

/// Bits of the smallest RSA key that verifiers accept (CA/Browser Forum, Baseline Requirements §6.1.5).
const RSA_MIN: usize = 2048;

/// Signatures that nobody accepts any more: MD5 and SHA-1, by RSA, DSA and ECDSA. The octets of each OID.
const WEAK: [&[u8]; 4] = [
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
    &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03],
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
];
/// The extension that says what for a key is (RFC 5280 §4.2.1.12), and those of its purposes that matter here: anyExtendedKeyUsage,
/// serverAuth, clientAuth.
const PURPOSES: &[u8] = &[0x55, 0x1d, 0x25];
const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const SERVER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const CLIENT: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
/// rsaEncryption.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// What a pair is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Senders connect to us.
    Server,
    /// We connect to a backend.
    Client,
}

/// Why a sender that verifies would not use a chain. Places count from 1, the leaf's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// The certificate at this place is signed with MD5 or SHA-1.
    Signature(usize),
    /// The key in the certificate at this place is RSA of so many bits, which are too few.
    Bits(usize, usize),
    /// The certificate at this place was not signed by the one after it.
    Order(usize),
    /// The certificate at this place, not the leaf, has expired.
    Expired(usize),
    /// The leaf's extended key usage is not that of this side.
    Purpose(Side),
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature(1) => f.write_str("is signed with SHA-1 or MD5")?,
            Self::Signature(place) => write!(f, "certificate {place} of its chain is signed with SHA-1 or MD5")?,
            Self::Bits(1, bits) => write!(f, "has an RSA key of {bits} bits, fewer than {RSA_MIN}")?,
            Self::Bits(place, bits) => {
                write!(f, "certificate {place} of its chain has an RSA key of {bits} bits, fewer than {RSA_MIN}")?;
            }
            Self::Order(place) => write!(
                f,
                "certificate {place} of its chain is not signed by the one after it: the leaf comes first, and each is followed by \
                 its issuer"
            )?,
            Self::Expired(place) => write!(f, "certificate {place} of its chain has expired")?,
            Self::Purpose(Side::Server) => {
                f.write_str("is not for servers (its extended key usage lacks serverAuth)")?
            }
            Self::Purpose(Side::Client) => {
                return f.write_str(
                    "is not for clients (its extended key usage lacks clientAuth): a backend that verifies will not take it",
                );
            }
        }
        f.write_str(": senders that verify will not use it")
    }
}

impl Pair {
    /// What is weak or wrong in its chain at `now`, seconds since 1970.
    #[must_use]
    pub fn weaknesses(&self, side: Side, now: u64) -> Vec<Weakness> {
        let mut found = Vec::new();
        let mut all = self.chain.certificates.iter().zip(1_usize..).peekable();
        while let Some((der, place)) = all.next() {
            let certificate = CertificateDer::from_slice(der);
            let Ok(parsed) = EndEntityCert::try_from(&certificate) else { continue };
            // Nobody verifies the signature of an authority on itself.
            if parsed.issuer() != parsed.subject() && is_weakly_signed(der) {
                found.push(Weakness::Signature(place));
            }
            if let Some(bits) = rsa_bits(parsed.subject_public_key_info().as_ref()).filter(|bits| *bits < RSA_MIN) {
                found.push(Weakness::Bits(place, bits));
            }
            if place == 1 && !is_for(side, der) {
                found.push(Weakness::Purpose(side));
            }
            if place > 1 && validity(&certificate).is_ok_and(|validity| validity.not_after < now) {
                found.push(Weakness::Expired(place));
            }
            if let Some((next, _)) = all.peek() {
                let next = CertificateDer::from_slice(next);
                if EndEntityCert::try_from(&next).is_ok_and(|next| next.subject() != parsed.issuer()) {
                    found.push(Weakness::Order(place));
                }
            }
        }
        found
    }

    /// Bits of its key, where that is RSA.
    #[must_use]
    pub fn rsa_bits(&self) -> Option<usize> {
        let certificate = CertificateDer::from_slice(self.chain.certificates.first()?);
        rsa_bits(EndEntityCert::try_from(&certificate).ok()?.subject_public_key_info().as_ref())
    }
}

/// The tag and content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, rest @ ..] = der else { return None };
    let (length, rest) = if *length < 0x80 {
        (usize::from(*length), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(*length & 0x7f))?;
        let fits = octets.len() <= size_of::<u32>();
        let length =
            octets.iter().try_fold(0_usize, |length, octet| length.checked_mul(256)?.checked_add(usize::from(*octet)));
        (length.filter(|_| fits)?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// The content of an element with that tag.
fn within(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(tag, ..)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const EXTENSIONS: u8 = 0xa3;

/// The elements that follow each other in `der`: tag and content. Ends where there is none.
fn elements(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, rest) = element(der)?;
        der = rest;
        Some((tag, content))
    })
}

/// RFC 5280 §4.1: false where it says what it is for, and not for that side.
fn is_for(side: Side, certificate: &[u8]) -> bool {
    let wanted = match side {
        Side::Server => SERVER,
        Side::Client => CLIENT,
    };
    let purposes = || {
        let (whole, _) = within(certificate, SEQUENCE)?;
        let (signed, _) = within(whole, SEQUENCE)?;
        let (_, extensions) = elements(signed).find(|(tag, _)| *tag == EXTENSIONS)?;
        let (extensions, _) = within(extensions, SEQUENCE)?;
        let of_purposes = |extension: &&[u8]| within(extension, OID).is_some_and(|(oid, _)| oid == PURPOSES);
        let extension = elements(extensions).map(|(_, extension)| extension).find(of_purposes)?;
        let (_, value) = elements(extension).find(|(tag, _)| *tag == OCTETS)?;
        Some(within(value, SEQUENCE)?.0)
    };
    purposes().is_none_or(|purposes| elements(purposes).any(|(_, oid)| oid == wanted || oid == ANY))
}

/// RFC 5280 §4.1: what is signed, then the algorithm of the signature.
fn is_weakly_signed(certificate: &[u8]) -> bool {
    let oid = || {
        let (whole, _) = within(certificate, SEQUENCE)?;
        let (_, after) = within(whole, SEQUENCE)?;
        let (algorithm, _) = within(after, SEQUENCE)?;
        Some(within(algorithm, OID)?.0)
    };
    oid().is_some_and(|oid| WEAK.contains(&oid))
}

/// RFC 3279 §2.3.1: the modulus is the first number in the key.
fn rsa_bits(spki: &[u8]) -> Option<usize> {
    let (whole, _) = within(spki, SEQUENCE)?;
    let (algorithm, after) = within(whole, SEQUENCE)?;
    if within(algorithm, OID)?.0 != RSA {
        return None;
    }
    let (bits, _) = within(after, BITS)?;
    let (key, _) = within(bits.get(1..)?, SEQUENCE)?;
    let (modulus, _) = within(key, INTEGER)?;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let first = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    modulus.len().checked_mul(8)?.checked_sub(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_12_lengths_that_lie_are_no_element() {
        for der in [&b""[..], b"\x30", b"\x30\x01", b"\x30\x81", b"\x30\x82\xff", b"\x30\x89\0\0\0\0\0\0\0\0\0"] {
            assert_eq!(element(der), None, "{der:?}");
            assert!(!is_weakly_signed(der) && rsa_bits(der).is_none() && is_for(Side::Server, der));
        }
        assert_eq!(element(b"\x02\x01\x07rest"), Some((2, &b"\x07"[..], &b"rest"[..])));
        assert_eq!(element(b"\x02\x81\x01\x07"), Some((2, &b"\x07"[..], &b""[..])));
    }
}
