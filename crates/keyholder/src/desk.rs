//! What the keyholder decides, without a descriptor: who gets a signature, and how loudly the others are reported.

use gatepost_tls::sign::{Keys, SignError};
use gatepost_wire::WireError;
use gatepost_wire::link::SessionId;
use gatepost_wire::sign::{SIGNATURES_PER_SESSION, Sign};
use std::fmt;
use std::time::Duration;

/// A session in front of the desk.
#[derive(Debug)]
pub struct Seat {
    id: SessionId,
    left: u8,
}

impl Seat {
    /// For a session that has not asked yet.
    #[must_use]
    pub fn new(id: SessionId) -> Self {
        Self { id, left: SIGNATURES_PER_SESSION }
    }

    /// Whose it is.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }
}

/// Why a session loses its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offence {
    /// It sent something that is not one question.
    Frame(WireError),
    /// It sent descriptors, this many, and there is nothing to do with one.
    Descriptors(usize),
    /// It has had all the signatures that a handshake needs.
    Budget,
    /// It asked for something that is not signed; or, [`SignError::Failed`], it is not to blame.
    Sign(SignError),
    /// The signature cannot be sent: the key is larger than is provided for.
    Unsendable(WireError),
    /// It does not read its answers.
    Deaf,
}

impl Offence {
    /// True when the fault is ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Sign(SignError::Failed) | Self::Unsendable(_))
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(e) => e.fmt(f),
            Self::Descriptors(n) => write!(f, "{n} descriptors beside a question"),
            Self::Budget => write!(f, "more than {SIGNATURES_PER_SESSION} signatures"),
            Self::Sign(e) => e.fmt(f),
            Self::Unsendable(e) => write!(f, "the signature cannot be sent: {e}"),
            Self::Deaf => f.write_str("does not read its answers"),
        }
    }
}

/// The keys and the count of what was done with them.
#[derive(Debug)]
pub struct Desk {
    keys: Keys,
    signed: u64,
}

impl Desk {
    /// A desk with these keys.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self { keys, signed: 0 }
    }

    /// Signatures made so far.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.signed
    }

    /// Answers one question of one session.
    ///
    /// # Errors
    /// [`Offence`]: there is no answer, and the session is not to be asked again.
    pub fn answer(&mut self, seat: &mut Seat, sign: &Sign<'_>, descriptors: usize) -> Result<Vec<u8>, Offence> {
        if descriptors > 0 {
            return Err(Offence::Descriptors(descriptors));
        }
        // Paid before the look: a question that is refused costs a signature too.
        seat.left = seat.left.checked_sub(1).ok_or(Offence::Budget)?;
        let signature = self.keys.sign(sign.pair, sign.scheme, sign.message).map_err(Offence::Sign)?;
        self.signed = self.signed.saturating_add(1);
        Ok(signature)
    }
}

/// Lines that may be written about offences in one [`WINDOW`]: owned sessions must not be able to fill a log.
const LINES: u32 = 20;
/// The time in which they are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Keeps the log readable.
#[derive(Debug, Default)]
pub struct Complaints {
    since: Duration,
    said: u32,
    kept: u64,
}

/// What to write about one more offence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A line; before it, when not 0, one that this many were kept back.
    Write {
        /// Offences not written since the last line.
        kept: u64,
    },
    /// Nothing; it is counted.
    Keep,
}

impl Complaints {
    /// One more offence, at `now` on a clock that only goes forward.
    pub fn count(&mut self, now: Duration) -> Line {
        if now.saturating_sub(self.since) >= WINDOW {
            self.since = now;
            self.said = 0;
        }
        if self.said >= LINES {
            self.kept = self.kept.saturating_add(1);
            return Line::Keep;
        }
        self.said = self.said.saturating_add(1);
        Line::Write { kept: std::mem::take(&mut self.kept) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_tls::recognise::Refused;

    fn desk() -> Desk {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        Desk::new(Keys::load(vec![pem.into_bytes()]).unwrap())
    }

    fn verify() -> Vec<u8> {
        [&[0x20; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat()
    }

    #[test]
    fn p5_two_signatures_a_session_and_no_more() {
        let (mut desk, message) = (desk(), verify());
        let sign = Sign { pair: 0, scheme: 0x0403, message: &message };
        for session in 1..=3 {
            let mut seat = Seat::new(SessionId(session));
            for _ in 0..SIGNATURES_PER_SESSION {
                assert!(desk.answer(&mut seat, &sign, 0).is_ok());
            }
            for _ in 0..300 {
                assert_eq!(desk.answer(&mut seat, &sign, 0), Err(Offence::Budget));
            }
        }
        assert_eq!(desk.signed(), 3 * u64::from(SIGNATURES_PER_SESSION));
    }

    #[test]
    fn p5_a_refused_question_is_paid_for() {
        let (mut desk, message) = (desk(), verify());
        let mut seat = Seat::new(SessionId(1));
        let good = Sign { pair: 0, scheme: 0x0403, message: &message };
        let rows = [
            (Sign { message: b"a letter", ..good }, Offence::Sign(SignError::Refused(Refused::Shape))),
            (Sign { pair: 1, ..good }, Offence::Sign(SignError::Pair(1))),
            (good, Offence::Budget),
        ];
        for (sign, expected) in rows {
            assert_eq!(desk.answer(&mut seat, &sign, 0), Err(expected));
        }
        assert_eq!(desk.signed(), 0);
        assert_eq!(desk.answer(&mut Seat::new(SessionId(2)), &good, 1), Err(Offence::Descriptors(1)));
    }

    #[test]
    fn offences_do_not_fill_the_log() {
        let mut complaints = Complaints::default();
        let at = Duration::from_secs;
        for _ in 0..LINES {
            assert_eq!(complaints.count(at(5)), Line::Write { kept: 0 });
        }
        for second in 5..60 {
            assert_eq!(complaints.count(at(second)), Line::Keep);
        }
        assert_eq!(complaints.count(at(60)), Line::Write { kept: 55 });
        assert_eq!(complaints.count(at(61)), Line::Write { kept: 0 });
    }
}
