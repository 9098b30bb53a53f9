//! Content on its way out. Pure: pieces in, octets for the backend out. Nothing leaves that has not been looked at here,
//! in the very buffer that is sent, so a file that changes after the look changes nothing (P9).

use gatepost_smtp::data::{Impure, Purity, Stuffer};
use gatepost_smtp::header::{Filter, TooLong};
use gatepost_wire::session::Verdict;
use std::fmt;

use crate::verdict;

/// `Received` fields that make a loop (RFC 5321 §6.3).
pub(crate) const HOPS_MAX: u32 = 50;
/// Octets of a header.
pub(crate) const HEADER_MAX: u64 = 1024 * 1024;

/// Why content is not sent. The client's fault, or its session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    Impure(Impure),
    Header(TooLong),
    Loop,
    /// The file is not as long as it was.
    Changed,
}

impl Unfit {
    /// What the client is told.
    pub(crate) fn verdict(self) -> Verdict {
        match self {
            Unfit::Impure(_) | Unfit::Changed => verdict::BAD_CONTENT,
            Unfit::Header(_) => verdict::TOO_LARGE,
            Unfit::Loop => verdict::LOOP,
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Impure(impure) => impure.fmt(f),
            Unfit::Header(long) => long.fmt(f),
            Unfit::Loop => write!(f, "more than {HOPS_MAX} hops"),
            Unfit::Changed => f.write_str("the content file has changed"),
        }
    }
}

impl From<Impure> for Unfit {
    fn from(impure: Impure) -> Self {
        Unfit::Impure(impure)
    }
}

impl From<TooLong> for Unfit {
    fn from(long: TooLong) -> Self {
        Unfit::Header(long)
    }
}

/// The header duties, and what is left of the header after them.
#[derive(Debug)]
pub(crate) struct Header {
    filter: Filter,
}

impl Header {
    pub(crate) fn new(own_id: &str) -> Self {
        Self { filter: Filter::new(own_id, HEADER_MAX) }
    }

    /// Appends what stays of the header in `chunk` to `kept`; gives back what follows it.
    pub(crate) fn push<'c>(&mut self, chunk: &'c [u8], kept: &mut Vec<u8>) -> Result<&'c [u8], Unfit> {
        let body = self.filter.push(chunk, kept)?;
        if self.filter.hops() > HOPS_MAX { Err(Unfit::Loop) } else { Ok(body) }
    }

    /// All content was pushed: appends what was still held back.
    pub(crate) fn finish(&mut self, kept: &mut Vec<u8>) {
        self.filter.finish(kept);
    }

    /// The body has begun: what follows goes out as it is, and the length of all is known.
    pub(crate) fn is_over(&self) -> bool {
        self.filter.in_body()
    }
}

/// How the backend finds the end of content.
#[derive(Debug)]
pub(crate) enum Framing {
    /// DATA: dots are stuffed, a lone one ends it.
    Dots(Stuffer),
    /// BDAT: by its length, said before.
    Length(Purity),
}

impl Framing {
    /// Appends `chunk` to `out` as the backend is to get it.
    pub(crate) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        match self {
            Framing::Dots(stuffer) => stuffer.push(chunk, out)?,
            Framing::Length(purity) => {
                purity.push(chunk)?;
                out.extend_from_slice(chunk);
            }
        }
        Ok(())
    }

    /// Appends what ends the content.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Unfit> {
        match self {
            Framing::Dots(stuffer) => stuffer.finish(out)?,
            Framing::Length(purity) => {
                // The length was said when the last line had its CRLF.
                if purity.finish()? {
                    return Err(Unfit::Changed);
                }
            }
        }
        Ok(())
    }
}

/// LF line ends, as qmail's own interfaces want them, of which none is a lone dot's.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    purity: Purity,
}

impl Lines {
    /// Appends `chunk` to `out` with LF for each CRLF.
    pub(crate) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        self.purity.push(chunk)?;
        // No CR but a CRLF's can be here: a bare one is found now, or with the octet that follows it.
        chunk.split(|octet| *octet == b'\r').for_each(|piece| out.extend_from_slice(piece));
        Ok(())
    }

    /// Ends the last line.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Unfit> {
        if self.purity.finish()? {
            out.push(b'\n');
        }
        Ok(())
    }
}

/// Looks through content without sending it.
pub(crate) fn look_through(pieces: &[&[u8]], whole: bool) -> Result<(), Unfit> {
    let mut purity = Purity::new();
    for piece in pieces {
        purity.push(piece)?;
    }
    if whole {
        purity.finish()?;
    }
    Ok(())
}
