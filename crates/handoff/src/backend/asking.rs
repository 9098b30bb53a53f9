//! What a route is given: when it is made, and by a session that asks.

use super::connection::Connection;
use super::connections::Connections;
use super::dialer::Dialer;
use super::wait::Timeouts;
use crate::identity::Client;
use crate::transaction::Transaction;
use gatepost_shell::Signer;
use std::sync::Arc;

/// What every route needs beside its backend's settings. Other roles do what handoff does not do itself, or this process
/// where there are none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// Our own name.
    pub(crate) hostname: &'a str,
    /// The dialer's number for the first place of this backend.
    pub(crate) first: usize,
    pub(crate) timeouts: Timeouts,
    /// Makes connections.
    pub(crate) dialer: &'a Arc<Dialer>,
    /// Has the keys of our certificates for backends.
    pub(crate) signer: &'a Signer,
}

/// The session that asks.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    /// Its connection to a backend, if it has kept one.
    pub(crate) connection: &'a mut Option<Connection>,
    pub(crate) client: Client<'a>,
    pub(crate) transaction: &'a Transaction,
    /// All connections to it that there may be.
    pub(crate) connections: &'a Arc<Connections>,
}
