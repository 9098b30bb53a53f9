//! The MTA behind us: where it is, how long we wait for it, and all the ways in which it can fail us. What it says is
//! hostile input like any other.

mod connection;
mod delivery;
mod doors;
mod pieces;
mod proof;
pub(crate) mod qmqp;
mod queue;
mod stream;

pub(crate) use connection::{Connection, Envelope};
pub(crate) use delivery::{Lost, Message};
pub(crate) use doors::{Doors, Facts};
pub(crate) use queue::Queue;

use gatepost_smtp::client::Reply;
use std::fmt;
use std::io;
use std::time::Duration;

/// What is being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The connection itself.
    Connect,
    /// Greeting, EHLO or LHLO, the identity hand-over.
    Hello,
    /// MAIL, RCPT, RSET.
    Envelope,
    /// The 354 to DATA.
    Data,
    /// The backend to take a block of content.
    Block,
    /// The reply to the end of content.
    End,
}

/// How long to wait in each phase (RFC 5321 §4.5.3.2, shorter where the client's own patience is the bound), and for all
/// phases of one ask together: a backend that uses up each wait must not outlast the client, who would send again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) connect: Duration,
    pub(crate) hello: Duration,
    pub(crate) envelope: Duration,
    pub(crate) data: Duration,
    pub(crate) block: Duration,
    /// Also for a whole commit, a connection made anew and the envelope said again included.
    pub(crate) end: Duration,
    /// For a whole recipient, connection and hello included.
    pub(crate) rcpt: Duration,
    /// A connection of which its session has asked nothing for so long is closed: no slow client keeps one.
    pub(crate) park: Duration,
}

impl Patience {
    /// The defaults, with the configured wait for the reply to the end of content.
    pub(crate) const fn new(end: Duration) -> Self {
        Self {
            connect: Duration::from_secs(5),
            hello: Duration::from_secs(30),
            envelope: Duration::from_secs(120),
            data: Duration::from_secs(60),
            block: Duration::from_secs(180),
            end,
            rcpt: Duration::from_secs(240),
            park: Duration::from_secs(5),
        }
    }

    fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Connect => self.connect,
            Phase::Hello => self.hello,
            Phase::Envelope => self.envelope,
            Phase::Data => self.data,
            Phase::Block => self.block,
            Phase::End => self.end,
        }
    }
}

/// Why the backend could not be asked. After any of these its connection is of no more use.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody there.
    Connect(io::Error),
    /// No answer in time.
    Timeout(Phase),
    /// It hung up, or the connection broke.
    Lost(Option<io::Error>),
    /// It said 421: closing.
    Closing(Reply),
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
    /// It no longer lists an extension that the client was offered.
    Missing(&'static str),
    /// To whoever connects it says that it takes nothing, for good: ours to mend, not the mail's fault.
    Unwelcome(String),
    /// The same, for now.
    Deferred(String),
    /// It relays for a stranger: never to be used (P7).
    Relays(String),
}

impl Failure {
    /// It does not pass with time: somebody has to mend something.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Relays(_) | Self::Identity(_) | Self::Unwelcome(_))
    }

    /// Another connection might fare better: a kept one that fails may just have been idle for too long.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Closing(_) | Self::Unasked(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reply = |f: &mut fmt::Formatter<'_>, said: &str, reply: &Reply| {
            write!(f, "the backend {said} {} {}", reply.code, reply.lines.join(" / ").escape_default())
        };
        match self {
            Self::Connect(e) => write!(f, "cannot connect to the backend: {e}"),
            Self::Timeout(phase) => {
                f.write_str("no answer from the backend in time, ")?;
                f.write_str(match phase {
                    Phase::Connect => "connecting",
                    Phase::Hello => "in the greeting",
                    Phase::Envelope => "to the envelope",
                    Phase::Data => "to DATA",
                    Phase::Block => "taking content",
                    Phase::End => "to the end of content",
                })
            }
            Self::Lost(None) => f.write_str("the backend hung up"),
            Self::Lost(Some(e)) => write!(f, "the connection to the backend broke: {e}"),
            Self::Closing(r) => reply(f, "closes with", r),
            Self::Unasked(r) => reply(f, "says unasked", r),
            Self::Garbage(what) => write!(f, "the backend does not keep to the protocol: {what}"),
            Self::Unexpected(r) => reply(f, "answers out of place:", r),
            Self::Identity(why) => write!(f, "the backend cannot be told who the client is: {why}"),
            Self::Client(r) => reply(f, "refuses the client:", r),
            Self::Missing(extension) => write!(f, "the backend no longer lists {extension}"),
            Self::Unwelcome(said) => write!(
                f,
                "the backend turns us away ({said}): let it take messages from us, in Postfix by qmqpd_authorized_clients"
            ),
            Self::Deferred(said) => write!(f, "the backend takes nothing now ({said})"),
            Self::Relays(why) => f.write_str(why),
        }
    }
}
