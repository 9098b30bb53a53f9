//! One connection on descriptors 0 and 1, served as the daemon would: inetd, xinetd, systemd with `Accept=yes`, tcpserver or s6
//! starts it, it serves its client by the configuration and ends.
//!
//! | process | is | may |
//! |---|---|---|
//! | parent | the one that was started: handoff, dialer and keyholder of this connection | reach the backend and its own directory of content files, sign handshakes |
//! | session | its forked child, jailed | talk to the client and to the parent |
//!
//! The session is forked first of all, before the configuration is read, so it has never had anything else in its memory; it is
//! given its slice when the parent is in its jail and the backend has been asked whether it relays for strangers.
//!
//! | file | what |
//! |---|---|
//! | `run.rs` | from the start to the fork, and the end |
//! | `parent.rs` | the parent: its jail, the backend's proof, the two channels |
//! | `child.rs` | the session, from the fork to its exit status |
//! | `peer.rs` | who the client is; pure |
//! | `error.rs` | why nobody is served |
#![forbid(unsafe_code)]

mod child;
mod error;
mod parent;
mod peer;
mod run;

pub use run::run;
