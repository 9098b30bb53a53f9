//! AUTH, RFC 4954: where it may be said, and what its dialogue comes to. Whether a claim is true is judged elsewhere.

use super::{Engine, Event, State, Step};
use crate::envelope::{CloseReason, Login, Mechanism, Service};
use crate::lines::{Found, Rules};
use crate::mechanism::Mechanisms;
use crate::replies::{self, Reply};
use crate::sasl::{self, Claim, Exchange, Response};
use crate::split;
use zeroize::Zeroize as _;

/// In the order in which EHLO names them. Those who read the list from left to right do not say their password where they need not, and
/// else have the shorter dialogue. CRAM-MD5 is not spoken here: it needs passwords in clear.
const ORDER: [Mechanism; 6] = [
    Mechanism::ScramSha256Plus,
    Mechanism::ScramSha256,
    Mechanism::Plain,
    Mechanism::Login,
    Mechanism::OAuthBearer,
    Mechanism::XOAuth2,
];

/// What an answer is due about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said<'a> {
    /// A name and its password: [`Engine::judge`].
    Claim(Claim<'a>),
    /// What somebody else understands: [`Engine::judge`] or [`Engine::challenge`].
    Response(Response<'a>),
}

impl Engine {
    /// A password must not cross the network in clear, so nothing may tempt a client to send it.
    pub(super) fn offers_auth(&self) -> bool {
        self.settings.service == Service::Submission && self.tls.is_some() && !self.mechanisms.is_empty()
    }

    /// By which mechanisms a client may log in, from the next EHLO and AUTH on. Until then by those with a password.
    pub fn set_mechanisms(&mut self, mechanisms: Mechanisms) {
        self.mechanisms = mechanisms;
    }

    /// The line of EHLO.
    pub(super) fn say_mechanisms(&mut self, separator: char) {
        self.append(format_args!("250{separator}AUTH"));
        let mechanisms = self.mechanisms;
        for mechanism in ORDER.into_iter().filter(|mechanism| mechanisms.has(*mechanism)) {
            self.append(format_args!(" {}", mechanism.name()));
        }
        self.append(format_args!("\r\n"));
    }

    pub(super) fn auth<'i>(&mut self, argument: &[u8]) -> Step<'i> {
        // Also where it is refused: a client may say its password without being asked.
        self.secret = true;
        if self.settings.service != Service::Submission {
            return self.refuse(replies::NO_AUTH);
        }
        if self.authenticated {
            return self.refuse(replies::AUTH_AGAIN);
        }
        if self.tls.is_none() {
            return self.refuse(replies::AUTH_NEEDS_TLS);
        }
        if self.helo.is_empty() {
            return self.refuse(replies::HELO_FIRST);
        }
        if argument.is_empty() {
            return self.refuse(replies::BAD_ARGUMENT);
        }
        let (word, initial) = split(argument, memchr::memchr(b' ', argument).unwrap_or(argument.len()));
        let offered = |mechanism: &Mechanism| ORDER.contains(mechanism) && self.mechanisms.has(*mechanism);
        let Some(mechanism) = Mechanism::named(word).filter(offered) else {
            return self.refuse(replies::AUTH_MECHANISM);
        };
        let (exchange, step) = Exchange::begin(mechanism, initial.trim_ascii_start());
        self.dialogue(Box::new(exchange), step)
    }

    fn dialogue<'i>(&mut self, exchange: Box<Exchange>, step: sasl::Step) -> Step<'i> {
        match step {
            sasl::Step::Prompt(prompt) => {
                self.append(format_args!("334 {}\r\n", prompt.coded()));
                self.state = State::Auth(exchange);
                Step::On
            }
            sasl::Step::Complete | sasl::Step::Said => {
                self.state = State::AuthAsked(exchange);
                Step::Yield(Event::Auth)
            }
            // None of our mechanisms has such a challenge.
            sasl::Step::Challenge | sasl::Step::Malformed => self.refuse_auth(replies::AUTH_MALFORMED),
            sasl::Step::Cancelled => self.refuse_auth(replies::AUTH_CANCELLED),
        }
    }

    /// Reads a line of the dialogue. None of them is kept for the log, and what is left of it here is overwritten.
    pub(super) fn read_response<'i>(&mut self, rest: &mut &'i [u8]) -> Step<'i> {
        self.secret = true;
        let rules = Rules { longest: sasl::LINE_MAX, endless: self.settings.limits.long_line, bare_lf: false };
        let (taken, found) = self.lines.next(rest, &rules);
        *rest = split(rest, taken).1;
        match found {
            Found::Starved => Step::On,
            Found::Line(line) => self.respond(line),
            Found::Held => {
                let line = self.lines.take_held();
                let step = self.respond(&line);
                self.give_back(line);
                step
            }
            Found::TooLong => self.refuse_auth(replies::AUTH_LONG_LINE),
            Found::Endless => self.close(replies::TOO_MANY_ERRORS, CloseReason::Abuse),
            Found::BareLf => self.close(replies::BARE_IN_LINE, CloseReason::Abuse),
        }
    }

    fn respond<'i>(&mut self, line: &[u8]) -> Step<'i> {
        match std::mem::replace(&mut self.state, State::Command) {
            State::Auth(mut exchange) => {
                let step = exchange.respond(line);
                self.dialogue(exchange, step)
            }
            other => {
                self.state = other;
                Step::On
            }
        }
    }

    /// Gives back the room of a line, which may have held a password.
    pub(super) fn give_back(&mut self, mut line: Vec<u8>) {
        if self.settings.service == Service::Submission {
            line.zeroize();
        }
        self.lines.give_back(line);
    }

    fn refuse_auth<'i>(&mut self, reply: Reply) -> Step<'i> {
        self.state = State::Command;
        self.auths = self.auths.saturating_add(1);
        if self.auths > self.settings.limits.auths {
            // No abuse: a program with an old password is the more frequent cause, and its whole address would pay for it.
            return self.close(replies::TOO_MANY_ERRORS, CloseReason::Refused);
        }
        self.say(reply);
        Step::On
    }

    /// A password may have been among what was read since the last call: whoever holds that must overwrite it.
    pub fn take_secret(&mut self) -> bool {
        std::mem::take(&mut self.secret)
    }

    /// What the client said, while an answer is due about it.
    #[must_use]
    pub fn said(&self) -> Option<Said<'_>> {
        let State::AuthAsked(exchange) = &self.state else { return None };
        Some(exchange.response().map_or_else(|| Said::Claim(exchange.claim()), Said::Response))
    }

    /// Queues a challenge of whoever understands the response. Without effect unless an answer to one is due.
    pub fn challenge(&mut self, challenge: &[u8]) {
        match std::mem::replace(&mut self.state, State::Command) {
            State::AuthAsked(mut exchange) if exchange.response().is_some() => {
                let coded = exchange.challenge(challenge);
                self.append(format_args!("334 {coded}\r\n"));
                self.state = State::Auth(exchange);
            }
            other => self.state = other,
        }
    }

    /// Queues the reply to what was claimed, and forgets the claim. Without effect when none is due.
    pub fn judge(&mut self, login: Login) {
        if !matches!(self.state, State::AuthAsked(_)) {
            return;
        }
        let _: Step<'_> = match login {
            Login::Accepted => {
                self.state = State::Command;
                self.authenticated = true;
                self.say(replies::AUTH_OK);
                Step::On
            }
            Login::Refused => self.refuse_auth(replies::AUTH_REFUSED),
            // Nobody's fault but ours; counted all the same, since each costs a question.
            Login::Unknown => {
                self.state = State::Command;
                self.refuse(replies::AUTH_UNKNOWN)
            }
        };
    }
}
