//! tcpserver: its command line, what a program finds in its environment, what the log says, who may hold how many places.
//!
//! | file | what |
//! |---|---|
//! | `options.rs`, `long.rs` | the command line; the original's options, and ours |
//! | `help.rs` | what `--help` says |
//! | `services.rs` | port numbers by their names |
//! | `peer.rs` | the facts of a connection |
//! | `environment.rs` | a program's environment from them |
//! | `lines.rs` | what is written to descriptor 2 |
//! | `places.rs` | connections at once, and how often, by address and network |
//! | `ident.rs` | RFC 1413: the question, and as much of an answer as counts |
//! | `patch.rs` | MAXCONNIP and its kin, of the limits patch |

pub mod environment;
pub mod help;
pub mod ident;
pub mod lines;
pub mod long;
pub mod options;
pub mod patch;
pub mod peer;
pub mod places;
pub mod services;

pub use options::{Fault, Options, Parsed};
