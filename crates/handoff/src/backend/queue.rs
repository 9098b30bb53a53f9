//! The queue role, which runs a queue program for each message. A message goes to it whole: an envelope, and the content in a
//! file of its own with LF line ends, which no session has a descriptor of.

use super::delivery::{Lost, Message};
use super::pieces::Pieces;
use super::{Failure, Phase, qmqp};
use crate::clock::Clock;
use crate::spool::{ContentFile, Spool};
use crate::transaction::Transaction;
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_wire::link::Open;
use gatepost_wire::queue::{Done, Submit};
use gatepost_wire::{HandoffToQueue, QueueToHandoff};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Longest frame that the queue role sends.
const SHORT_FRAME: usize = 64;

/// One link with the queue role.
#[derive(Debug)]
struct Link {
    end: AsyncEnd<HandoffToQueue, QueueToHandoff>,
    /// Held while a message is told: its parts must not be mixed with another's.
    turn: tokio::sync::Mutex<()>,
    /// Who waits for which ticket. Dropped with the link: then it is not known what became of theirs.
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    tickets: HashMap<u32, oneshot::Sender<Done>>,
    last: u32,
    /// The link is over: nobody may begin to wait.
    over: bool,
}

/// The way to the queue role.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    link: Mutex<Option<Arc<Link>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    /// Takes a fresh link; the one before it is over. What is given back hears the answers for as long as the link lasts.
    pub(crate) fn link(&self, fd: OwnedFd) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let end = AsyncEnd::from_fd(fd)?;
        let link = Arc::new(Link { end, turn: tokio::sync::Mutex::default(), waiting: Mutex::default() });
        *lock(&self.link) = Some(Arc::clone(&link));
        Ok(async move { link.hear().await })
    }

    /// Whether there is a queue role to give messages to.
    pub(crate) fn is_there(&self) -> Result<(), Failure> {
        self.current().map(drop)
    }

    fn current(&self) -> Result<Arc<Link>, Failure> {
        let link = lock(&self.link).clone().filter(|link| !lock(&link.waiting).over);
        link.ok_or_else(|| Failure::Connect(io::ErrorKind::NotFound.into()))
    }

    /// Gives a message to the queue program, by `until`.
    pub(crate) async fn deliver(
        &self,
        spool: &Spool,
        open: &Open,
        transaction: &Transaction,
        message: &mut Message<'_>,
        until: Instant,
    ) -> Result<Done, Lost> {
        if let Some(extension) = transaction.missing(&qmqp::extensions()) {
            return Err(Failure::Missing(extension).into());
        }
        let mut content = convert(spool, message).await?;
        content.rewind().map_err(Lost::Unread)?;
        let link = self.current()?;
        let mut clock = Clock::new(until);
        let (ticket, answer) = link.ticket()?;
        let told = clock.bound(link.tell(ticket, open, transaction, &content)).await;
        // The queue role has its own descriptor now; ours are counted.
        drop(content);
        match told {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(lost(&e).into()),
            Err(_) => return Err(Failure::Timeout(Phase::Block).into()),
        }
        match clock.bound(answer).await {
            Ok(Ok(done)) => Ok(done),
            // The program may have it or not.
            Ok(Err(_)) => Err(Lost::After(Failure::Lost(None))),
            Err(_) => Err(Lost::After(Failure::Timeout(Phase::End))),
        }
    }
}

fn lost(e: &ChannelError) -> Failure {
    Failure::Lost(Some(io::Error::other(e.to_string())))
}

/// Writes the content as the program is to read it. Only we have this file: what is looked at here is what is queued.
async fn convert(spool: &Spool, message: &mut Message<'_>) -> Result<ContentFile, Lost> {
    let mut file = spool.file().map_err(Lost::Unread)?;
    let mut pieces = Pieces::new(message)?;
    let mut out = Vec::new();
    while pieces.next(&mut out)? {
        file.append(&out).map_err(Lost::Unread)?;
        out.clear();
        // A file is written without waiting: without this, other sessions would wait for all of it.
        tokio::task::yield_now().await;
    }
    Ok(file)
}

impl Link {
    /// A ticket, and where its answer will come.
    fn ticket(&self) -> Result<(u32, oneshot::Receiver<Done>), Failure> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        if waiting.over {
            return Err(Failure::Lost(None));
        }
        waiting.last = waiting.last.wrapping_add(1);
        let ticket = waiting.last;
        // Whoever has stopped waiting need not be remembered.
        waiting.tickets.retain(|_, sender| !sender.is_closed());
        waiting.tickets.insert(ticket, sender);
        Ok((ticket, receiver))
    }

    /// Tells a message; its commit, with the content, comes last.
    async fn tell(
        &self,
        ticket: u32,
        open: &Open,
        transaction: &Transaction,
        content: &ContentFile,
    ) -> Result<(), ChannelError> {
        let _turn = self.turn.lock().await;
        let sender = transaction.bare_sender();
        self.end.tell(&Submit::Begin { ticket, client: open.client, local: open.local, sender: &sender }).await?;
        for recipient in transaction.recipients() {
            self.end.tell(&Submit::Recipient(&recipient.bare())).await?;
        }
        self.end.tell_with(&Submit::Commit, &[content.reader()]).await
    }

    /// Hears answers until the link ends.
    async fn hear(&self) {
        let mut inbox = Inbox::new(SHORT_FRAME);
        loop {
            match self.end.recv(&mut inbox).await {
                Ok(done) => {
                    let waiting = lock(&self.waiting).tickets.remove(&done.ticket);
                    // One that waits no more has been told to come again.
                    let _ = waiting.map(|waiting| waiting.send(done));
                }
                Err(e) => {
                    if !matches!(e, ChannelError::Closed) {
                        tracing::error!("queue: {e}");
                    }
                    let mut waiting = lock(&self.waiting);
                    waiting.over = true;
                    waiting.tickets.clear();
                    return;
                }
            }
        }
    }
}
