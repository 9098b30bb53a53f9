//! Handoff and resolver: what a client is called. The resolver is told an address, and neither asks nor learns what for.

use crate::declare::fields;
use gatepost_smtp::names::{ClientNames, Found, HostName};
use std::net::IpAddr;

fields! {
    /// Handoff to resolver: the names of a client are wanted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct LookUp {
        /// Identifies the request in [`LookedUp`].
        pub number: u32,
        /// Whose.
        pub client: IpAddr,
    }

    /// Resolver to handoff: what became of a request. Each is answered once, after as long as it takes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LookedUp {
        /// Which request.
        pub number: u32,
        /// See [`ClientNames::reverse`].
        pub reverse: Found<HostName>,
        /// See [`ClientNames::confirmed`].
        pub confirmed: Found<HostName>,
    }
}

impl LookedUp {
    /// The answer to a request.
    #[must_use]
    pub fn new(number: u32, names: ClientNames) -> Self {
        Self { number, reverse: names.reverse, confirmed: names.confirmed }
    }

    /// What it says.
    #[must_use]
    pub fn names(self) -> ClientNames {
        ClientNames { reverse: self.reverse, confirmed: self.confirmed }
    }
}
