//! Several recipients in front of a backend that answers for each of them (LMTP), and a client that hears one answer: see
//! [`gatepost_policy::partial_deliveries`], which decides. Here is what it is asked about.

use crate::backend::Message;
use crate::outcome::Outcome;
use crate::transaction::{Recipient, Transaction};
use crate::verdict;
use gatepost_policy::partial_deliveries::{DeliveryStatus, Digest, PartialDeliveries, Source, shared};
use gatepost_policy::share::Origin;
use sha2::{Digest as _, Sha256};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Octets of memory for messages that are awaited again.
const TOTAL: usize = 1024 * 1024;
/// Octets of a file that are read at once. Others have their turn after each.
const PIECE: usize = 64 * 1024;

/// Messages that clients are going to send again. Lost with the process: whoever has such a message then gets it twice.
#[derive(Debug)]
pub(crate) struct Awaited {
    partial: Mutex<PartialDeliveries>,
    begun: Instant,
}

/// What the client hears.
#[derive(Debug)]
pub(crate) struct Answers {
    /// The backend's for each recipient, where they differ.
    pub(crate) results: Vec<Outcome>,
    /// The client hears each of them.
    pub(crate) each: bool,
    /// For all.
    pub(crate) all: Outcome,
}

impl Answers {
    /// One for all.
    pub(crate) fn one(all: Outcome) -> Self {
        Self { results: Vec::new(), each: false, all }
    }
}

impl Awaited {
    pub(crate) fn new() -> Self {
        Self { partial: Mutex::new(PartialDeliveries::new(TOTAL)), begun: Instant::now() }
    }

    fn partial(&self) -> MutexGuard<'_, PartialDeliveries> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since the beginning.
    fn now(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    /// The recipient must come in a transaction of its own, because a message from this client and sender is awaited in which it
    /// has another result than this transaction's first recipient.
    pub(crate) fn parts(&self, client: Origin, transaction: &Transaction, recipient: &Recipient) -> bool {
        let (Some(first), false) = (transaction.recipients().first(), transaction.hears_each()) else { return false };
        let partial = self.partial();
        if partial.is_empty() {
            return false;
        }
        let (source, now) = (transaction.source(client), self.now());
        partial.awaits(source, now) && !partial.agree(source, &first.digest(), &recipient.digest(), now)
    }

    /// The recipient has a message that is awaited from this client and sender.
    pub(crate) fn has_one(&self, client: Origin, transaction: &Transaction, recipient: &Recipient) -> bool {
        let partial = self.partial();
        if partial.is_empty() {
            return false;
        }
        let (source, now) = (transaction.source(client), self.now());
        partial.awaits(source, now) && partial.has_one(source, &recipient.digest(), now)
    }

    /// Begins a delivery: finds out who has the message already.
    ///
    /// # Errors
    /// The content can't be read.
    pub(crate) async fn begin(
        &self,
        client: Origin,
        transaction: &Transaction,
        message: &mut Message<'_>,
    ) -> io::Result<Delivery<'_>> {
        let source = transaction.source(client);
        let recipients: Vec<Digest> = transaction.recipients().iter().map(Recipient::digest).collect();
        let mut content = None;
        if self.partial().awaits(source, self.now()) {
            content = Some(digest(message).await?);
        }
        let have = match &content {
            Some(content) => self.partial().have(source, content, &recipients, self.now()),
            None => vec![false; recipients.len()],
        };
        message.have = have;
        Ok(Delivery { awaited: self, source, recipients, content, each: transaction.hears_each() })
    }
}

/// One message on its way.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    awaited: &'a Awaited,
    source: Source,
    recipients: Vec<Digest>,
    content: Option<Digest>,
    /// The client hears each result.
    each: bool,
}

impl Delivery<'_> {
    /// `outcomes`: those of the backend, for the recipients that did not have the message.
    ///
    /// # Errors
    /// The content can't be read.
    pub(crate) async fn end(self, outcomes: Vec<Outcome>, message: &mut Message<'_>) -> io::Result<Answers> {
        let mut outcomes = outcomes.into_iter();
        let results: Vec<Outcome> = message
            .have
            .iter()
            .map(
                |has| {
                    if *has { verdict::DELIVERED.into() } else { outcomes.next().unwrap_or(verdict::INTERNAL.into()) }
                },
            )
            .collect();
        let statuses: Vec<(Digest, DeliveryStatus)> =
            self.recipients.iter().copied().zip(results.iter().map(|result| result.status())).collect();
        let differ = shared(statuses.iter().map(|(_, status)| *status)).is_none();
        let content = match self.content {
            None if differ && !self.each => Some(digest(message).await?),
            known => known,
        };
        let Self { awaited, source, each, .. } = self;
        if let Some(content) = content {
            if each {
                awaited.partial().told(source, &content, &statuses);
            } else {
                awaited.partial().one_answer(source, &content, &statuses, awaited.now());
            }
        }
        if !differ {
            return Ok(Answers::one(results.into_iter().next().unwrap_or(verdict::INTERNAL.into())));
        }
        let count = |wanted| statuses.iter().filter(|(_, status)| *status == wanted).count();
        let (delivered, never) = (count(DeliveryStatus::Delivered), count(DeliveryStatus::Refused));
        let all = if each && delivered > 0 { verdict::DELIVERED } else { verdict::MIXED };
        let told = if each { "each is told" } else { "the message is awaited again" };
        let all = Outcome::of_several(
            all,
            format!("{delivered} of {} recipients have it, {never} are refused for good: {told}", statuses.len()),
        );
        Ok(Answers { results, each, all })
    }
}

/// Of the content as the client sent it.
async fn digest(message: &mut Message<'_>) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    hash.update(message.inline);
    if let Some((file, length)) = &mut message.file {
        let mut buffer = vec![0; PIECE];
        let mut left = *length;
        file.rewind()?;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let read = file.read(buffer.get_mut(..most).unwrap_or_default())?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hash.update(buffer.get(..read).unwrap_or_default());
            left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
            tokio::task::yield_now().await;
        }
        file.rewind()?;
    }
    Ok(hash.finalize().into())
}
