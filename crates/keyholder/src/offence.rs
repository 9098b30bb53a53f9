//! What costs a session its channel, and how loudly that is reported.

use gatepost_tls::sign::SignError;
use gatepost_wire::WireError;
use std::fmt;
use std::time::Duration;

/// Why a session loses its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offence {
    /// It sent something that is not one question.
    Frame(WireError),
    /// It asked for something that is not signed; or, [`SignError::Failed`], it is not to blame.
    Sign(SignError),
    /// The signature cannot be sent: the key is larger than is provided for.
    Unsendable(WireError),
    /// It does not read its answers.
    NotReading,
}

impl Offence {
    /// True when the fault is ours.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Sign(SignError::Failed) | Self::Unsendable(_))
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(e) => e.fmt(f),
            Self::Sign(e) => e.fmt(f),
            Self::Unsendable(e) => write!(f, "the signature cannot be sent: {e}"),
            Self::NotReading => f.write_str("does not read its answers"),
        }
    }
}

/// Lines that may be written about offences in one [`WINDOW`]: owned sessions must not be able to fill a log.
const LINES: u32 = 20;
/// The time in which they are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Keeps the log readable.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    since: Duration,
    said: u32,
    kept: u64,
}

/// What to write about one more offence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
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
    pub(crate) fn count(&mut self, now: Duration) -> Line {
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
