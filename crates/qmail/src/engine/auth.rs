//! The dialogue of AUTH, RFC 4954 §4, in the words of the patched builds. What it finds out, the parent checks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::verbs::skip_spaces;
use super::{Engine, Question, State, Turn};
use crate::replies;
use crate::split;
use gatepost_smtp::envelope::Mechanism;

/// Longest user or password, octets: a checker takes 512 in all.
const CREDENTIAL_MAX: usize = 1024;
/// Digits of an MD5 in hex.
const DIGEST: usize = 32;

/// In the order in which EHLO names them.
const MECHANISMS: [(&str, Mechanism); 3] =
    [("LOGIN", Mechanism::Login), ("PLAIN", Mechanism::Plain), ("CRAM-MD5", Mechanism::CramMd5)];

/// What is asked about AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthAsk<'a> {
    /// A challenge, RFC 2195: [`Engine::challenge`], or an answer that is not [`gatepost_smtp::envelope::Then::Go`].
    Challenge,
    /// Whether this is so. Nothing in it holds a NUL, and nothing but the challenge is empty.
    Check {
        /// What follows is understood by this.
        mechanism: Mechanism,
        /// 1024 octets at most.
        user: &'a [u8],
        /// 1024 octets at most. With [`Mechanism::CramMd5`] the digest, 32 hex digits.
        pass: &'a [u8],
        /// As given to [`Engine::challenge`]; empty with other mechanisms. Whoever gave it should know it better.
        challenge: &'a [u8],
    },
}

/// Which response comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    User,
    Pass,
    Plain,
    Digest,
}

/// What the client said of itself so far.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    pub(super) mechanism: Mechanism,
    pub(super) user: Vec<u8>,
    pub(super) pass: Vec<u8>,
    pub(super) challenge: Vec<u8>,
}

impl Engine {
    fn offers(&self, mechanism: Mechanism) -> bool {
        self.settings.auth.is_some_and(|offer| match mechanism {
            Mechanism::Login | Mechanism::Plain => offer.plain_login,
            Mechanism::CramMd5 => offer.cram_md5,
        })
    }

    /// A password must not cross the network in clear, so nothing may tempt a client to send it.
    fn auth_waits_for_tls(&self) -> bool {
        !self.tls && (self.settings.tls_first || self.settings.auth.is_some_and(|offer| offer.needs_tls))
    }

    /// The names of the mechanisms for EHLO. None, and AUTH is not named.
    pub(super) fn mechanisms_offered(&self) -> impl Iterator<Item = &'static str> {
        let named = self.settings.auth.is_some_and(|offer| offer.available) && !self.auth_waits_for_tls();
        MECHANISMS.iter().filter(move |(_, mechanism)| named && self.offers(*mechanism)).map(|(name, _)| *name)
    }

    pub(super) fn auth<'i>(&mut self, argument: &[u8]) -> Option<Turn<'i>> {
        let Some(offer) = self.settings.auth else { return self.refuse(replies::UNIMPLEMENTED) };
        let auths = self.settings.limits.auths;
        if self.tallies.auths.one_more(auths) {
            return self.close_for_abuse();
        }
        if !offer.available {
            return self.refuse(replies::AUTH_UNAVAILABLE);
        }
        if self.authenticated {
            return self.refuse(replies::AUTH_TWICE);
        }
        if self.transaction.is_some() {
            return self.refuse(replies::AUTH_IN_MAIL);
        }
        if self.auth_waits_for_tls() {
            return self.refuse(replies::AUTH_NEEDS_TLS);
        }
        let (word, rest) = split(argument, memchr::memchr(b' ', argument).unwrap_or(argument.len()));
        let named = MECHANISMS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word));
        let Some((_, mechanism)) = named.filter(|(_, mechanism)| self.offers(*mechanism)) else {
            return self.refuse(replies::AUTH_UNIMPLEMENTED);
        };
        self.credentials = Credentials { mechanism: *mechanism, ..Credentials::default() };
        let initial = skip_spaces(rest);
        match (mechanism, initial) {
            (Mechanism::Login, []) => self.prompt(replies::AUTH_USER, Due::User),
            (Mechanism::Login, _) => self.respond(Due::User, initial),
            (Mechanism::Plain, []) => self.prompt(replies::AUTH_PLAIN, Due::Plain),
            (Mechanism::Plain, _) => self.respond(Due::Plain, initial),
            (Mechanism::CramMd5, []) => {
                self.state = State::Asked(Question::Challenge);
                Some(Turn::Challenge)
            }
            // RFC 4954 §4: here the server speaks first.
            (Mechanism::CramMd5, _) => self.refuse(replies::AUTH_MALFORMED),
        }
    }

    fn prompt<'i>(&mut self, reply: replies::Reply, due: Due) -> Option<Turn<'i>> {
        self.say(reply);
        self.state = State::Auth(due);
        None
    }

    /// Queues the challenge, `<pid.time@host>`, that [`AuthAsk::Challenge`] asked for. Without effect when none is due.
    pub fn challenge(&mut self, challenge: &[u8]) {
        if matches!(self.state, State::Asked(Question::Challenge)) {
            self.credentials.challenge = challenge.to_vec();
            self.say_line(&[b"334 ", STANDARD.encode(challenge).as_bytes()]);
            self.state = State::Auth(Due::Digest);
        }
    }

    /// One line of the dialogue, its end cut off.
    pub(super) fn response<'i>(&mut self, due: Due, line: &[u8]) -> Option<Turn<'i>> {
        self.state = State::Command;
        if line == b"*" {
            return self.refuse(replies::AUTH_CANCELED);
        }
        self.respond(due, line)
    }

    fn respond<'i>(&mut self, due: Due, response: &[u8]) -> Option<Turn<'i>> {
        // RFC 4954 §4: an initial response that is empty is written so.
        let response = if response == b"=" { b"" } else { response };
        let understood = STANDARD.decode(response).ok().and_then(|text| self.understand(due, &text));
        match understood {
            None => self.refuse(replies::AUTH_MALFORMED),
            Some(Understood::User) => self.prompt(replies::AUTH_PASS, Due::Pass),
            Some(Understood::All) => {
                self.state = State::Asked(Question::Check);
                Some(Turn::Check)
            }
        }
    }

    fn understand(&mut self, due: Due, text: &[u8]) -> Option<Understood> {
        let credentials = &mut self.credentials;
        match due {
            Due::User => {
                credentials.user = credential(text)?;
                return Some(Understood::User);
            }
            Due::Pass => credentials.pass = credential(text)?,
            // RFC 4616 §2. Whom the client wants to act for is ignored, as ever here.
            Due::Plain => {
                let mut fields = text.splitn(3, |octet| *octet == 0).skip(1);
                credentials.user = credential(fields.next()?)?;
                credentials.pass = credential(fields.next()?)?;
            }
            // RFC 2195 §2. A user may hold spaces, a digest may not.
            Due::Digest => {
                let (user, digest) = split(text, memchr::memrchr(b' ', text)?);
                let digest = digest.strip_prefix(b" ")?;
                if digest.len() != DIGEST || !digest.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                credentials.user = credential(user)?;
                credentials.pass = digest.to_vec();
            }
        }
        Some(Understood::All)
    }
}

enum Understood {
    /// The password is still missing.
    User,
    All,
}

/// A NUL would end it early where the checker reads it, and begin another field.
fn credential(text: &[u8]) -> Option<Vec<u8>> {
    let sound = !text.is_empty() && text.len() <= CREDENTIAL_MAX && !text.contains(&0);
    sound.then(|| text.to_vec())
}
