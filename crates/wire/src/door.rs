//! Session and door, when one connection is all there is: `gatepost qmail-smtpd` under tcpserver, inetd or systemd.
//!
//! The door is the process that was started: it decides by qmail's control files, runs the queue program and holds the
//! key. The session is its forked, jailed child: it parses, and sends the client what the door says, octet for octet.
//!
//! | in state | the session may send | the door answers |
//! |---|---|---|
//! | newborn | `Jail` | – |
//! | any but content | `Helo`, `Challenge`, `Auth`, `Reset`, `Bye` | `Reply`, `Reply`, `Reply`, –, – |
//! | any but content, in clear | `StartTls`, then `Encrypted` | `Chain`s and `Sign`, or `Reply`; – |
//! | the same, behind a TLS superserver | `Encrypted` | – |
//! | any but content | `Mail` | `Reply` |
//! | envelope | `Rcpt`, `Data` | `Reply` |
//! | content | `Content`, `Commit`, `Abandon`, `Bye` | –, `Reply`, –, – |
//!
//! `Data` answered by [`Then::Go`] begins content; `Commit`, `Abandon` and `Reset` end the transaction.

use crate::codec::{Message, Reader, WireError, Writer};
use crate::session::{read_tls, tls};
use crate::slice::Chain;
use gatepost_smtp::envelope::{Abandoned, CloseReason, Mechanism, Then, Tls};

/// Content octets in one `Content` message at most.
pub const CONTENT_MAX: usize = 28 * 1024;
/// Longest argument of a command, octets: nothing longer passes the session's own line limit.
pub const ARGUMENT_MAX: usize = 12 * 1024;
/// Certificate pairs at most: a session keeps all their chains in its megabyte.
pub const PAIRS_MAX: usize = 32;
/// Longest answer in lines, octets. Plugins may print several.
pub const LINES_MAX: usize = 8 * 1024;

/// What AUTH came to: the three strings that a checkpassword program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Auth<'a> {
    pub mechanism: Mechanism,
    pub user: &'a [u8],
    /// The password, or CRAM-MD5's digest in hexadecimal.
    pub password: &'a [u8],
    /// The challenge that was sent; empty but for CRAM-MD5.
    pub challenge: &'a [u8],
}

/// Session to door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// The first word: whether the jail was entered.
    Jail {
        /// It was; else the session ends without having read an octet.
        entered: bool,
        /// What could not be had, or why it was not entered; for the log.
        text: &'a [u8],
    },
    /// HELO or EHLO, with the argument as sent.
    Helo(&'a [u8]),
    /// MAIL, with the address as qmail parses it: no source route, no quotes.
    Mail(&'a [u8]),
    /// RCPT, likewise.
    Rcpt(&'a [u8]),
    /// DATA: start the queue program.
    Data,
    /// The next octets of content, lines ended by LF, dots taken off.
    Content(&'a [u8]),
    /// The client has ended the content, `length` octets in all: queue it.
    Commit {
        /// Octets of content.
        length: u64,
    },
    /// The client has ended content that is not to be queued.
    Abandon(Abandoned),
    /// The transaction is over.
    Reset,
    /// AUTH CRAM-MD5: a challenge for the client, in the answer's lines.
    Challenge,
    /// AUTH: whether the password checker lets this user in.
    Auth(Auth<'a>),
    /// STARTTLS: chains, and a channel for signatures.
    StartTls,
    /// TLS is on. What was negotiated, unless a TLS superserver did it.
    Encrypted(Option<Tls>),
    /// The session is over.
    Bye(CloseReason),
}

impl<'a> Message<'a> for Ask<'a> {
    fn tag(&self) -> u8 {
        match self {
            Ask::Helo(_) => 1,
            Ask::Mail(_) => 2,
            Ask::Rcpt(_) => 3,
            Ask::Data => 4,
            Ask::Content(_) => 5,
            Ask::Commit { .. } => 6,
            Ask::Abandon(_) => 7,
            Ask::Reset => 8,
            Ask::Challenge => 9,
            Ask::Auth(_) => 10,
            Ask::StartTls => 11,
            Ask::Encrypted(_) => 12,
            Ask::Bye(_) => 13,
            Ask::Jail { .. } => 14,
        }
    }

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Ask::Helo(argument) | Ask::Mail(argument) | Ask::Rcpt(argument) => w.bytes16(argument),
            Ask::Content(octets) => w.bytes32(octets),
            Ask::Commit { length } => w.u64(*length),
            Ask::Abandon(why) => w.code(Abandoned::ALL, *why),
            Ask::Auth(auth) => {
                w.code(Mechanism::ALL, auth.mechanism);
                w.bytes16(auth.user);
                w.bytes16(auth.password);
                w.bytes16(auth.challenge);
            }
            Ask::Encrypted(facts) => w.option(*facts, tls),
            Ask::Bye(why) => w.code(CloseReason::ALL, *why),
            Ask::Jail { entered, text } => {
                w.bool(*entered);
                w.bytes16(text);
            }
            Ask::Data | Ask::Reset | Ask::Challenge | Ask::StartTls => {}
        }
    }

    fn read(tag: u8, r: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match tag {
            1 => Ask::Helo(argument(r)?),
            2 => Ask::Mail(argument(r)?),
            3 => Ask::Rcpt(argument(r)?),
            4 => Ask::Data,
            5 => Ask::Content(r.bytes32()?),
            6 => Ask::Commit { length: r.u64()? },
            7 => Ask::Abandon(r.code(Abandoned::ALL, "abandoned")?),
            8 => Ask::Reset,
            9 => Ask::Challenge,
            10 => Ask::Auth(Auth {
                mechanism: r.code(Mechanism::ALL, "mechanism")?,
                user: argument(r)?,
                password: argument(r)?,
                challenge: argument(r)?,
            }),
            11 => Ask::StartTls,
            12 => Ask::Encrypted(r.option(read_tls)?),
            13 => Ask::Bye(r.code(CloseReason::ALL, "close reason")?),
            14 => Ask::Jail { entered: r.bool()?, text: argument(r)? },
            _ => return Err(WireError::Tag(tag)),
        })
    }
}

/// An argument without NUL: it may become part of an environment or an envelope, where NUL ends a string.
fn argument<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    let bytes = r.bytes16()?;
    if bytes.len() > ARGUMENT_MAX || bytes.contains(&0) { Err(WireError::Value("argument")) } else { Ok(bytes) }
}

/// Door to session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Lines for the client, each with its CRLF, and what then.
    Reply {
        /// The lines; may be none.
        lines: &'a [u8],
        /// What then.
        then: Then,
    },
    /// To `StartTls`: one certificate pair's public half. The first is pair 0.
    Chain(Chain),
    /// To `StartTls`, after the chains: one descriptor, the session's end towards the keyholder.
    Sign,
}

impl<'a> Message<'a> for Answer<'a> {
    fn tag(&self) -> u8 {
        match self {
            Answer::Reply { .. } => 1,
            Answer::Chain(_) => 2,
            Answer::Sign => 3,
        }
    }

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Answer::Reply { lines, then } => {
                w.bytes16(lines);
                w.code(Then::ALL, *then);
            }
            Answer::Chain(chain) => chain.write(w),
            Answer::Sign => {}
        }
    }

    fn read(tag: u8, r: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match tag {
            1 => {
                let lines = r.bytes16()?;
                let then = r.code(Then::ALL, "then")?;
                if lines.len() > LINES_MAX {
                    return Err(WireError::Value("lines"));
                }
                Answer::Reply { lines, then }
            }
            2 => Answer::Chain(Chain::read(r)?),
            3 => Answer::Sign,
            _ => return Err(WireError::Tag(tag)),
        })
    }
}
