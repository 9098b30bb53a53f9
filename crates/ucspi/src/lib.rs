//! What tcpserver's users know by heart, octet-exact and without a descriptor or a clock: rules, environment, log lines, options.
//!
//! | file | what |
//! |---|---|
//! | `cdb.rs` | constant databases, read with distrust, and written |
#![forbid(unsafe_code)]

pub mod cdb;
