//! One transaction: a reverse-path, the recipients, content under way. Dropped at every end, good or bad.

use crate::address::{ForwardPath, ReversePath};
use crate::data::Scanner;
use crate::replies::Reply;

/// BODY=, RFC 6152.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Body {
    #[default]
    Unstated,
    SevenBit,
    EightBit,
}

/// RET=, RFC 3461 §4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Ret {
    Full,
    Headers,
}

/// NOTIFY=, RFC 3461 §4.1. None of them: NEVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
}

/// The reverse-path and all that MAIL said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// From whom.
    pub reverse_path: ReversePath,
    /// SIZE=, octets, RFC 1870.
    pub size: Option<u64>,
    /// BODY=.
    pub body: Body,
    /// SMTPUTF8, RFC 6531.
    pub smtputf8: bool,
    /// RET=.
    pub ret: Option<Ret>,
    /// ENVID=, in xtext as it came, 100 octets at most.
    pub envid: Option<Box<[u8]>>,
}

/// A forward-path and all that RCPT said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rcpt {
    /// To whom; a source route is gone.
    pub forward_path: ForwardPath,
    /// NOTIFY=.
    pub notify: Option<Notify>,
    /// ORCPT=, in xtext as it came, 500 octets at most.
    pub orcpt: Option<Box<[u8]>>,
}

/// TLS as it was negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls {
    /// Protocol version code point: 0x0303 or 0x0304.
    pub version: u16,
    /// Cipher suite code point.
    pub suite: u16,
}

/// Content under way.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) scanner: Scanner,
    /// Octets handed out.
    pub(super) length: u64,
    /// Chunks begun.
    pub(super) chunks: u32,
    /// Why it can't be accepted any more, and at which octet that became so.
    pub(super) refused: Option<(Reply, u64)>,
}

impl Content {
    pub(super) fn new(scanner: Scanner) -> Self {
        Self { scanner, length: 0, chunks: 0, refused: None }
    }
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) mail: Mail,
    /// The recipient that an answer is due for.
    pub(super) rcpt: Option<Rcpt>,
    pub(super) accepted: u16,
    /// RCPT was tried.
    pub(super) tried: bool,
    /// Begun by DATA or the first BDAT.
    pub(super) content: Option<Content>,
}

impl Transaction {
    pub(super) fn new(mail: Mail) -> Self {
        Self { mail, rcpt: None, accepted: 0, tried: false, content: None }
    }

    /// BDAT has begun: nothing but BDAT may follow.
    pub(super) fn chunked(&self) -> bool {
        self.content.is_some()
    }
}
