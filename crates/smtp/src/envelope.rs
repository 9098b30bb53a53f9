//! The vocabulary of envelope and verdict: what is said of a message and of a session, by the engine, between processes and
//! towards the backend. Each word is declared here and nowhere else.

use crate::address::{ForwardPath, ReversePath};
use crate::{documented, enumeration};

enumeration! {
    /// BODY=, RFC 6152.
    #[derive(Default)]
    #[allow(missing_docs)]
    pub enum Body {
        #[default]
        Unstated,
        SevenBit,
        EightBit,
    }

    /// RET=, RFC 3461 §4.3.
    #[allow(missing_docs)]
    pub enum Ret { Headers, Full }
}

documented! {
    /// The reason of a verdict. It determines the text of the reply, unless the backend's own is passed on.
    pub enum Reason {
        /// Taken: the backend has said so.
        Ok,
        /// The domain is none of ours, and the client may not relay.
        RelayDenied,
        /// The backend refused the sender.
        SenderRefused,
        /// The backend refused the recipient, or we did by a rule of our own.
        RecipientRefused,
        /// The message has more recipients than one may have.
        TooManyRecipients,
        /// The backend refused the content.
        ContentRefused,
        /// The message is larger than one may be.
        TooLarge,
        /// The message has been here before: it has too many `Received` fields.
        LoopDetected,
        /// The content is malformed.
        BadContent,
        /// No backend can be reached.
        BackendDown,
        /// The backend did not answer in time.
        BackendTimeout,
        /// The backend was lost in the middle: whether it has the message is not known, so the client sends it again.
        BackendLost,
        /// The backend took the message for some recipients and not for others, and the client can hear one answer only.
        Mixed,
        /// The backend did not let us say who the client is, or it relays for strangers.
        IdentityRefused,
        /// The backend, or a rule, refused the client.
        ClientRefused,
        /// There is no room for the content.
        NoSpace,
        /// gatepost is being stopped.
        Draining,
        /// A failure of ours.
        Internal,
        /// The session refused it by itself: the reply says why.
        Session,
        /// The client went away, or took the transaction back, before the end.
        Abandoned,
        /// What it held was needed for a client of another network.
        Reclaimed,
        /// Its backend is another than that of the transaction.
        OtherBackend,
        /// What the client said in HELO or EHLO.
        HeloRefused,
        /// Too many messages in a time.
        MessageRate,
        /// Too many recipients in a time.
        RecipientRate,
        /// Too many recipients in a time that were refused.
        RefusalRate,
        /// The reverse-path is not one that this login may use.
        NotYourAddress,
        /// From or Sender of the content is not, or can't be read.
        NotYourFrom,
        /// DNS lists list what the client said in HELO or EHLO.
        HeloListed,
        /// Too many recipients of one login in a time.
        LoginRate,
    }

    /// Why a session is closed.
    pub enum CloseReason {
        /// The client said QUIT.
        Quit,
        /// The client closed the connection, or it broke.
        ClientGone,
        /// The client was silent or slow for too long.
        Timeout,
        /// The client broke the rules or passed one of the limits of the engine.
        Abuse,
        /// The TLS handshake failed.
        TlsFailed,
        /// gatepost is being stopped.
        Drained,
        /// A failure of ours.
        Internal,
        /// The client passed a limit of the qmail dialect.
        Limit,
        /// The client ended a line in a bare LF: in a command before EHLO, or in content of the qmail dialect.
        BareLf,
        /// Policy refused the client and asked to close.
        Refused,
        /// As `Refused`, but counted as if the client had said QUIT.
        Dismissed,
        /// A PROXY header where none belongs: a load balancer that `proxy_from` does not name.
        ProxyHeader,
        /// The configuration cannot be read (a single connection only: a running gatepost has read its own).
        Configuration,
        /// Its slot was needed for a client of another network.
        Reclaimed,
        /// No backend has passed its proof yet, so that nothing could have been taken.
        Away,
    }
}

enumeration! {
    /// What became of a message that was given to a program or server as a whole.
    pub enum Class {
        /// It has taken responsibility for the message.
        Accepted,
        /// Not now.
        Temporary,
        /// Never.
        Permanent,
    }

    /// How a client authenticates: SASL mechanisms, RFC 4954.
    #[derive(Default)]
    #[allow(missing_docs)]
    pub enum Mechanism {
        #[default]
        Login,
        Plain,
        CramMd5,
        ScramSha256,
        ScramSha256Plus,
        OAuthBearer,
        XOAuth2,
    }

    /// What a listener is for.
    #[derive(Default)]
    pub enum Service {
        /// Mail for our domains, from anybody (RFC 5321).
        #[default]
        Relay,
        /// Mail to anywhere, from whoever has logged in (RFC 6409).
        Submission,
        /// Mail to anywhere, from programs of this machine, whose user the kernel names.
        Local,
    }

    /// Whether a client is who it says it is.
    pub enum Login {
        /// It is.
        Accepted,
        /// It is not.
        Refused,
        /// It is not known now.
        Unknown,
    }

    /// Why complete content is not accepted, whatever policy says.
    pub enum Abandoned {
        /// Too many hops.
        Loop,
        /// More octets than the largest message has.
        TooLarge,
    }

    /// What becomes of a command of the qmail dialect that policy was asked about.
    pub enum Then {
        /// Accepted.
        Go,
        /// Refused; the session goes on.
        Refused,
        /// Refused; the session is closed for [`CloseReason::Refused`].
        Close,
        /// The session is closed for [`CloseReason::Dismissed`].
        Leave,
    }
}

/// NOTIFY=, RFC 3461 §4.1. None of them: NEVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
}

/// The parameters of MAIL. `T` holds octets: owned, or borrowed from a message between processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailParameters<T = Box<[u8]>> {
    /// SIZE=, octets, RFC 1870.
    pub size: Option<u64>,
    /// BODY=.
    pub body: Body,
    /// SMTPUTF8, RFC 6531.
    pub smtputf8: bool,
    /// RET=.
    pub ret: Option<Ret>,
    /// ENVID=, in xtext, [`ENVID_MAX`] octets at most.
    pub envid: Option<T>,
    /// PRDR, draft-hall-prdr-00: the client reads an answer for each recipient.
    pub prdr: bool,
}

/// The parameters of RCPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RcptParameters<T = Box<[u8]>> {
    /// NOTIFY=.
    pub notify: Option<Notify>,
    /// ORCPT=, in xtext, [`ORCPT_MAX`] octets at most.
    pub orcpt: Option<T>,
}

/// Longest ENVID, octets of xtext, RFC 3461 §4.4.
pub const ENVID_MAX: usize = 100;
/// Longest ORCPT, octets, RFC 3461 §4.2.
pub const ORCPT_MAX: usize = 500;
/// Longest argument of HELO and EHLO, octets: a domain, RFC 5321 §4.5.3.1.2.
pub const HELO_MAX: usize = 255;

impl<T> MailParameters<T> {
    /// MAIL without parameters.
    pub const NONE: Self =
        Self { size: None, body: Body::Unstated, smtputf8: false, ret: None, envid: None, prdr: false };
}

impl<T> RcptParameters<T> {
    /// RCPT without parameters.
    pub const NONE: Self = Self { notify: None, orcpt: None };
}

impl<T: AsRef<[u8]>> MailParameters<T> {
    /// The same parameters, their octets borrowed.
    #[must_use]
    pub fn borrowed(&self) -> MailParameters<&[u8]> {
        let Self { size, body, smtputf8, ret, ref envid, prdr } = *self;
        MailParameters { size, body, smtputf8, ret, envid: envid.as_ref().map(T::as_ref), prdr }
    }

    /// The same parameters, their octets copied.
    #[must_use]
    pub fn owned(&self) -> MailParameters {
        let MailParameters { size, body, smtputf8, ret, envid, prdr } = self.borrowed();
        MailParameters { size, body, smtputf8, ret, envid: envid.map(Box::from), prdr }
    }

    /// One of RFC 3461's is among them.
    #[must_use]
    pub fn needs_dsn(&self) -> bool {
        self.ret.is_some() || self.envid.is_some()
    }
}

impl<T: AsRef<[u8]>> RcptParameters<T> {
    /// The same parameters, their octets borrowed.
    #[must_use]
    pub fn borrowed(&self) -> RcptParameters<&[u8]> {
        RcptParameters { notify: self.notify, orcpt: self.orcpt.as_ref().map(T::as_ref) }
    }

    /// The same parameters, their octets copied.
    #[must_use]
    pub fn owned(&self) -> RcptParameters {
        RcptParameters { notify: self.notify, orcpt: self.borrowed().orcpt.map(Box::from) }
    }

    /// One of RFC 3461's is among them.
    #[must_use]
    pub fn needs_dsn(&self) -> bool {
        self.notify.is_some() || self.orcpt.is_some()
    }
}

/// The reverse-path and the parameters of MAIL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Mail {
    pub reverse_path: ReversePath,
    pub parameters: MailParameters,
}

/// The forward-path, without a source route, and the parameters of RCPT.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Rcpt {
    pub forward_path: ForwardPath,
    pub parameters: RcptParameters,
}

/// TLS as it was negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls {
    /// Protocol version code point: 0x0303 or 0x0304.
    pub version: u16,
    /// Cipher suite code point.
    pub suite: u16,
}

/// What the backend can honour to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Largest message, octets; 0: no limit stated.
    pub size: u64,
    /// 8BITMIME.
    pub eight_bit: bool,
    /// SMTPUTF8. Offered only with `eight_bit`, RFC 6531 §3.1.
    pub smtputf8: bool,
    /// DSN.
    pub dsn: bool,
    /// PRDR: the backend answers for each recipient.
    pub prdr: bool,
    /// Recipients in one transaction.
    pub recipients: u16,
}

/// An answer about a recipient or a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// 2yz, 4yz or 5yz. 421 ends the session.
    pub code: u16,
    /// RFC 3463 class, subject, detail; the class agrees with `code`.
    pub enhanced: (u8, u16, u16),
    /// Determines the text where no other is passed on.
    pub reason: Reason,
}
