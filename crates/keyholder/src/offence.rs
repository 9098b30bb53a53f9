//! What costs a session its channel.

use gatepost_tls::sign::SignError;
use gatepost_wire::WireError;
use std::fmt;

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
