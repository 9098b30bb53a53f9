//! The embedded LMTP receiver of `gatepost try`: mail lands in a Maildir.
//!
//! A backend for those who have none yet, and a process of its own like every other. It takes LMTP (RFC 2033) from
//! handoff on a unix socket and says 250 only when the message is on the disk under its final name (P1).
//!
//! | file | what |
//! |---|---|
//! | `lmtp.rs` | the protocol: octets in, events and replies out; no descriptor |
//! | `command.rs` | one command line |
//! | `replies.rs` | what it says |
//! | `maildir.rs` | one message into one file |
//! | `serve.rs` | the loop: one thread, one epoll, many connections |
#![forbid(unsafe_code)]

mod command;
pub mod lmtp;
pub mod maildir;
pub mod replies;
mod serve;

use gatepost_jail::Unjailed;
use gatepost_role::{Control, RoleError};
use gatepost_sys::limits::{self, Limit};
use gatepost_wire::control::Role;
use gatepost_wire::slice::ReceiverSlice;
use maildir::Maildir;
use std::path::Path;

/// Name of the socket in its directory.
pub const SOCKET: &str = "lmtp";
/// Descriptors that are neither a connection nor the message on it.
const OTHER_DESCRIPTORS: u64 = 16;

/// The receiver, from its start to its end. Returns when it has been drained.
///
/// # Errors
/// [`RoleError`].
pub fn run(unjailed: Unjailed) -> Result<(), RoleError> {
    let slice: ReceiverSlice = unjailed.slice()?;
    let entered = unjailed.enter(Role::Receiver)?;
    // From here on paths are the jail's; what makes directories and sockets comes before the filter that forbids it.
    let maildir =
        Maildir::open(Path::new(&slice.maildir), &slice.hostname).map_err(RoleError::system("open the Maildir"))?;
    let socket = Path::new(&slice.socket_dir).join(SOCKET);
    let (descriptors, _) = limits::get(Limit::OpenFiles).map_err(RoleError::system("read the limit of open files"))?;
    let server = serve::Server::bind(socket, slice.hostname, maildir, connections(descriptors))?;
    let jailed = entered.seal()?;
    server.serve(Control::new(Role::Receiver, jailed.control))
}

/// Connections that may be open at once: each needs a descriptor for itself and one for its message.
fn connections(descriptors: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2).unwrap_or(usize::MAX).max(1)
}
