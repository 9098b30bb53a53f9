//! DATA and BDAT: content is checked by one scanner, passed on as it arrives, and read to its end and discarded when it is refused.

use super::parameters;
use super::transaction::Content;
use super::{Engine, Event, State, Step};
use crate::data::{Framing, Impure, Impurity, Piece, Scanner};
use crate::envelope::CloseReason;
use crate::replies::{self, Reply};
use crate::{octets, split};

/// A chunk of fewer octets, unless it is the last, counts against [`super::Limits::tiny_chunks`].
const TINY_CHUNK: u64 = 512;
/// For each so many octets of content one chunk more than [`super::Limits::chunks`] is allowed.
const OCTETS_PER_CHUNK: u64 = 4096;

/// A chunk being read, RFC 3030 §2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    left: u64,
    last: bool,
    /// It is read and discarded; this reply will follow.
    refused: Option<Reply>,
}

impl Engine {
    /// DATA, RFC 5321 §4.1.1.4.
    pub(super) fn data<'i>(&mut self) -> Step<'i> {
        let leniency = self.settings.leniency;
        let line_max = self.settings.limits.content_line;
        let Some(transaction) = &mut self.transaction else { return self.refuse(replies::MAIL_FIRST) };
        if transaction.chunked() {
            return self.refuse(replies::CHUNKS_BEGUN);
        }
        if transaction.accepted == 0 {
            // Content that was pipelined after this is read as commands, RFC 2920 §3.1.
            return if transaction.tried {
                self.end_refused(replies::NO_RECIPIENTS)
            } else {
                self.refuse(replies::RCPT_FIRST)
            };
        }
        transaction.content = Some(Content::new(Scanner::new(Framing::Dots, leniency.lf_in_data, line_max)));
        self.say(replies::SEND_CONTENT);
        self.state = State::Data;
        Step::On
    }

    /// Refuses the command that would have ended the transaction, and drops the transaction.
    fn end_refused<'i>(&mut self, reply: Reply) -> Step<'i> {
        let dropped = self.transaction.take().is_some();
        self.ended_by = dropped.then_some(reply);
        match self.refuse(reply) {
            Step::On if dropped => Step::Yield(Event::Reset),
            step => step,
        }
    }

    /// Reads content up to its end. Once it is refused it is discarded, but read by the same scanner, so that a refused
    /// message ends where an accepted one would.
    pub(super) fn read_data<'i>(&mut self, rest: &mut &'i [u8]) -> Step<'i> {
        let size_max = self.size_max();
        let Some(content) = self.transaction.as_mut().and_then(|transaction| transaction.content.as_mut()) else {
            return self.close(replies::FAILED, CloseReason::Internal);
        };
        let (taken, piece) = content.take(rest, size_max);
        *rest = split(rest, taken).1;
        let refused = content.refused;
        let (read, length) = (content.scanner.offset(), content.length);
        self.impure = content.scanner.impure();
        if let Some((reply, at)) = refused {
            let spent = read.saturating_sub(at);
            let patient = self.settings.leniency.drain_impure || reply == replies::TOO_LARGE;
            if !patient || self.tallies.discarded.saturating_add(spent) > self.settings.limits.discard {
                return self.close(reply, CloseReason::Abuse);
            }
            if piece == Piece::End {
                self.tallies.discarded = self.tallies.discarded.saturating_add(spent);
                self.state = State::Command;
                return self.end_refused(reply);
            }
            return Step::On;
        }
        match piece {
            Piece::Content(octets) => Step::Yield(Event::Content(octets)),
            Piece::Starved => Step::On,
            Piece::End => {
                self.state = State::ContentAsked;
                Step::Yield(Event::ContentEnd { length })
            }
        }
    }

    /// BDAT, RFC 3030 §2. The octets that it announces are read even if they are refused: they must not be read as commands.
    pub(super) fn bdat<'i>(&mut self, argument: &[u8]) -> Step<'i> {
        // The end of the chunk is not known: content would be read as commands.
        let Some((size, last)) = parameters::bdat(argument) else {
            return self.close(replies::BAD_CHUNK, CloseReason::Abuse);
        };
        let refused = self.begin_chunk(size);
        if size < TINY_CHUNK && !last {
            self.tallies.tiny_chunks = self.tallies.tiny_chunks.saturating_add(1);
        }
        if refused.is_some() {
            self.tallies.discarded = self.tallies.discarded.saturating_add(size);
        }
        let limits = &self.settings.limits;
        let chunks = self.transaction.as_ref().and_then(|transaction| transaction.content.as_ref());
        let too_many = chunks.is_some_and(|content| {
            u64::from(content.chunks) > u64::from(limits.chunks).saturating_add(content.length / OCTETS_PER_CHUNK)
        });
        if too_many || self.tallies.tiny_chunks > limits.tiny_chunks {
            return self.close(replies::TOO_MANY_ERRORS, CloseReason::Abuse);
        }
        if let Some(reply) = refused.filter(|_| self.tallies.discarded > limits.discard) {
            return self.close(reply, CloseReason::Abuse);
        }
        self.state = State::Chunk(Chunk { left: size, last, refused });
        Step::On
    }

    /// Why a chunk of `size` octets must be discarded, if it must.
    fn begin_chunk(&mut self, size: u64) -> Option<Reply> {
        let size_max = self.size_max();
        let leniency = self.settings.leniency;
        let line_max = self.settings.limits.content_line;
        let Some(transaction) = &mut self.transaction else { return Some(replies::MAIL_FIRST) };
        if transaction.accepted == 0 {
            return Some(if transaction.tried { replies::NO_RECIPIENTS } else { replies::RCPT_FIRST });
        }
        let content = transaction
            .content
            .get_or_insert_with(|| Content::new(Scanner::new(Framing::Length, leniency.lf_in_chunks, line_max)));
        content.chunks = content.chunks.saturating_add(1);
        (content.length.saturating_add(size) > size_max).then_some(replies::TOO_LARGE)
    }

    /// Reads on in a chunk. After its last octet comes a command.
    pub(super) fn read_chunk<'i>(&mut self, chunk: Chunk, rest: &mut &'i [u8]) -> Step<'i> {
        if chunk.left == 0 {
            return self.end_chunk(chunk);
        }
        if rest.is_empty() {
            return Step::Yield(Event::Starved);
        }
        let size_max = self.size_max();
        let (input, _) = split(rest, usize::try_from(chunk.left).unwrap_or(usize::MAX));
        let content = self.transaction.as_mut().and_then(|transaction| transaction.content.as_mut());
        let Some(content) = content.filter(|_| chunk.refused.is_none()) else {
            *rest = split(rest, input.len()).1;
            self.state = State::Chunk(Chunk { left: chunk.left.saturating_sub(octets(input.len())), ..chunk });
            return Step::On;
        };
        let (taken, piece) = content.take(input, size_max);
        *rest = split(rest, taken).1;
        let left = chunk.left.saturating_sub(octets(taken));
        let (read, refused) = (content.scanner.offset(), content.refused);
        self.impure = content.scanner.impure();
        self.state = State::Chunk(Chunk { left, refused: refused.map(|(reply, _)| reply), ..chunk });
        if let Some((reply, at)) = refused {
            let spent = read.saturating_add(left).saturating_sub(at);
            self.tallies.discarded = self.tallies.discarded.saturating_add(spent);
            if !self.settings.leniency.drain_impure || self.tallies.discarded > self.settings.limits.discard {
                return self.close(reply, CloseReason::Abuse);
            }
            return Step::On;
        }
        match piece {
            Piece::Content(octets) => Step::Yield(Event::Content(octets)),
            Piece::End | Piece::Starved => Step::On,
        }
    }

    /// Ends a chunk: its reply, and after the last one the end of the content.
    fn end_chunk<'i>(&mut self, chunk: Chunk) -> Step<'i> {
        if let Some(reply) = chunk.refused {
            self.state = State::Command;
            return self.end_refused(reply);
        }
        if !chunk.last {
            self.state = State::Command;
            self.say(replies::OK);
            return Step::On;
        }
        let size_max = self.size_max();
        let Some(content) = self.transaction.as_mut().and_then(|transaction| transaction.content.as_mut()) else {
            return self.close(replies::FAILED, CloseReason::Internal);
        };
        match content.scanner.finish() {
            Err(impure) => {
                self.impure = Some(impure);
                self.state = State::Chunk(Chunk { refused: Some(reply_to(impure)), ..chunk });
                Step::On
            }
            // The last line has no CRLF, which it needs if the message is sent on by DATA.
            Ok(true) => {
                let piece = content.complete();
                if content.length > size_max {
                    self.state = State::Chunk(Chunk { refused: Some(replies::TOO_LARGE), ..chunk });
                    return Step::On;
                }
                Step::Yield(Event::Content(piece))
            }
            Ok(false) => {
                let length = content.length;
                self.state = State::ContentAsked;
                Step::Yield(Event::ContentEnd { length })
            }
        }
    }
}

impl Content {
    /// Reads on, and records the first reason in the stream to refuse it, whatever the segmentation.
    fn take<'i>(&mut self, input: &'i [u8], size_max: u64) -> (usize, Piece<'i>) {
        let (taken, piece) = self.scanner.scan(input);
        if self.refused.is_some() {
            return (taken, piece);
        }
        let mut refused = self.scanner.impure().map(|impure| (reply_to(impure), impure.offset));
        if let Piece::Content(content) = piece {
            let length = self.length.saturating_add(octets(content.len()));
            if length > size_max {
                let room = size_max.saturating_sub(self.length);
                let at = self.scanner.piece().saturating_add(room);
                refused = Some(refused.filter(|&(_, offset)| offset < at).unwrap_or((replies::TOO_LARGE, at)));
            } else {
                self.length = length;
            }
        }
        self.refused = refused;
        (taken, piece)
    }

    /// The CRLF that is missing from the last line.
    fn complete(&mut self) -> &'static [u8] {
        const CRLF: &[u8] = b"\r\n";
        self.length = self.length.saturating_add(octets(CRLF.len()));
        self.scanner.complete_line();
        CRLF
    }
}

fn reply_to(impure: Impure) -> Reply {
    match impure.kind {
        Impurity::BareCr => replies::BARE_CR,
        Impurity::BareLf => replies::BARE_LF,
        Impurity::Nul => replies::NUL,
        Impurity::LongLine => replies::LONG_CONTENT_LINE,
    }
}
