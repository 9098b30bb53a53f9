//! Lines out of a stream: a LF ends them, one CR before it goes with it, and none is kept beyond its bound.

use memchr::memchr;

use super::settings::Limits;
use crate::split;

/// What the next octets hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'i> {
    /// No end yet. All is taken.
    Starved,
    /// A line, its end cut off.
    Line(&'i [u8]),
    /// A line that began in earlier input: it is in [`Lines::take_held`].
    Held,
    /// The end of a line that was too long.
    TooLong,
    /// Longer than too long, or never ending.
    Endless,
}

/// What a line may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Command,
    /// A response in the dialogue of AUTH.
    Response,
}

/// Collects lines that come in pieces. Whole ones are not copied.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The line so far, as long as it isn't too long.
    held: Vec<u8>,
    /// Octets so far of a line that is too long, else 0.
    skipped: usize,
}

impl Lines {
    /// Takes up to one line from `input`: octets taken, and what was found.
    pub(super) fn next<'i>(&mut self, input: &'i [u8], kind: Kind, limits: &Limits) -> (usize, Found<'i>) {
        let end = memchr(b'\n', input);
        let (piece, _) = split(input, end.map_or(input.len(), |at| at.saturating_add(1)));
        let length = self.skipped.max(self.held.len()).saturating_add(piece.len());
        let too_long = self.skipped > 0
            || length > limits.line
                && (length > limits.auth_line || kind == Kind::Command && !self.starts_with_auth(piece));
        if too_long {
            self.held = Vec::new();
            if length > limits.long_line {
                return (piece.len(), Found::Endless);
            }
            self.skipped = if end.is_some() { 0 } else { length };
        }
        let found = match (end, too_long) {
            (None, true) => Found::Starved,
            (None, false) => {
                self.held.extend_from_slice(piece);
                Found::Starved
            }
            (Some(_), true) => Found::TooLong,
            (Some(_), false) if self.held.is_empty() => Found::Line(without_end(piece)),
            (Some(_), false) => {
                self.held.extend_from_slice(piece);
                Found::Held
            }
        };
        (piece.len(), found)
    }

    /// AUTH may bring a response along, and be as long.
    fn starts_with_auth(&self, piece: &[u8]) -> bool {
        let start = self.held.iter().chain(piece).take(5).map(u8::to_ascii_uppercase);
        start.eq(b"AUTH ".iter().copied())
    }

    /// The line of [`Found::Held`], its end cut off.
    pub(super) fn take_held(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.held);
        line.truncate(without_end(&line).len());
        line
    }

    /// Gives back the room of a line.
    pub(super) fn give_back(&mut self, mut room: Vec<u8>) {
        room.clear();
        self.held = room;
    }

    /// Forgets what was begun.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
