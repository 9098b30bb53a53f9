//! What the engine says to the shell and to the parent, and what the parent says back.

use super::AuthAsk;
use gatepost_smtp::envelope::{Abandoned, CloseReason, Then};

/// What the octets mean to the shell and to the parent.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// All input is consumed: flush the output, then read more. While an answer is due nothing is consumed.
    Starved,
    /// The output is at its bound: flush it, then call again with the rest. Input is left.
    Flush,
    /// HELO or EHLO: the transaction is dropped, an answer is due.
    Helo {
        /// It was EHLO.
        esmtp: bool,
        /// The argument as sent, any octet but NUL and LF, shorter than [`super::Limits::line`].
        name: &'a [u8],
    },
    /// MAIL: the transaction before it is dropped, an answer is due.
    Mail {
        /// `ADDRESS_MAX` octets at most, quotes undone; any octet but NUL and LF. Empty: the null sender.
        address: &'a [u8],
        /// All that came behind the verb.
        argument: &'a [u8],
    },
    /// RCPT: an answer is due.
    Rcpt {
        /// As that of MAIL.
        address: &'a [u8],
    },
    /// DATA, and there are recipients: an answer is due.
    Data,
    /// The next octets of content as stored: CRLF is LF, dots are unstuffed, a bare CR stays. Up to the size limit.
    Content(&'a [u8]),
    /// The content is complete: an answer is due, with its reply.
    Commit,
    /// The content is complete and refused; its reply is queued. In place of [`Event::Commit`].
    Abandon(Abandoned),
    /// The transaction is dropped; its reply is queued.
    Reset,
    /// AUTH: an answer is due.
    Auth(AuthAsk<'a>),
    /// STARTTLS: an answer is due. [`Then::Go`]: flush the output, shake hands, then [`super::Engine::tls_established`].
    StartTls,
    /// Flush the output, then close.
    Close(CloseReason),
}

/// The status that qmail-smtpd exits with.
#[must_use]
pub fn exit_status(reason: CloseReason) -> u8 {
    u8::from(!matches!(reason, CloseReason::Quit | CloseReason::Dismissed))
}

/// What the session waits for: the shell's timeouts go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The answer that lets it greet: any input is early talk.
    Greeting,
    /// A command, or a response in the dialogue of AUTH.
    Command,
    /// Content.
    Content,
    /// An [`super::Engine::answer`].
    Answer,
    /// [`super::Engine::tls_established`].
    Handshake,
    /// Nothing: it is over.
    Closed,
}

/// What the parent says to what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The reply, one or more lines with their CRLF. Empty: the usual one, which exists for [`Then::Go`] (but not to
    /// [`Event::Commit`]) and for refused credentials; with [`Then::Close`] and [`Then::Leave`] none.
    pub lines: &'a [u8],
    /// What becomes of it.
    pub then: Then,
}

impl Answer<'static> {
    /// As usual.
    pub const GO: Self = Self { lines: b"", then: Then::Go };
}
