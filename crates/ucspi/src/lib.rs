//! What tcpserver's users rely on, octet-exact and without a descriptor or a clock: rules, environment, log lines, options.
//!
//! | file | what |
//! |---|---|
//! | `cdb.rs` | constant databases, read with distrust, and written |
//! | `getopt.rs` | how options are read |
//! | `lines.rs` | lines on standard error that all these programs have in common |
//! | `rules/` | which rule is a peer's, and what it says; the source that tcprules compiles |
//! | `tcpserver/` | tcpserver's command line, its programs' environment, its log lines, its limits |
//! | `words.rs` | the words for errors of system calls |
#![forbid(unsafe_code)]

pub mod cdb;
pub mod getopt;
pub mod lines;
pub mod rules;
pub mod tcpserver;
pub mod words;
