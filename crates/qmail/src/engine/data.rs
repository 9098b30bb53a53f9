//! Content: from the wire to what is stored. CRLF becomes LF, a leading dot goes, a bare CR stays.
//!
//! Only CRLF.CRLF ends it, whatever is done about a bare LF: where a reader takes LF.LF or LF.CRLF for the end as well, a
//! second message can hide behind it (CVE-2023-51764 and its kin; fixcrio in front of qmail-smtpd is such a reader).

use gatepost_smtp::find;

use crate::split;

/// What to do with a bare LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareLf {
    /// It ends the session: 451, as qmail-smtpd.
    #[default]
    Refuse,
    /// It ends a line of content as CRLF would, but is never part of what ends the content: a lone dot beside it is data.
    Repair,
}

/// What [`Scanner::scan`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'i> {
    /// Octets of content, as stored. Never empty.
    Content(&'i [u8]),
    /// The end of it.
    End,
    /// A bare LF, not to be repaired. It is not consumed.
    StrayLf,
    /// The input is used up.
    Starved,
}

/// How far into a line the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    LineStart,
    Line,
    /// After a CR, held.
    Cr,
    /// After a leading dot, held.
    Dot,
    /// After a leading dot and a CR, both held.
    DotCr,
}

/// Reads content in any segmentation, without copying it and without keeping any.
#[derive(Debug, Clone)]
pub struct Scanner {
    bare_lf: BareLf,
    state: State,
    /// The line before ended in CRLF, not in a repaired LF. Content can end at such a line start only.
    strict: bool,
}

impl Scanner {
    /// At the start of content.
    #[must_use]
    pub fn new(bare_lf: BareLf) -> Self {
        Self { bare_lf, state: State::LineStart, strict: true }
    }

    /// Reads on: octets consumed, and what was found. To be called again with the rest until it is starved.
    pub fn scan<'i>(&mut self, input: &'i [u8]) -> (usize, Piece<'i>) {
        let mut at = 0usize;
        loop {
            let (_, text) = split(input, at);
            let Some(&octet) = text.first() else { return (at, Piece::Starved) };
            let (taken, piece) = match (self.state, octet) {
                (State::LineStart, b'.') => self.hold(State::Dot),
                (State::Dot, b'\r') => self.hold(State::DotCr),
                (State::DotCr, b'\n') if self.strict => {
                    self.state = State::LineStart;
                    return (at.saturating_add(1), Piece::End);
                }
                (State::DotCr, _) => self.release(b".", State::Cr),
                (State::Dot, b'\n') if self.bare_lf == BareLf::Repair => self.release(b".", State::Line),
                (State::Cr, b'\n') => self.next_line(text),
                (State::Cr, _) => self.release(b"\r", State::Line),
                (State::LineStart | State::Line | State::Dot, _) => self.run(text, 0),
            };
            at = at.saturating_add(taken);
            if piece != Piece::Content(b"") {
                return (at, piece);
            }
        }
    }

    /// Takes an octet that may turn out not to be content.
    fn hold<'i>(&mut self, state: State) -> (usize, Piece<'i>) {
        self.state = state;
        (1, Piece::Content(b""))
    }

    /// What was held is content.
    fn release<'i>(&mut self, held: &'static [u8], state: State) -> (usize, Piece<'i>) {
        self.state = state;
        (0, Piece::Content(held))
    }

    /// The LF of a CRLF, with the line behind it where there is one.
    fn next_line<'i>(&mut self, text: &'i [u8]) -> (usize, Piece<'i>) {
        (self.state, self.strict) = (State::LineStart, true);
        match text.get(1) {
            None | Some(b'.') => (1, Piece::Content(split(text, 1).0)),
            Some(_) => self.run(text, 1),
        }
    }

    /// Content up to the end of the line, of which the first `sure` octets are beyond question.
    fn run<'i>(&mut self, text: &'i [u8], sure: usize) -> (usize, Piece<'i>) {
        self.state = State::Line;
        let Some(found) = find::first_of(b'\r', b'\n', split(text, sure).1) else {
            return (text.len(), Piece::Content(text));
        };
        let hit = found.saturating_add(sure);
        let behind = hit.saturating_add(1);
        let (line, end) = split(text, hit);
        if end.first() == Some(&b'\r') {
            self.state = State::Cr;
            return (behind, Piece::Content(line));
        }
        match self.bare_lf {
            BareLf::Repair => {
                (self.state, self.strict) = (State::LineStart, false);
                (behind, Piece::Content(split(text, behind).0))
            }
            BareLf::Refuse if line.is_empty() => (0, Piece::StrayLf),
            BareLf::Refuse => (hit, Piece::Content(line)),
        }
    }
}
