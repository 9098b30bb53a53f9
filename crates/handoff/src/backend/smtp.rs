//! SMTP and LMTP servers: which connection a request goes to, and what its answer means.

use super::asking::{About, Asking};
use super::connection::{Connection, Envelope};
use super::connections::ConnectionPermit;
use super::facts::{Facts, Words};
use super::failure::Failure;
use super::idle::Idle;
use super::list::{Backend, Backends};
use super::message::{Answered, DeliveryError, Message};
use super::proof;
use super::tls::Tls;
use super::wait::Timeouts;
use crate::deadline::later;
use crate::identity::Client;
use crate::outcome::Outcome;
use crate::transaction::{Recipient, Transaction};
use crate::verdict::{self, Stage};
use gatepost_smtp::client::Extensions;
use gatepost_tls::TlsError;
use gatepost_wire::slice::BackendSlice;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The servers, and the connections to them that no session uses.
#[derive(Debug)]
pub(crate) struct Smtp {
    backends: Backends,
    facts: Facts,
    idle: Arc<Idle>,
}

/// What is asked of a server.
pub(super) enum Request<'a, 'm> {
    /// Whether it accepts one more recipient of the transaction.
    Recipient(&'a Recipient),
    /// To take this message.
    Message(&'a mut Message<'m>),
}

impl Smtp {
    /// # Errors
    /// The settings of TLS can't be used.
    pub(super) fn new(slice: &BackendSlice, words: &'static Words, about: &About<'_>) -> Result<Self, TlsError> {
        let About { hostname, first, timeouts, dialer, signer } = *about;
        let (hostname, dialer) = (hostname.to_owned(), Arc::clone(dialer));
        let (identity, logins, tls) = (slice.identity, slice.logins, Tls::new(&slice.tls, signer)?);
        Ok(Self {
            backends: Backends::new(&slice.connect, first, !slice.relay_proof),
            facts: Facts { hostname, words, identity, logins, tls, timeouts, dialer },
            idle: Arc::default(),
        })
    }

    pub(super) async fn prove(&self) -> Result<(), Failure> {
        self.backends.prove(|backend| Box::pin(self.prove_one(backend))).await
    }

    async fn prove_one(&self, backend: &Backend) -> Result<(), Failure> {
        // Whoever else needs the proof meanwhile is told to come again, instead of waiting or of asking a second time.
        let _asking = backend.asking.try_lock().map_err(|_| Failure::Unproved)?;
        let proved = backend.known().proved;
        let listed = if proved {
            proof::learn(backend, &self.facts).await?
        } else {
            let listed = proof::prove(backend, &self.facts).await?;
            tracing::info!("backend {backend}: refuses to relay for a stranger");
            if self.facts.logins {
                let refused = proof::refuses_logins(backend, &self.facts).await;
                backend.known().refuses_logins = refused;
            }
            listed
        };
        if let Some(extensions) = listed {
            backend.learn(extensions);
        }
        backend.known().proved = true;
        Ok(())
    }

    /// The servers.
    pub(super) fn backends(&self) -> &Backends {
        &self.backends
    }

    pub(super) fn extensions(&self) -> impl Iterator<Item = Extensions> {
        self.backends.extensions()
    }

    /// Asks on the session's connection, on an idle one or on a new one; once more on a new one when one that was not new
    /// turns out to be closed. Afterwards the session has the connection if it can be used again. There is one outcome, but by LMTP
    /// for content one for each recipient that does not have it.
    pub(super) async fn ask(
        &self,
        session: &mut Asking<'_>,
        mut request: Request<'_, '_>,
    ) -> Result<Vec<Outcome>, DeliveryError> {
        let until = later(request.timeout(&self.facts.timeouts));
        let mut used = match session.connection.take() {
            Some(connection) if connection.is_for(session.client.helo) && connection.resume() => Some(connection),
            other => {
                if let Some(connection) = other {
                    connection.quit();
                }
                self.idle.take(session.origin())
            }
        };
        loop {
            let was_used = used.is_some();
            let mut connection = match used.take() {
                Some(connection) => connection,
                None => {
                    let permit = session.permit(until).await?;
                    self.open(&session.client, permit, until).await?
                }
            };
            connection.deadline().limit(until);
            let each = self.facts.words.each;
            let done = request.on(&mut connection, session.transaction, each).await;
            match done {
                Err(DeliveryError::Before(failure)) if was_used && failure.may_succeed_anew() => {}
                // Content that may not be sent is our own finding: the connection is as good as before.
                Ok(_) | Err(DeliveryError::Unsent(_) | DeliveryError::Reclaimed) if !connection.is_lost() => {
                    connection.park(self.facts.timeouts.park);
                    *session.connection = Some(connection);
                    return done;
                }
                _ => return done,
            }
        }
    }

    /// A connection to the first server that answers, which has been told who the client is.
    async fn open(&self, client: &Client<'_>, permit: ConnectionPermit, until: Instant) -> Result<Connection, Failure> {
        let opened = self.backends.open(|backend| Box::pin(self.open_one(backend, client, until))).await;
        Ok(opened?.with(permit))
    }

    async fn open_one(&self, backend: &Backend, client: &Client<'_>, until: Instant) -> Result<Connection, Failure> {
        // The guard must not be held while waiting.
        let proved = backend.known().proved;
        if !proved {
            // It could not be asked at start.
            self.prove_one(backend).await?;
        }
        let connection = Connection::open(backend, &self.facts, client, until).await?;
        backend.learn(connection.extensions);
        Ok(connection)
    }

    pub(super) fn give_back(&self, connection: Connection) {
        self.idle.give(connection);
    }
}

impl Request<'_, '_> {
    fn timeout(&self, timeouts: &Timeouts) -> Duration {
        match self {
            Self::Recipient(_) => timeouts.rcpt,
            Self::Message(_) => timeouts.end,
        }
    }

    async fn on(
        &mut self,
        connection: &mut Connection,
        transaction: &Transaction,
        each: bool,
    ) -> Result<Vec<Outcome>, DeliveryError> {
        let utf8 = transaction.smtputf8();
        match self {
            Self::Recipient(recipient) => {
                let said = connection.envelope(transaction, &[], None, Some(recipient)).await?;
                Ok(vec![match said {
                    Envelope::Accepted => verdict::RCPT_OK.into(),
                    Envelope::Sender(reply) => Outcome::of_reply(Stage::Sender, &reply, utf8),
                    Envelope::Recipient(reply) => Outcome::of_reply(Stage::Recipient, &reply, utf8),
                    Envelope::Changed(reply) => Outcome::of_backend(verdict::CHANGED, &reply),
                }])
            }
            Self::Message(message) => {
                let answers = if each { message.have.iter().filter(|has| !**has).count() } else { 1 };
                let length = Some(message.length());
                match connection.envelope(transaction, &message.have, length, None).await? {
                    Envelope::Accepted => {
                        let Answered { replies, failure } = connection.deliver(message, answers).await?;
                        let of_reply = |reply| Outcome::of_reply(Stage::Content, reply, utf8);
                        let missing = answers.saturating_sub(replies.len());
                        let missing = failure.iter().cycle().take(missing).map(Outcome::from);
                        Ok(replies.iter().map(of_reply).chain(missing).collect())
                    }
                    Envelope::Sender(reply) | Envelope::Recipient(reply) | Envelope::Changed(reply) => {
                        Ok((0..answers).map(|_| Outcome::of_backend(verdict::CHANGED, &reply)).collect())
                    }
                }
            }
        }
    }
}
