//! Where mail goes, and what each kind of place can be asked.

use super::asking::{About, Asking};
use super::connection::Connection;
use super::connections::ConnectionPermit;
use super::facts::{LMTP, SMTP};
use super::failure::Failure;
use super::message::{DeliveryError, Message};
use super::qmqp::{self, Qmqp};
use super::queue::{Queue, RunQueue};
use super::smtp::{Request, Smtp};
use crate::outcome::Outcome;
use crate::spool::Spool;
use crate::transaction::Recipient;
use crate::verdict;
use gatepost_policy::share::Origin;
use gatepost_smtp::client::Extensions;
use gatepost_smtp::envelope::Offer;
use gatepost_tls::TlsError;
use gatepost_wire::known::KnownBackend;
use gatepost_wire::slice::{BackendSlice, Dialect};
use std::sync::Arc;
use tokio::time::Instant;

/// Octets that we may add to a message, kept free of the backend's size limit: Received, Date, Message-ID.
const ADDED: u64 = 2048;

/// A kind of backend, with all backends of it.
#[derive(Debug)]
pub(crate) enum Route {
    Smtp(Smtp),
    Lmtp(Smtp),
    Qmqp(Qmqp),
    /// The queue role, which runs a program for each message.
    Queue(Queue),
}

impl<'a> Asking<'a> {
    /// Whose the session is.
    pub(super) fn origin(&self) -> Origin {
        Origin::of(self.client.counted)
    }

    /// The right to one connection.
    ///
    /// # Errors
    /// [`Failure::Busy`].
    pub(super) fn permit(&self, until: Instant) -> impl Future<Output = Result<ConnectionPermit, Failure>> + use<'a> {
        self.connections.claim(self.origin(), until)
    }
}

impl Route {
    /// The route that the configuration describes. `queue` runs the queue program here; none: the queue role does.
    ///
    /// # Errors
    /// The settings of TLS can't be used.
    pub(crate) fn new(
        slice: &BackendSlice,
        about: &About<'_>,
        queue: Option<Box<dyn RunQueue>>,
    ) -> Result<Self, TlsError> {
        let About { first, timeouts, dialer, .. } = *about;
        Ok(match slice.dialect {
            Dialect::Smtp => Self::Smtp(Smtp::new(slice, &SMTP, about)?),
            Dialect::Lmtp => Self::Lmtp(Smtp::new(slice, &LMTP, about)?),
            Dialect::Qmqp => Self::Qmqp(Qmqp::new(&slice.connect, first, timeouts, Arc::clone(dialer))),
            Dialect::Queue => Self::Queue(Queue::new(timeouts, queue)),
        })
    }

    /// Learns what each backend offers, and has each prove that it does not relay for a stranger, where it can be asked.
    ///
    /// # Errors
    /// The first backend that relays or can't be told who a client is; else, when none could be asked, why the last
    /// could not.
    pub(crate) async fn prove(&self) -> Result<(), Failure> {
        match self {
            Self::Smtp(smtp) | Self::Lmtp(smtp) => smtp.prove().await,
            Self::Qmqp(qmqp) => qmqp.prove().await,
            Self::Queue(queue) => queue.is_there(),
        }
    }

    /// One of its backends has refused to relay for who has logged in, as the log says.
    pub(crate) fn refuses_logins(&self) -> bool {
        match self {
            Self::Smtp(smtp) | Self::Lmtp(smtp) => smtp.backends().refuse_logins(),
            Self::Qmqp(_) | Self::Queue(_) => false,
        }
    }

    /// What is known of each backend, where that can be told to another process.
    pub(crate) fn known(&self) -> Option<Vec<KnownBackend>> {
        match self {
            Self::Smtp(smtp) | Self::Lmtp(smtp) => Some(smtp.backends().known()),
            Self::Qmqp(_) | Self::Queue(_) => None,
        }
    }

    /// Takes for known what another process has learned, whose first entries are of these backends; gives the other entries.
    /// None: the backends have to be asked.
    #[must_use]
    pub(crate) fn recall<'k>(&self, known: &'k [KnownBackend]) -> Option<&'k [KnownBackend]> {
        match self {
            Self::Smtp(smtp) | Self::Lmtp(smtp) => {
                let (own, others) = known.split_at_checked(smtp.backends().count())?;
                smtp.backends().recall(own).then_some(others)
            }
            Self::Qmqp(_) | Self::Queue(_) => None,
        }
    }

    /// What each of its backends lists, of those that have been asked.
    pub(crate) fn listed(&self) -> Vec<Extensions> {
        match self {
            Self::Smtp(smtp) | Self::Lmtp(smtp) => smtp.extensions().collect(),
            Self::Qmqp(_) | Self::Queue(_) => vec![qmqp::extensions()],
        }
    }

    /// Asks whether it takes mail for one more recipient.
    pub(crate) async fn recipient(
        &self,
        mut session: Asking<'_>,
        recipient: &Recipient,
    ) -> Result<Outcome, DeliveryError> {
        match self {
            Self::Smtp(smtp) | Self::Lmtp(smtp) => Ok(smtp
                .ask(&mut session, Request::Recipient(recipient))
                .await?
                .pop()
                .unwrap_or(verdict::INTERNAL.into())),
            // They can't be asked: our own rules alone decide.
            Self::Qmqp(_) | Self::Queue(_) => Ok(verdict::RCPT_OK.into()),
        }
    }

    /// Content is answered for each recipient, and not for all of them together.
    pub(crate) fn answers_each(&self) -> bool {
        matches!(self, Self::Lmtp(_))
    }

    /// Delivers a message whose content is complete. There is one outcome, or see [`Route::answers_each`] one for each recipient
    /// that does not have it.
    pub(crate) async fn deliver(
        &self,
        mut session: Asking<'_>,
        message: &mut Message<'_>,
        spool: &Spool,
    ) -> Result<Vec<Outcome>, DeliveryError> {
        match self {
            Self::Smtp(smtp) | Self::Lmtp(smtp) => smtp.ask(&mut session, Request::Message(message)).await,
            Self::Qmqp(qmqp) => Ok(vec![qmqp.deliver(session, message).await?.into()]),
            Self::Queue(queue) => Ok(vec![queue.deliver(spool, session, message).await?.into()]),
        }
    }

    /// The queue role, where mail goes to it.
    pub(crate) fn queue(&self) -> Option<&Queue> {
        if let Self::Queue(queue) = self { Some(queue) } else { None }
    }

    /// Takes back a connection whose session is over, for the next session or to close it.
    pub(crate) fn give_back(&self, connection: Connection) {
        match self {
            Self::Smtp(smtp) | Self::Lmtp(smtp) => smtp.give_back(connection),
            Self::Qmqp(_) | Self::Queue(_) => connection.quit(),
        }
    }
}

/// What is common to all that is listed and to our own limits; nothing beyond RFC 5321 while nothing is known.
pub(crate) fn offer(listed: impl Iterator<Item = Extensions>, size: u64, recipients: u16) -> Offer {
    let mut listed = listed.peekable();
    let any = listed.peek().is_some();
    let start = Offer { size, eight_bit: any, smtputf8: any, dsn: any, prdr: false, recipients };
    listed.fold(start, |offer, extensions| Offer {
        size: match extensions.size {
            Some(size @ 1..) => offer.size.min(size.saturating_sub(ADDED).max(1)),
            _ => offer.size,
        },
        eight_bit: offer.eight_bit && extensions.eight_bit,
        smtputf8: offer.smtputf8 && extensions.smtputf8,
        dsn: offer.dsn && extensions.dsn,
        prdr: offer.prdr,
        recipients: extensions
            .rcptmax
            .map_or(offer.recipients, |most| offer.recipients.min(u16::try_from(most).unwrap_or(u16::MAX).max(1))),
    })
}
