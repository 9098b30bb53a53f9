//! Session and parent, when one connection is all there is: `gatepost qmail-smtpd` under tcpserver, inetd or systemd.
//!
//! The parent is the process that was started: it decides by qmail's control files, runs the queue program and holds the
//! key. The session is its forked, jailed child: it parses, and sends the client what the parent says, octet for octet.
//!
//! | in state | the session may send | the parent answers |
//! |---|---|---|
//! | just started | `Jail` | `Reply`, unless the jail was not entered: [`Then::Refused`] means that TLS can't be had |
//! | any but content | `Helo`, `Challenge`, `Auth`, `Reset`, `Bye` | `Reply`, `Reply`, `Reply`, –, – |
//! | any but content, in clear | `StartTls`, then `Encrypted` | `Chain`s and `Sign`, or `Reply`; – |
//! | the same, behind a TLS superserver | `Encrypted` | – |
//! | any but content | `Mail` | `Reply` |
//! | envelope | `Rcpt`, `Data` | `Reply` |
//! | content | `Content`, `Commit`, `Abandon`, `Bye` | –, `Reply`, –, – |
//!
//! `Data` answered by [`Then::Go`] begins content; `Commit`, `Abandon` and `Reset` end the transaction.

use crate::codec::{MESSAGE_MAX, NoNul, Octets, Within};
use crate::declare::{codes, fields, tagged};
use crate::slice::Chain;
use gatepost_smtp::envelope::{Abandoned, CloseReason, Mechanism, Then, Tls};

/// Content octets in one `Content` message at most.
pub const CONTENT_MAX: usize = 28 * 1024;
/// Longest argument of a command, octets: nothing longer passes the session's own line limit.
pub const ARGUMENT_MAX: usize = 12 * 1024;
/// Longest user, password or challenge, octets.
pub const CREDENTIAL_MAX: usize = 4 * 1024;
/// Certificate pairs at most: a session keeps all their chains in its megabyte.
pub const PAIRS_MAX: usize = 32;
/// Longest answer in lines, octets. Plugins may print several.
pub const LINES_MAX: usize = 8 * 1024;

codes! { Abandoned Mechanism Then }

fields! {
    /// What AUTH came to: the three strings that a checkpassword program reads.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[allow(missing_docs)]
    pub struct Auth<'a> {
        pub mechanism: Mechanism,
        pub user: &'a [u8] as NoNul<CREDENTIAL_MAX>,
        /// The password, or CRAM-MD5's digest in hexadecimal.
        pub password: &'a [u8] as NoNul<CREDENTIAL_MAX>,
        /// The challenge that was sent; empty but for CRAM-MD5.
        pub challenge: &'a [u8] as NoNul<CREDENTIAL_MAX>,
    }
}

tagged! {
    /// Session to parent.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Ask<'a> {
        /// HELO or EHLO, with the argument as sent.
        1 => Helo(argument: &'a [u8] as NoNul<ARGUMENT_MAX>),
        /// MAIL, with the address as qmail parses it: no source route, no quotes.
        2 => Mail(address: &'a [u8] as NoNul<ARGUMENT_MAX>),
        /// RCPT, likewise.
        3 => Rcpt(address: &'a [u8] as NoNul<ARGUMENT_MAX>),
        /// DATA: start the queue program.
        4 => Data,
        /// The next octets of content, lines ended by LF, dots taken off.
        5 => Content(content: &'a [u8] as Octets<CONTENT_MAX>),
        /// The client has ended the content: queue it.
        6 => Commit {
            /// Octets of content.
            length: u64,
        },
        /// The client has ended content that is not to be queued.
        7 => Abandon(why: Abandoned),
        /// The transaction is over.
        8 => Reset,
        /// AUTH CRAM-MD5: a challenge for the client, in the answer's lines.
        9 => Challenge,
        /// AUTH: whether the password checker accepts this user.
        10 => Auth(auth: Auth<'a>),
        /// STARTTLS: chains, and a channel for signatures.
        11 => StartTls,
        /// TLS is on. What was negotiated, unless a TLS superserver did it.
        12 => Encrypted(tls: Option<Tls>),
        /// The session is over.
        13 => Bye(reason: CloseReason),
        /// The first message: whether the jail was entered.
        14 => Jail {
            /// It was; else the session ends without having read an octet.
            entered: bool,
            /// What could not be had, or why it was not entered; for the log.
            text: &'a [u8] as NoNul<ARGUMENT_MAX>,
        },
    }

    /// Parent to session.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Answer<'a> {
        /// Lines for the client, each with its CRLF, and what then.
        1 => Reply {
            /// The lines; may be none.
            lines: &'a [u8] as Octets<LINES_MAX>,
            /// What then. [`Then::Go`] without lines: the session sends its usual reply.
            then: Then,
        },
        /// To `StartTls`: one certificate pair's public half. The first is pair 0.
        2 => Chain(chain: Chain as Within<CHAIN_MAX>),
        /// To `StartTls`, after the chains: one descriptor, the session's end towards the keyholder.
        3 => Sign,
    }
}

/// Octets of the largest [`Answer::Chain`].
pub const CHAIN_MAX: usize = MESSAGE_MAX - 1;
