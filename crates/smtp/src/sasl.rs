//! The dialogue of AUTH, RFC 4954 §4, without its replies: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login-00) and CRAM-MD5
//! (RFC 2195). What a client claims is put together here, and checked elsewhere. The responses of the other mechanisms are
//! understood by whoever checks them: here they are octets.

use crate::envelope::Mechanism;
use crate::split;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Longest name or password, octets.
pub const CREDENTIAL_MAX: usize = 1024;
/// Longest response of a mechanism that is understood elsewhere, octets: the token of OAuth is the longest, and in base64 it must fit
/// into one line of Dovecot's, which has 8192.
pub const RESPONSE_MAX: usize = 5888;
/// Responses of one dialogue: none of the mechanisms has more than three.
pub(crate) const RESPONSES_MAX: u32 = 8;
/// Longest challenge of such a mechanism, octets.
pub const CHALLENGE_MAX: usize = 2048;
/// Octets of the longest line of a dialogue, its end included, RFC 4954 §4.
pub const LINE_MAX: usize = 12_288;
/// Digits of an MD5 in hex.
const DIGEST: usize = 32;

/// A challenge that is always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// The name.
    User,
    /// The password.
    Pass,
    /// The mechanism's only response: the challenge is empty.
    Response,
}

impl Prompt {
    /// In base64.
    #[must_use]
    pub const fn coded(self) -> &'static str {
        match self {
            // "Username:" and "Password:", by which clients know what is asked.
            Self::User => "VXNlcm5hbWU6",
            Self::Pass => "UGFzc3dvcmQ6",
            Self::Response => "",
        }
    }
}

/// What comes next in a dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A challenge is due: 334 and [`Prompt::coded`].
    Prompt(Prompt),
    /// A challenge is due that somebody must make first: [`Exchange::challenge`].
    Challenge,
    /// The client has said all: [`Exchange::claim`].
    Complete,
    /// The client has said what somebody else understands: [`Exchange::response`].
    Said,
    /// The response is none: 501.
    Malformed,
    /// The client gives up: 501.
    Cancelled,
}

/// Which response comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    User,
    Pass,
    Plain,
    Digest,
    Response,
}

/// What a client claims. Nothing in it holds a NUL; name and password have an octet at least and [`CREDENTIAL_MAX`] at most.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The rest is understood by this.
    pub mechanism: Mechanism,
    /// Who it is.
    pub user: &'a [u8],
    /// By which password; with CRAM-MD5 the digest, 32 hex digits.
    pub pass: &'a [u8],
    /// What the digest was asked for; empty with other mechanisms.
    pub challenge: &'a [u8],
    /// Whom it wants to act for; empty: itself. PLAIN alone has it.
    pub acts_for: &'a [u8],
}

impl std::fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claim({:?})", self.mechanism)
    }
}

/// A response that is understood by whoever checks it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// By which mechanism.
    pub mechanism: Mechanism,
    /// It is the first one of its dialogue.
    pub first: bool,
    /// [`RESPONSE_MAX`] octets at most.
    pub octets: &'a [u8],
}

impl std::fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Response({:?})", self.mechanism)
    }
}

/// One dialogue, from AUTH to its last response. What the client said in it is overwritten when it is dropped.
pub struct Exchange {
    mechanism: Mechanism,
    due: Due,
    user: Zeroizing<Vec<u8>>,
    pass: Zeroizing<Vec<u8>>,
    acts_for: Vec<u8>,
    challenge: Vec<u8>,
    response: Zeroizing<Vec<u8>>,
    responses: u32,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Exchange({:?}, {:?})", self.mechanism, self.due)
    }
}

impl Exchange {
    /// Begins a dialogue. `initial`: the response behind the mechanism's name, empty where there is none.
    #[must_use]
    pub fn begin(mechanism: Mechanism, initial: &[u8]) -> (Self, Step) {
        let due = match mechanism {
            Mechanism::Login => Due::User,
            Mechanism::Plain => Due::Plain,
            Mechanism::CramMd5 => Due::Digest,
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus | Mechanism::OAuthBearer | Mechanism::XOAuth2 => {
                Due::Response
            }
        };
        let mut exchange = Self {
            mechanism,
            due,
            user: Zeroizing::default(),
            pass: Zeroizing::default(),
            acts_for: Vec::new(),
            challenge: Vec::new(),
            response: Zeroizing::default(),
            responses: 0,
        };
        let step = match (due, initial) {
            (Due::Digest, []) => Step::Challenge,
            // RFC 4954 §4: here the server speaks first.
            (Due::Digest, _) => Step::Malformed,
            (Due::User, []) => Step::Prompt(Prompt::User),
            (_, []) => Step::Prompt(Prompt::Response),
            // An initial response that is empty is written so.
            (_, b"=") => exchange.understand(b""),
            (_, initial) => exchange.respond(initial),
        };
        (exchange, step)
    }

    /// The challenge that [`Step::Challenge`] asked for, as it is sent: in base64.
    pub fn challenge(&mut self, challenge: &[u8]) -> String {
        self.challenge = challenge.to_vec();
        STANDARD.encode(challenge)
    }

    /// One line of the client's, its end cut off.
    pub fn respond(&mut self, line: &[u8]) -> Step {
        if line == b"*" {
            return Step::Cancelled;
        }
        // At its full size from the start: growing would leave copies of a password behind.
        let mut text = Zeroizing::new(vec![0; base64::decoded_len_estimate(line.len())]);
        match STANDARD.decode_slice(line, &mut text) {
            Ok(length) => {
                let text = split(&text, length).0;
                self.understand(text)
            }
            Err(_) => Step::Malformed,
        }
    }

    fn understand(&mut self, text: &[u8]) -> Step {
        match self.due {
            Due::User => match credential(text) {
                Some(user) => {
                    self.user = user;
                    self.due = Due::Pass;
                    Step::Prompt(Prompt::Pass)
                }
                None => Step::Malformed,
            },
            Due::Pass => complete(credential(text).map(|pass| self.pass = pass)),
            Due::Plain => complete(self.understand_plain(text)),
            Due::Digest => complete(self.understand_digest(text)),
            Due::Response if text.len() > RESPONSE_MAX || self.responses >= RESPONSES_MAX => Step::Malformed,
            Due::Response => {
                self.response = Zeroizing::new(text.to_vec());
                self.responses = self.responses.saturating_add(1);
                Step::Said
            }
        }
    }

    /// What [`Step::Said`] told of.
    #[must_use]
    pub fn response(&self) -> Option<Response<'_>> {
        let first = self.responses == 1;
        (self.due == Due::Response).then(|| Response { mechanism: self.mechanism, first, octets: &self.response })
    }

    /// RFC 4616 §2.
    fn understand_plain(&mut self, text: &[u8]) -> Option<()> {
        let mut fields = text.splitn(3, |octet| *octet == 0);
        self.acts_for = fields.next()?.to_vec();
        self.user = credential(fields.next()?)?;
        self.pass = credential(fields.next()?)?;
        Some(())
    }

    /// RFC 2195 §2. A name may hold spaces, a digest may not.
    fn understand_digest(&mut self, text: &[u8]) -> Option<()> {
        let (user, digest) = split(text, memchr::memrchr(b' ', text)?);
        let digest = digest.strip_prefix(b" ")?;
        if digest.len() != DIGEST || !digest.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        self.user = credential(user)?;
        self.pass = Zeroizing::new(digest.to_vec());
        Some(())
    }

    /// What the client claims, once it has said all.
    #[must_use]
    pub fn claim(&self) -> Claim<'_> {
        Claim {
            mechanism: self.mechanism,
            user: &self.user,
            pass: &self.pass,
            challenge: &self.challenge,
            acts_for: &self.acts_for,
        }
    }
}

fn complete(understood: Option<()>) -> Step {
    if understood.is_some() { Step::Complete } else { Step::Malformed }
}

/// A NUL would end it early where it is checked, and begin another field.
fn credential(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let sound = !text.is_empty() && text.len() <= CREDENTIAL_MAX && !text.contains(&0);
    sound.then(|| Zeroizing::new(text.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mechanism: Mechanism, lines: &[&[u8]]) -> (Exchange, Step) {
        let (first, rest) = lines.split_first().unwrap();
        let (mut exchange, mut step) = Exchange::begin(mechanism, first);
        for line in rest {
            step = exchange.respond(line);
        }
        (exchange, step)
    }

    #[test]
    fn issue_15_what_is_claimed_is_what_was_said() {
        let login: &[&[u8]] = &[b"", b"am9l", b"c2VjcmV0"];
        let rows: [(Mechanism, &[&[u8]]); 4] = [
            (Mechanism::Plain, &[b"AGpvZQBzZWNyZXQ="]),
            (Mechanism::Plain, &[b"", b"AGpvZQBzZWNyZXQ="]),
            (Mechanism::Login, login),
            (Mechanism::Login, &[b"am9l", b"c2VjcmV0"]),
        ];
        for (mechanism, lines) in rows {
            let (exchange, step) = said(mechanism, lines);
            let claim = exchange.claim();
            assert_eq!((step, claim.user, claim.pass), (Step::Complete, &b"joe"[..], &b"secret"[..]), "{lines:?}");
        }
        assert_eq!(said(Mechanism::Plain, &[b"YW5uAGpvZQBzZWNyZXQ="]).0.claim().acts_for, b"ann");
    }

    #[test]
    fn issue_15_no_malformed_response_completes() {
        let long = STANDARD.encode([b'x'; CREDENTIAL_MAX + 1]);
        let rows: [(Mechanism, &[&[u8]]); 12] = [
            (Mechanism::Plain, &[b"="]),
            (Mechanism::Plain, &[b"", b""]),
            (Mechanism::Plain, &[b"", b"="]),
            (Mechanism::Plain, &[b"AGpvZQBzZWNyZXQ"]),
            (Mechanism::Plain, &[b"AGpvZQBzZWNyZXQ= "]),
            (Mechanism::Plain, &[b"am9lAHNlY3JldA=="]),
            (Mechanism::Plain, &[b"AABzZWNyZXQ="]),
            // A NUL in the password.
            (Mechanism::Plain, &[b"AGpvZQBzZQBj"]),
            (Mechanism::Login, &[b"", b"am9l", b""]),
            (Mechanism::Login, &[b"", long.as_bytes()]),
            (Mechanism::Login, &[b"", b"am9lAA=="]),
            (Mechanism::CramMd5, &[b"am9l"]),
        ];
        for (mechanism, lines) in rows {
            assert_eq!(said(mechanism, lines).1, Step::Malformed, "{mechanism:?} {lines:?}");
        }
        assert_eq!(said(Mechanism::Login, &[b"", b"*"]).1, Step::Cancelled);
    }

    #[test]
    fn issue_15_nothing_of_a_dialogue_is_shown_by_debug() {
        let (exchange, _) = said(Mechanism::Plain, &[b"AGpvZQBzZWNyZXQ="]);
        let shown = format!("{exchange:?} {:?}", exchange.claim());
        assert!(!shown.contains("joe") && !shown.contains("secret"), "{shown}");
    }
}
