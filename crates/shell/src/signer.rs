//! Asking the keyholder: a session has no private key (P5).

use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_tls::server::AskSignature;
use gatepost_tls::sign::Keys;
use gatepost_wire::sign::{SIGNATURE_MAX, Sign};
use gatepost_wire::{KeyholderToSession, SessionToKeyholder};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A session's end towards whoever holds the keys.
pub type KeyholderEnd = End<SessionToKeyholder, KeyholderToSession>;

/// Longest wait for a signature in a session, which has nobody else to serve. The whole handshake has no more than three
/// times this.
const WAIT: Duration = Duration::from_secs(10);
/// After a wait in vain nothing is asked for so many times as long: whoever asks may have others to serve, who would wait each time.
const REST: u32 = 10;

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
    Channel(Asked),
    /// This process is the keyholder.
    Here(Keys),
}

/// A channel, and what is known of whoever is at its other end.
#[derive(Debug)]
struct Asked {
    end: KeyholderEnd,
    /// An answer has not come in time. It is the next that comes, as each question has one and they keep their order: it must not be
    /// taken for that to another question.
    owing: bool,
    /// Nothing is asked before.
    rests_until: Option<Instant>,
}

impl Default for Signer {
    fn default() -> Self {
        Self::waiting(WAIT)
    }
}

/// No signature to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoKeyholder {
    /// There is no channel.
    Nowhere,
    /// It has not answered lately, and is not asked.
    Rests,
}

impl fmt::Display for NoKeyholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nowhere => "there is no channel to the keyholder",
            Self::Rests => "the keyholder has not answered lately, and is not asked for some seconds",
        })
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
        self.set(Place::Channel(Asked { end, owing: false, rests_until: None }));
    }

    /// Closes the channel: no second handshake can follow in this session.
    pub fn disconnect(&self) {
        self.set(Place::Nowhere);
    }

    fn set(&self, place: Place) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}

impl Asked {
    /// Asks, and waits so long for the answer.
    fn ask(&mut self, question: &Sign<'_>, wait: Duration) -> Result<Vec<u8>, ChannelError> {
        self.end.seq().set_timeout(wait)?;
        if self.owing {
            // It hangs still if that has not come by now: one more question would only wait there.
            self.answer()?;
        }
        self.end.tell(question)?;
        self.owing = true;
        self.answer()
    }

    fn answer(&mut self) -> Result<Vec<u8>, ChannelError> {
        let mut inbox = Inbox::new(SIGNATURE_MAX.saturating_add(64));
        let signature = self.end.recv(&mut inbox)?.0.to_vec();
        self.owing = false;
        Ok(signature)
    }
}

impl AskSignature for Signer {
    fn sign(&self, pair: u8, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = match &mut *place {
            Place::Nowhere => return Err(NoKeyholder::Nowhere.into()),
            Place::Channel(asked) => asked,
            Place::Here(keys) => return Ok(keys.sign(pair, scheme, message)?),
        };
        if asked.rests_until.is_some_and(|until| Instant::now() < until) {
            return Err(NoKeyholder::Rests.into());
        }
        let signed = asked.ask(&Sign { pair, scheme, message }, self.wait);
        match &signed {
            Ok(_) => asked.rests_until = None,
            Err(ChannelError::WouldBlock) => {
                asked.rests_until = Some(Instant::now() + self.wait.saturating_mul(REST));
            }
            // Nothing that comes by it can be relied on.
            Err(_) => *place = Place::Nowhere,
        }
        Ok(signed?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::sign::Signature;
    use std::sync::mpsc;
    use std::thread;

    const WAIT: Duration = Duration::from_millis(100);

    /// A signer, and the keyholder's end of its channel.
    fn signer() -> (Signer, End<KeyholderToSession, SessionToKeyholder>) {
        let (theirs, ours) = End::pair().unwrap();
        let signer = Signer::waiting(WAIT);
        signer.connect(ours);
        (signer, theirs)
    }

    #[test]
    fn p5_a_signature_that_comes_late_is_not_that_of_the_next_handshake() {
        let (signer, theirs) = signer();
        let (go, wait) = mpsc::channel();
        let keyholder = thread::spawn(move || {
            let (mut inbox, mut questions) = (Inbox::new(1024), Vec::new());
            wait.recv().unwrap();
            while let Ok(question) = theirs.recv(&mut inbox) {
                let message = question.message.to_vec();
                theirs.tell(&Signature(&message)).unwrap();
                questions.push(message);
            }
            questions
        });
        let ask = |message: &[u8]| signer.sign(0, 0x0403, message).map_err(|e| e.to_string());
        assert!(ask(b"one").unwrap_err().contains("no answer"), "in vain");
        for _ in 0..3 {
            assert_eq!(ask(b"not asked"), Err(NoKeyholder::Rests.to_string()), "nobody waits for it again");
        }
        thread::sleep(WAIT * (REST + 1));
        assert!(ask(b"not asked").unwrap_err().contains("no answer"), "it hangs still");
        go.send(()).unwrap();
        thread::sleep(WAIT * (REST + 1));
        assert_eq!(ask(b"two"), Ok(b"two".to_vec()));
        assert_eq!(ask(b"three"), Ok(b"three".to_vec()));
        signer.disconnect();
        assert_eq!(keyholder.join().unwrap(), [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    }

    #[test]
    fn p5_a_channel_that_breaks_the_rules_is_not_used_again() {
        let (signer, theirs) = signer();
        theirs.seq().send(b"no signature", &[]).unwrap();
        assert!(signer.sign(0, 0x0403, b"one").is_err());
        theirs.tell(&Signature(b"two")).unwrap_err();
        assert_eq!(signer.sign(0, 0x0403, b"two").unwrap_err().to_string(), NoKeyholder::Nowhere.to_string());
    }
}
