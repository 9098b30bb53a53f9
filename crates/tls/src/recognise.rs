//! The keyholder's own check of what it is asked to sign (P5).
//!
//! A session that is owned may ask for a signature over anything. These two shapes are all that is ever signed with the key
//! of a server:
//!
//! - TLS 1.3 (RFC 8446 §4.4.3): 64 spaces, the server's context string, 0, a transcript hash;
//! - TLS 1.2 (RFC 8422 §5.4): client random, server random, named curve, public point.
//!
//! With the key of a client, which handoff shows to a backend, only the first is signed, with the client's context string. In
//! TLS 1.2 a client signs the whole handshake, of which no part is known here.
//!
//! Nothing that another protocol signs with the same kind of key begins like the first. In the second, the server
//! random must end with the mark that a server of TLS 1.3 sets when a client offers no better than 1.2 (RFC 8446
//! §4.1.3): as every client of TLS 1.3 ends the handshake when it sees that mark, an owned session cannot use this
//! signature to pull down anybody who can do better. The two shapes have no message in common.

use crate::kind::{KeyKind, Scheme};
use std::fmt;

/// Whose key is to sign: a key is for one of them only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Party {
    Server,
    Client,
}

impl Party {
    /// The context string of its CertificateVerify, with the separator.
    fn context(self) -> &'static [u8] {
        match self {
            Self::Server => b"TLS 1.3, server CertificateVerify\0",
            Self::Client => b"TLS 1.3, client CertificateVerify\0",
        }
    }
}

/// What a message that may be signed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TLS 1.3 CertificateVerify.
    CertificateVerify,
    /// TLS 1.2 ServerKeyExchange parameters with the randoms before them.
    ServerKeyExchange,
}

/// Why a message is not signed. Each is a session that lost its way or its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A scheme that gatepost never offers.
    Scheme(u16),
    /// A scheme that this key cannot make.
    Key,
    /// A scheme of TLS 1.2 for a message of TLS 1.3 (RFC 8446 §4.2.3).
    SchemeOfTls12,
    /// Neither of the two shapes.
    Shape,
    /// A CertificateVerify of the other party, or of another protocol that has the same shape.
    Context,
    /// A transcript hash of a length that no cipher suite of ours has.
    Hash,
    /// The server random lacks the mark of a server that can do TLS 1.3.
    DowngradeMark,
    /// A group that gatepost never offers.
    Group(u16),
    /// A public point that is not one of its group by length or form, or bytes after it.
    Point,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme(code) => write!(f, "signature scheme {code:#06x} is never offered"),
            Self::Key => f.write_str("the signature scheme does not fit the key"),
            Self::SchemeOfTls12 => f.write_str("a TLS 1.2 scheme for a TLS 1.3 message"),
            Self::Shape => f.write_str("not a TLS handshake"),
            Self::Context => f.write_str("the CertificateVerify of somebody else"),
            Self::Hash => f.write_str("a transcript hash of a wrong length"),
            Self::DowngradeMark => f.write_str("a TLS 1.2 server random without the downgrade mark"),
            Self::Group(group) => write!(f, "group {group:#06x} is never offered"),
            Self::Point => f.write_str("a public point that its group does not have"),
        }
    }
}

impl std::error::Error for Refused {}

/// What TLS 1.3 puts before the context string, so that no signature of TLS 1.2 is one of TLS 1.3.
const PADDING: [u8; 64] = [0x20; 64];
/// Transcript hashes of our cipher suites: SHA-256 and SHA-384. The suite decides, not the signature scheme.
const HASHES: [usize; 2] = [32, 48];
/// Octets of each random.
const RANDOM: usize = 32;
/// Last octets of a server random in TLS 1.2, from a server that can do TLS 1.3.
const DOWNGRADE_MARK: &[u8] = b"DOWNGRD\x01";
/// ECCurveType.named_curve.
const NAMED_CURVE: u8 = 3;

/// A group of the key exchange: its code point, the length of a public point, and the octet that one begins with.
struct Group {
    code: u16,
    length: u8,
    form: Option<u8>,
}

/// x25519, secp256r1 and secp384r1, the latter two as uncompressed points (RFC 8422 §5.4.1).
const GROUPS: [Group; 3] = [
    Group { code: 0x001d, length: 32, form: None },
    Group { code: 0x0017, length: 65, form: Some(4) },
    Group { code: 0x0018, length: 97, form: Some(4) },
];

/// Says what `message` is, when a key of `kind` may sign it for `party` with the scheme of code point `scheme`.
///
/// # Errors
/// [`Refused`]: the message or the scheme is not one that a process of ours needs.
pub fn check(party: Party, scheme: u16, message: &[u8], kind: KeyKind) -> Result<Kind, Refused> {
    let scheme = Scheme::of(scheme).ok_or(Refused::Scheme(scheme))?;
    if scheme.kind != kind {
        return Err(Refused::Key);
    }
    match message.strip_prefix(&PADDING) {
        Some(rest) if scheme.tls13 => certificate_verify(party, rest),
        Some(_) => Err(Refused::SchemeOfTls12),
        None if party == Party::Server => server_key_exchange(message),
        None => Err(Refused::Shape),
    }
}

fn certificate_verify(party: Party, rest: &[u8]) -> Result<Kind, Refused> {
    let hash = rest.strip_prefix(party.context()).ok_or(Refused::Context)?;
    if HASHES.contains(&hash.len()) { Ok(Kind::CertificateVerify) } else { Err(Refused::Hash) }
}

fn server_key_exchange(message: &[u8]) -> Result<Kind, Refused> {
    let (_client, rest) = message.split_at_checked(RANDOM).ok_or(Refused::Shape)?;
    let (server, rest) = rest.split_at_checked(RANDOM).ok_or(Refused::Shape)?;
    let [NAMED_CURVE, high, low, length, point @ ..] = rest else { return Err(Refused::Shape) };
    if !server.ends_with(DOWNGRADE_MARK) {
        return Err(Refused::DowngradeMark);
    }
    let code = u16::from_be_bytes([*high, *low]);
    let group = GROUPS.iter().find(|group| group.code == code).ok_or(Refused::Group(code))?;
    let right_length = *length == group.length && point.len() == usize::from(group.length);
    let right_form = group.form.is_none_or(|form| point.first() == Some(&form));
    if right_length && right_form { Ok(Kind::ServerKeyExchange) } else { Err(Refused::Point) }
}

#[cfg(test)]
#[path = "recognise_tests.rs"]
mod tests;
