//! Content: one scanner that reads it in every state of a session, and one writer that makes it canonical.
//!
//! Only CRLF.CRLF ends it (RFC 5321 §4.1.1.4). A bare CR, a bare LF or a NUL is never passed on: if two parsers read such an
//! octet differently, a second message can be smuggled in after it. By [`BareLf::Normalize`] a bare LF ends a line and becomes
//! CRLF, but is never part of what ends the content.

use memchr::memchr3;

use crate::{octets, split};

/// What makes content impure, and the position of the first such octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impure {
    /// The kind.
    pub kind: Impurity,
    /// Octets before it, as the peer sent them.
    pub offset: u64,
}

/// The kinds of impurity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Impurity {
    BareCr,
    BareLf,
    Nul,
    /// Longer than the limit that was set.
    LongLine,
}

impl std::fmt::Display for Impure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Impurity::BareCr => "bare CR",
            Impurity::BareLf => "bare LF",
            Impurity::Nul => "NUL",
            Impurity::LongLine => "line too long",
        };
        write!(f, "{kind} at octet {}", self.offset)
    }
}

impl std::error::Error for Impure {}

/// How the end of the content is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// DATA: a line of one dot ends it; of other leading dots one is removed.
    Dots,
    /// BDAT: by the sizes of the chunks; dots have no meaning.
    Length,
}

crate::enumeration! {
    /// What to do with a bare LF.
    #[derive(Default)]
    pub enum BareLf {
        /// It makes the content impure.
        #[default]
        Refuse,
        /// It ends a line of content as CRLF would, but is never part of what ends the content.
        Normalize,
    }
}

/// What [`Scanner::scan`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'i> {
    /// Canonical octets of content. To be thrown away once [`Scanner::impure`] says so.
    Content(&'i [u8]),
    /// The end of the content, in [`Framing::Dots`] only.
    End,
    /// The input is used up.
    Starved,
}

/// Where in a line the stream is. An octet that may still turn out to be impure has been passed on already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    LineStart,
    Line,
    /// After a CR that must be followed by LF.
    Cr,
    /// After a leading dot, which was removed.
    Dot,
    /// After a leading dot, which was removed, and a CR, which is held.
    DotCr,
    /// A bare LF was removed; the CRLF that replaces it comes next.
    CrlfDue,
}

/// Reads content in any segmentation, without copying or storing it.
#[derive(Debug, Clone)]
pub struct Scanner {
    framing: Framing,
    bare_lf: BareLf,
    line_max: u64,
    state: State,
    /// The line before ended in CRLF, not in a normalized LF. Only after such a line can the content end.
    strict: bool,
    /// Octets read so far.
    offset: u64,
    /// Where the current line began.
    line: u64,
    /// Where the last piece of content began.
    piece: u64,
    impure: Option<Impure>,
}

const CRLF: &[u8] = b"\r\n";

impl Scanner {
    /// At the start of content. `line_max`: octets a line may have, its end not counted; `None`: any.
    #[must_use]
    pub fn new(framing: Framing, bare_lf: BareLf, line_max: Option<u64>) -> Self {
        let line_max = line_max.unwrap_or(u64::MAX);
        Self {
            framing,
            bare_lf,
            line_max,
            state: State::LineStart,
            strict: true,
            offset: 0,
            line: 0,
            piece: 0,
            impure: None,
        }
    }

    /// The first impurity, once there is one. Scanning may go on, to find the end.
    #[must_use]
    pub fn impure(&self) -> Option<Impure> {
        self.impure
    }

    /// Octets read so far, as the peer sent them.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the last piece of content began, in octets as the peer sent them.
    pub(crate) fn piece(&self) -> u64 {
        self.piece
    }

    /// Records that the last line was completed by a CRLF that the peer did not send.
    pub(crate) fn complete_line(&mut self) {
        self.state = State::LineStart;
    }

    /// Reads on: octets consumed, and what was found. Call it again with the rest until it is starved.
    ///
    /// Once [`Scanner::impure`] is `Some`, pieces must be discarded.
    pub fn scan<'i>(&mut self, input: &'i [u8]) -> (usize, Piece<'i>) {
        let mut at = 0;
        loop {
            let (_, text) = split(input, at);
            let Some(&octet) = text.first() else { return (at, Piece::Starved) };
            self.piece = self.offset;
            let swallowed = match (self.state, octet) {
                (State::CrlfDue, _) => {
                    self.state = State::LineStart;
                    return (at, Piece::Content(CRLF));
                }
                (State::LineStart, b'.') if self.framing == Framing::Dots => State::Dot,
                (State::Dot, b'\r') => State::DotCr,
                (State::DotCr, b'\n') => {
                    let end = self.strict;
                    self.offset = self.offset.saturating_add(1);
                    self.end_line(self.offset, true);
                    self.piece = self.offset;
                    // After a normalized LF a line of one dot is an empty line, never the end.
                    return (at + 1, if end { Piece::End } else { Piece::Content(CRLF) });
                }
                (State::DotCr, _) => {
                    self.spoil(Impurity::BareCr, self.offset.saturating_sub(1));
                    self.state = State::Line;
                    continue;
                }
                (State::LineStart | State::Line | State::Cr | State::Dot, _) => {
                    let (kept, taken) = self.run(text, self.framing == Framing::Dots);
                    at += taken;
                    if kept == 0 {
                        continue;
                    }
                    return (at, Piece::Content(split(text, kept).0));
                }
            };
            self.state = swallowed;
            self.offset = self.offset.saturating_add(1);
            at += 1;
        }
    }

    /// Ends length-framed content. True when its last line has no CRLF.
    ///
    /// # Errors
    /// It was impure, or ends in a bare CR.
    pub fn finish(&mut self) -> Result<bool, Impure> {
        if matches!(self.state, State::Cr | State::DotCr) {
            self.spoil(Impurity::BareCr, self.offset.saturating_sub(1));
        }
        match self.impure {
            Some(impure) => Err(impure),
            None => Ok(self.state != State::LineStart),
        }
    }

    /// One run of plain content from a non-empty `text`: octets to keep, and octets consumed. With `dots` it stops before the next
    /// leading dot; otherwise it goes as far as the input is pure.
    fn run(&mut self, text: &[u8], dots: bool) -> (usize, usize) {
        let base = self.offset;
        if self.state == State::Cr && text.first() != Some(&b'\n') {
            self.spoil(Impurity::BareCr, base.saturating_sub(1));
        }
        let mut after_cr = if self.state == State::Cr { Some(0) } else { None };
        let mut start = false;
        let mut at = 0;
        // The start of a line is needed only where the length of lines is limited.
        if after_cr.is_none() && self.line_max == u64::MAX {
            at = plain_prefix(text, dots);
            let before = at.checked_sub(1).and_then(|last| text.get(last));
            after_cr = before.filter(|octet| **octet == b'\r').map(|_| at);
        }
        let kept = loop {
            let (_, rest) = split(text, at);
            if start && (rest.is_empty() || dots && rest.first() == Some(&b'.')) {
                break at;
            }
            let Some(found) = memchr3(b'\r', b'\n', 0, rest) else {
                self.state = State::Line;
                at = text.len();
                break at;
            };
            let hit = at + found;
            let here = base.saturating_add(octets(hit));
            at = hit + 1;
            start = false;
            match (rest.get(found), text.get(at)) {
                (Some(b'\r'), Some(b'\n')) => {
                    at += 1;
                    start = true;
                    self.end_line(base.saturating_add(octets(at)), true);
                }
                (Some(b'\r'), None) => {
                    self.state = State::Cr;
                    break at;
                }
                (Some(b'\r'), Some(_)) => self.spoil(Impurity::BareCr, here),
                (Some(b'\n'), _) if after_cr == Some(hit) => {
                    start = true;
                    self.end_line(here.saturating_add(1), true);
                }
                (Some(b'\n'), _) if self.bare_lf == BareLf::Normalize => {
                    self.end_line(here.saturating_add(1), false);
                    self.state = State::CrlfDue;
                    break hit;
                }
                (Some(b'\n'), _) => self.spoil(Impurity::BareLf, here),
                _ => self.spoil(Impurity::Nul, here),
            }
            after_cr = None;
        };
        self.offset = base.saturating_add(octets(at));
        self.watch_line();
        (kept, at)
    }

    /// A line is reported as too long before its end is seen: the first impurity must not depend on the segmentation.
    fn watch_line(&mut self) {
        let read = self.offset.saturating_sub(self.line);
        let length = match self.state {
            State::Line => read,
            State::Cr => read.saturating_sub(1),
            _ => 0,
        };
        if length > self.line_max {
            self.spoil(Impurity::LongLine, self.offset);
        }
    }

    /// A line has ended before `next`, in CRLF if `strict`.
    fn end_line(&mut self, next: u64, strict: bool) {
        let end = next.saturating_sub(if strict { 2 } else { 1 });
        if end.saturating_sub(self.line) > self.line_max {
            self.spoil(Impurity::LongLine, end);
        }
        (self.line, self.strict, self.state) = (next, strict, State::LineStart);
    }

    /// Records the first impurity. A line that was too long before it comes first, whatever the segmentation.
    fn spoil(&mut self, kind: Impurity, offset: u64) {
        let impure = if offset.saturating_sub(self.line) > self.line_max {
            Impure { kind: Impurity::LongLine, offset: self.line.saturating_add(self.line_max) }
        } else {
            Impure { kind, offset }
        };
        self.impure.get_or_insert(impure);
    }
}

/// Octets that are checked together: few, so that one unusual octet costs little, and enough for vector instructions.
const BLOCK: usize = 256;

/// Octets of `text`, in whole blocks, that are certainly pure: each CR is before an LF, each LF after a CR, there is no NUL, and
/// with `dots` no dot at the start of a line. The octet after the last block is checked as well, so there always is one, and it
/// is pure too. Without branches, so that the compiler can vectorize it.
fn plain_prefix(text: &[u8], dots: bool) -> usize {
    // An LF after an LF is impure: then nothing else needs to be checked.
    let dot = if dots { b'.' } else { b'\n' };
    if matches!(text.first(), None | Some(b'\n' | 0)) {
        return 0;
    }
    let mut at = 0;
    while let Some((block, next)) = text.get(at..).and_then(|rest| Some((rest.get(..BLOCK)?, rest.get(1..=BLOCK)?))) {
        let odd = block.iter().zip(next).fold(0u8, |odd, (&a, &b)| {
            odd | u8::from((a == b'\r') != (b == b'\n')) | u8::from(b == 0) | u8::from((a == b'\n') & (b == dot))
        });
        if odd != 0 {
            break;
        }
        at += BLOCK;
    }
    at
}

/// Writes content as canonical DATA for a backend: every leading dot is doubled, a line of one dot ends it.
#[derive(Debug, Clone)]
pub struct Stuffer {
    scanner: Scanner,
}

impl Default for Stuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Stuffer {
    /// At the start of content.
    #[must_use]
    pub fn new() -> Self {
        Self { scanner: Scanner::new(Framing::Length, BareLf::Refuse, None) }
    }

    /// Appends `chunk` to `out` with dots doubled. A chunk may end anywhere in a line.
    ///
    /// # Errors
    /// The content is not canonical. What `out` holds by then must not be sent on.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Impure> {
        out.reserve(chunk.len());
        let mut rest = chunk;
        while let Some(first) = rest.first() {
            if self.scanner.state == State::LineStart && *first == b'.' {
                out.push(b'.');
            }
            let (_, taken) = self.scanner.run(rest, true);
            if let Some(impure) = self.scanner.impure {
                return Err(impure);
            }
            let (run, later) = split(rest, taken);
            out.extend_from_slice(run);
            rest = later;
        }
        Ok(())
    }

    /// Appends the end of the content: a CRLF if its last line has none, then the line of one dot.
    ///
    /// # Errors
    /// The content ends in a bare CR.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Impure> {
        if self.scanner.finish()? {
            out.extend_from_slice(CRLF);
        }
        out.extend_from_slice(b".\r\n");
        Ok(())
    }
}

/// Checks content that is sent to a backend unchanged, framed by its length.
#[derive(Debug, Clone)]
pub struct Purity {
    scanner: Scanner,
}

impl Default for Purity {
    fn default() -> Self {
        Self::new()
    }
}

impl Purity {
    /// At the start of content.
    #[must_use]
    pub fn new() -> Self {
        Self { scanner: Scanner::new(Framing::Length, BareLf::Refuse, None) }
    }

    /// Looks at the next chunk.
    ///
    /// # Errors
    /// The content is not canonical.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Impure> {
        if !chunk.is_empty() {
            self.scanner.run(chunk, false);
        }
        self.scanner.impure.map_or(Ok(()), Err)
    }

    /// True when the last line has no CRLF.
    ///
    /// # Errors
    /// The content ends in a bare CR.
    pub fn finish(&mut self) -> Result<bool, Impure> {
        self.scanner.finish()
    }
}
