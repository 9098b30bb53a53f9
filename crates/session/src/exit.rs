//! Exit statuses of a session, as the nursery passes them on to the listener.

use gatepost_wire::session::Farewell;

/// The client said QUIT.
pub const QUIT: u8 = 0;
/// The client went away.
pub const CLIENT_GONE: u8 = 1;
/// The client was too slow.
pub const TIMEOUT: u8 = 2;
/// The client overstepped a limit.
pub const ABUSE: u8 = 3;
/// The TLS handshake failed.
pub const TLS_FAILED: u8 = 4;
/// gatepost is going down.
pub const DRAINED: u8 = 5;
/// Something on our side failed.
pub const INTERNAL: u8 = 111;

/// The status that tells of `farewell`.
#[must_use]
pub fn status(farewell: Farewell) -> u8 {
    match farewell {
        Farewell::Quit => QUIT,
        Farewell::ClientGone => CLIENT_GONE,
        Farewell::Timeout => TIMEOUT,
        Farewell::Abuse => ABUSE,
        Farewell::TlsFailed => TLS_FAILED,
        Farewell::Drained => DRAINED,
        Farewell::Internal => INTERNAL,
    }
}
