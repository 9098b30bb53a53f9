//! Auth and the checker: names and passwords for a checkpassword program, and what it said. The checker runs the program and decides
//! nothing: it is asked about what a session has claimed, and auth alone answers that session.

use crate::codec::Octets;
use crate::declare::{codes, fields};
use gatepost_smtp::enumeration;
use gatepost_smtp::sasl::CREDENTIAL_MAX;
use std::net::SocketAddr;
use std::time::Duration;

/// Programs at once. Auth asks no more, and the checker runs no more.
pub const AT_ONCE: usize = 16;

/// Longest time that a program has; then it is killed.
pub const PATIENCE: Duration = Duration::from_secs(12);

enumeration! {
    /// What a checkpassword program said.
    pub enum Found {
        /// The password is that of the name: exit status 0.
        Right,
        /// It is not: exit status 1.
        Wrong,
        /// It is not known: any other end, or none in time.
        Unknown,
    }
}

codes! { Found }

fields! {
    /// Auth to checker: a name and a password, neither with a NUL. Each is answered once.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct Check<'a> {
        /// Identifies the question in [`Checked`].
        pub number: u32,
        /// The client, for the program's environment.
        pub client: SocketAddr,
        /// Who it claims to be.
        pub user: &'a [u8] as Octets<CREDENTIAL_MAX>,
        /// Its password.
        pub pass: &'a [u8] as Octets<CREDENTIAL_MAX>,
    }

    /// Checker to auth.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Checked {
        /// Which question.
        pub number: u32,
        /// What the program said.
        pub found: Found,
    }
}

impl std::fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Check({})", self.number)
    }
}
