//! The few system calls std lacks, each behind a safe signature.
//!
//! The only crate with `unsafe`, and the only one that may use nix, libc, caps, rlimit, seccompiler and landlock.
//! It decides nothing: what a role may do is data in `gatepost-jail`.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod as_owner;
mod call_names;
pub mod confine;
pub mod epoll;
#[cfg(feature = "escape")]
pub mod escape;
pub mod fds;
pub mod filter;
pub mod heap;
pub mod huge;
pub mod landlock;
pub mod limits;
pub mod net;
pub mod netns;
pub mod peer;
pub mod process;
pub mod program;
pub mod seq;
pub mod signal;
pub mod starts;
pub mod terminal;
pub mod vfork;
pub mod wait;
pub mod wipe;
