//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: RFC 5802, RFC 7677, and RFC 9266 for what a TLS connection is bound by.
//! Octets in, octets out: no descriptor, no clock, no randomness of its own.
//!
//! Names and passwords are taken as they are: of SASLprep (RFC 4013), which changes nothing in ASCII, nothing is done.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepost_smtp::sasl::CREDENTIAL_MAX;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Fewest iterations, RFC 7677 §4.
const ITERATIONS_MIN: u32 = 4096;
/// Most, so that checking a password takes no longer than by other hashes.
const ITERATIONS_MAX: u32 = 500_000;
/// Of a line that we write.
const ITERATIONS: u32 = 100_000;
/// Octets of the longest salt.
const SALT_MAX: usize = 64;
/// Octets of a client's longest nonce.
const NONCE_MAX: usize = 256;
/// Octets of ours, in base64.
const OWN_NONCE: usize = 24;
/// The one way of binding, RFC 9266.
const BINDING: &str = "tls-exporter";

/// A key, or what is compared with one.
type Key = [u8; 32];

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    iterations: u32,
    salt: Vec<u8>,
    stored: Key,
    server: Key,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} iterations)", self.iterations)
    }
}

/// Why keys can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadKeys {
    /// They cannot be read, or have fewer than 4096 iterations.
    Broken,
    /// They have more than 500 000 iterations.
    Dear,
}

impl Keys {
    /// Reads `ITERATIONS,SALT,STORED,SERVER`, as Dovecot writes them behind `{SCRAM-SHA-256}`.
    ///
    /// # Errors
    /// [`BadKeys`].
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let mut words = text.split(',');
        let mut word = || words.next().ok_or(BadKeys::Broken);
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| BadKeys::Broken);
        let key = |text: &str| decode(text)?.try_into().map_err(|_| BadKeys::Broken);
        let iterations = word()?.parse().map_err(|_| BadKeys::Broken)?;
        let (salt, stored, server) = (decode(word()?)?, key(word()?)?, key(word()?)?);
        if words.next().is_some() || salt.is_empty() || salt.len() > SALT_MAX || iterations < ITERATIONS_MIN {
            return Err(BadKeys::Broken);
        }
        if iterations > ITERATIONS_MAX {
            return Err(BadKeys::Dear);
        }
        Ok(Self { iterations, salt, stored, server })
    }

    /// Of a new password.
    #[must_use]
    pub fn of(password: &[u8], salt: &[u8; 16]) -> Self {
        Self::with(password, salt, ITERATIONS)
    }

    fn with(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut *salted);
        let client = Zeroizing::new(hmac(&*salted, b"Client Key"));
        Self {
            iterations,
            salt: salt.to_vec(),
            stored: Sha256::digest(*client).into(),
            server: hmac(&*salted, b"Server Key"),
        }
    }

    /// Whether they are those of `password`. Takes as long whether they are or not.
    #[must_use]
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        Self::with(password, &self.salt, self.iterations).stored.ct_eq(&self.stored).into()
    }

    /// Those of nobody, as those of `login` would look: with the iterations of others, and a salt that is always the same.
    pub(crate) fn of_nobody(&self, secret: &Key, login: &[u8]) -> Self {
        let octets = [hmac(secret, &[b"salt", login].concat()), hmac(secret, &[b"more", login].concat())].concat();
        Self {
            iterations: self.iterations,
            salt: octets.get(..self.salt.len()).unwrap_or(&octets).to_vec(),
            stored: hmac(secret, &[b"stored", login].concat()),
            server: hmac(secret, &[b"server", login].concat()),
        }
    }

    pub(crate) fn server(&self) -> &Key {
        &self.server
    }
}

impl fmt::Display for Keys {
    /// As in a passwd file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coded = |octets: &[u8]| STANDARD.encode(octets);
        let Self { iterations, salt, stored, server } = self;
        write!(f, "{{SCRAM-SHA-256}}{iterations},{},{},{}", coded(salt), coded(stored), coded(server))
    }
}

pub(crate) fn hmac(key: &[u8], text: &[u8]) -> Key {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// The client is not who it says it is, or says what it must not. Which of the two it does not hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// How far channel binding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding<'a> {
    /// There is none: the connection has nothing to be bound by.
    Unknown,
    /// The client was offered it, and did not choose it.
    Offered,
    /// It has chosen it; this is what its connection is bound by.
    Chosen(&'a [u8]),
}

/// What a client says first.
#[derive(Clone)]
pub struct Opening<'m> {
    /// Who it claims to be.
    pub login: String,
    header: &'m str,
    bare: &'m str,
    nonce: &'m str,
}

impl<'m> Opening<'m> {
    /// Reads the client's first message, RFC 5802 §7.
    ///
    /// # Errors
    /// [`Refused`]: it is none, or it lies about channel binding, or it wants to act for somebody else.
    pub fn parse(message: &'m [u8], binding: Binding<'_>) -> Result<Self, Refused> {
        let message = std::str::from_utf8(message).map_err(|_| Refused)?;
        let (flag, rest) = message.split_once(',').ok_or(Refused)?;
        let (acts_for, bare) = rest.split_once(',').ok_or(Refused)?;
        let header = message.get(..message.len().saturating_sub(bare.len())).ok_or(Refused)?;
        let sound = match binding {
            Binding::Chosen(_) => flag.strip_prefix("p=") == Some(BINDING),
            // "y": it could bind, and believes that we can't. Somebody has taken the offer away from it.
            Binding::Offered => flag == "n",
            Binding::Unknown => flag == "n" || flag == "y",
        };
        let mut words = bare.split(',');
        // An extension that must be understood stands before the name.
        let login = words.next().and_then(|word| word.strip_prefix("n=")).and_then(name).ok_or(Refused)?;
        let nonce = words.next().and_then(|word| word.strip_prefix("r=")).ok_or(Refused)?;
        let printable =
            !nonce.is_empty() && nonce.len() <= NONCE_MAX && nonce.bytes().all(|octet| octet.is_ascii_graphic());
        let for_itself = acts_for.is_empty() || acts_for.strip_prefix("a=").and_then(name).as_deref() == Some(&login);
        if sound && printable && for_itself { Ok(Self { login, header, bare, nonce }) } else { Err(Refused) }
    }

    /// What is said to it, with the keys of its login and octets that nobody can guess.
    #[must_use]
    pub fn answer(&self, keys: Keys, random: &Key, binding: Binding<'_>) -> (Server, String) {
        let own: String = STANDARD.encode(random).chars().take(OWN_NONCE).collect();
        let nonce = format!("{}{own}", self.nonce);
        let first = format!("r={nonce},s={},i={}", STANDARD.encode(&keys.salt), keys.iterations);
        let data = if let Binding::Chosen(data) = binding { data } else { &[] };
        let bound = [self.header.as_bytes(), data].concat();
        (Server { keys, nonce, said: format!("{},{first}", self.bare), bound }, first)
    }
}

/// A name, RFC 5802 §5.1: a comma is `=2C` in it, an equals sign `=3D`.
fn name(coded: &str) -> Option<String> {
    let mut parts = coded.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (octet, rest) = (part.get(..2)?, part.get(2..)?);
        name.push(match octet {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        name.push_str(rest);
    }
    (!name.is_empty() && name.len() <= CREDENTIAL_MAX && !name.contains('\0')).then_some(name)
}

/// A dialogue whose client's last message is due.
pub struct Server {
    keys: Keys,
    nonce: String,
    /// The first messages of both.
    said: String,
    /// What the client must have seen of its connection.
    bound: Vec<u8>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

impl Server {
    /// Judges the client's last message: what proves to it that we know its password as well.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn finish(&self, message: &[u8]) -> Result<String, Refused> {
        let message = std::str::from_utf8(message).map_err(|_| Refused)?;
        let (without, proof) = message.rsplit_once(",p=").ok_or(Refused)?;
        let mut words = without.split(',');
        let bound = words.next().and_then(|word| word.strip_prefix("c=")).ok_or(Refused)?;
        let bound = STANDARD.decode(bound).map_err(|_| Refused)?;
        let nonce = words.next().and_then(|word| word.strip_prefix("r=")).ok_or(Refused)?;
        let proof: Key = STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(Refused)?;
        let signed = format!("{},{without}", self.said);
        let signature = hmac(&self.keys.stored, signed.as_bytes());
        let mut client = Zeroizing::new([0; 32]);
        for ((to, one), other) in client.iter_mut().zip(proof).zip(signature) {
            *to = one ^ other;
        }
        let stored: Key = Sha256::digest(*client).into();
        let right = stored.ct_eq(&self.keys.stored) & bound.as_slice().ct_eq(&self.bound);
        if !bool::from(right) || nonce != self.nonce {
            return Err(Refused);
        }
        Ok(format!("v={}", STANDARD.encode(hmac(&self.keys.server, signed.as_bytes()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";

    fn keys() -> Keys {
        Keys::with(b"pencil", &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), 4096)
    }

    /// RFC 7677 §3, whose server's nonce is not of our form.
    #[test]
    fn issue_15_the_server_says_what_the_rfc_s_says() {
        let opening = Opening::parse(FIRST, Binding::Unknown).unwrap();
        let (mut server, first) = opening.answer(keys(), &[7; 32], Binding::Unknown);
        assert!(first.starts_with("r=rOprNGfwEbeRWgbNEkqO") && first.ends_with(",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
        assert_eq!(first.len(), "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".len() + OWN_NONCE);
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        server.said = server.said.replace(&server.nonce, nonce);
        server.nonce = nonce.to_owned();
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert_eq!(server.finish(last.as_bytes()).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        for wrong in [
            last.replace("dHz", "dHy"),
            last.replace("biws", "eSws"),
            last.replace("biws", "?"),
            last.replace("k0", "k1"),
            last.replace(",p=", ",m=x,p="),
            last.replace(",p=", ",p=A"),
            last.replace("c=biws,", ""),
            last.replace("c=biws", "c="),
            last.split(",p=").next().unwrap().to_owned(),
            format!("{last},x=1"),
            String::new(),
            ",p=".to_owned(),
        ] {
            assert_eq!(server.finish(wrong.as_bytes()), Err(Refused), "{wrong}");
        }
        assert_eq!(server.finish(b"\xff,p="), Err(Refused));
    }

    #[test]
    fn issue_15_a_client_that_lies_about_its_binding_is_refused() {
        let (chosen, bare) = (Binding::Chosen(b"data"), "n=user,r=abc");
        for (header, binding, good) in [
            ("n,,", Binding::Unknown, true),
            ("y,,", Binding::Unknown, true),
            ("p=tls-exporter,,", Binding::Unknown, false),
            ("n,,", Binding::Offered, true),
            ("y,,", Binding::Offered, false),
            ("p=tls-exporter,,", Binding::Offered, false),
            ("p=tls-exporter,,", chosen, true),
            ("p=tls-exporter,a=user,", chosen, true),
            ("p=tls-exporter,a=root,", chosen, false),
            ("p=tls-unique,,", chosen, false),
            ("p=,,", chosen, false),
            ("n,,", chosen, false),
            ("y,,", chosen, false),
            ("n,a=user,", Binding::Offered, true),
            ("n,user,", Binding::Offered, false),
            ("N,,", Binding::Offered, false),
            (",,", Binding::Offered, false),
            ("n,", Binding::Offered, false),
            ("", Binding::Offered, false),
        ] {
            let message = format!("{header}{bare}");
            assert_eq!(Opening::parse(message.as_bytes(), binding).is_ok(), good, "{message} {binding:?}");
        }
    }

    /// The proof is right each time, made by who knows the password: what refuses is that the octets themselves are compared.
    #[test]
    fn issue_15_a_binding_of_another_connection_is_refused() {
        let (ours, others) = ([7; 32], [8; 32]);
        let first = b"p=tls-exporter,,n=user,r=abc";
        let said = |data: &[u8]| STANDARD.encode([b"p=tls-exporter,,", data].concat());
        let unsaid = STANDARD.encode(b"n,,");
        for (bound, good) in [
            (said(&ours), true),
            (said(&others), false),
            (said(&ours[1..]), false),
            (said(b""), false),
            (unsaid, false),
            (String::new(), false),
        ] {
            let binding = Binding::Chosen(&ours);
            let (server, challenge) = Opening::parse(first, binding).unwrap().answer(keys(), &[7; 32], binding);
            let without = format!("c={bound},r={}", server.nonce);
            let mut salted = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(b"pencil", &server.keys.salt, 4096, &mut salted);
            let signature = hmac(&server.keys.stored, format!("n=user,r=abc,{challenge},{without}").as_bytes());
            let proof: Vec<u8> = hmac(&salted, b"Client Key").iter().zip(signature).map(|(a, b)| a ^ b).collect();
            let last = format!("{without},p={}", STANDARD.encode(proof));
            assert_eq!(server.finish(last.as_bytes()).is_ok(), good, "{bound}");
        }
    }

    #[test]
    fn issue_15_only_a_first_message_is_one() {
        let long = format!("n,,n=user,r={}", "a".repeat(NONCE_MAX + 1));
        let name = format!("n,,n={},r=abc", "a".repeat(CREDENTIAL_MAX + 1));
        for message in [
            "n,,n=user",
            "n,,n=,r=abc",
            "n,,n=user,r=",
            "n,,n=user,r=a b",
            "n,,m=x,n=user,r=abc",
            "n,,n=us=er,r=abc",
            "n,,n=us=2,r=abc",
            "n,,n=us\0er,r=abc",
            "n,,r=abc,n=user",
            "n,,n=user,r=a\u{e4}",
            &long,
            &name,
        ] {
            assert!(Opening::parse(message.as_bytes(), Binding::Unknown).is_err(), "{message}");
        }
        assert!(Opening::parse(b"n,,n=\xff,r=abc", Binding::Unknown).is_err());
        let said = |message: &'static str| Opening::parse(message.as_bytes(), Binding::Unknown).unwrap().login;
        assert_eq!(said("n,,n=a=2Cb=3D=2Cc,r=abc"), "a,b=,c");
        assert_eq!(said("n,,n=user,r=abc,x=extension"), "user");
    }

    #[test]
    fn issue_15_keys_are_read_as_dovecot_writes_them() {
        // doveadm pw -s SCRAM-SHA-256 -p secret
        let line = keys().to_string();
        let text = line.strip_prefix("{SCRAM-SHA-256}").unwrap();
        assert_eq!(Keys::parse(text), Ok(keys()));
        assert!(keys().is_of(b"pencil") && !keys().is_of(b"Pencil") && !keys().is_of(b""));
        for (damaged, bad) in [
            (text.replace("4096,", "4095,"), BadKeys::Broken),
            (text.replace("4096,", "500001,"), BadKeys::Dear),
            (text.replace("4096,", ","), BadKeys::Broken),
            (text.replace("W22Z", "W22"), BadKeys::Broken),
            (format!("{text},"), BadKeys::Broken),
            (text[..text.len() - 4].to_owned(), BadKeys::Broken),
            (String::new(), BadKeys::Broken),
        ] {
            assert_eq!(Keys::parse(&damaged), Err(bad), "{damaged}");
        }
        let shown = format!("{:?}", keys());
        assert_eq!(shown, "Keys(4096 iterations)");
    }

    #[test]
    fn issue_15_nobody_looks_like_somebody() {
        let nobody = |secret: Key, login: &[u8]| keys().of_nobody(&secret, login);
        let ann = nobody([1; 32], b"ann");
        assert_eq!((ann.salt.len(), ann.iterations), (16, 4096));
        assert_eq!(ann, nobody([1; 32], b"ann"));
        assert!(ann.salt != nobody([1; 32], b"bob").salt && ann.salt != nobody([2; 32], b"ann").salt);
    }
}
