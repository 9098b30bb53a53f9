//! One transaction: a reverse-path, the recipients, and content while it is read. Dropped when it ends, whatever the result.

use crate::data::Scanner;
use crate::envelope::{Mail, Rcpt};
use crate::replies::Reply;

/// Content that is being read.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) scanner: Scanner,
    /// Octets passed on.
    pub(super) length: u64,
    /// Chunks begun.
    pub(super) chunks: u32,
    /// Why it cannot be accepted any more, and the octet that is the reason.
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
    /// A reply for each recipient has begun.
    pub(super) each: bool,
    /// Begun by DATA or the first BDAT.
    pub(super) content: Option<Content>,
}

impl Transaction {
    pub(super) fn new(mail: Mail) -> Self {
        Self { mail, rcpt: None, accepted: 0, tried: false, each: false, content: None }
    }

    /// BDAT has begun: nothing but BDAT may follow.
    pub(super) fn chunked(&self) -> bool {
        self.content.is_some()
    }
}
