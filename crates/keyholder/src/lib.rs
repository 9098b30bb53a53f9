//! Signs TLS handshakes, counted, and nothing else.
//!
//! The only process that has a private key once the launcher has wiped its copy (P5). It reads three kinds of frame of
//! a few octets each, reaches no network and no file, and answers one question: a signature over something that
//! [`gatepost_tls::recognise`] knows as a part of a TLS handshake. Whoever asks for anything else, or too often, loses
//! the channel it asked along.
#![forbid(unsafe_code)]

mod offence;
mod serve;

use serve::PerAsker;

use gatepost_jail::Unjailed;
use gatepost_role::{Control, RoleError};
use gatepost_sys::epoll::Epoll;
use gatepost_sys::limits::{self, Limit};
use gatepost_tls::recognise::Party;
use gatepost_tls::sign::Keys;
use gatepost_wire::control::Role;
use gatepost_wire::slice::KeyholderSlice;

/// Sessions that may have a channel at once, however many descriptors are allowed.
pub(crate) const SESSIONS_MAX: usize = 8192;
/// Descriptors that are not sessions' channels: the standard ones, launcher, epoll, links, and those that a hostile
/// frame may bring along until it is refused.
const OTHER_DESCRIPTORS: u64 = 24;

/// The keyholder, from its start to its end. Returns when it has been drained.
///
/// # Errors
/// [`RoleError`].
pub fn run(unjailed: Unjailed) -> Result<(), RoleError> {
    let slice: KeyholderSlice = unjailed.slice()?;
    let load = |party, pems| Keys::load(party, pems).map_err(RoleError::given("private keys"));
    let keys = PerAsker { session: load(Party::Server, slice.keys)?, handoff: load(Party::Client, slice.client_keys)? };
    let entered = unjailed.enter(Role::Keyholder)?;
    // Both need system calls that the filter takes away.
    let (descriptors, _) = limits::get(Limit::OpenFiles).map_err(RoleError::system("read the limit of open files"))?;
    let most = usize::try_from(descriptors.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(usize::MAX).min(SESSIONS_MAX);
    // Every session that asks is seen at once: whose turn it is depends on all of them.
    let epoll = Epoll::new(most).map_err(RoleError::system("make an epoll"))?;
    let jailed = entered.seal()?;
    serve::serve(Control::new(Role::Keyholder, jailed.control), keys, epoll, most)
}
