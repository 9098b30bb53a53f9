//! Content to an SMTP or LMTP server, once it is complete and the envelope is accepted.

use super::connection::{Connection, Held};
use super::pieces::Pieces;
use super::{Failure, Wait};
use crate::content::ContentError;
use crate::session_table::DeliveryPermit;
use crate::spool::ContentFile;
use gatepost_smtp::client::Reply;
use std::io::{self, Write as _};

/// A message, as it came from the session.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// What comes before it: our own Received field, and those that RFC 6409 §8 has added.
    pub(crate) received: &'a [u8],
    /// The content, or its beginning.
    pub(crate) inline: &'a [u8],
    /// The rest of it and its length.
    pub(crate) file: Option<(&'a mut ContentFile, u64)>,
    /// Our authserv-id.
    pub(crate) own_id: &'a str,
    /// `Received` fields that it may have.
    pub(crate) hops: u32,
    /// By place, the recipients that have it already; it is not sent to them. None: an empty list.
    pub(crate) have: Vec<bool>,
    /// Of the session that it is from.
    pub(crate) permit: DeliveryPermit,
}

/// Why there is no answer to a message.
#[derive(Debug)]
pub(crate) enum DeliveryError {
    /// Its content must not be sent, and nothing of it was: the connection is as good as before.
    Unsent(ContentError),
    /// Its content must not be sent, which was found after some of it was. The backend has not seen its end.
    Broken(ContentError),
    /// Its session has been told to leave. Nothing was sent.
    Reclaimed,
    /// Its content could not be read back.
    File(io::Error),
    /// The backend failed before it had the end of the content: certainly not delivered.
    Before(Failure),
    /// The backend failed after it had the end of the content: perhaps delivered.
    After(Failure),
}

impl Message<'_> {
    /// From here on the backend may have it, and its session is not told to leave.
    pub(super) fn begin(&self) -> Result<(), DeliveryError> {
        if self.permit.begin_delivery() { Ok(()) } else { Err(DeliveryError::Reclaimed) }
    }

    /// Octets of all of it, as far as is known before the header duties.
    pub(super) fn length(&self) -> u64 {
        let file = self.file.as_ref().map_or(0, |(_, length)| *length);
        let memory = self.received.len().saturating_add(self.inline.len());
        file.saturating_add(u64::try_from(memory).unwrap_or(u64::MAX))
    }
}

/// What a backend said to content.
#[derive(Debug)]
pub(super) struct Answered {
    /// As they came.
    pub(super) replies: Vec<Reply>,
    /// Why there are no more.
    pub(super) failure: Option<Failure>,
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

impl Connection {
    /// Sends the content, for an envelope that is accepted, and reads `answers` to it. Afterwards the envelope is used up,
    /// whatever the answers. Where the first came and another doesn't, the failure stands for all that follow, and the connection
    /// is [`Held::Lost`].
    ///
    /// After any error but [`DeliveryError::Unsent`] the connection must be dropped: a command on it could be taken for
    /// content.
    ///
    /// **A backend that answers content twice.** Its second answer is seen when it comes before anything else is asked, and the
    /// connection is closed. When it comes later it is taken for the answer to MAIL, and each answer from there on for that to the command
    /// behind. So whatever is not the first content of a connection is sent by DATA: 354 is the one reply that no other command has, and
    /// where another comes in its place no content is sent. What remains: recipients of that transaction may have heard each other's
    /// verdicts, and an answer that a backend makes up while it is being sent the content is taken for the one to the content.
    pub(super) async fn deliver(
        &mut self,
        message: &mut Message<'_>,
        answers: usize,
    ) -> Result<Answered, DeliveryError> {
        message.begin()?;
        self.held = Held::Stale;
        let mut pieces = Pieces::new(message)?;
        let length = if self.extensions.chunking && !self.carried { pieces.by_length()? } else { None };
        let mut out = Vec::new();
        if let Some(length) = length {
            let _ = write!(out, "BDAT {length} LAST\r\n");
        } else {
            let reply = self.ask(b"DATA\r\n", Wait::Data).await?;
            match reply.code {
                354 => {}
                400..=599 => return Ok(Answered { replies: vec![reply; answers], failure: None }),
                _ => return Err(Failure::Unexpected(reply).into()),
            }
        }
        while pieces.next(&mut out)? {
            self.send(&out, Wait::Block).await?;
            out.clear();
            if pieces.is_over() {
                break;
            }
            // A large message is one piece a turn: other sessions go on meanwhile.
            tokio::task::yield_now().await;
        }
        let mut replies = Vec::new();
        while replies.len() < answers {
            match self.final_reply().await {
                Ok(reply) => replies.push(reply),
                Err(failure) if replies.is_empty() => return Err(DeliveryError::After(failure)),
                Err(failure) => {
                    self.held = Held::Lost;
                    return Ok(Answered { replies, failure: Some(failure) });
                }
            }
        }
        self.carried = true;
        self.held = if self.is_quiet() { Held::Nothing } else { Held::Lost };
        Ok(Answered { replies, failure: None })
    }

    async fn final_reply(&mut self) -> Result<Reply, Failure> {
        let reply = self.reply(Wait::End).await?;
        if matches!(reply.code, 200..=299 | 400..=599) { Ok(reply) } else { Err(Failure::Unexpected(reply)) }
    }
}
