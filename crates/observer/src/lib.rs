//! The role that holds the log. Every other role, and the launcher, has a channel to it and writes lines there; it writes them
//! to its descriptor 2, which nobody else has, or to a socket of syslog's that the launcher has connected.
//!
//! May do: read those channels, write that descriptor and that socket, answer who reads the counters. Holds: the log. Believes: nothing; a line is text of the role that its
//! channel was made for, whatever it says. It asks nobody anything, and nobody waits for it (P14): when the log cannot be
//! written, lines are kept up to a bound and then counted.
#![forbid(unsafe_code)]

mod backlog;
mod counters;
mod http;
mod serve;
mod view;
mod worst;

use gatepost_jail::Unjailed;
use gatepost_role::{Control, RoleError};
use gatepost_sys::epoll::Epoll;
use gatepost_wire::control::Role;
use gatepost_wire::slice::ObserverSlice;

/// Descriptors that are looked at between two system calls that wait: there is a channel for each role.
const BATCH: usize = 32;

/// The observer, from birth to its end. Returns when it has been drained and everybody else has ended.
///
/// # Errors
/// [`RoleError`].
pub fn run(unjailed: Unjailed) -> Result<(), RoleError> {
    let slice: ObserverSlice = unjailed.slice()?;
    let entered = unjailed.enter(Role::Observer)?;
    let epoll = || Epoll::new(BATCH).map_err(RoleError::system("make an epoll"));
    let (all, lines) = (epoll()?, epoll()?);
    let jailed = entered.seal()?;
    serve::serve(Control::new(Role::Observer, jailed.control), all, lines, slice)
}
