//! The skeleton of a role: what the launcher orders it, in which phase, and how a role fails.
//!
//! Every role lives alike: it enters its jail, is linked with its peers, is told to go, makes sure that it can serve, serves,
//! and is drained. [`Orders`] says what is permitted when, without a descriptor; [`Control`] is its blocking face,
//! `AsyncControl` (feature `tokio`) the one for a runtime.
//!
//! **The launcher's death ends a role at once**, whatever is under way: [`RoleError::LauncherGone`]. The kernel kills it then in
//! any case (PR_SET_PDEATHSIG, asked for at the entry into each jail), nobody could restart a role that dies, and what is
//! under way has not been acknowledged (P1).
#![forbid(unsafe_code)]

mod control;
#[cfg(feature = "tokio")]
mod dial;
mod error;
mod memory;
mod orders;
#[cfg(feature = "tokio")]
mod passed;
mod rest;
#[cfg(feature = "tokio")]
mod runtime;
#[cfg(feature = "tokio")]
mod tickets;
mod workers;

pub use control::Control;
#[cfg(feature = "tokio")]
pub use dial::DialerLink;
pub use error::RoleError;
pub use memory::octets;
pub use orders::{LINKS, Orders, Phase, Special, Step, Unordered, peers};
#[cfg(feature = "tokio")]
pub use passed::Passed;
pub use rest::Rest;
#[cfg(feature = "tokio")]
pub use runtime::{AsyncControl, First, Heard, first, runtime, unless};
#[cfg(feature = "tokio")]
pub use tickets::{LinkOver, Tickets};
pub use workers::{Event, Parent, UNANSWERED};

use gatepost_jail::{JailError, Unjailed};
use gatepost_wire::control::Role;
use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;

/// The first act of a process that is executed as the role with that `name`: it takes what the launcher left it, and the name
/// that `ps` shows.
///
/// # Errors
/// There is no such role, or the process was not started by the launcher.
pub fn begin(name: Option<&OsStr>) -> Result<(Role, Unjailed), RoleError> {
    let role = name.and_then(OsStr::to_str).and_then(Role::named).ok_or(JailError::NotLaunched)?;
    let unjailed = Unjailed::take()?;
    gatepost_sys::process::set_comm(&CString::new(format!("gp-{}", role.name())).unwrap_or_default());
    Ok((role, unjailed))
}

/// Every role logs alike, so a link with the observer is taken into use here.
fn logged(step: Step<OwnedFd>) -> Step<OwnedFd> {
    match step {
        Step::Link(Role::Observer, end) => {
            gatepost_log::reconnect(&end);
            Step::Noted
        }
        other => other,
    }
}

/// Octets of the longest frame that the launcher, the listener or the nursery sends.
pub const SHORT_FRAME: usize = 256;
