//! Content as qmail's interfaces take it: with our Received, without the header fields that are removed, with LF line ends.

use super::delivery::{DeliveryError, Message, PIECE};
use crate::content::{ContentError, Header, Lines};
use crate::spool::ContentFile;

/// The content with LF line ends, a piece at a time. All of it is checked each time, in the buffer that is sent.
pub(super) struct Pieces<'m> {
    received: &'m [u8],
    inline: &'m [u8],
    file: Option<&'m mut ContentFile>,
    /// Octets of the file that are still to come.
    left: u64,
    header: Header,
    lines: Lines,
    at: At,
    buffer: Box<[u8]>,
    kept: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    File,
    End,
}

impl<'m> Pieces<'m> {
    pub(super) fn new(message: &'m mut Message<'_>) -> Result<Self, DeliveryError> {
        let (file, left) = match &mut message.file {
            Some((file, length)) => {
                file.rewind().map_err(DeliveryError::File)?;
                (Some(&mut **file), *length)
            }
            None => (None, 0),
        };
        Ok(Self {
            received: message.received,
            inline: message.inline,
            file,
            left,
            header: Header::new(message.own_id),
            lines: Lines::default(),
            at: At::Start,
            buffer: vec![0; if left == 0 { 0 } else { PIECE }].into_boxed_slice(),
            kept: Vec::new(),
        })
    }

    /// Appends the next octets to `out`. False: there are no more.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, DeliveryError> {
        match self.at {
            At::Start => {
                self.kept.extend_from_slice(self.received);
                self.take(self.inline, out)?;
            }
            At::File => {
                let read = self.read()?;
                let buffer = std::mem::take(&mut self.buffer);
                let taken = self.take(buffer.get(..read).unwrap_or_default(), out);
                self.buffer = buffer;
                taken?;
            }
            At::End => return Ok(false),
        }
        self.at = if self.left > 0 { At::File } else { At::End };
        if self.at == At::End {
            self.lines.finish(out)?;
        }
        Ok(true)
    }

    fn read(&mut self) -> Result<usize, DeliveryError> {
        let most = usize::try_from(self.left).unwrap_or(PIECE).min(self.buffer.len());
        let Some(file) = &mut self.file else { return Err(ContentError::Changed.into()) };
        let read = file.read(self.buffer.get_mut(..most).unwrap_or_default()).map_err(DeliveryError::File)?;
        self.left = self.left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        if read == 0 { Err(ContentError::Changed.into()) } else { Ok(read) }
    }

    /// Does the header duties on `octets`, and takes their line ends.
    fn take(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), DeliveryError> {
        let body = self.header.push(octets, &mut self.kept)?;
        if self.left == 0 {
            self.header.finish(&mut self.kept);
        }
        self.lines.push(&self.kept, out)?;
        self.kept.clear();
        Ok(self.lines.push(body, out)?)
    }
}
