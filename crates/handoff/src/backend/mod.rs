//! What stands behind us: where it is, how long we wait for it, and the ways in which it can fail. What it says is hostile
//! input like any other.
//!
//! | module | |
//! |---|---|
//! | `route` | the kinds of backend, and what each can be asked |
//! | `asking`, `message` | what a route is given |
//! | `smtp` | SMTP and LMTP servers: `facts`, `connection`, `delivery`, `proof`, `idle` |
//! | `qmqp` | QMQP servers, with `pieces` |
//! | `queue` | the queue role, with `pieces` |
//! | `connections` | how many connections there may be, and whose they are |
//! | `wait`, `failure` | what is waited for and how long; why a backend could not be asked |
//! | `list` | several backends in order, and what is known of each |
//! | `dialer` | the dialer role, which makes connections |
//! | `stream` | one connection as octets: a `socket`, with or without `tls` |

mod asking;
mod connection;
mod connections;
mod delivery;
mod dialer;
mod facts;
mod failure;
mod idle;
mod list;
mod message;
mod pieces;
mod proof;
mod qmqp;
mod queue;
mod route;
mod smtp;
mod socket;
mod stream;
mod tls;
mod wait;

pub(crate) use asking::{About, Asking};
pub(crate) use connection::Connection;
pub(crate) use connections::Connections;
pub(crate) use dialer::Dialer;
pub(crate) use facts::Words;
#[cfg(test)]
pub(crate) use facts::{LMTP, SMTP};
pub(crate) use failure::Failure;
pub(crate) use message::{DeliveryError, Message};
pub use queue::RunQueue;
pub(crate) use route::{Route, offer};
pub(crate) use wait::{Timeouts, Wait};
