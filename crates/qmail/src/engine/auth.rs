//! The dialogue of AUTH, RFC 4954 §4, in the words of the patched builds. What it finds out, the parent checks.

use super::verbs::skip_spaces;
use super::{Engine, Question, State, Turn};
use crate::replies;
use crate::split;
use gatepost_smtp::envelope::Mechanism;
use gatepost_smtp::sasl::{Exchange, Prompt, Step};

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

impl Engine {
    fn offers(&self, mechanism: Mechanism) -> bool {
        self.settings.auth.is_some_and(|offer| match mechanism {
            Mechanism::Login | Mechanism::Plain => offer.plain_login,
            Mechanism::CramMd5 => offer.cram_md5,
            // A checker is given a password or an MD5.
            _ => false,
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
        let (word, rest) = split(argument, gatepost_smtp::find::first(b' ', argument).unwrap_or(argument.len()));
        let named = MECHANISMS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word));
        let Some((_, mechanism)) = named.filter(|(_, mechanism)| self.offers(*mechanism)) else {
            return self.refuse(replies::AUTH_UNIMPLEMENTED);
        };
        let (exchange, step) = Exchange::begin(*mechanism, skip_spaces(rest));
        self.exchange = Some(exchange);
        self.dialogue(step)
    }

    /// Goes on with the dialogue. The octets of each prompt are those of the patches.
    fn dialogue<'i>(&mut self, step: Step) -> Option<Turn<'i>> {
        self.state = State::Command;
        match step {
            Step::Prompt(prompt) => {
                self.say(match prompt {
                    Prompt::User => replies::AUTH_USER,
                    Prompt::Pass => replies::AUTH_PASS,
                    Prompt::Response => replies::AUTH_PLAIN,
                });
                self.state = State::Auth;
                None
            }
            Step::Challenge => {
                self.state = State::Asked(Question::Challenge);
                Some(Turn::Challenge)
            }
            Step::Complete => {
                self.state = State::Asked(Question::Check);
                Some(Turn::Check)
            }
            // None of these mechanisms has such a response.
            Step::Said | Step::Malformed => self.refuse_response(replies::AUTH_MALFORMED),
            Step::Cancelled => self.refuse_response(replies::AUTH_CANCELED),
        }
    }

    fn refuse_response<'i>(&mut self, reply: replies::Reply) -> Option<Turn<'i>> {
        self.exchange = None;
        self.refuse(reply)
    }

    /// Queues the challenge, `<pid.time@host>`, that [`AuthAsk::Challenge`] asked for. Without effect when none is due.
    pub fn challenge(&mut self, challenge: &[u8]) {
        if let (State::Asked(Question::Challenge), Some(exchange)) = (self.state, &mut self.exchange) {
            let coded = exchange.challenge(challenge);
            self.say_line(&[b"334 ", coded.as_bytes()]);
            self.state = State::Auth;
        }
    }

    /// One line of the dialogue, its end cut off.
    pub(super) fn response<'i>(&mut self, line: &[u8]) -> Option<Turn<'i>> {
        let step = self.exchange.as_mut().map_or(Step::Malformed, |exchange| exchange.respond(line));
        self.dialogue(step)
    }
}
