//! Names: what a client is called and where a host is, from inside an empty jail.
//!
//! Every look-up comes to one of three things, [`Found`](gatepost_smtp::names::Found): known, none, temporary. A failure is never "no
//! name". [`Resolver`] needs no file and no launcher: it is given name servers and hosts entries, and looks up within bounds of
//! its own: questions at once, CNAMEs, records of an answer, time, memory.
//!
//! The records of DNS and its transports are the crate `domain`'s: it sends each question from a socket of its own with a random port
//! and id, takes only what has the same id and question, and asks by TCP what UDP cuts off. It adds 14 crates to this workspace;
//! hickory-resolver adds 55, among them the tables of IDNA, for what is not needed here (a cache of its own, search lists,
//! files, DNSSEC). NLnet Labs, who make unbound and NSD, keep it. What can be believed of an answer, and for how long, is decided
//! here, without I/O: `answer.rs`, `cache.rs`.
//!
//! | file | what |
//! |---|---|
//! | `lookup.rs` | reverse, confirmed, forward; one question for all who ask the same |
//! | `question.rs`, `answer.rs` | what is asked; what is believed of an answer |
//! | `cache.rs` | what is known for a while |
//! | `hosts.rs` | the entries of `/etc/hosts` |
//! | `servers.rs` | which server is asked, how, for how long |
#![forbid(unsafe_code)]

pub mod answer;
pub mod cache;
mod hosts;
mod lookup;
mod question;
mod servers;
#[cfg(test)]
mod tests;

pub use lookup::{NAMES_TRIED, QUESTIONS_MAX, Resolver, TIME_MAX};
pub use question::{DomainName, Kind, Question};
