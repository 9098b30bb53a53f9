//! Handoff and resolver: what a client is called. Listener, handoff and resolver: what DNS lists (RFC 5782) say of it. The resolver is
//! told an address, and what the client says in HELO where a list is asked about that; which lists there are it is told by the launcher.

use crate::codec::Within;
use crate::declare::{fields, tagged};
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

    /// What became of a request. Each is answered once, after as long as it takes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LookedUp {
        /// Which request.
        pub number: u32,
        /// See [`ClientNames::reverse`].
        pub reverse: Found<HostName>,
        /// See [`ClientNames::confirmed`].
        pub confirmed: Found<HostName>,
        /// Seconds for which that may be taken for the answer to the same request; 0: not at all.
        pub good: u32,
    }
}

tagged! {
    /// Resolver to handoff.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum NamesNews {
        /// The answer to a request.
        1 => LookedUp(answer: LookedUp),
        /// Names come from elsewhere from now on: no answer before this one is good any more.
        2 => Changed,
        /// What a list says of a HELO name.
        3 => Listed(answer: Listed),
    }
}

tagged! {
    /// Handoff to resolver.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Ask {
        /// The names of a client are wanted.
        1 => LookUp(ask: LookUp),
        /// What a list says of a HELO name is.
        2 => Helo(ask: AskHelo),
    }
}

/// DNS lists of a configuration.
pub const LISTS_MAX: usize = 16;
/// Codes of one answer of a list.
pub const CODES_MAX: usize = 16;
/// Octets of a list's text.
pub const LIST_TEXT_MAX: usize = 255;
/// Octets of the number before a list of values.
const COUNT: usize = 4;

fields! {
    /// Listener to resolver: what a list says of a client is wanted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct AskList {
        /// Identifies the request in [`Listed`].
        pub number: u32,
        /// Which list: its place in [`crate::slice::ResolverSlice::lists`].
        pub list: u8,
        /// Of whom.
        pub client: IpAddr,
        /// The list's text is wanted as well, where it lists the client.
        pub text: bool,
    }

    /// Handoff to resolver: what a list says of a HELO name is wanted.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AskHelo {
        /// Identifies the request in [`Listed`].
        pub number: u32,
        /// Which list: as in [`AskList`].
        pub list: u8,
        /// Who said it.
        pub client: IpAddr,
        /// What it said.
        pub name: HostName,
        /// As in [`AskList`].
        pub text: bool,
    }

    /// Resolver to listener or handoff: what became of a request. Each is answered once, after as long as it takes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Listed {
        /// Which request.
        pub number: u32,
        /// What the list says.
        pub listing: Listing,
        /// Its text; empty: none, or not wanted. Whoever runs the list wrote it.
        pub text: Vec<u8> as Within<{ COUNT + LIST_TEXT_MAX }>,
    }
}

tagged! {
    /// What a list says of a client.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Listing {
        /// It does not list it.
        0 => Unlisted,
        /// It does, with these addresses of 127.0.0.0/8.
        1 => Codes(codes: Vec<u32> as Within<{ COUNT + 4 * CODES_MAX }>),
        /// Nothing that could be believed: the list is left out.
        2 => LeftOut,
    }
}

impl LookedUp {
    /// The answer to a request, good for so many seconds.
    #[must_use]
    pub fn new(number: u32, names: ClientNames, good: u32) -> Self {
        Self { number, reverse: names.reverse, confirmed: names.confirmed, good }
    }
}
