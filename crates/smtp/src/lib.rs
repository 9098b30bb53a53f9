//! RFC 5321 as a sans-IO engine: octets in, events and replies out. No descriptor, no clock, no tokio.
//!
//! | module | charter |
//! |---|---|
//! | [`server`] | the session as the server sees it: one [`server::Engine`] per client |
//! | [`verbs`], [`replies`] | every verb and every reply, as tables |
//! | [`envelope`] | the words for an envelope, a verdict and the end of a session |
//! | [`address`] | paths and mailboxes, RFC 5321 §4.1.2 and §4.1.3, RFC 6531 |
//! | [`data`] | content: one scanner, and writers that make it canonical |
//! | [`lines`] | lines of bounded length from a stream |
//! | [`sasl`], [`mechanism`] | the dialogue of AUTH |
//! | [`names`] | host names, and what a look-up came to |
//! | [`client`] | the replies of a backend, read as hostile input |
//! | [`text`] | the text of a backend's refusal, made fit for a client |
//! | [`xtext`] | RFC 3461 §4 |
//! | [`submission`], [`mailboxes`] | what a submission server does with a header; lists of addresses, RFC 5322 §3.4 |
//! | [`header`], [`received`] | what a relay does with a header: hops, forged results, one `Received` |
#![forbid(unsafe_code)]

pub mod address;
pub mod client;
pub mod data;
mod enumeration;
pub mod envelope;
pub mod find;
pub mod header;
pub mod keyword;
pub mod lines;
pub mod mailboxes;
pub mod mechanism;
pub mod names;
pub mod received;
pub mod replies;
pub mod sasl;
pub mod server;
pub mod submission;
pub mod text;
pub mod verbs;
pub mod xtext;

/// Splits off the first `n` octets; all of them when there are fewer.
fn split(octets: &[u8], n: usize) -> (&[u8], &[u8]) {
    octets.split_at_checked(n).unwrap_or((octets, &[]))
}

/// A length as a count of octets on the wire.
fn octets(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
