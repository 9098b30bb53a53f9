//! A message for a backend, and what can come of it.

use super::failure::Failure;
use crate::content::ContentError;
use crate::session_table::DeliveryPermit;
use crate::spool::ContentFile;
use gatepost_smtp::client::Reply;
use std::io;

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
