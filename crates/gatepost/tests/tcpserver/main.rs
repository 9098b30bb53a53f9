//! `gatepost tcpserver` beside Debian's tcpserver: the same command lines, clients and signals, and what comes of them compared octet
//! for octet. Process ids and clients' ports are masked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod audit;
mod connections;
mod crowd;
mod limits;
mod names;
mod programs;
mod signals;
mod site;
mod starts;
