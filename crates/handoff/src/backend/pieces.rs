//! Content on its way to a backend: with our Received, without the header fields that are removed, framed. A piece at a time,
//! each checked in the buffer that is sent.

use super::message::{DeliveryError, Message};
use crate::content::{ContentError, Framing, Header, check};
use crate::spool::ContentFile;
use gatepost_smtp::data::{Purity, Stuffer};

/// Octets of a file in one piece, before framing.
const PIECE: usize = 64 * 1024;

/// The content of a message. Every walk through it checks all of it again.
pub(super) struct Pieces<'m> {
    /// Received, what remains of the header, and what follows it, as far as that is in memory.
    memory: Vec<u8>,
    /// It was in an earlier piece.
    begun: bool,
    file: Option<&'m mut ContentFile>,
    /// Octets of the file that follow. Its length is that of the commit: what a session adds later is not sent.
    left: u64,
    header: Header,
    framing: Framing,
    buffer: Box<[u8]>,
    kept: Vec<u8>,
    over: bool,
}

impl<'m> Pieces<'m> {
    /// Content for DATA. What is in memory is checked at once, so that most faults are found before a backend is asked.
    pub(super) fn new(message: &'m mut Message<'_>) -> Result<Self, DeliveryError> {
        let mut header = Header::new(message.own_id, message.hops);
        let mut memory = message.received.to_vec();
        let body = header.push(message.inline, &mut memory).map_err(DeliveryError::Unsent)?;
        let (file, left) = match &mut message.file {
            Some((file, length)) => (Some(&mut **file), *length),
            None => (None, 0),
        };
        if left == 0 {
            header.finish(&mut memory);
        }
        memory.extend_from_slice(body);
        check(&memory, left == 0).map_err(DeliveryError::Unsent)?;
        let mut pieces = Self {
            memory,
            begun: false,
            file,
            left,
            header,
            framing: Framing::Dots(Stuffer::new()),
            buffer: vec![0; if left == 0 { 0 } else { PIECE }].into_boxed_slice(),
            kept: Vec::new(),
            over: false,
        };
        if let Some(file) = &mut pieces.file {
            file.rewind().map_err(DeliveryError::File)?;
        }
        Ok(pieces)
    }

    /// Content with LF line ends.
    pub(super) fn lines(message: &'m mut Message<'_>) -> Result<Self, DeliveryError> {
        Ok(Self { framing: Framing::Lines(Purity::new()), ..Self::new(message)? })
    }

    /// Makes it content for BDAT and gives its length. `None`, and still for DATA, where the length is not known: the header
    /// is not complete, or the last line lacks its CRLF.
    pub(super) fn by_length(&mut self) -> Result<Option<u64>, DeliveryError> {
        let ends = match &mut self.file {
            Some(file) if self.left > 0 => {
                self.header.is_over() && file.tail().map_err(DeliveryError::File)? == *b"\r\n"
            }
            _ => self.memory.ends_with(b"\r\n"),
        };
        if !ends {
            return Ok(None);
        }
        self.framing = Framing::Length(Purity::new());
        Ok(Some(u64::try_from(self.memory.len()).unwrap_or(u64::MAX).saturating_add(self.left)))
    }

    /// There are no more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Appends the next piece to `out`. False: there are no more.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, DeliveryError> {
        if self.over {
            return Ok(false);
        }
        if self.begun {
            self.next_of_file(out)?;
        } else {
            // What is in memory goes as a whole, with what is in `out` already: it has room for that twice.
            self.begun = true;
            self.framing.push(&self.memory, out)?;
        }
        self.over = self.left == 0;
        if self.over {
            self.framing.finish(out)?;
        }
        Ok(true)
    }

    fn next_of_file(&mut self, out: &mut Vec<u8>) -> Result<(), DeliveryError> {
        let most = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let Some(file) = &mut self.file else { return Ok(()) };
        let read = file.read(self.buffer.get_mut(..most).unwrap_or_default()).map_err(DeliveryError::File)?;
        if read == 0 {
            return Err(ContentError::Changed.into());
        }
        self.left = self.left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        self.kept.clear();
        let body = self.header.push(self.buffer.get(..read).unwrap_or_default(), &mut self.kept)?;
        if self.left == 0 {
            self.header.finish(&mut self.kept);
        }
        self.framing.push(&self.kept, out)?;
        Ok(self.framing.push(body, out)?)
    }
}
