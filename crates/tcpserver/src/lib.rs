//! A program for each connection, in tcpserver's place.
//!
//! | process | is | may |
//! |---|---|---|
//! | runner | the one that was started | whatever `-u` and `-g` leave it: it executes the programs, and opens the rules |
//! | listener | its forked child, jailed | accept, look names up, read the rules that the runner has opened, judge |
//!
//! Root binds, then the listener is forked, and the runner becomes whom programs run as. Only what needs more for each program
//! (`--chroot`, `--namespaces`) leaves the runner those capabilities. The listener hands each connection over with typed facts
//! ([`gatepost_wire::ucspi`]). A program's variables come from the rules as the runner reads them, so an owned listener names none.
//!
//! | file | what |
//! |---|---|
//! | `start.rs` | from the command line to the two processes |
//! | `address.rs` | host and port, sockets that are handed over |
//! | `account.rs` | whom programs run as |
//! | `confine.rs` | what programs may not do |
//! | `runner.rs` | executing programs, and their ends |
//! | `execute.rs` | one program: its environment, its lines, its new process |
//! | `rules.rs` | the rules' file, opened again when it has changed |
//! | `listener/` | the jailed process: accepting, names, judging |
//! | `say.rs` | descriptor 2 |
#![forbid(unsafe_code)]

mod account;
mod address;
mod confine;
mod execute;
mod listener;
mod rules;
mod runner;
mod say;
mod start;

pub use start::run;

use gatepost_channel::End;
use gatepost_wire::{ListenerToRunner, RunnerToListener};

/// The runner's end.
type RunnerEnd = End<RunnerToListener, ListenerToRunner>;
/// The listener's end.
type ListenerEnd = End<ListenerToRunner, RunnerToListener>;

/// Exit status of what the command line makes impossible.
const USAGE: u8 = 100;
/// Exit status of a process of a connection that the rules deny.
const DENIED: u8 = 100;
/// Exit status of what the system makes impossible.
const FAILED: u8 = 111;
