//! The queue role, which runs a queue program for each message; or that program itself, in a process without other roles. It gets
//! the envelope, and the content in a file with LF line ends of which no session has a descriptor.

use super::asking::Asking;
use super::failure::Failure;
use super::message::{DeliveryError, Message};
use super::pieces::Pieces;
use super::qmqp;
use super::wait::{Timeouts, Wait};
use crate::deadline::{Deadline, later};
use crate::identity::Client;
use crate::spool::{ContentFile, Spool};
use crate::transaction::{Recipient, Transaction};
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_policy::share::Origin;
use gatepost_role::Tickets;
use gatepost_wire::queue::{Done, Submit};
use gatepost_wire::{HandoffToQueue, QueueToHandoff};
use std::fmt;
use std::future::Future;
use std::io;
use std::iter;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Longest frame that the queue role sends.
const SHORT_FRAME: usize = 64;

/// One link with the queue role.
#[derive(Debug)]
struct Link {
    end: AsyncEnd<HandoffToQueue, QueueToHandoff>,
    /// Held while a message is sent: its parts must not be mixed with another's.
    turn: tokio::sync::Mutex<()>,
    tickets: Tickets<Done>,
}

/// Runs the queue program in this process, where it serves one session: that waits anyway.
pub trait RunQueue: Send + Sync + fmt::Debug {
    /// Gives a message to the program, and waits for what becomes of it. `message` is what the queue role would be told.
    fn run(&self, message: &[Submit<'_>], content: OwnedFd) -> Done;
}

/// Who runs the queue program.
#[derive(Debug)]
pub(crate) struct Queue {
    timeouts: Timeouts,
    runner: Runner,
}

#[derive(Debug)]
enum Runner {
    /// The queue role, by the link that is current.
    Role(Mutex<Option<Arc<Link>>>),
    Here(Box<dyn RunQueue>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    /// `here`: this process does.
    pub(super) fn new(timeouts: Timeouts, here: Option<Box<dyn RunQueue>>) -> Self {
        Self { timeouts, runner: here.map_or_else(|| Runner::Role(Mutex::default()), Runner::Here) }
    }

    /// Takes a new link, which replaces the one before it. The future reads its answers until it ends.
    pub(crate) fn link(&self, fd: OwnedFd) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let end = AsyncEnd::from_fd(fd)?;
        let link = Arc::new(Link { end, turn: tokio::sync::Mutex::default(), tickets: Tickets::default() });
        if let Runner::Role(current) = &self.runner {
            *lock(current) = Some(Arc::clone(&link));
        }
        Ok(async move { link.receive().await })
    }

    /// Whether there is a queue role to give messages to.
    pub(super) fn is_there(&self) -> Result<(), Failure> {
        match &self.runner {
            Runner::Role(current) => linked(current).map(drop),
            Runner::Here(_) => Ok(()),
        }
    }
    /// Gives a message to the queue program.
    pub(super) async fn deliver(
        &self,
        spool: &Spool,
        session: Asking<'_>,
        message: &mut Message<'_>,
    ) -> Result<Done, DeliveryError> {
        let (until, client, transaction) = (later(self.timeouts.end), &session.client, session.transaction);
        if let Some(extension) = transaction.missing(&qmqp::extensions()) {
            return Err(Failure::Missing(extension).into());
        }
        let _permit = session.permit(until).await?;
        let mut content = convert(spool, client, message).await?;
        content.rewind().map_err(DeliveryError::File)?;
        message.begin()?;
        let link = match &self.runner {
            Runner::Role(current) => linked(current)?,
            Runner::Here(program) => {
                let sender = transaction.bare_sender();
                let recipients: Vec<_> = transaction.recipients().iter().map(Recipient::bare).collect();
                let begin = Submit::Begin { ticket: 0, client: client.address, local: client.local, sender: &sender };
                let recipients = recipients.iter().map(|recipient| Submit::Recipient(recipient));
                let message: Vec<_> = iter::once(begin).chain(recipients).chain(iter::once(Submit::Commit)).collect();
                let content = content.reader().try_clone_to_owned().map_err(DeliveryError::File)?;
                return Ok(program.run(&message, content));
            }
        };
        let mut deadline = Deadline::new(until);
        let (ticket, answer) = link.tickets.issue().map_err(|_| Failure::Lost(None))?;
        let told = deadline.bound(link.tell(ticket, client, transaction, &content)).await;
        // The queue role has a descriptor of its own now, and ours are limited.
        drop(content);
        match told {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(lost(&e).into()),
            Err(_) => return Err(Failure::Timeout(Wait::Block).into()),
        }
        match deadline.bound(answer).await {
            Ok(Ok(done)) => Ok(done),
            // The program may have it or not.
            Ok(Err(_)) => Err(DeliveryError::After(Failure::Lost(None))),
            Err(_) => Err(DeliveryError::After(Failure::Timeout(Wait::End))),
        }
    }
}

fn linked(current: &Mutex<Option<Arc<Link>>>) -> Result<Arc<Link>, Failure> {
    let link = lock(current).clone().filter(|link| !link.tickets.is_over());
    link.ok_or_else(|| Failure::Connect(io::ErrorKind::NotFound.into()))
}

fn lost(e: &ChannelError) -> Failure {
    Failure::Lost(Some(io::Error::other(e.to_string())))
}

/// Writes the content as the program has to read it. Only we have this file, so what was checked here is what is queued.
async fn convert(spool: &Spool, client: &Client<'_>, message: &mut Message<'_>) -> Result<ContentFile, DeliveryError> {
    let mut file = spool.file(Origin::of(client.counted)).map_err(DeliveryError::File)?;
    let mut pieces = Pieces::lines(message)?;
    let mut out = Vec::new();
    let (mut length, mut granted) = (0, 0);
    while pieces.next(&mut out)? {
        length += out.len();
        while granted < length {
            let piece = spool.grow(&mut file, None).map_err(DeliveryError::File)?;
            granted = granted.saturating_add(usize::try_from(piece).unwrap_or(usize::MAX));
        }
        file.append(&out).map_err(DeliveryError::File)?;
        out.clear();
        // Writing a file does not wait: without this, other sessions would wait for all of it.
        tokio::task::yield_now().await;
    }
    Ok(file)
}

impl Link {
    /// Sends a message; its commit, with the content, comes last.
    async fn tell(
        &self,
        ticket: u32,
        client: &Client<'_>,
        transaction: &Transaction,
        content: &ContentFile,
    ) -> Result<(), ChannelError> {
        let _turn = self.turn.lock().await;
        let sender = transaction.bare_sender();
        self.end.tell(&Submit::Begin { ticket, client: client.address, local: client.local, sender: &sender }).await?;
        for recipient in transaction.recipients() {
            self.end.tell(&Submit::Recipient(&recipient.bare())).await?;
        }
        self.end.tell_with(&Submit::Commit, &[content.reader()]).await
    }

    /// Reads answers until the link ends.
    async fn receive(&self) {
        let mut inbox = Inbox::new(SHORT_FRAME);
        loop {
            match self.end.recv(&mut inbox).await {
                // Whoever no longer waits has told its client to come again.
                Ok(done) => self.tickets.answer(done.ticket, done),
                Err(e) => {
                    if !matches!(e, ChannelError::Closed) {
                        tracing::error!("queue: {e}");
                    }
                    return self.tickets.close();
                }
            }
        }
    }
}
