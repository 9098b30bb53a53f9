//! Logins: a session asks the auth role about what its client claims, and hears yes or no; handoff hears of a yes from the auth
//! role, never from the session (P4).
//!
//! ```text
//! auth ─► listener  Offers, once
//! auth ─► session   Offer, once, unasked; if it is the same for all, the listener writes it, before auth has its end
//! session ─► auth   Claim     auth ─► session   Judged
//! session ─► auth   Begin     auth ─► session   Challenge or Judged
//! session ─► auth   Response  auth ─► session   Challenge or Judged, …
//! ```
//! A session has one dialogue at a time: another `Claim` or `Begin` ends it.

use crate::codec::{Maybe, Octets, Reader, Value, WireError};
use crate::declare::{codes, fields, tagged};
use crate::link::SessionId;
use gatepost_smtp::envelope::{Login, Mechanism, Service};
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_smtp::sasl::{CHALLENGE_MAX, CREDENTIAL_MAX, RESPONSE_MAX};

/// Longest login that is taken, octets: it fits into one XCLIENT command, whatever it holds.
pub const LOGIN_MAX: usize = 128;

/// Whether a login can be one: it goes into logs, into a table of words, and to the backend. Auth takes no other, and handoff does not
/// believe that.
#[must_use]
pub fn is_login(login: &str) -> bool {
    !login.is_empty()
        && login.len() <= LOGIN_MAX
        && !login.chars().any(|c| c.is_whitespace() || c.is_control() || c == ':')
}

/// Octets of what both ends of a TLS connection can derive from it, and nobody else: tls-exporter, RFC 9266.
pub const BINDING_LENGTH: usize = 32;

codes! { Login Service }

/// One bit for each mechanism that there is.
impl Value<'_> for Mechanisms {
    const MAX: usize = <u8 as Value>::MAX;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        self.bits().write(out, field)
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        Self::from_bits(u8::read(r, field)?).ok_or(WireError::Value(field))
    }
}

tagged! {
    /// Session to auth. One is answered before the next.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Asked<'a> {
        /// A name and its password.
        0 => Claim(claim: Claim<'a>),
        /// A dialogue begins.
        1 => Begin(begin: Begin<'a>),
        /// It goes on.
        2 => Response(response: Response<'a>),
    }

    /// Auth to session.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Answered<'a> {
        /// How a client can log in. The first message, and the only one that nobody asked for.
        0 => Offer(mechanisms: Mechanisms),
        /// What the client has to be told; its response is due.
        1 => Challenge(challenge: &'a [u8] as Octets<CHALLENGE_MAX>),
        /// Whether it is so. The session does not learn more.
        2 => Judged(login: Login),
    }
}

fields! {
    /// What a client says first in a dialogue that auth understands.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct Begin<'a> {
        /// By which mechanism.
        pub mechanism: Mechanism,
        /// What its TLS connection is bound by, [`BINDING_LENGTH`] octets, where TLS 1.3 is spoken.
        pub binding: Option<&'a [u8]> as Maybe<Octets<BINDING_LENGTH>>,
        /// What it says.
        pub response: &'a [u8] as Octets<RESPONSE_MAX>,
    }

    /// What it says next.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct Response<'a> {
        /// What it says.
        pub response: &'a [u8] as Octets<RESPONSE_MAX>,
    }

    /// What a client claims.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct Claim<'a> {
        /// How it was said.
        pub mechanism: Mechanism,
        /// Who it is.
        pub user: &'a [u8] as Octets<CREDENTIAL_MAX>,
        /// Its password.
        pub pass: &'a [u8] as Octets<CREDENTIAL_MAX>,
    }

    /// Auth to listener, once: what every session is offered, so that none has to wait for a check that is under way.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Offers {
        /// How a client can log in. None: that changes while auth runs, and auth tells each session.
        pub mechanisms: Option<Mechanisms>,
    }

    /// Auth to handoff: the client of this session is who it says it is. Answered by [`Noted`]; the session hears of it after that.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct LoggedIn<'a> {
        /// Which session.
        pub id: SessionId,
        /// Who its client is: UTF-8, and see [`is_login`].
        pub login: &'a [u8] as Octets<LOGIN_MAX>,
    }

    /// Handoff to auth: what came of [`LoggedIn`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Noted {
        /// Which session.
        pub id: SessionId,
        /// It is known here, is one for submission, and had no login before.
        pub noted: bool,
    }
}

impl std::fmt::Debug for Begin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Begin({:?})", self.mechanism)
    }
}

impl std::fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Response")
    }
}

impl std::fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claim({:?})", self.mechanism)
    }
}
