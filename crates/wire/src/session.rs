//! Session and handoff: envelope, content, verdict.
//!
//! | in state | the session may send | handoff answers |
//! |---|---|---|
//! | idle | `Mail`, `Reset`, `Bye` | nothing: the first `Rcpt` carries the verdict |
//! | envelope | `Room`, `Rcpt` | `Verdict` |
//! | envelope, one recipient accepted | `Content`, `Spool`, `Commit` | –, `Spool` or `Verdict`, `Recipient`s and `Verdict` |
//! | content | `Content`, `Spool`, `Commit` | as above |
//! | content in a file | `Grow`, `Commit` | `Spool` or `Verdict`, `Verdict` |
//! | any | `Reset`, `Bye`, `Refused`, `Detail` | nothing |
//!
//! After `Commit` or `Reset` the channel is idle again, whatever the verdict. The first message is handoff's `Offer`. `Leave`
//! may come at any time after it.

use crate::codec::{Coding, Maybe, Octets, Reader, Value, WireError};
use crate::declare::{codes, fields, foreign, tagged};
use gatepost_smtp::envelope::{
    Body, CloseReason, ENVID_MAX, HELO_MAX, MailParameters, Notify, ORCPT_MAX, Offer, RcptParameters, Reason, Ret, Tls,
    Verdict,
};
use gatepost_smtp::replies::{self, Reply};
use gatepost_smtp::server::REFUSED_LINE_MAX;
use gatepost_smtp::text::{TEXT_MAX, Text};

/// Longest text of a `Detail`, octets.
pub const DETAIL_MAX: usize = 128;
/// Content octets in one `Content` message at most.
pub const CONTENT_MAX: usize = 28 * 1024;
/// Longest path, octets, brackets not counted (RFC 5321 §4.5.3.1.3 says 256 with them; SMTPUTF8 senders exceed it).
pub const PATH_MAX: usize = 1024;

codes! { Body CloseReason Reason Ret }

foreign! {
    Tls { version: u16, suite: u16, }
    Notify { success: bool, failure: bool, delay: bool, }
    MailParameters<&'a [u8]> {
        size: Option<u64>,
        body: Body,
        smtputf8: bool,
        ret: Option<Ret>,
        envid: Option<&'a [u8]> as Maybe<Octets<ENVID_MAX>>,
        prdr: bool,
    }
    RcptParameters<&'a [u8]> {
        notify: Option<Notify>,
        orcpt: Option<&'a [u8]> as Maybe<Octets<ORCPT_MAX>>,
    }
    Offer { size: u64, eight_bit: bool, smtputf8: bool, dsn: bool, prdr: bool, recipients: u16, }
    Verdict { code: u16, enhanced: (u8, u16, u16), reason: Reason, }
}

fields! {
    /// The reverse-path, the parameters of MAIL, and what the client said before it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Mail<'a> {
        /// The argument of the last HELO or EHLO, as the client sent it.
        pub helo: &'a [u8] as Octets<HELO_MAX>,
        /// EHLO rather than HELO.
        pub esmtp: bool,
        /// TLS, if the session is encrypted.
        pub tls: Option<Tls>,
        /// The reverse-path without its brackets; empty for the null reverse-path.
        pub reverse_path: &'a [u8] as Octets<PATH_MAX>,
        /// Its parameters.
        pub parameters: MailParameters<&'a [u8]>,
    }

    /// A forward-path and the parameters of RCPT.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Rcpt<'a> {
        /// The forward-path without its brackets and source route.
        pub forward_path: &'a [u8] as Octets<PATH_MAX>,
        /// Its parameters.
        pub parameters: RcptParameters<&'a [u8]>,
    }
}

fields! {
    /// What a session refused by itself.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Refused<'a> {
        /// The last reply by which it did.
        pub reply: Reply,
        /// How many there were since this was said last.
        pub count: u32,
        /// It ends the transaction, if there is one: a `Reset` or `Bye` follows.
        pub ends: bool,
        /// The command that got the reply, or its beginning; may be empty.
        pub line: &'a [u8] as Octets<REFUSED_LINE_MAX>,
    }
}

/// A reply of ours, as its place in the table: whoever has taken over a session cannot make up another.
impl Value<'_> for Reply {
    const MAX: usize = 1;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        let place = replies::ALL.iter().position(|(_, reply)| reply == self).ok_or(WireError::Value(field))?;
        u8::try_from(place).map_err(|_| WireError::Value(field))?.write(out, field)
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        let place = usize::from(u8::read(r, field)?);
        replies::ALL.get(place).map(|(_, reply)| *reply).ok_or(WireError::Value(field))
    }
}

tagged! {
    /// Session to handoff.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Ask<'a> {
        /// Begins a transaction. Not answered; travels in one frame with `Room` or the first `Rcpt`.
        1 => Mail(mail: Mail<'a>),
        /// One more forward-path. Answered.
        2 => Rcpt(rcpt: Rcpt<'a>),
        /// The next octets of content, dots unstuffed. Not answered.
        3 => Content(content: &'a [u8] as Octets<CONTENT_MAX>),
        /// The content is longer than `inline_max` of [`Answer::Offer`]: asks for a file for the rest. Answered by `Spool` or
        /// refused.
        4 => Spool,
        /// The client has ended the content. Answered when the backend has answered.
        5 => Commit {
            /// Octets of content, those in the spool file included.
            length: u64,
        },
        /// The transaction is over without a commit. Not answered.
        6 => Reset,
        /// The session is over.
        7 => Bye(reason: CloseReason),
        /// Before the first `Rcpt`, where the content needs a file: is there room on the disk for as much as `Mail` announced?
        /// Answered by a verdict; a refusal ends the transaction.
        8 => Room,
        /// The file has as many octets as it may: asks for more. Answered by `Spool` without a descriptor, or refused, after
        /// which only `Reset` and `Bye` are due.
        9 => Grow,
        /// The session refused something by itself: for the log. Not answered.
        10 => Refused(refused: Refused<'a>),
        /// More of the reason of the `Bye` that follows: for the log. Not answered.
        11 => Detail(text: &'a [u8] as Octets<DETAIL_MAX>),
    }

    /// Handoff to session.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Answer {
        /// Sent once, before the first `Ask`.
        1 => Offer {
            /// What can be honoured to the end.
            offer: Offer,
            /// Content up to this many octets is sent in `Content`; for more, ask for `Spool`.
            inline_max: u32,
            /// The largest message has no room on the disk now: ask for room also where MAIL announces no size.
            scarce: bool,
        },
        /// To `Room`, `Rcpt`, `Commit`, or a refused `Spool` or `Grow`.
        2 => Verdict {
            /// The answer.
            verdict: Verdict as Sound,
            /// The text of a refusal; none: the text of its reason.
            text: Text,
        },
        /// To `Spool`, with one descriptor: a write-only file that has no name. To `Grow`, without.
        3 => Spool {
            /// Octets that may be written to it from now on.
            octets: u64,
        },
        /// To `Commit` of a client that said PRDR: one for each recipient that was accepted, in their order, before the `Verdict`.
        4 => Recipient {
            /// The answer.
            verdict: Verdict as Sound,
            /// As in `Verdict`.
            text: Text,
        },
        /// Unasked, at any time after `Offer`: the slot is needed for somebody else. Nothing is delivered any more.
        5 => Leave,
        /// In the place of `Offer`: no backend has passed its proof, so nothing can be taken, and the client is told to come again.
        9 => Away,
    }
}

/// As [`Text::read`] wants it.
impl Value<'_> for Text {
    const MAX: usize = <Octets<TEXT_MAX> as Coding<'_, &[u8]>>::MAX;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        Octets::<TEXT_MAX>::write(&self.as_str().as_bytes(), out, field)
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        Text::read(Octets::<TEXT_MAX>::read(r, field)?).ok_or(WireError::Value(field))
    }
}

impl Answer {
    /// A verdict without a text.
    #[must_use]
    pub fn plain(verdict: Verdict) -> Self {
        Self::Verdict { verdict, text: Text::none() }
    }
}

/// A verdict with a code that a client may be sent, and an enhanced code that agrees with it.
#[derive(Debug)]
pub enum Sound {}

impl Coding<'_, Verdict> for Sound {
    const MAX: usize = Verdict::MAX;
    fn write(value: &Verdict, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        if is_sound(value) { value.write(out, field) } else { Err(WireError::Value(field)) }
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Verdict, WireError> {
        let verdict = Verdict::read(r, field)?;
        if is_sound(&verdict) { Ok(verdict) } else { Err(WireError::Value(field)) }
    }
}

fn is_sound(verdict: &Verdict) -> bool {
    matches!(verdict.code, 200..=299 | 400..=599) && u16::from(verdict.enhanced.0) == verdict.code / 100
}
