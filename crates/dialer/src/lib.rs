//! Connects to the configured backends and passes the descriptor on to handoff, and to the source of logins for auth.
//!
//! The only process that reaches them. It is asked for "a connection to backend k", reads and writes nothing on it, and keeps no
//! copy. What handoff may ask for auth may not, and the other way round. May do: connect to the backends' ports, and to sockets in the
//! directories of the backends and of the source of logins. Believes: nobody;
//! a request is three numbers. Whoever owns it can hand out wrong connections.
//!
//! | module | charter |
//! |---|---|
//! | `attempt` | one connection in the making |
//! | `serve` | orders from the launcher, requests from handoff and auth, one loop |
#![forbid(unsafe_code)]

mod attempt;
mod serve;

use gatepost_jail::Unjailed;
use gatepost_role::{Control, RoleError};
use gatepost_sys::epoll::Epoll;
use gatepost_sys::limits::{self, Limit};
use gatepost_wire::control::Role;
use gatepost_wire::slice::DialerSlice;

/// Connections in the making at once, however many descriptors are allowed.
const ATTEMPTS_MAX: usize = 4096;
/// Descriptors that are not connections: the standard ones, launcher, epoll, links, and those that a hostile frame may bring
/// along until it is refused.
const OTHER_DESCRIPTORS: u64 = 24;
/// Descriptors that are reported at once.
const BATCH: usize = 64;

/// A dialer, from birth to drain.
///
/// # Errors
/// [`RoleError`].
pub fn run(unjailed: Unjailed) -> Result<(), RoleError> {
    let slice: DialerSlice = unjailed.slice()?;
    let entered = unjailed.enter(Role::Dialer)?;
    // Both need system calls that the filter takes away.
    let (descriptors, _) = limits::get(Limit::OpenFiles).map_err(RoleError::system("read the limit of open files"))?;
    let most = usize::try_from(descriptors.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(usize::MAX).min(ATTEMPTS_MAX);
    let epoll = Epoll::new(BATCH).map_err(RoleError::system("make an epoll"))?;
    let jailed = entered.seal()?;
    serve::serve(Control::new(Role::Dialer, jailed.control), slice, epoll, most)
}

#[cfg(test)]
mod tests;
