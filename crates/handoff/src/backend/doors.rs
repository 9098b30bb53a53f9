//! The backends, in the order in which they are tried, and what is known of each.

use super::connection::Connection;
use super::qmqp::{self, Link};
use super::{Failure, Patience, Phase, proof};
use crate::clock::later;
use crate::gate::INLINE_MAX;
use crate::identity::Client;
use gatepost_smtp::client::Extensions;
use gatepost_wire::session::Offer;
use gatepost_wire::slice::{Connect, Dialect, Identity};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Octets that we may add to a message, kept free of the backend's size limit: one Received field.
const ADDED: u64 = 2048;

/// A backend that failed to answer comes last for so long.
const DOUBT: Duration = Duration::from_secs(10);

/// What all connections have in common.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Our name.
    pub(crate) hostname: String,
    pub(crate) dialect: Dialect,
    pub(crate) identity: Identity,
    pub(crate) patience: Patience,
}

/// One backend.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) connect: Connect,
    known: Mutex<Known>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// It refuses to relay for a stranger, or need not prove it.
    proved: bool,
    /// What it listed last.
    extensions: Option<Extensions>,
    /// When it last failed to answer, unless it has answered since. Said once, not at each try.
    down: Option<Instant>,
}

/// All backends.
#[derive(Debug)]
pub(crate) struct Doors {
    doors: Vec<Door>,
    pub(crate) facts: Facts,
}

impl Doors {
    /// `relay_proof`: each has to prove that it does not relay, before anything else is asked of it.
    pub(crate) fn new(connect: Vec<Connect>, facts: Facts, relay_proof: bool) -> Self {
        let known = Known { proved: !relay_proof, ..Known::default() };
        let doors = connect.into_iter().map(|connect| Door { connect, known: Mutex::new(known) }).collect();
        Self { doors, facts }
    }

    /// Learns what each backend offers, and has each prove that it does not relay for a stranger.
    ///
    /// # Errors
    /// The first backend that relays or can't be told who a client is; else, when none could be asked, why the last
    /// could not.
    pub(crate) async fn prove(&self) -> Result<(), Failure> {
        let mut last = Err(Failure::Connect(std::io::ErrorKind::NotFound.into()));
        for door in &self.doors {
            match door.prove(&self.facts).await {
                Ok(()) => last = Ok(()),
                Err(failure) if failure.is_final() => return Err(failure),
                Err(failure) if last.is_err() => last = Err(failure),
                Err(failure) => door.is_down(&failure),
            }
        }
        last
    }

    /// A connection to the first backend that answers, which knows by then who the client is.
    pub(crate) async fn open(&self, client: &Client<'_>, until: Instant) -> Result<Connection, Failure> {
        let mut last = Failure::Connect(std::io::ErrorKind::NotFound.into());
        for door in self.in_order() {
            match door.open(&self.facts, client, until).await {
                Ok(connection) => return Ok(connection),
                // What one backend thinks of the client is not for the next one to mend.
                Err(failure @ (Failure::Client(_) | Failure::Identity(_))) => return Err(failure),
                Err(failure) => {
                    door.is_down(&failure);
                    last = failure;
                }
            }
        }
        Err(last)
    }

    /// A connection to the first QMQP server that answers.
    pub(super) async fn reach(&self, until: Instant) -> Result<(&Door, Link), Failure> {
        let mut last = Failure::Connect(std::io::ErrorKind::NotFound.into());
        for door in self.in_order() {
            match Link::open(&door.connect, self.facts.patience, until).await {
                Ok(link) => {
                    door.learn(qmqp::extensions());
                    return Ok((door, link));
                }
                Err(failure) => {
                    door.is_down(&failure);
                    last = failure;
                }
            }
        }
        Err(last)
    }

    /// One that has just failed is asked when no other answers: it may take its whole time to fail again.
    fn in_order(&self) -> impl Iterator<Item = &Door> {
        let (doubtful, good): (Vec<_>, Vec<_>) = self.doors.iter().partition(|door| door.failed_lately());
        good.into_iter().chain(doubtful)
    }

    /// What all known backends can honour, and we too.
    pub(crate) fn offer(&self, message_size: u64, recipients: u16) -> Offer {
        // A program lists nothing: what can be said to it is known.
        let program = (self.facts.dialect == Dialect::Queue).then(qmqp::extensions);
        let mut known = self.doors.iter().filter_map(|door| door.known().extensions).chain(program).peekable();
        let any = known.peek().is_some();
        let start = Offer {
            size: message_size,
            eight_bit: any,
            smtputf8: any,
            dsn: any,
            recipients: if self.facts.dialect == Dialect::Lmtp { 1 } else { recipients },
            inline_max: INLINE_MAX,
        };
        known.fold(start, |offer, extensions| Offer {
            size: match extensions.size {
                Some(size @ 1..) => offer.size.min(size.saturating_sub(ADDED).max(1)),
                _ => offer.size,
            },
            eight_bit: offer.eight_bit && extensions.eight_bit,
            smtputf8: offer.smtputf8 && extensions.smtputf8,
            dsn: offer.dsn && extensions.dsn,
            recipients: extensions
                .rcptmax
                .map_or(offer.recipients, |most| offer.recipients.min(u16::try_from(most).unwrap_or(u16::MAX).max(1))),
            ..offer
        })
    }
}

impl Door {
    async fn open(&self, facts: &Facts, client: &Client<'_>, until: Instant) -> Result<Connection, Failure> {
        if !self.known().proved {
            // Down when we started, up now: it has to prove first.
            self.prove(facts).await?;
        }
        let connection = Connection::open(&self.connect, facts, client, until).await?;
        self.learn(connection.extensions);
        Ok(connection)
    }

    async fn prove(&self, facts: &Facts) -> Result<(), Failure> {
        if facts.dialect == Dialect::Qmqp {
            match qmqp::probe(&self.connect, facts.patience, later(facts.patience.rcpt)).await {
                // One that waits for more where no more can come refuses nobody.
                Ok(()) | Err(Failure::Timeout(Phase::Hello)) => {}
                Err(failure) => return Err(failure),
            }
            self.learn(qmqp::extensions());
            return Ok(());
        }
        let proved = self.known().proved;
        let extensions =
            if proved { proof::learn(&self.connect, facts).await? } else { proof::prove(&self.connect, facts).await? };
        if !proved {
            tracing::info!("backend {self}: refuses to relay for a stranger");
        }
        if let Some(extensions) = extensions {
            self.learn(extensions);
        }
        self.known().proved = true;
        Ok(())
    }

    fn learn(&self, extensions: Extensions) {
        let mut known = self.known();
        let before = known.extensions.replace(extensions);
        if before.is_some_and(|before| before != extensions) {
            tracing::warn!("backend {self}: lists other extensions than before: {extensions:?}");
        }
        if known.down.take().is_some() {
            tracing::info!("backend {self}: answers again");
        }
    }

    fn is_down(&self, failure: &Failure) {
        if self.known().down.replace(Instant::now()).is_none() {
            tracing::warn!("backend {self}: {failure}");
        }
    }

    fn failed_lately(&self) -> bool {
        self.known().down.is_some_and(|at| at.elapsed() < DOUBT)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(&self.connect).fmt(f)
    }
}

/// A backend's place as the configuration writes it.
pub(super) fn named(connect: &Connect) -> String {
    match connect {
        Connect::Unix(path) => format!("unix:{path}"),
        Connect::Tcp(address) => format!("tcp:{address}"),
    }
}
