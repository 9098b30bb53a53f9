//! Logins: a session asks the auth role about what its client claims, and hears yes or no; handoff hears of a yes from the auth
//! role, never from the session (P4).

use crate::codec::Octets;
use crate::declare::{codes, fields};
use crate::link::SessionId;
use gatepost_smtp::envelope::{Login, Mechanism, Service};
use gatepost_smtp::sasl::CREDENTIAL_MAX;

/// Longest login that is taken, octets: it fits into one XCLIENT command, whatever it holds.
pub const LOGIN_MAX: usize = 128;

codes! { Login Service }

fields! {
    /// Session to auth: what a client claims. One is answered before the next.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct Claim<'a> {
        /// How it was said.
        pub mechanism: Mechanism,
        /// Who it is.
        pub user: &'a [u8] as Octets<CREDENTIAL_MAX>,
        /// Its password.
        pub pass: &'a [u8] as Octets<CREDENTIAL_MAX>,
    }

    /// Auth to session: whether it is so. The session does not learn more.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Judged {
        /// The answer.
        pub login: Login,
    }

    /// Auth to handoff: the client of this session is who it says it is. Answered by [`Noted`]; the session hears of it after that.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct LoggedIn<'a> {
        /// Which session.
        pub id: SessionId,
        /// Who its client is: 1 to [`LOGIN_MAX`] octets of UTF-8 without controls.
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

impl std::fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claim({:?})", self.mechanism)
    }
}
