//! One hash of a password: argon2id (RFC 9106), bcrypt, sha512-crypt, yescrypt, or the keys of SCRAM-SHA-256 (RFC 5802). The crates
//! are RustCrypto's, and `bcrypt` by Keats.

use crate::scram::{BadKeys, Keys};
use argon2::password_hash::Error;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use std::fmt;
use subtle::ConstantTimeEq as _;
use yescrypt::Yescrypt;
use zeroize::Zeroize as _;

/// Memory that checking one password may take, octets.
pub(crate) const MEMORY_MAX: u64 = 64 << 20;
/// Time that argon2id may take, in passes over [`MEMORY_MAX`].
const PASSES_MAX: u64 = 4;
/// 2 to this many rounds of bcrypt.
const COST_MAX: u32 = 14;
const ROUNDS_MAX: u32 = 500_000;

/// Why a hash can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHash {
    /// None of the five kinds.
    Kind,
    /// It says that it is of one of them, and cannot be read.
    Broken,
    /// Checking it would take more memory or time than is permitted here.
    Dear,
}

impl fmt::Display for BadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => {
                "its hash is none of argon2id ($argon2id$), bcrypt ($2b$), sha512-crypt ($6$), yescrypt ($y$), {SCRAM-SHA-256}"
            }
            Self::Broken => "its hash cannot be read: it is cut off, or something else is behind it",
            Self::Dear => "its hash takes more than 64 MiB or too long to check: make one by gatepost passwd",
        })
    }
}

impl std::error::Error for BadHash {}

enum Kind {
    Argon2id(String),
    Bcrypt { cost: u32, salt: [u8; 16], hash: [u8; 23] },
    Sha512Crypt(String),
    Yescrypt(String),
    Scram(Keys),
}

/// A hash within the bounds.
pub struct Hash(Kind);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Argon2id(_) => "argon2id",
            Kind::Bcrypt { .. } => "bcrypt",
            Kind::Sha512Crypt(_) => "sha512-crypt",
            Kind::Yescrypt(_) => "yescrypt",
            Kind::Scram(_) => "SCRAM-SHA-256",
        })
    }
}

impl Hash {
    /// Reads a hash as crypt(5) and RFC 9106's implementations write it.
    ///
    /// # Errors
    /// [`BadHash`].
    pub fn parse(text: &str) -> Result<Self, BadHash> {
        let kind = text.strip_prefix('$').and_then(|rest| rest.split('$').next()).ok_or(BadHash::Kind)?;
        match kind {
            "argon2id" => argon2id(text).map(Kind::Argon2id),
            "2a" | "2b" | "2y" => bcrypt(text),
            "6" => sha512_crypt(text).map(Kind::Sha512Crypt),
            "y" => yescrypt(text).map(Kind::Yescrypt),
            _ => Err(BadHash::Kind),
        }
        .map(Self)
    }

    /// Reads the keys of SCRAM-SHA-256, as they stand behind `{SCRAM-SHA-256}`.
    ///
    /// # Errors
    /// [`BadHash`].
    pub(crate) fn parse_scram(text: &str) -> Result<Self, BadHash> {
        let keys = Keys::parse(text).map_err(|bad| match bad {
            BadKeys::Broken => BadHash::Broken,
            BadKeys::Dear => BadHash::Dear,
        })?;
        Ok(Self(Kind::Scram(keys)))
    }

    /// The keys of SCRAM-SHA-256, where it has them.
    #[must_use]
    pub fn keys(&self) -> Option<&Keys> {
        match &self.0 {
            Kind::Scram(keys) => Some(keys),
            _ => None,
        }
    }

    /// Whether it is that of `password`. Takes as long whether it is or not. None: that could not be found out, for want of memory.
    #[must_use]
    pub(crate) fn is_of(&self, password: &[u8]) -> Option<bool> {
        match &self.0 {
            Kind::Argon2id(text) => found(Argon2::default().verify_password(password, text.as_str())),
            Kind::Bcrypt { cost, salt, hash } => {
                // As every bcrypt has it: a NUL behind the password, and 72 octets in all.
                let mut key = [0_u8; 72];
                let length = password.len().min(key.len());
                for (to, from) in key.iter_mut().zip(password) {
                    *to = *from;
                }
                let used = key.get(..length.saturating_add(1)).unwrap_or(&key);
                let made = bcrypt::bcrypt(*cost, *salt, used);
                key.zeroize();
                Some(made.get(..hash.len()).is_some_and(|made| made.ct_eq(hash).into()))
            }
            Kind::Sha512Crypt(text) => found(ShaCrypt::default().verify_password(password, text.as_str())),
            Kind::Yescrypt(text) => found(Yescrypt::default().verify_password(password, text.as_str())),
            Kind::Scram(keys) => Some(keys.is_of(password)),
        }
    }

    /// A new hash of a password, as it stands in a passwd file: argon2id with 19 MiB, two passes and one lane, as OWASP has it.
    ///
    /// # Errors
    /// [`BadHash::Broken`]: the password is longer than 4 GiB.
    pub fn line_of(password: &[u8], salt: &[u8; 16]) -> Result<String, BadHash> {
        use argon2::CustomizedPasswordHasher as _;
        let params = Params::new(19 * 1024, 2, 1, None).map_err(|_| BadHash::Broken)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let hash = argon2.hash_password_customized(password, salt, None, None, params).map_err(|_| BadHash::Broken)?;
        Ok(hash.to_string())
    }
}

/// What a check found. Any error but the one is ours: the hash itself was read before.
fn found(checked: Result<(), Error>) -> Option<bool> {
    match checked {
        Ok(()) => Some(true),
        Err(Error::PasswordInvalid) => Some(false),
        Err(_) => None,
    }
}

fn argon2id(text: &str) -> Result<String, BadHash> {
    let hash = argon2::PasswordHash::new(text).map_err(|_| BadHash::Broken)?;
    let params = Params::try_from(&hash).map_err(|_| BadHash::Broken)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(BadHash::Broken);
    }
    let octets = u64::from(params.m_cost()).saturating_mul(1024);
    let work = octets.saturating_mul(u64::from(params.t_cost()));
    if octets > MEMORY_MAX || work > MEMORY_MAX.saturating_mul(PASSES_MAX) {
        return Err(BadHash::Dear);
    }
    Ok(text.to_owned())
}

/// `$2b$NN$`, 22 characters of salt and 31 of hash.
fn bcrypt(text: &str) -> Result<Kind, BadHash> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &alphabet::BCRYPT,
        GeneralPurposeConfig::new()
            .with_encode_padding(false)
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone)
            .with_decode_allow_trailing_bits(true),
    );
    let mut parts = text.split('$').skip(2);
    let (cost, rest) = (parts.next().ok_or(BadHash::Broken)?, parts.next().ok_or(BadHash::Broken)?);
    if parts.next().is_some() || cost.len() != 2 || rest.len() != 53 || !rest.is_ascii() {
        return Err(BadHash::Broken);
    }
    let cost = cost.parse().map_err(|_| BadHash::Broken)?;
    let (salt, hash) = rest.split_at_checked(22).ok_or(BadHash::Broken)?;
    let decode = |text: &str| BASE64.decode(text).map_err(|_| BadHash::Broken);
    let salt = decode(salt)?.try_into().map_err(|_| BadHash::Broken)?;
    let hash = decode(hash)?.try_into().map_err(|_| BadHash::Broken)?;
    match cost {
        4..=COST_MAX => Ok(Kind::Bcrypt { cost, salt, hash }),
        0..4 => Err(BadHash::Broken),
        _ => Err(BadHash::Dear),
    }
}

/// `$6$`, perhaps `rounds=N$`, salt, `$` and 86 characters.
fn sha512_crypt(text: &str) -> Result<String, BadHash> {
    let mut parts = text.split('$').skip(2).peekable();
    if let Some(rounds) = parts.peek().and_then(|part| part.strip_prefix("rounds=")) {
        let rounds: u32 = rounds.parse().map_err(|_| BadHash::Broken)?;
        if rounds > ROUNDS_MAX {
            return Err(BadHash::Dear);
        }
        // Too few are none.
        sha_crypt::Params::new(rounds).map_err(|_| BadHash::Broken)?;
        parts.next();
    }
    let (salt, hash) = (parts.next().ok_or(BadHash::Broken)?, parts.next().ok_or(BadHash::Broken)?);
    let sound = !salt.is_empty() && salt.len() <= 16 && hash.len() == 86 && parts.next().is_none();
    if sound { Ok(text.to_owned()) } else { Err(BadHash::Broken) }
}

/// `$y$`, parameters, salt, `$` and 43 characters.
fn yescrypt(text: &str) -> Result<String, BadHash> {
    let mut parts = text.split('$').skip(2);
    let params = parts.next().ok_or(BadHash::Broken)?;
    let (salt, hash) = (parts.next().ok_or(BadHash::Broken)?, parts.next().ok_or(BadHash::Broken)?);
    if salt.is_empty() || hash.len() != 43 || parts.next().is_some() {
        return Err(BadHash::Broken);
    }
    let read: yescrypt::Params = params.parse().map_err(|_| BadHash::Broken)?;
    // More than these three say nothing that crypt(5) writes, and could make it dearer.
    let plain = yescrypt::Params::new(yescrypt::Mode::default(), read.n(), read.r(), 1).map_err(|_| BadHash::Broken)?;
    let octets = read.n().checked_mul(u64::from(read.r())).and_then(|blocks| blocks.checked_mul(128));
    if read != plain || octets.is_none_or(|octets| octets > MEMORY_MAX) {
        return Err(BadHash::Dear);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by doveadm pw, crypt(3), openssl passwd and crypt(3): the password is "secret".
    const HASHES: [&str; 4] = [
        "$argon2id$v=19$m=65536,t=3,p=1$+EbR2TNYA/91132B2LcH3Q$bE/CsXICLSavWLX43XIaYGvFJ6q+QNofBkxGt5LJzO0",
        "$2b$05$ym.1.W2GyZLffGpp9WvzA.TqFXMEbJVAfOT8.QbBsKmbuEpgM9Qv2",
        "$6$b67V62LAFwVsLD71$E0UztPnBBvRIEgNlE0OrhCjlTgeiRTP1iO4RKJ0Bz55IeIKwRr8TMBmkKN/pPtmded0zEEk80jbSg7ej/2gKS.",
        "$y$j75$abcdefghijk1234567890.$cF5T3/8vvVWPv/lGI23WOSWow5OmCvNuGz1juHQGyU/",
    ];

    #[test]
    fn issue_15_hashes_of_other_programs_are_read() {
        for text in HASHES {
            let hash = Hash::parse(text).unwrap();
            assert_eq!(hash.is_of(b"secret"), Some(true), "{text}");
            for wrong in [&b"Secret"[..], b"", &[b'x'; 1024]] {
                assert_eq!(hash.is_of(wrong), Some(false), "{text}");
            }
        }
        let own = Hash::line_of(b"secret", b"0123456789abcdef").unwrap();
        assert!(own.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{own}");
        assert_eq!(Hash::parse(&own).unwrap().is_of(b"secret"), Some(true));
    }

    #[test]
    fn p13_a_check_that_fails_says_nothing_of_the_password() {
        assert_eq!([Err(Error::OutOfMemory), Err(Error::Internal)].map(found), [None, None]);
    }

    #[test]
    fn issue_15_a_hash_that_is_broken_or_too_dear_is_told() {
        for (text, fault) in [
            ("", BadHash::Kind),
            ("secret", BadHash::Kind),
            ("$1$salt$hash", BadHash::Kind),
            ("$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAA", BadHash::Kind),
            ("$argon2id$", BadHash::Broken),
            ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ", BadHash::Broken),
            ("$argon2id$v=19$m=1048576,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", BadHash::Dear),
            ("$argon2id$v=19$m=65536,t=20,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", BadHash::Dear),
            ("$argon2id$v=19$m=65536,t=5,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", BadHash::Dear),
            ("$argon2id$v=19$m=65537,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", BadHash::Dear),
            ("$2b$10$short", BadHash::Broken),
            ("$2b$15$KIXnTzaB1vUxMmVkBzBYP.uC2fKjR3rTvVtG1kq6qkD8e5c5nKx3a", BadHash::Dear),
            ("$2b$31$KIXnTzaB1vUxMmVkBzBYP.uC2fKjR3rTvVtG1kq6qkD8e5c5nKx3a", BadHash::Dear),
            ("$6$salt$short", BadHash::Broken),
            ("$6$rounds=500001$salt$short", BadHash::Dear),
            ("$6$rounds=999999999$salt$short", BadHash::Dear),
            ("$6$rounds=1000000000$salt$short", BadHash::Dear),
            ("$6$rounds=4294967296$salt$short", BadHash::Broken),
            ("$6$rounds=999$salt$short", BadHash::Broken),
            ("$6$rounds=1e5$salt$short", BadHash::Broken),
            ("$y$j9T$salt$short", BadHash::Broken),
            ("$y$jzz$abcdefgh$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", BadHash::Broken),
            ("$y$jFT$abcdefgh$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", BadHash::Dear),
        ] {
            assert_eq!(Hash::parse(text).err(), Some(fault), "{text}");
        }
        for dearest in [
            "$argon2id$v=19$m=65536,t=4,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$2b$14$KIXnTzaB1vUxMmVkBzBYP.uC2fKjR3rTvVtG1kq6qkD8e5c5nKx3a",
            "$6$rounds=500000$b67V62LAFwVsLD71$E0UztPnBBvRIEgNlE0OrhCjlTgeiRTP1iO4RKJ0Bz55IeIKwRr8TMBmkKN/pPtmded0zEEk80jbSg7ej/2gKS.",
            "$6$rounds=99999$b67V62LAFwVsLD71$E0UztPnBBvRIEgNlE0OrhCjlTgeiRTP1iO4RKJ0Bz55IeIKwRr8TMBmkKN/pPtmded0zEEk80jbSg7ej/2gKS.",
        ] {
            assert!(Hash::parse(dearest).is_ok(), "{dearest}");
        }
    }
}
