//! Certificates, the remote signer, the keyholder's own check of what it signs.
//!
//! Three processes use a part each, and none needs the parts of the others:
//!
//! | process | part | holds |
//! |---|---|---|
//! | launcher | [`pair`] | both files, for as long as it takes to check them and hand them out |
//! | session | [`server`] | chains, which are public, and a channel to ask along |
//! | keyholder | [`recognise`], [`sign`] | private keys |
//!
//! No descriptor, no clock and no runtime in here.
#![forbid(unsafe_code)]

mod error;
mod kind;
pub mod pair;
pub mod recognise;
pub mod server;
pub mod sign;

pub use error::{About, TlsError};
pub use kind::{KeyKind, SCHEMES, Scheme};
pub use rustls::{ServerConfig, ServerConnection};
