//! Content on its way to the backend. Pure: pieces in, octets for the backend out. Every octet is checked here in the buffer
//! that is sent, so a file that is changed after a check changes nothing (P9).

use gatepost_smtp::data::{Impure, Purity, Stuffer};
use gatepost_smtp::envelope::Verdict;
use gatepost_smtp::header::{Filter, TooLong};
use std::fmt;

use crate::verdict;

/// Largest header, octets.
pub(crate) const HEADER_MAX: u64 = 1024 * 1024;

/// Why content must not be sent. A fault of the client or of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentError {
    Impure(Impure),
    Header(TooLong),
    Loop,
    /// The file is not as long as it was.
    Changed,
}

impl ContentError {
    /// What the client is told.
    pub(crate) fn verdict(self) -> Verdict {
        match self {
            ContentError::Impure(_) | ContentError::Changed => verdict::BAD_CONTENT,
            ContentError::Header(_) => verdict::TOO_LARGE,
            ContentError::Loop => verdict::LOOP,
        }
    }
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContentError::Impure(impure) => impure.fmt(f),
            ContentError::Header(long) => long.fmt(f),
            ContentError::Loop => f.write_str("a loop: more Received fields than limits.hops"),
            ContentError::Changed => f.write_str("the content file has changed"),
        }
    }
}

impl From<Impure> for ContentError {
    fn from(impure: Impure) -> Self {
        ContentError::Impure(impure)
    }
}

impl From<TooLong> for ContentError {
    fn from(long: TooLong) -> Self {
        ContentError::Header(long)
    }
}

/// The header duties: fields that are removed, and the count of hops.
#[derive(Debug)]
pub(crate) struct Header {
    filter: Filter,
    /// `Received` fields that it may have; more are a loop, RFC 5321 §6.3.
    hops: u32,
}

impl Header {
    pub(crate) fn new(own_id: &str, hops: u32) -> Self {
        Self { filter: Filter::new(own_id, HEADER_MAX), hops }
    }

    /// Appends to `kept` what remains of the header in `chunk`; gives back what follows the header.
    pub(crate) fn push<'c>(&mut self, chunk: &'c [u8], kept: &mut Vec<u8>) -> Result<&'c [u8], ContentError> {
        let body = self.filter.push(chunk, kept)?;
        if self.filter.hops() > self.hops { Err(ContentError::Loop) } else { Ok(body) }
    }

    /// All content was pushed: appends what was held back.
    pub(crate) fn finish(&mut self, kept: &mut Vec<u8>) {
        self.filter.finish(kept);
    }

    /// The body has begun: what follows is sent as it is, so the length of all is known.
    pub(crate) fn is_over(&self) -> bool {
        self.filter.in_body()
    }
}

/// How the backend is given lines and finds the end of content.
#[derive(Debug)]
pub(crate) enum Framing {
    /// DATA: dots at the beginning of a line are doubled, a line of one dot ends it.
    Dots(Stuffer),
    /// BDAT: by its length, which is sent before.
    Length(Purity),
    /// As qmail's interfaces have it: lines end with LF.
    Lines(Purity),
}

impl Framing {
    /// Appends `chunk` to `out` in the form that the backend gets.
    pub(crate) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), ContentError> {
        match self {
            Framing::Dots(stuffer) => stuffer.push(chunk, out)?,
            Framing::Length(purity) => {
                purity.push(chunk)?;
                out.extend_from_slice(chunk);
            }
            Framing::Lines(purity) => {
                purity.push(chunk)?;
                // Each CR here is followed by LF: a bare one is found now, or with the octet that follows it.
                chunk.split(|octet| *octet == b'\r').for_each(|piece| out.extend_from_slice(piece));
            }
        }
        Ok(())
    }

    /// Appends what ends the content.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ContentError> {
        match self {
            Framing::Dots(stuffer) => stuffer.finish(out)?,
            Framing::Length(purity) => {
                // Its last line had a CRLF when its length was sent.
                if purity.finish()? {
                    return Err(ContentError::Changed);
                }
            }
            Framing::Lines(purity) => {
                if purity.finish()? {
                    out.push(b'\n');
                }
            }
        }
        Ok(())
    }
}

/// Checks content; `whole`: including its end.
pub(crate) fn check(octets: &[u8], whole: bool) -> Result<(), ContentError> {
    let mut purity = Purity::new();
    purity.push(octets)?;
    if whole {
        purity.finish()?;
    }
    Ok(())
}
