//! The client's side of SCRAM-SHA-256, RFC 5802 and RFC 7677, which may lie.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// One attempt.
#[derive(Debug, Clone)]
pub struct Scram {
    /// What it says first about channel binding: `n,,`, `y,,` or `p=tls-exporter,,`.
    pub header: String,
    /// What its TLS connection is bound by; empty without.
    pub binding: Vec<u8>,
    /// Who it is.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Its nonce.
    pub nonce: String,
}

impl Scram {
    /// Without channel binding.
    #[must_use]
    pub fn new(user: &str, password: &str) -> Scram {
        Scram {
            header: "n,,".to_owned(),
            binding: Vec::new(),
            user: user.to_owned(),
            password: password.to_owned(),
            nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
        }
    }

    fn bare(&self) -> String {
        format!("n={},r={}", self.user.replace('=', "=3D").replace(',', "=2C"), self.nonce)
    }

    /// What it says first.
    #[must_use]
    pub fn first(&self) -> String {
        format!("{}{}", self.header, self.bare())
    }

    /// What it says to the server's first message, and what the server must say to that.
    ///
    /// # Panics
    /// The server's message cannot be read.
    #[must_use]
    pub fn last(&self, server: &str) -> (String, String) {
        let of = |name: &str| server.split(',').find_map(|word| word.strip_prefix(name)).expect("a field").to_owned();
        let (nonce, salt, rounds) = (of("r="), STANDARD.decode(of("s=")).expect("base64"), of("i="));
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(self.password.as_bytes(), &salt, rounds.parse().expect("rounds"), &mut salted);
        let client = hmac(&salted, b"Client Key");
        let bound = [self.header.as_bytes(), &self.binding].concat();
        let without = format!("c={},r={nonce}", STANDARD.encode(bound));
        let signed = format!("{},{server},{without}", self.bare());
        let signature = hmac(&Sha256::digest(client), signed.as_bytes());
        let proof: Vec<u8> = client.iter().zip(signature).map(|(key, octet)| key ^ octet).collect();
        let expected = hmac(&hmac(&salted, b"Server Key"), signed.as_bytes());
        (format!("{without},p={}", STANDARD.encode(proof)), format!("v={}", STANDARD.encode(expected)))
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// A token by which OAuth lets a login in until then, in seconds since 1970: a JWT with HS256 (RFC 7519, RFC 7515).
#[must_use]
pub fn token(key: &str, login: &str, ends: u64) -> String {
    let claims = format!(r#"{{"sub":"{login}","iat":{},"exp":{ends}}}"#, ends.saturating_sub(3600));
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac(key.as_bytes(), signed.as_bytes())))
}

/// In base64, as AUTH has it.
#[must_use]
pub fn coded(text: &str) -> String {
    STANDARD.encode(text)
}

/// From base64.
///
/// # Panics
/// It is none.
#[must_use]
pub fn decoded(text: &str) -> String {
    String::from_utf8(STANDARD.decode(text).expect("base64")).expect("text")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 §3.
    #[test]
    fn issue_15_the_client_says_what_the_rfc_s_says() {
        let client = Scram::new("user", "pencil");
        assert_eq!(client.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (last, expected) = client.last(server);
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(expected, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }
}
