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

/// Content octets in one `Content` message at most.
pub const CONTENT_MAX: usize = 28 * 1024;
/// Longest path, octets, brackets not counted (RFC 5321 §4.5.3.1.3 says 256 with them; SMTPUTF8 senders exceed it).
pub const PATH_MAX: usize = 1024;

/// What the content of a message is made of (RFC 6152, RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Body {
    #[default]
    Unstated,
    SevenBit,
    EightBit,
}

/// RFC 3461 RET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Ret {
    Full,
    Headers,
}

/// TLS as the session says it was negotiated. For the Received line only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsFacts {
    /// Protocol version code point: 0x0303 or 0x0304.
    pub version: u16,
    /// Cipher suite code point.
    pub suite: u16,
}

impl TlsFacts {
    pub(crate) fn write(self, w: &mut Writer<'_>) {
        w.u16(self.version);
        w.u16(self.suite);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { version: r.u16()?, suite: r.u16()? })
    }
}

/// The reverse-path and all that MAIL said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mail<'a> {
    /// The argument of the last HELO or EHLO, as the client sent it: printable ASCII, 255 octets at most.
    pub helo: &'a [u8],
    /// EHLO rather than HELO.
    pub esmtp: bool,
    /// Inside TLS, and which.
    pub tls: Option<TlsFacts>,
    /// The reverse-path without its brackets; empty for the null reverse-path.
    pub reverse_path: &'a [u8],
    /// SIZE=, octets.
    pub size: Option<u64>,
    /// BODY=.
    pub body: Body,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// RET=.
    pub ret: Option<Ret>,
    /// ENVID=, still in xtext.
    pub envid: Option<&'a [u8]>,
}

/// RFC 3461 NOTIFY as a set; none of them set means NEVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notify {
    /// SUCCESS.
    pub success: bool,
    /// FAILURE.
    pub failure: bool,
    /// DELAY.
    pub delay: bool,
}

/// A forward-path and all that RCPT said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rcpt<'a> {
    /// The forward-path without its brackets and source route.
    pub forward_path: &'a [u8],
    /// NOTIFY=.
    pub notify: Option<Notify>,
    /// ORCPT=, still in xtext.
    pub orcpt: Option<&'a [u8]>,
}

/// Why a session ended, for the log line that handoff writes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Farewell {
    Quit,
    ClientGone,
    Timeout,
    Abuse,
    TlsFailed,
    Drained,
    Internal,
}

impl Farewell {
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Farewell; 7] = [
        Farewell::Quit,
        Farewell::ClientGone,
        Farewell::Timeout,
        Farewell::Abuse,
        Farewell::TlsFailed,
        Farewell::Drained,
        Farewell::Internal,
    ];

    /// The exit status of a session that ended so; what fails without a farewell has that of [`Farewell::Internal`].
    #[must_use]
    pub const fn status(self) -> u8 {
        match self {
            Farewell::Quit => 0,
            Farewell::ClientGone => 1,
            Farewell::Timeout => 2,
            Farewell::Abuse => 3,
            Farewell::TlsFailed => 4,
            Farewell::Drained => 5,
            Farewell::Internal => 111,
        }
    }

    /// How a session with this exit status ended.
    #[must_use]
    pub fn of_status(status: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|farewell| farewell.status() == status)
    }

    fn write(self, w: &mut Writer<'_>) {
        let index = Self::ALL.iter().position(|f| *f == self).unwrap_or(usize::MAX);
        w.u8(u8::try_from(index).unwrap_or(u8::MAX));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Self::ALL.get(usize::from(r.u8()?)).copied().ok_or(WireError::Value("farewell"))
    }
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
    Bye(Farewell),
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
            Ask::Bye(why) => why.write(w),
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
            7 => Ask::Bye(Farewell::read(r)?),
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
        w.option(self.tls, |w, tls| tls.write(w));
        w.bytes16(self.reverse_path);
        w.option(self.size, Writer::u64);
        w.u8(match self.body {
            Body::Unstated => 0,
            Body::SevenBit => 1,
            Body::EightBit => 2,
        });
        w.bool(self.smtputf8);
        w.option(self.ret, |w, ret| w.bool(ret == Ret::Full));
        w.option(self.envid, Writer::bytes16);
    }

    fn read(r: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self {
            helo: short(r, "helo", 255)?,
            esmtp: r.bool()?,
            tls: r.option(TlsFacts::read)?,
            reverse_path: short(r, "reverse-path", PATH_MAX)?,
            size: r.option(Reader::u64)?,
            body: match r.u8()? {
                0 => Body::Unstated,
                1 => Body::SevenBit,
                2 => Body::EightBit,
                _ => return Err(WireError::Value("body")),
            },
            smtputf8: r.bool()?,
            ret: r.option(|r| Ok(if r.bool()? { Ret::Full } else { Ret::Headers }))?,
            envid: r.option(|r| short(r, "envid", 100))?,
        })
    }
}

impl<'a> Rcpt<'a> {
    fn write(&self, w: &mut Writer<'_>) {
        w.bytes16(self.forward_path);
        w.option(self.notify, |w, n| {
            w.bool(n.success);
            w.bool(n.failure);
            w.bool(n.delay);
        });
        w.option(self.orcpt, Writer::bytes16);
    }

    fn read(r: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self {
            forward_path: short(r, "forward-path", PATH_MAX)?,
            notify: r.option(|r| Ok(Notify { success: r.bool()?, failure: r.bool()?, delay: r.bool()? }))?,
            orcpt: r.option(|r| short(r, "orcpt", 500))?,
        })
    }
}

/// What can be honoured to the end, by us and by the backend behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Largest message, octets: the smaller of ours and the backend's.
    pub size: u64,
    /// The backend takes 8BITMIME.
    pub eight_bit: bool,
    /// The backend takes SMTPUTF8.
    pub smtputf8: bool,
    /// The backend takes DSN parameters.
    pub dsn: bool,
    /// Recipients in one transaction: 1 for LMTP backends.
    pub recipients: u16,
    /// Content up to this many octets goes inline; beyond, ask for `Spool`.
    pub inline_max: u32,
}

/// Why the verdict is what it is. The session turns it into our own text; a backend's text never travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reason {
    Ok,
    RelayDenied,
    SenderRefused,
    RecipientRefused,
    TooManyRecipients,
    ContentRefused,
    TooLarge,
    LoopDetected,
    BadContent,
    BackendDown,
    BackendTimeout,
    BackendLost,
    IdentityRefused,
    ClientRefused,
    NoSpace,
    Draining,
    Internal,
}

impl Reason {
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Reason; 17] = [
        Reason::Ok,
        Reason::RelayDenied,
        Reason::SenderRefused,
        Reason::RecipientRefused,
        Reason::TooManyRecipients,
        Reason::ContentRefused,
        Reason::TooLarge,
        Reason::LoopDetected,
        Reason::BadContent,
        Reason::BackendDown,
        Reason::BackendTimeout,
        Reason::BackendLost,
        Reason::IdentityRefused,
        Reason::ClientRefused,
        Reason::NoSpace,
        Reason::Draining,
        Reason::Internal,
    ];
}

/// A verdict: class and code for the client, enhanced code, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// 2yz, 4yz or 5yz.
    pub code: u16,
    /// RFC 3463 class, subject, detail; class agrees with `code`.
    pub enhanced: (u8, u16, u16),
    /// Chooses the text.
    pub reason: Reason,
}

/// Handoff to session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Sent once, before anything is asked.
    Offer(Offer),
    /// To `Rcpt`, `Commit`, or a refused `Spool`.
    Verdict(Verdict),
    /// To `Spool`; one descriptor: a write-only file that has no name.
    Spool,
}

impl Message<'_> for Answer {
    fn tag(&self) -> u8 {
        match self {
            Answer::Offer(_) => 1,
            Answer::Verdict(_) => 2,
            Answer::Spool => 3,
        }
    }

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Answer::Offer(o) => {
                w.u64(o.size);
                w.bool(o.eight_bit);
                w.bool(o.smtputf8);
                w.bool(o.dsn);
                w.u16(o.recipients);
                w.u32(o.inline_max);
            }
            Answer::Verdict(v) => {
                w.u16(v.code);
                w.u8(v.enhanced.0);
                w.u16(v.enhanced.1);
                w.u16(v.enhanced.2);
                let index = Reason::ALL.iter().position(|r| *r == v.reason).unwrap_or(usize::MAX);
                w.u8(u8::try_from(index).unwrap_or(u8::MAX));
            }
            Answer::Spool => {}
        }
    }

    fn read(tag: u8, r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match tag {
            1 => Answer::Offer(Offer {
                size: r.u64()?,
                eight_bit: r.bool()?,
                smtputf8: r.bool()?,
                dsn: r.bool()?,
                recipients: r.u16()?,
                inline_max: r.u32()?,
            }),
            2 => {
                let code = r.u16()?;
                let enhanced = (r.u8()?, r.u16()?, r.u16()?);
                let reason = Reason::ALL.get(usize::from(r.u8()?)).copied().ok_or(WireError::Value("reason"))?;
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
