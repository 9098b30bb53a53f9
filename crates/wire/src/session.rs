//! Session and handoff: envelope, content, verdict.
//!
//! | in state | the session may send | handoff answers |
//! |---|---|---|
//! | idle | `Mail`, `Reset`, `Bye` | nothing: the first `Rcpt` carries the verdict |
//! | envelope | `Rcpt` | `Verdict` |
//! | envelope, one recipient accepted | `Content`, `Spool`, `Commit` | –, `Spool` or `Verdict`, `Verdict` |
//! | content | `Content`, `Spool`, `Commit` | as above |
//! | any but idle | `Reset`, `Bye` | nothing |
//!
//! After `Commit` or `Reset` the channel is idle again, whatever the verdict. Handoff speaks first: an `Offer`.

use crate::codec::{Message, Reader, WireError, Writer};
use gatepost_smtp::envelope::{
    Body, CloseReason, ENVID_MAX, HELO_MAX, MailParameters, Notify, ORCPT_MAX, Offer, RcptParameters, Reason, Ret, Tls,
    Verdict,
};

/// Content octets in one `Content` message at most.
pub const CONTENT_MAX: usize = 28 * 1024;
/// Longest path, octets, brackets not counted (RFC 5321 §4.5.3.1.3 says 256 with them; SMTPUTF8 senders exceed it).
pub const PATH_MAX: usize = 1024;

pub(crate) fn tls(w: &mut Writer<'_>, tls: Tls) {
    w.u16(tls.version);
    w.u16(tls.suite);
}

pub(crate) fn read_tls(r: &mut Reader<'_>) -> Result<Tls, WireError> {
    Ok(Tls { version: r.u16()?, suite: r.u16()? })
}

/// The reverse-path and all that MAIL said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mail<'a> {
    /// The argument of the last HELO or EHLO, as the client sent it: printable ASCII, 255 octets at most.
    pub helo: &'a [u8],
    /// EHLO rather than HELO.
    pub esmtp: bool,
    /// Inside TLS, and which.
    pub tls: Option<Tls>,
    /// The reverse-path without its brackets; empty for the null reverse-path.
    pub reverse_path: &'a [u8],
    /// What was said with it.
    pub parameters: MailParameters<&'a [u8]>,
}

/// A forward-path and all that RCPT said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rcpt<'a> {
    /// The forward-path without its brackets and source route.
    pub forward_path: &'a [u8],
    /// What was said with it.
    pub parameters: RcptParameters<&'a [u8]>,
}

/// Session to handoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Begins a transaction. Not answered; rides in one frame with the first `Rcpt`.
    Mail(Mail<'a>),
    /// One more forward-path. Answered.
    Rcpt(Rcpt<'a>),
    /// The next octets of content, dots unstuffed. Not answered.
    Content(&'a [u8]),
    /// The content outgrows `Offer::inline_max`: a file to write the rest into, please. Answered by `Spool` or refused.
    Spool,
    /// The client has ended the content, which is `length` octets in all. Answered when the backend has answered.
    Commit {
        /// Octets of content, those in the spool file included.
        length: u64,
    },
    /// The transaction is over without a commit. Not answered.
    Reset,
    /// The session is over.
    Bye(CloseReason),
}

impl<'a> Message<'a> for Ask<'a> {
    fn tag(&self) -> u8 {
        match self {
            Ask::Mail(_) => 1,
            Ask::Rcpt(_) => 2,
            Ask::Content(_) => 3,
            Ask::Spool => 4,
            Ask::Commit { .. } => 5,
            Ask::Reset => 6,
            Ask::Bye(_) => 7,
        }
    }

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Ask::Mail(mail) => mail.write(w),
            Ask::Rcpt(rcpt) => rcpt.write(w),
            Ask::Content(octets) => w.bytes32(octets),
            Ask::Commit { length } => w.u64(*length),
            Ask::Bye(why) => w.code(CloseReason::ALL, *why),
            Ask::Spool | Ask::Reset => {}
        }
    }

    fn read(tag: u8, r: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match tag {
            1 => Ask::Mail(Mail::read(r)?),
            2 => Ask::Rcpt(Rcpt::read(r)?),
            3 => Ask::Content(r.bytes32()?),
            4 => Ask::Spool,
            5 => Ask::Commit { length: r.u64()? },
            6 => Ask::Reset,
            7 => Ask::Bye(r.code(CloseReason::ALL, "close reason")?),
            _ => return Err(WireError::Tag(tag)),
        })
    }
}

fn short<'a>(r: &mut Reader<'a>, field: &'static str, max: usize) -> Result<&'a [u8], WireError> {
    let bytes = r.bytes16()?;
    if bytes.len() > max { Err(WireError::Value(field)) } else { Ok(bytes) }
}

impl<'a> Mail<'a> {
    fn write(&self, w: &mut Writer<'_>) {
        w.bytes16(self.helo);
        w.bool(self.esmtp);
        w.option(self.tls, tls);
        w.bytes16(self.reverse_path);
        w.option(self.parameters.size, Writer::u64);
        w.code(Body::ALL, self.parameters.body);
        w.bool(self.parameters.smtputf8);
        w.option(self.parameters.ret, |w, ret| w.code(Ret::ALL, ret));
        w.option(self.parameters.envid, Writer::bytes16);
    }

    fn read(r: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self {
            helo: short(r, "helo", HELO_MAX)?,
            esmtp: r.bool()?,
            tls: r.option(read_tls)?,
            reverse_path: short(r, "reverse-path", PATH_MAX)?,
            parameters: MailParameters {
                size: r.option(Reader::u64)?,
                body: r.code(Body::ALL, "body")?,
                smtputf8: r.bool()?,
                ret: r.option(|r| r.code(Ret::ALL, "ret"))?,
                envid: r.option(|r| short(r, "envid", ENVID_MAX))?,
            },
        })
    }
}

impl<'a> Rcpt<'a> {
    fn write(&self, w: &mut Writer<'_>) {
        w.bytes16(self.forward_path);
        w.option(self.parameters.notify, |w, n| {
            w.bool(n.success);
            w.bool(n.failure);
            w.bool(n.delay);
        });
        w.option(self.parameters.orcpt, Writer::bytes16);
    }

    fn read(r: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self {
            forward_path: short(r, "forward-path", PATH_MAX)?,
            parameters: RcptParameters {
                notify: r.option(|r| Ok(Notify { success: r.bool()?, failure: r.bool()?, delay: r.bool()? }))?,
                orcpt: r.option(|r| short(r, "orcpt", ORCPT_MAX))?,
            },
        })
    }
}

/// Handoff to session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Sent once, before anything is asked.
    Offer {
        /// What can be honoured to the end.
        offer: Offer,
        /// Content up to this many octets goes inline; beyond, ask for `Spool`.
        inline_max: u32,
    },
    /// To `Rcpt`, `Commit`, or a refused `Spool`.
    Verdict(Verdict),
    /// To `Spool`; one descriptor: a write-only file that has no name.
    Spool,
}

impl Message<'_> for Answer {
    fn tag(&self) -> u8 {
        match self {
            Answer::Offer { .. } => 1,
            Answer::Verdict(_) => 2,
            Answer::Spool => 3,
        }
    }

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Answer::Offer { offer: o, inline_max } => {
                w.u64(o.size);
                w.bool(o.eight_bit);
                w.bool(o.smtputf8);
                w.bool(o.dsn);
                w.u16(o.recipients);
                w.u32(*inline_max);
            }
            Answer::Verdict(v) => {
                w.u16(v.code);
                w.u8(v.enhanced.0);
                w.u16(v.enhanced.1);
                w.u16(v.enhanced.2);
                w.code(Reason::ALL, v.reason);
            }
            Answer::Spool => {}
        }
    }

    fn read(tag: u8, r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match tag {
            1 => Answer::Offer {
                offer: Offer {
                    size: r.u64()?,
                    eight_bit: r.bool()?,
                    smtputf8: r.bool()?,
                    dsn: r.bool()?,
                    recipients: r.u16()?,
                },
                inline_max: r.u32()?,
            },
            2 => {
                let code = r.u16()?;
                let enhanced = (r.u8()?, r.u16()?, r.u16()?);
                let reason = r.code(Reason::ALL, "reason")?;
                let class = code / 100;
                if !matches!(class, 2 | 4 | 5) || code > 599 || u16::from(enhanced.0) != class {
                    return Err(WireError::Value("verdict"));
                }
                Answer::Verdict(Verdict { code, enhanced, reason })
            }
            3 => Answer::Spool,
            _ => return Err(WireError::Tag(tag)),
        })
    }
}
