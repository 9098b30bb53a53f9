//! The drop-in for qmail-smtpd: the real binary under pipes, sockets and Debian's tcpserver, with control files, environment
//! and queue programs as qmail has them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod issue10;
mod kill;
mod patches;
mod room;
mod services;
mod tcpserver;
mod vectors;
mod wrapper;
