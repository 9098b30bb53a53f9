//! Dovecot as the source of logins: one connection for each attempt, which the dialer makes. So a Dovecot that has been started anew is
//! found by the next attempt, and no answer can be taken for that to another's request.

pub mod dialogue;

use crate::semaphore::{Permit, Semaphore};
use dialogue::{Broken, Dialogue, Said};
use gatepost_policy::share::Origin;
use gatepost_role::{DialerLink, Passed};
use gatepost_smtp::envelope::Mechanism;
use gatepost_smtp::mechanism::Mechanisms;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// Attempts at once: far below what Dovecot's auth service takes, which serves IMAP as well.
const AT_ONCE: u64 = 64;
/// The longest waits.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// For a permit.
    permit: Duration,
    /// For a connection and Dovecot's greeting.
    greeting: Duration,
    /// For an answer; Dovecot delays refusals by 2 s itself.
    answer: Duration,
}

const WAITS: Waits =
    Waits { permit: Duration::from_secs(5), greeting: Duration::from_secs(5), answer: Duration::from_secs(15) };
/// How long it is not asked again which mechanisms it has.
const FRESH: Duration = Duration::from_secs(10);
/// Octets read at once.
const PIECE: usize = 1024;

/// Dovecot.
pub(crate) struct Dovecot {
    dialer: Arc<DialerLink>,
    waits: Waits,
    semaphore: Arc<Semaphore>,
    /// What it offered last, and when it was asked.
    offer: tokio::sync::Mutex<(Mechanisms, Option<Instant>)>,
    /// By which requests get numbers that are hard to guess.
    seed: RandomState,
    requests: AtomicU64,
}

/// An attempt whose client has to say more.
pub(crate) struct Exchange {
    connection: Connection,
    permit: Permit,
}

/// What an attempt comes to.
pub(crate) enum Outcome {
    /// The client must answer this, and then the exchange goes on.
    Challenge(Vec<u8>, Box<Exchange>),
    /// The client is this login.
    Accepted(String),
    /// It is not who it says.
    Refused,
    /// Nobody knows.
    Unknown,
    /// Nobody knows, because of Dovecot: what is to be said behind "Dovecot's auth socket".
    Failed(String),
}

struct Connection {
    stream: Passed,
    dialogue: Dialogue,
    /// For an answer.
    wait: Duration,
}

/// Why there is no answer.
enum Failure {
    /// No connection.
    Connect(io::Error),
    Late,
    Gone,
    Broken(Broken),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(e) => {
                write!(f, "cannot be reached: {e}; is it started, and does its socket let the dialer in?")
            }
            Self::Late => f.write_str("does not answer in time"),
            Self::Gone => f.write_str("closes the connection instead of an answer"),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

impl Dovecot {
    pub(crate) fn new(dialer: Arc<DialerLink>) -> Self {
        Self {
            dialer,
            waits: WAITS,
            semaphore: Arc::new(Semaphore::new(AT_ONCE)),
            offer: tokio::sync::Mutex::new((Mechanisms::PASSWORD, None)),
            seed: RandomState::new(),
            requests: AtomicU64::new(0),
        }
    }

    /// By which mechanisms clients can log in. While it cannot be reached: what it said last.
    pub(crate) async fn offer(&self) -> Mechanisms {
        let mut offer = self.offer.lock().await;
        let (mechanisms, asked) = &mut *offer;
        if asked.is_none_or(|asked| asked.elapsed() >= FRESH) {
            match self.connect().await {
                Ok((_, announced)) if announced.is_empty() => {
                    tracing::error!("Dovecot's auth socket: it has no mechanism that could be offered here");
                }
                Ok((_, announced)) => *mechanisms = announced,
                Err(failure) => tracing::error!("Dovecot's auth socket {failure}"),
            }
            *asked = Some(Instant::now());
        }
        *mechanisms
    }

    /// Begins an attempt by a client. `responses`: the first one, and those that can be said already to what it will ask for.
    pub(crate) async fn begin(
        &self,
        mechanism: Mechanism,
        client: SocketAddr,
        first: Option<&[u8]>,
        then: &[&[u8]],
    ) -> Outcome {
        let Ok(Some(permit)) = timeout(self.waits.permit, self.semaphore.take(Origin::of(client.ip()))).await else {
            return Outcome::Unknown;
        };
        let talk = async {
            let (mut connection, _) = self.connect().await?;
            let request = connection.dialogue.ask(mechanism, client, first).ok_or(Failure::Broken(Broken::Untimely))?;
            let mut said = connection.say(&request).await?;
            let mut then = then.iter();
            while let (Said::Challenge(_), Some(response)) = (&said, then.next()) {
                said = connection.respond(response).await?;
            }
            Ok::<_, Failure>((connection, said))
        };
        match permit.unless_told(talk).await {
            Some(Ok((connection, said))) => outcome(Box::new(Exchange { connection, permit }), said),
            Some(Err(failure)) => Outcome::Failed(failure.to_string()),
            None => Outcome::Unknown,
        }
    }

    async fn connect(&self) -> Result<(Connection, Mechanisms), Failure> {
        let talk = async {
            let stream = self.dialer.connect(0, self.waits.greeting).await.map_err(Failure::Connect)?;
            let mut connection = Connection { stream, dialogue: Dialogue::new(self.number()), wait: self.waits.answer };
            let greeting = connection.dialogue.greeting();
            match connection.say(&greeting).await? {
                Said::Greeting(mechanisms) => Ok((connection, mechanisms)),
                _ => Err(Failure::Broken(Broken::Untimely)),
            }
        };
        timeout(self.waits.greeting, talk).await.unwrap_or(Err(Failure::Late))
    }

    /// Never 0, which Dovecot takes for none.
    fn number(&self) -> u32 {
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        let [a, b, c, d, ..] = self.seed.hash_one(count).to_le_bytes();
        u32::from_le_bytes([a, b, c, d]) >> 1 | 1
    }
}

impl Exchange {
    /// The client's response to a challenge.
    pub(crate) async fn respond(mut self: Box<Self>, response: &[u8]) -> Outcome {
        match self.permit.unless_told(self.connection.respond(response)).await {
            Some(Ok(said)) => outcome(self, said),
            Some(Err(failure)) => Outcome::Failed(failure.to_string()),
            None => Outcome::Unknown,
        }
    }

    /// Waits for the client. None: it has to give way.
    pub(crate) async fn unless_told<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.permit.unless_told(work).await
    }
}

fn outcome(exchange: Box<Exchange>, said: Said) -> Outcome {
    match said {
        Said::Challenge(challenge) => Outcome::Challenge(challenge, exchange),
        Said::Accepted(login) => Outcome::Accepted(login),
        Said::Refused => Outcome::Refused,
        Said::Unknown => Outcome::Failed("has a temporary failure, see its log".to_owned()),
        Said::Greeting(_) => Outcome::Failed(Failure::Broken(Broken::Untimely).to_string()),
    }
}

impl Connection {
    async fn respond(&mut self, response: &[u8]) -> Result<Said, Failure> {
        let line = self.dialogue.respond(response).ok_or(Failure::Broken(Broken::Untimely))?;
        self.say(&line).await
    }

    /// Says this, and hears what it says to it.
    async fn say(&mut self, line: &str) -> Result<Said, Failure> {
        let talk = async {
            self.stream.write_all(line.as_bytes()).await?;
            let mut piece = [0; PIECE];
            loop {
                match self.stream.read(&mut piece).await? {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    length => match self.dialogue.hear(piece.get(..length).unwrap_or_default()) {
                        Ok(None) => {}
                        Ok(Some(said)) => return Ok(Ok(said)),
                        Err(broken) => return Ok(Err(broken)),
                    },
                }
            }
        };
        match timeout(self.wait, talk).await {
            Ok(Ok(Ok(said))) => Ok(said),
            Ok(Ok(Err(broken))) => Err(Failure::Broken(broken)),
            Ok(Err::<_, io::Error>(_)) => Err(Failure::Gone),
            Err(_) => Err(Failure::Late),
        }
    }
}

#[cfg(test)]
mod tests;
