//! A QMQP server: a connection for each message, one answer for all of it. It takes what it is given, for whomever: of
//! recipients, senders and relaying there is nothing to ask, so our own rules are all there are.
//!
//! The message exists for the server only with the last octet of the outermost netstring, which goes last and alone.

use super::delivery::{Lost, Message};
use super::doors::Doors;
use super::pieces::Pieces;
use super::stream::Stream;
use super::{Failure, Patience, Phase};
use crate::clock::{Clock, Elapsed};
use crate::content::Unfit;
use crate::transaction::Transaction;
pub(crate) use gatepost_qmail::qmqp::Answer;
use gatepost_qmail::qmqp::{self, Class, Progress, Request};
use gatepost_smtp::client::Extensions;
use gatepost_wire::slice::Connect;
use std::io::ErrorKind;
use tokio::time::Instant;

/// Room for an answer and what surrounds it.
const ANSWER_ROOM: usize = qmqp::REPLY_MAX + 8;

/// What a message on its way to any QMQP server may be. Octets pass as they are. SMTPUTF8 and DSN have no place in the
/// envelope: an address that is UTF-8 could not be marked as such, nor a wish for a report handed on.
pub(super) fn extensions() -> Extensions {
    Extensions { eight_bit: true, ..Extensions::default() }
}

/// Whether the server takes connections from us. One that does not, such as Postfix's without `qmqpd_authorized_clients`,
/// says a permanent refusal to whoever connects; one that does waits for a message, and to an empty one it says nothing.
pub(super) async fn probe(to: &Connect, patience: Patience, until: Instant) -> Result<(), Failure> {
    let mut link = Link::open(to, patience, until).await?;
    link.stream.shut().await.map_err(|e| Failure::Lost(Some(e)))?;
    match link.answer(Phase::Hello).await {
        Ok(answer) if answer.class == Class::Permanent => Err(Failure::Unwelcome(answer.to_string())),
        Ok(answer) => Err(Failure::Deferred(answer.to_string())),
        Err(Failure::Lost(_)) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Sends a message to the first server that answers.
pub(crate) async fn deliver(
    doors: &Doors,
    transaction: &Transaction,
    message: &mut Message<'_>,
    until: Instant,
) -> Result<Answer, Lost> {
    if let Some(extension) = transaction.missing(&extensions()) {
        return Err(Failure::Missing(extension).into());
    }
    let length = measure(message).await?;
    let recipients: Vec<Vec<u8>> = transaction.recipients().iter().map(|recipient| recipient.bare()).collect();
    let sender = transaction.bare_sender();
    // Not reached: our addresses are shorter than its longest, and have no NUL.
    let unsayable = || Failure::Garbage("it has no room for an address");
    let request = Request::new(length, &sender, recipients.iter().map(Vec::as_slice)).ok_or_else(unsayable)?;
    let (door, mut link) = doors.reach(until).await?;
    let answer = match link.send_all(&request, message, length).await {
        Ok(()) => link.answer(Phase::End).await.map_err(Lost::After)?,
        Err(Trouble::Lost(lost)) => return Err(lost),
        Err(Trouble::Spoke) => match link.answer(Phase::Block).await? {
            // It cannot have taken what it does not have.
            Answer { class: Class::Accepted, .. } => {
                return Err(Failure::Garbage("it takes a message before its end").into());
            }
            answer => answer,
        },
    };
    if answer.class == Class::Permanent {
        // What it says to everybody who connects is not about this message, which then must not bounce.
        probe(&door.connect, doors.facts.patience, until).await?;
    }
    Ok(answer)
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    clock: Clock,
    patience: Patience,
    /// What has been said to us.
    heard: Vec<u8>,
}

/// Why not all of a message went out.
enum Trouble {
    Lost(Lost),
    /// It answered before it had all of it.
    Spoke,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Lost(failure.into())
    }
}

impl Link {
    pub(super) async fn open(to: &Connect, patience: Patience, until: Instant) -> Result<Self, Failure> {
        let mut clock = Clock::new(until);
        let stream = Stream::reach(to, &mut clock, patience.connect).await?;
        Ok(Self { stream, clock, patience, heard: Vec::new() })
    }

    async fn send_all(&mut self, request: &Request, message: &mut Message<'_>, length: u64) -> Result<(), Trouble> {
        let mut pieces = Pieces::new(message).map_err(Trouble::Lost)?;
        let mut left = length;
        let mut out = request.head.clone();
        let mut from = out.len();
        while pieces.next(&mut out).map_err(Trouble::Lost)? {
            // A file that has grown since it was measured would go on as recipients.
            let octets = u64::try_from(out.len().saturating_sub(from)).unwrap_or(u64::MAX);
            left = left.checked_sub(octets).ok_or(Trouble::Lost(Unfit::Changed.into()))?;
            self.send(&out).await?;
            out.clear();
            from = 0;
        }
        if left > 0 {
            return Err(Trouble::Lost(Unfit::Changed.into()));
        }
        let (last, before) = request.tail.split_last().unwrap_or((&b',', &[]));
        self.send(before).await?;
        self.send(&[*last]).await
    }

    /// Sends octets, unless it has said something: whatever that is, it is not about the whole message.
    async fn send(&mut self, octets: &[u8]) -> Result<(), Trouble> {
        // What has come is known only after a look at the system; without this a fast server would get all of it unheard.
        tokio::task::yield_now().await;
        let mut buffer = [0; ANSWER_ROOM];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => return Err(Failure::Lost(None).into()),
            Ok(n) => {
                self.heard.extend(buffer.iter().take(n));
                return Err(Trouble::Spoke);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(Failure::Lost(Some(e)).into()),
        }
        self.clock.set(self.patience.of(Phase::Block));
        match self.clock.bound(self.stream.write_all(octets)).await {
            Ok(Ok(())) => Ok(()),
            // Who hangs up often says why, and that is still there to be read.
            Ok(Err(_)) => Err(Trouble::Spoke),
            Err(Elapsed) => Err(Failure::Timeout(Phase::Block).into()),
        }
    }

    async fn answer(&mut self, phase: Phase) -> Result<Answer, Failure> {
        self.clock.set(self.patience.of(phase));
        let mut buffer = [0; ANSWER_ROOM];
        loop {
            match qmqp::answer(&self.heard) {
                Progress::Done(answer) => return Ok(answer),
                Progress::Broken => return Err(Failure::Garbage("not an answer of QMQP")),
                Progress::More => {}
            }
            match self.clock.bound(self.stream.read(&mut buffer)).await {
                Ok(Ok(0)) => return Err(Failure::Lost(None)),
                Ok(Ok(n)) => self.heard.extend(buffer.iter().take(n)),
                Ok(Err(e)) => return Err(Failure::Lost(Some(e))),
                Err(Elapsed) => return Err(Failure::Timeout(phase)),
            }
        }
    }
}

/// Octets of the whole content with LF line ends, by a walk through all of it.
async fn measure(message: &mut Message<'_>) -> Result<u64, Lost> {
    let unfit = |lost| match lost {
        Lost::Broken(unfit) => Lost::Unfit(unfit),
        lost => lost,
    };
    let mut pieces = Pieces::new(message)?;
    let mut length = 0_u64;
    let mut out = Vec::new();
    while pieces.next(&mut out).map_err(unfit)? {
        length = length.saturating_add(u64::try_from(out.len()).unwrap_or(u64::MAX));
        out.clear();
        // The file is in memory more often than not: without this, other sessions would wait for all of it.
        tokio::task::yield_now().await;
    }
    Ok(length)
}
