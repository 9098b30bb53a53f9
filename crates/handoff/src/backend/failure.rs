//! The ways in which a backend can fail.

use super::wait::Wait;
use gatepost_smtp::client::Reply;
use std::fmt;
use std::io;

/// Why the backend could not be asked. After any of these its connection must not be used again.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection.
    Connect(io::Error),
    /// No answer in time.
    Timeout(Wait),
    /// All connections that there may be are in use, and none became free in time.
    Busy,
    /// It closed the connection, or the connection broke.
    Lost(Option<io::Error>),
    /// It said 421, which announces that it closes, when it was waited for that.
    Closing(Wait, Reply),
    /// It said something before it was asked.
    Unasked(Reply),
    /// What it said is no reply.
    Garbage(&'static str),
    /// A reply, but none that fits.
    Unexpected(Reply),
    /// It cannot be told who the client is.
    Identity(String),
    /// Having been told who the client is, it refuses it.
    Client(Reply),
    /// No connection by TLS, or none with a certificate that is valid for its name.
    Tls(String),
    /// It no longer lists an extension that the client was offered.
    Missing(&'static str),
    /// It refuses whoever connects, permanently: a fault of the set-up and not of the mail.
    Unwelcome(String),
    /// It refuses whoever connects, temporarily.
    Deferred(String),
    /// It is being asked whether it relays, so it is not known yet.
    Unproved,
    /// Asked whether it relays, it says neither yes nor no, but that it may later.
    Undecided(Reply),
    /// It relays for a stranger: never to be used (P7).
    Relays(String),
}

impl Failure {
    /// Waiting does not help: somebody has to change something.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Relays(_) | Self::Identity(_) | Self::Unwelcome(_))
    }

    /// A new connection may succeed: one that was used before may have been idle for too long.
    pub(crate) fn may_succeed_anew(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Closing(..) | Self::Unasked(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reply = |f: &mut fmt::Formatter<'_>, said: &str, reply: &Reply| {
            write!(f, "the backend {said} {} {}", reply.code, reply.lines.join(" / ").escape_default())
        };
        match self {
            Self::Connect(e) => write!(f, "cannot connect to the backend: {e}"),
            Self::Timeout(wait) => {
                f.write_str("no answer from the backend in time, ")?;
                f.write_str(match wait {
                    Wait::Connect => "connecting",
                    Wait::Greeting => "in the greeting",
                    Wait::Envelope => "to the envelope",
                    Wait::Data => "to DATA",
                    Wait::Block => "taking content",
                    Wait::End => "to the end of content",
                })
            }
            Self::Busy => f.write_str("all connections to the backend are in use (backend.connections)"),
            Self::Unproved => f.write_str("the backend is being asked whether it relays for strangers"),
            Self::Lost(None) => f.write_str("the backend closed the connection"),
            Self::Lost(Some(e)) => write!(f, "the connection to the backend broke: {e}"),
            Self::Closing(_, r) => reply(f, "closes with", r),
            Self::Unasked(r) => reply(f, "says unasked", r),
            Self::Garbage(what) => write!(f, "the backend does not keep to the protocol: {what}"),
            Self::Unexpected(r) => reply(f, "answers out of place:", r),
            Self::Identity(why) => write!(f, "the backend cannot be told who the client is: {why}"),
            Self::Client(r) => reply(f, "refuses the client:", r),
            Self::Tls(what) => write!(f, "TLS with the backend: {what}"),
            Self::Missing(extension) => write!(f, "the backend no longer lists {extension}"),
            Self::Unwelcome(said) => write!(
                f,
                "the backend refuses our connections ({said}): let it take messages from us, in Postfix by qmqpd_authorized_clients"
            ),
            Self::Deferred(said) => write!(f, "the backend takes nothing now ({said})"),
            Self::Undecided(r) => reply(f, "must refuse for good to relay for a stranger, and only says", r),
            Self::Relays(why) => f.write_str(why),
        }
    }
}
