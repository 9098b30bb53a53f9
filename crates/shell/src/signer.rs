//! Asking the keyholder: a session has no private key (P5).

use gatepost_channel::{End, Inbox};
use gatepost_tls::server::AskSignature;
use gatepost_tls::sign::Keys;
use gatepost_wire::sign::{SIGNATURE_MAX, Sign};
use gatepost_wire::{KeyholderToSession, SessionToKeyholder};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A session's end towards whoever holds the keys.
pub type KeyholderEnd = End<SessionToKeyholder, KeyholderToSession>;

/// Longest wait for a signature in a session, which has nobody else to serve. The whole handshake has no more than three
/// times this.
const WAIT: Duration = Duration::from_secs(10);

/// Where a session's channel to the keyholder will be. The TLS configuration is made before the fork, the channel
/// comes after it: one configuration serves all sessions.
#[derive(Debug, Clone)]
pub struct Signer {
    place: Arc<Mutex<Place>>,
    wait: Duration,
}

/// Where signatures come from.
#[derive(Debug, Default)]
enum Place {
    #[default]
    Nowhere,
    Channel(KeyholderEnd),
    /// This process is the keyholder.
    Here(Keys),
}

impl Default for Signer {
    fn default() -> Self {
        Self::waiting(WAIT)
    }
}

/// No signature to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NoKeyholder;

impl fmt::Display for NoKeyholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no channel to the keyholder")
    }
}

impl Error for NoKeyholder {}

impl Signer {
    /// One that waits at most so long for a signature.
    #[must_use]
    pub fn waiting(wait: Duration) -> Self {
        Self { place: Arc::default(), wait }
    }

    /// One that signs by itself, in a process that is keyholder as well. Never in one that reads strangers.
    #[must_use]
    pub fn here(keys: Keys) -> Self {
        Self { place: Arc::new(Mutex::new(Place::Here(keys))), wait: WAIT }
    }

    /// Gives this process its channel.
    pub fn connect(&self, end: KeyholderEnd) {
        self.set(Place::Channel(end));
    }

    /// Closes the channel: no second handshake can follow in this session.
    pub fn disconnect(&self) {
        self.set(Place::Nowhere);
    }

    fn set(&self, place: Place) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}

impl AskSignature for Signer {
    fn sign(&self, pair: u8, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let end = match &*place {
            Place::Nowhere => return Err(NoKeyholder.into()),
            Place::Channel(end) => end,
            Place::Here(keys) => return Ok(keys.sign(pair, scheme, message)?),
        };
        end.seq().set_timeout(self.wait)?;
        end.tell(&Sign { pair, scheme, message })?;
        let mut inbox = Inbox::new(SIGNATURE_MAX.saturating_add(64));
        Ok(end.recv(&mut inbox)?.0.to_vec())
    }
}
