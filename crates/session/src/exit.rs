//! Exit statuses of a session, as the nursery passes them on to the listener.

use gatepost_wire::session::Farewell;

/// The client said QUIT.
pub const QUIT: u8 = Farewell::Quit.status();
/// The client went away.
pub const CLIENT_GONE: u8 = Farewell::ClientGone.status();
/// The client was too slow.
pub const TIMEOUT: u8 = Farewell::Timeout.status();
/// The client overstepped a limit.
pub const ABUSE: u8 = Farewell::Abuse.status();
/// The TLS handshake failed.
pub const TLS_FAILED: u8 = Farewell::TlsFailed.status();
/// gatepost is going down.
pub const DRAINED: u8 = Farewell::Drained.status();
/// Something on our side failed.
pub const INTERNAL: u8 = Farewell::Internal.status();
