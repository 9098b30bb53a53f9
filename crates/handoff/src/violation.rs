//! What a session did that our code never does, and the limits behind which that begins.

use crate::permitted::{Kind, State};
use gatepost_wire::WireError;
use std::fmt;

/// Octets of content that a session may send in messages; for more it asks for a file.
pub(crate) const INLINE_MAX: u32 = 128 * 1024;

/// Resets, refused recipients and refused messages in a row, without an accepted message: far more than the engine allows a
/// client. Each costs a line in the log or a question to the backend.
pub(crate) const FRUITLESS_MAX: u32 = 4096;

/// Smaller ones since the last accepted message, each of which costs as much as a full one.
pub(crate) const SMALL_MAX: u32 = 64;

/// What a session did that our code never does. Its channel is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Not permitted in this state.
    Untimely(State, Kind),
    /// Something follows an ask whose answer the session has to wait for.
    Impatient(Kind),
    /// Not a message.
    Wire(WireError),
    /// A field with a value that the engine would have refused.
    Field(&'static str),
    /// More inline content than was offered.
    InlineOverflow,
    /// More in the file than was granted.
    Overgrown,
    /// More than [`FRUITLESS_MAX`].
    Fruitless,
    /// More than [`SMALL_MAX`].
    Small,
    /// It does not read its answers.
    NotReading,
    /// The content does not have the length that the commit states.
    Length { stated: u64, received: u64 },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untimely(state, kind) => write!(f, "{kind:?} in state {state:?}"),
            Self::Impatient(kind) => write!(f, "more after {kind:?} before its answer"),
            Self::Wire(e) => write!(f, "{e}"),
            Self::Field(field) => write!(f, "impossible value in field {field}"),
            Self::Fruitless => write!(f, "more than {FRUITLESS_MAX} asks in a row without an accepted message"),
            Self::Small => write!(f, "more than {SMALL_MAX} frames that are not full, with content that goes on"),
            Self::NotReading => write!(f, "it does not read what it is answered"),
            Self::Overgrown => write!(f, "more octets in its file than it was granted"),
            Self::InlineOverflow => write!(f, "more than {INLINE_MAX} octets inline"),
            Self::Length { stated, received } => {
                write!(f, "commits {stated} octets of content, and sent {received}")
            }
        }
    }
}
