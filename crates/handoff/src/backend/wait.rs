//! What of a backend is waited for, and how long.

use std::time::Duration;

/// What is being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The connection itself.
    Connect,
    /// Greeting, EHLO or LHLO, and telling it who the client is.
    Greeting,
    /// MAIL, RCPT, RSET.
    Envelope,
    /// The 354 to DATA.
    Data,
    /// The backend to take a block of content.
    Block,
    /// The reply to the end of content.
    End,
}

/// How long to wait for each step (RFC 5321 §4.5.3.2, shorter where the client waits no longer), and for all steps of one
/// request together: a client that waits in vain sends again, so a backend that is slow in each step must not take longer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) greeting: Duration,
    pub(crate) envelope: Duration,
    pub(crate) data: Duration,
    pub(crate) block: Duration,
    /// Also for a whole delivery, with a new connection and the envelope sent again.
    pub(crate) end: Duration,
    /// For a whole recipient, with a new connection.
    pub(crate) rcpt: Duration,
    /// A connection that its session has not used for so long is closed: a slow client must not occupy one.
    pub(crate) park: Duration,
    /// For a connection, when all that there may be are in use. The client still listens then, and comes again.
    pub(crate) queue: Duration,
}

impl Timeouts {
    /// The defaults, with the configured wait for the reply to the end of content.
    pub(crate) const fn new(end: Duration) -> Self {
        Self {
            connect: Duration::from_secs(5),
            greeting: Duration::from_secs(30),
            envelope: Duration::from_secs(120),
            data: Duration::from_secs(60),
            block: Duration::from_secs(180),
            end,
            rcpt: Duration::from_secs(240),
            park: Duration::from_secs(5),
            queue: Duration::from_secs(20),
        }
    }

    pub(super) fn of(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Connect => self.connect,
            Wait::Greeting => self.greeting,
            Wait::Envelope => self.envelope,
            Wait::Data => self.data,
            Wait::Block => self.block,
            Wait::End => self.end,
        }
    }
}
