//! Content to an SMTP or LMTP server, once it is complete and the envelope is accepted.

use super::connection::{Connection, Held};
use super::{Failure, Wait};
use crate::content::{ContentError, Framing, Header, check};
use crate::spool::ContentFile;
use gatepost_smtp::client::Reply;
use gatepost_smtp::data::{Purity, Stuffer};
use std::io::{self, Write as _};

/// Octets of content in one write.
pub(super) const PIECE: usize = 64 * 1024;

/// A message, as it came from the session.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// Our own Received field.
    pub(crate) received: &'a [u8],
    /// The content, or its beginning.
    pub(crate) inline: &'a [u8],
    /// The rest of it and its length.
    pub(crate) file: Option<(&'a mut ContentFile, u64)>,
    /// Our authserv-id.
    pub(crate) own_id: &'a str,
}

/// Why there is no answer to a message.
#[derive(Debug)]
pub(crate) enum DeliveryError {
    /// Its content must not be sent, and nothing of it was: the connection is as good as before.
    Unsent(ContentError),
    /// Its content must not be sent, which was found after some of it was. The backend has not seen its end.
    Broken(ContentError),
    /// Its content could not be read back.
    File(io::Error),
    /// The backend failed before it had the end of the content: certainly not delivered.
    Before(Failure),
    /// The backend failed after it had the end of the content: perhaps delivered.
    After(Failure),
}

impl DeliveryError {
    /// The same, where nothing had been sent yet.
    pub(super) fn unsent(self) -> Self {
        if let Self::Broken(e) = self { Self::Unsent(e) } else { self }
    }
}

impl Message<'_> {
    /// Octets of all of it, as far as is known before the header duties.
    pub(super) fn length(&self) -> u64 {
        let file = self.file.as_ref().map_or(0, |(_, length)| *length);
        let memory = self.received.len().saturating_add(self.inline.len());
        file.saturating_add(u64::try_from(memory).unwrap_or(u64::MAX))
    }
}

impl From<ContentError> for DeliveryError {
    fn from(unfit: ContentError) -> Self {
        DeliveryError::Broken(unfit)
    }
}

impl From<Failure> for DeliveryError {
    fn from(failure: Failure) -> Self {
        DeliveryError::Before(failure)
    }
}

/// What is known before the first octet is sent.
struct Plan<'a> {
    header: Header,
    /// Received and what is left of the header.
    head: Vec<u8>,
    /// What is behind the header, of the inline part.
    body: &'a [u8],
    framing: Framing,
    /// The command that opens the content; none where DATA has its own round trip.
    command: Vec<u8>,
}

impl Connection {
    /// Sends the content, for an envelope that is accepted. Afterwards the envelope is used up, whatever the answer.
    ///
    /// After any error but [`DeliveryError::Unsent`] the connection must be dropped: a command on it could be taken for
    /// content.
    pub(crate) async fn deliver(&mut self, message: &mut Message<'_>) -> Result<Reply, DeliveryError> {
        self.held = Held::Stale;
        let plan = self.plan(message)?;
        if let Framing::Dots(_) = plan.framing {
            let reply = self.ask(b"DATA\r\n", Wait::Data).await?;
            match reply.code {
                354 => {}
                400..=599 => return Ok(reply),
                _ => return Err(Failure::Unexpected(reply).into()),
            }
        }
        self.content(plan, message.file.as_mut().map(|(file, length)| (&mut **file, *length))).await?;
        let reply = self.reply(Wait::End).await.map_err(DeliveryError::After)?;
        match reply.code {
            200..=299 | 400..=599 => {
                self.held = Held::Nothing;
                Ok(reply)
            }
            _ => Err(DeliveryError::After(Failure::Unexpected(reply))),
        }
    }

    /// Does the header duties on what is in memory and checks all of that, before the backend is asked.
    fn plan<'a>(&self, message: &mut Message<'a>) -> Result<Plan<'a>, DeliveryError> {
        let mut header = Header::new(message.own_id);
        let mut head = message.received.to_vec();
        let body = header.push(message.inline, &mut head).map_err(DeliveryError::Unsent)?;
        if message.file.is_none() {
            header.finish(&mut head);
        }
        check(&[&head, body], message.file.is_none()).map_err(DeliveryError::Unsent)?;
        let mut command = Vec::new();
        let mut framing = Framing::Dots(Stuffer::new());
        // BDAT needs the length, so the header must be complete, and the last line must have its CRLF.
        let ends = match &mut message.file {
            None => body.ends_with(b"\r\n") || (body.is_empty() && head.ends_with(b"\r\n")),
            Some((file, _)) => header.is_over() && file.tail().map_err(DeliveryError::File)? == *b"\r\n",
        };
        if self.extensions.chunking && ends {
            let sizes = [head.len(), body.len()].map(|n| u64::try_from(n).unwrap_or(u64::MAX));
            let file = message.file.as_ref().map_or(0, |(_, length)| *length);
            let total = sizes.into_iter().fold(file, u64::saturating_add);
            let _ = write!(command, "BDAT {total} LAST\r\n");
            framing = Framing::Length(Purity::new());
        }
        if let Some((file, _)) = &mut message.file {
            file.rewind().map_err(DeliveryError::File)?;
        }
        Ok(Plan { header, head, body, framing, command })
    }

    /// Sends all of the content, a piece at a time, each checked in the buffer that is sent.
    async fn content(&mut self, plan: Plan<'_>, file: Option<(&mut ContentFile, u64)>) -> Result<(), DeliveryError> {
        let Plan { mut header, head, body, mut framing, command: mut out } = plan;
        for chunk in head.chunks(PIECE).chain(body.chunks(PIECE)) {
            if out.len().saturating_add(chunk.len()) > PIECE {
                self.send(&out, Wait::Block).await?;
                out.clear();
            }
            framing.push(chunk, &mut out)?;
        }
        if let Some((file, length)) = file {
            self.file(file, length, &mut header, &mut framing, &mut out).await?;
        }
        framing.finish(&mut out)?;
        Ok(self.send(&out, Wait::Block).await?)
    }

    /// Sends `left` octets of the file, which was its length at the commit: what a session adds later is not sent.
    async fn file(
        &mut self,
        file: &mut ContentFile,
        mut left: u64,
        header: &mut Header,
        framing: &mut Framing,
        out: &mut Vec<u8>,
    ) -> Result<(), DeliveryError> {
        let mut buffer = vec![0; PIECE].into_boxed_slice();
        let mut kept = Vec::new();
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let read = file.read(buffer.get_mut(..most).unwrap_or_default()).map_err(DeliveryError::File)?;
            left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
            if read == 0 {
                return Err(ContentError::Changed.into());
            }
            kept.clear();
            let body = header.push(buffer.get(..read).unwrap_or_default(), &mut kept)?;
            if left == 0 {
                header.finish(&mut kept);
            }
            framing.push(&kept, out)?;
            framing.push(body, out)?;
            if left > 0 {
                self.send(out, Wait::Block).await?;
                out.clear();
            }
        }
        Ok(())
    }
}
