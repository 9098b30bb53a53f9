//! Command lines out of a stream: bounded, and ended by CRLF alone.

use memchr::memchr;

use super::settings::{Leniency, Limits};
use crate::{octets, split};

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
    /// A line that ends in a bare LF.
    BareLf,
}

/// Collects lines that come in pieces. Whole ones are not copied.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The line so far, as long as it isn't too long.
    held: Vec<u8>,
    /// Octets so far of a line that is too long, else 0.
    skipped: u64,
    last: u8,
}

impl Lines {
    /// Takes up to one line from `input`: octets taken, and what was found.
    pub(super) fn next<'i>(&mut self, input: &'i [u8], leniency: &Leniency, limits: &Limits) -> (usize, Found<'i>) {
        let end = memchr(b'\n', input);
        let (piece, _) = split(input, end.map_or(input.len(), |at| at.saturating_add(1)));
        let before = if self.skipped > 0 { self.skipped } else { octets(self.held.len()) };
        let length = before.saturating_add(octets(piece.len()));
        if length > limits.long_line && length > octets(limits.line) {
            return (piece.len(), Found::Endless);
        }
        let before_lf = piece.iter().rev().nth(1).copied().unwrap_or(self.last);
        let ended = before_lf == b'\r' || leniency.lf_in_commands;
        self.last = if end.is_some() { 0 } else { piece.last().copied().unwrap_or(self.last) };
        let too_long = self.skipped > 0 || length > octets(limits.line);
        if too_long {
            self.held.clear();
            self.skipped = if end.is_some() { 0 } else { length };
        }
        let found = match (end, too_long) {
            (None, true) => Found::Starved,
            (None, false) => {
                self.held.extend_from_slice(piece);
                Found::Starved
            }
            (Some(_), _) if !ended => Found::BareLf,
            (Some(_), true) => Found::TooLong,
            (Some(_), false) if self.held.is_empty() => Found::Line(without_end(piece)),
            (Some(_), false) => {
                self.held.extend_from_slice(piece);
                Found::Held
            }
        };
        (piece.len(), found)
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
