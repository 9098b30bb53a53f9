//! Tests only: a scripted client, an MTA that misbehaves on command, throw-away hosts with real MTAs on them.
//!
//! A failure here ends the test: constructors and helpers panic with a sentence that says
//! what was expected, so that tests contain no error handling.
#![forbid(unsafe_code)]
// A test says "this must not happen" by panicking; the crate is never part of the binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::missing_panics_doc)]

pub mod attacks;
pub mod authority;
pub mod client;
pub mod crowd;
pub mod dialogue;
pub mod facts;
pub mod host;
pub mod maildir;
pub mod mta;
pub mod name_server;
pub mod obliging;
pub mod peer;
pub mod rogue;
pub mod run;
pub mod scram;
pub mod supervisor;
pub mod systemd;
pub mod unpacked;
pub mod wait;
