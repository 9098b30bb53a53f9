//! The header duties of a relay, as a stream: count the hops, remove forged results, leave every other octet alone.
//!
//! An `Authentication-Results` that bears our own authserv-id did not come from us, or it would not come from outside
//! (RFC 8601 §5). A DKIM signature over anything else still verifies.

use memchr::memchr;

use crate::{octets, split};

/// Octets of a field that may pass before its authserv-id is seen. Only comments and folding could fill them: a field
/// that hides its id behind more is removed.
const HELD_MAX: usize = 1024;

/// The header is longer than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("header too long")
    }
}

impl std::error::Error for TooLong {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Within the name of a field, all of it held.
    Name,
    /// Within a field whose authserv-id decides, all of it held.
    Deciding,
    /// Within a field that passes.
    Pass,
    /// Within a field that is removed.
    Drop,
    Body,
}

/// Filters canonical content.
#[derive(Debug)]
pub struct Filter {
    own_id: Box<[u8]>,
    header_max: u64,
    state: State,
    held: Vec<u8>,
    /// The octet before was the LF of a line.
    line_start: bool,
    read: u64,
    hops: u32,
    removed: u32,
}

impl Filter {
    /// At the start of content. `own_id`: our authserv-id. `header_max`: octets a header may have.
    #[must_use]
    pub fn new(own_id: &str, header_max: u64) -> Self {
        Self {
            own_id: own_id.as_bytes().into(),
            header_max,
            state: State::Name,
            held: Vec::new(),
            line_start: true,
            read: 0,
            hops: 0,
            removed: 0,
        }
    }

    /// `Received` fields so far.
    #[must_use]
    pub fn hops(&self) -> u32 {
        self.hops
    }

    /// Fields removed so far.
    #[must_use]
    pub fn removed(&self) -> u32 {
        self.removed
    }

    /// The body has begun: chunks pass as they are.
    #[must_use]
    pub fn in_body(&self) -> bool {
        self.state == State::Body
    }

    /// Appends what stays of the header in `chunk` to `out`, and gives back what lies behind the header: it follows `out`.
    ///
    /// # Errors
    /// The header is longer than its limit.
    pub fn push<'c>(&mut self, chunk: &'c [u8], out: &mut Vec<u8>) -> Result<&'c [u8], TooLong> {
        let mut rest = chunk;
        while self.state != State::Body && !rest.is_empty() {
            let end = memchr(b'\n', rest).map_or(rest.len(), |at| at.saturating_add(1));
            let (piece, later) = split(rest, end);
            rest = later;
            self.read = self.read.saturating_add(octets(piece.len()));
            if self.read > self.header_max {
                return Err(TooLong);
            }
            self.take(piece, out);
        }
        Ok(rest)
    }

    /// The content ends: appends what is still held.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Deciding {
            self.decide(true);
        }
        self.release(out);
        self.state = State::Body;
    }

    /// Takes a piece of one line: all of it, or up to a cut between chunks.
    fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if self.line_start && !matches!(piece.first(), Some(b' ' | b'\t')) {
            // The field before is complete.
            if self.state == State::Deciding {
                self.decide(true);
            }
            self.release(out);
            self.state = State::Name;
        }
        self.line_start = piece.last() == Some(&b'\n');
        match self.state {
            State::Pass | State::Body => out.extend_from_slice(piece),
            State::Drop => {}
            State::Name | State::Deciding => {
                self.held.extend_from_slice(piece);
                if self.state == State::Name {
                    self.read_name();
                }
                if self.state == State::Deciding {
                    self.decide(false);
                }
                self.release(out);
            }
        }
    }

    /// Lets go of what is held, once it is clear what becomes of it.
    fn release(&mut self, out: &mut Vec<u8>) {
        match self.state {
            State::Name | State::Deciding if !self.line_start => return,
            State::Deciding => return,
            State::Drop => {}
            State::Name | State::Pass | State::Body => out.extend_from_slice(&self.held),
        }
        self.held.clear();
    }

    /// Looks at the name of the field as far as it is there.
    fn read_name(&mut self) {
        if self.held.as_slice() == b"\r\n" {
            self.state = State::Body;
            return;
        }
        let Some(colon) = memchr(b':', &self.held) else {
            // Longer than any name that matters, or a line that isn't a field.
            if self.held.len() > 64 || self.line_start {
                self.state = State::Pass;
            }
            return;
        };
        // RFC 5322 §4.5.3 lets white space stand before the colon; parsers differ about it, so it changes nothing here.
        let name = split(&self.held, colon).0.trim_ascii_end();
        self.state = State::Pass;
        if name.eq_ignore_ascii_case(b"received") {
            self.hops = self.hops.saturating_add(1);
        } else if name.eq_ignore_ascii_case(b"authentication-results") {
            self.state = State::Deciding;
        }
    }

    /// Looks for the authserv-id in what is held of the field. `whole`: nothing more will come.
    fn decide(&mut self, whole: bool) {
        let value = memchr(b':', &self.held).and_then(|at| self.held.get(at.saturating_add(1)..)).unwrap_or_default();
        let ours = match authserv_id(value, whole) {
            Id::Found(id) => id.eq_ignore_ascii_case(&self.own_id),
            Id::None => false,
            Id::Unfinished if self.held.len() > HELD_MAX => true,
            Id::Unfinished => return,
        };
        if ours {
            self.removed = self.removed.saturating_add(1);
        }
        self.state = if ours { State::Drop } else { State::Pass };
    }
}

enum Id {
    Found(Vec<u8>),
    None,
    Unfinished,
}

/// RFC 8601 §2.2: `[CFWS] authserv-id`, a token or a quoted string.
fn authserv_id(value: &[u8], whole: bool) -> Id {
    let unfinished = || if whole { Id::None } else { Id::Unfinished };
    let mut depth = 0u32;
    let mut rest = value.iter().copied();
    let first = loop {
        match (rest.next(), depth) {
            (None, _) => return unfinished(),
            (Some(b'('), _) => depth = depth.saturating_add(1),
            (Some(b')'), 1..) => depth -= 1,
            (Some(b'\\'), 1..) => {
                if rest.next().is_none() {
                    return unfinished();
                }
            }
            (Some(b' ' | b'\t' | b'\r' | b'\n'), 0) | (Some(_), 1..) => {}
            (Some(octet), 0) => break octet,
        }
    };
    let mut id = Vec::new();
    if first == b'"' {
        loop {
            match rest.next() {
                None => return unfinished(),
                Some(b'"') => return Id::Found(id),
                Some(b'\\') => match rest.next() {
                    None => return unfinished(),
                    Some(octet) => id.push(octet),
                },
                // Folding is no part of what is quoted.
                Some(b'\r' | b'\n') => {}
                Some(octet) => id.push(octet),
            }
        }
    }
    id.push(first);
    for octet in rest {
        if matches!(octet, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b'/' | b'=') {
            return Id::Found(id);
        }
        id.push(octet);
    }
    if whole { Id::Found(id) } else { Id::Unfinished }
}
