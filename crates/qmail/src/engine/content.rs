//! Content in a session: what of it is stored, and whether it is refused when it is complete.

use super::data::{Piece, Scanner};
use super::hops::Hops;
use super::{Engine, Question, Settings, State, Turn};
use crate::replies;
use crate::split;
use gatepost_smtp::envelope::{Abandoned, CloseReason};

/// What is known of the content so far.
#[derive(Debug)]
pub(super) struct Reception {
    scanner: Scanner,
    hops: Hops,
    /// Octets that may still be stored.
    room: u64,
    too_large: bool,
}

impl Reception {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            scanner: Scanner::new(settings.bare_lf),
            hops: Hops::new(),
            room: if settings.databytes == 0 { u64::MAX } else { settings.databytes },
            too_large: false,
        }
    }

    /// What of `piece` is to be stored.
    fn keep<'i>(&mut self, piece: &'i [u8]) -> &'i [u8] {
        self.hops.push(piece);
        let (kept, surplus) = split(piece, usize::try_from(self.room).unwrap_or(usize::MAX));
        self.room = self.room.saturating_sub(u64::try_from(kept.len()).unwrap_or(u64::MAX));
        self.too_large |= !surplus.is_empty();
        kept
    }
}

impl Engine {
    pub(super) fn read_content<'i>(&mut self, rest: &mut &'i [u8]) -> Option<Turn<'i>> {
        let (taken, piece) = self.reception.scanner.scan(rest);
        *rest = split(rest, taken).1;
        match piece {
            Piece::Starved => None,
            Piece::Content(piece) => {
                Some(self.reception.keep(piece)).filter(|kept| !kept.is_empty()).map(Turn::Content)
            }
            Piece::StrayLf => self.close(replies::STRAY_NEWLINE, CloseReason::BareLf),
            Piece::End => {
                let (why, reply) = if self.reception.hops.too_many() {
                    (Abandoned::Loop, replies::LOOPING)
                } else if self.reception.too_large {
                    (Abandoned::TooLarge, replies::TOO_LARGE)
                } else {
                    self.state = State::Asked(Question::Commit);
                    return Some(Turn::Commit);
                };
                self.state = State::Command;
                self.transaction = None;
                self.say(reply);
                Some(Turn::Abandon(why))
            }
        }
    }
}
