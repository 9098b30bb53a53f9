//! Exit statuses of a session, as the nursery passes them on to the listener.

use gatepost_smtp::envelope::CloseReason;
use gatepost_wire::link::exit_status;

/// The client said QUIT.
pub const QUIT: u8 = exit_status(CloseReason::Quit);
/// The client went away.
pub const CLIENT_GONE: u8 = exit_status(CloseReason::ClientGone);
/// The client was too slow.
pub const TIMEOUT: u8 = exit_status(CloseReason::Timeout);
/// The client overstepped a limit.
pub const ABUSE: u8 = exit_status(CloseReason::Abuse);
/// The TLS handshake failed.
pub const TLS_FAILED: u8 = exit_status(CloseReason::TlsFailed);
/// gatepost is going down.
pub const DRAINED: u8 = exit_status(CloseReason::Drained);
/// Something on our side failed.
pub const INTERNAL: u8 = exit_status(CloseReason::Internal);
