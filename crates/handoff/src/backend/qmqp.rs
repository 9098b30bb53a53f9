//! QMQP servers: one connection for each message, and one answer for all of it. They take every message and can't be asked
//! about recipients, senders or relaying, so our own rules alone decide.
//!
//! The message exists for the server only with the last octet of the outermost netstring, which is sent last and alone.

use super::asking::Asking;
use super::dialer::Dialer;
use super::failure::Failure;
use super::list::{Backend, Backends};
use super::message::{DeliveryError, Message};
use super::pieces::Pieces;
use super::stream::Stream;
use super::wait::{Timeouts, Wait};
use crate::content::ContentError;
use crate::deadline::later;
pub(crate) use gatepost_qmail::qmqp::Answer;
use gatepost_qmail::qmqp::{self, Progress, Request};
use gatepost_smtp::client::Extensions;
use gatepost_smtp::envelope::Class;
use gatepost_wire::slice::Connect;
use std::sync::Arc;
use tokio::time::Instant;

/// Room for an answer and what surrounds it.
const ANSWER_ROOM: usize = qmqp::REPLY_MAX + 8;

/// What a message to a QMQP server may need. Octets pass as they are. The envelope has no place for SMTPUTF8 and DSN: an
/// address in UTF-8 could not be marked as such, and a request for a report could not be passed on.
pub(super) fn extensions() -> Extensions {
    Extensions { eight_bit: true, ..Extensions::default() }
}

/// QMQP servers.
#[derive(Debug)]
pub(crate) struct Qmqp {
    backends: Backends,
    timeouts: Timeouts,
    dialer: Arc<Dialer>,
}

impl Qmqp {
    /// `first`: the dialer's number for the first place.
    pub(super) fn new(places: &[Connect], first: usize, timeouts: Timeouts, dialer: Arc<Dialer>) -> Self {
        Self { backends: Backends::new(places, first, true), timeouts, dialer }
    }

    pub(super) async fn prove(&self) -> Result<(), Failure> {
        let prove = async |backend| match self.probe(backend, later(self.timeouts.rcpt)).await {
            // One that waits for more octets where no more can come refuses nobody.
            Err(Failure::Timeout(Wait::Greeting)) => Ok(()),
            probed => probed,
        };
        self.backends.prove(|backend| Box::pin(prove(backend))).await
    }

    /// Whether the server takes connections from us. One that does not, such as Postfix's without
    /// `qmqpd_authorized_clients`, sends a permanent refusal to whoever connects; one that does waits for a message, and
    /// says nothing to an empty one.
    async fn probe(&self, backend: &Backend, until: Instant) -> Result<(), Failure> {
        let mut link = Link::open(backend, self, until).await?;
        link.stream.finish().await?;
        match link.answer(Wait::Greeting).await {
            Ok(answer) if answer.class == Class::Permanent => Err(Failure::Unwelcome(answer.to_string())),
            Ok(answer) => Err(Failure::Deferred(answer.to_string())),
            Err(Failure::Lost(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Sends a message to the first server that takes a connection.
    pub(super) async fn deliver(
        &self,
        session: Asking<'_>,
        message: &mut Message<'_>,
    ) -> Result<Answer, DeliveryError> {
        let (until, transaction) = (later(self.timeouts.end), session.transaction);
        if let Some(extension) = transaction.missing(&extensions()) {
            return Err(Failure::Missing(extension).into());
        }
        let length = measure(message).await?;
        let recipients: Vec<Vec<u8>> = transaction.recipients().iter().map(|recipient| recipient.bare()).collect();
        let sender = transaction.bare_sender();
        // Not reached: our addresses are shorter than its longest, and have no NUL.
        let too_long = || Failure::Garbage("it has no room for an address");
        let request = Request::new(length, &sender, recipients.iter().map(Vec::as_slice)).ok_or_else(too_long)?;
        let _permit = session.permit(until).await?;
        let mut link = self.backends.open(|backend| Box::pin(Link::open(backend, self, until))).await?;
        message.begin()?;
        let answer = match link.send_all(&request, message, length).await {
            Ok(()) => link.answer(Wait::End).await.map_err(DeliveryError::After)?,
            Err(SendError::Failed(e)) => return Err(e),
            Err(SendError::Answered) => match link.answer(Wait::Block).await? {
                // It cannot have taken what it does not have.
                Answer { class: Class::Accepted, .. } => {
                    return Err(Failure::Garbage("it takes a message before its end").into());
                }
                answer => answer,
            },
        };
        if answer.class == Class::Permanent {
            // What it says to everybody who connects is not about this message, which then must not bounce.
            let backend = link.backend;
            drop(link);
            self.probe(backend, until).await?;
        }
        Ok(answer)
    }
}

/// One connection.
struct Link<'b> {
    backend: &'b Backend,
    stream: Stream,
    /// What the server has sent.
    received: Vec<u8>,
}

/// Why not all of a message was sent.
enum SendError {
    Failed(DeliveryError),
    /// It answered before it had all of it.
    Answered,
}

impl<T: Into<DeliveryError>> From<T> for SendError {
    fn from(e: T) -> Self {
        SendError::Failed(e.into())
    }
}

impl<'b> Link<'b> {
    async fn open(backend: &'b Backend, qmqp: &Qmqp, until: Instant) -> Result<Self, Failure> {
        let stream = Stream::open(&qmqp.dialer, backend, qmqp.timeouts, until).await?;
        Ok(Self { stream, backend, received: Vec::new() })
    }

    async fn send_all(&mut self, request: &Request, message: &mut Message<'_>, length: u64) -> Result<(), SendError> {
        let mut pieces = Pieces::lines(message)?;
        let mut left = length;
        let mut out = request.head.clone();
        let mut from = out.len();
        while pieces.next(&mut out)? {
            // A file that has grown since it was measured would go on as recipients.
            let octets = u64::try_from(out.len().saturating_sub(from)).unwrap_or(u64::MAX);
            left = left.checked_sub(octets).ok_or(ContentError::Changed)?;
            self.send(&out).await?;
            out.clear();
            from = 0;
            // As for the other backends: one piece a turn.
            tokio::task::yield_now().await;
        }
        if left > 0 {
            return Err(ContentError::Changed.into());
        }
        let (last, before) = request.tail.split_last().unwrap_or((&b',', &[]));
        self.send(before).await?;
        self.send(&[*last]).await
    }

    /// Sends octets, unless it has answered: whatever it says then, it is not about the whole message.
    async fn send(&mut self, octets: &[u8]) -> Result<(), SendError> {
        let mut buffer = [0; ANSWER_ROOM];
        if let Some(n) = self.stream.read_early(&mut buffer).await? {
            self.received.extend(buffer.iter().take(n));
            return Err(SendError::Answered);
        }
        match self.stream.write(octets, Wait::Block).await {
            // A server that closes often says why, and that can still be read.
            Err(Failure::Lost(_)) => Err(SendError::Answered),
            done => Ok(done?),
        }
    }

    async fn answer(&mut self, wait: Wait) -> Result<Answer, Failure> {
        self.stream.start(wait);
        let mut buffer = [0; ANSWER_ROOM];
        loop {
            match qmqp::answer(&self.received) {
                Progress::Done(answer) => return Ok(answer),
                Progress::Broken => return Err(Failure::Garbage("not an answer of QMQP")),
                Progress::More => {}
            }
            let n = self.stream.read(&mut buffer, wait).await?;
            self.received.extend(buffer.iter().take(n));
        }
    }
}

/// Octets of the whole content with LF line ends. Reads all of it.
async fn measure(message: &mut Message<'_>) -> Result<u64, DeliveryError> {
    let mut pieces = Pieces::lines(message)?;
    let mut length = 0_u64;
    let mut out = Vec::new();
    while pieces.next(&mut out)? {
        length = length.saturating_add(u64::try_from(out.len()).unwrap_or(u64::MAX));
        out.clear();
        // The file is usually in memory: without this, other sessions would wait for all of it.
        tokio::task::yield_now().await;
    }
    Ok(length)
}
