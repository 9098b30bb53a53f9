//! Certificates, the remote signer, the keyholder's own check of what it signs.
//!
//! Four processes use a part each, and none needs the parts of the others:
//!
//! | process | part | holds |
//! |---|---|---|
//! | launcher | [`pair`] | both files, for as long as it takes to check them and hand them out |
//! | session | [`server`] | chains, which are public, and a channel to the keyholder |
//! | handoff | [`client`] | authorities, a chain, and a channel to the keyholder |
//! | keyholder | [`recognise`], [`sign`] | private keys |
//!
//! No descriptor, no clock and no runtime in here.
#![forbid(unsafe_code)]

pub mod chain;
pub mod client;
mod error;
mod exchange;
mod kind;
pub mod pair;
pub mod recognise;
mod remote;
pub mod server;
pub mod sign;

pub use error::{About, TlsError};
pub use kind::{KeyKind, Scheme};
pub use rustls::{ClientConfig, ServerConfig, ServerConnection};
