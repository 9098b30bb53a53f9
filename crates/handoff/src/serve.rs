//! Orders from the launcher, new sessions from the listener, one task for each session.

use crate::session;
use crate::shared::Shared;
use crate::{ControlEnd, HandoffError, ListenerEnd, SessionEnd};
use gatepost_channel::{ChannelError, Inbox};
use gatepost_wire::WireError;
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::link::Open;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Longest wait for a backend to answer when we start.
pub(crate) const START: Duration = Duration::from_secs(30);
/// First and longest pause between two attempts to reach it.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Longest frame that launcher or listener send.
const SHORT_FRAME: usize = 256;

/// What can happen.
enum Event {
    /// An order, or the end of orders.
    Order(Result<(Order, Vec<OwnedFd>), ChannelError>),
    /// The backend has passed its proof, or not.
    Proved(Result<(), HandoffError>),
    /// A new session, or the end of a link.
    Opened(ListenerEnd, Result<(Open, Vec<OwnedFd>), ChannelError>),
    /// The queue role is gone, or is linked anew.
    Unlinked,
    /// A session is over.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    /// Waiting for the order to begin, then for the backend's proof.
    Waiting,
    Serving,
    Draining,
}

/// The role. Whatever can happen is waited for by a task of one set, which ends when it has.
struct Handoff {
    shared: Arc<Shared>,
    control: Arc<ControlEnd>,
    events: JoinSet<Event>,
    /// Links that are not read yet.
    links: Vec<ListenerEnd>,
    sessions: usize,
    going: Going,
}

/// Serves until drained, or until the launcher is gone.
///
/// # Errors
/// The backend is not safe to send mail to; the launcher broke the rules.
pub(crate) async fn serve(control: gatepost_jail::ControlEnd, shared: Arc<Shared>) -> Result<(), HandoffError> {
    let control = Arc::new(ControlEnd::new(control).map_err(HandoffError::Runtime)?);
    let mut events = JoinSet::new();
    events.spawn(next_order(control.clone()));
    let mut handoff = Handoff { shared, control, events, links: Vec::new(), sessions: 0, going: Going::Waiting };
    while let Some(event) = handoff.events.join_next().await {
        match event {
            Ok(Event::Order(Ok((order, fds)))) => handoff.order(order, fds)?,
            // The launcher is gone. Sessions see their channels close and say 421.
            Ok(Event::Order(Err(ChannelError::Closed))) => return Ok(()),
            Ok(Event::Order(Err(e))) => return Err(e.into()),
            Ok(Event::Proved(proved)) => {
                proved?;
                handoff.begin().await?;
            }
            Ok(Event::Opened(link, opened)) => handoff.opened(link, opened),
            Ok(Event::Unlinked) => {}
            Ok(Event::Ended) | Err(_) => handoff.sessions = handoff.sessions.saturating_sub(1),
        }
        if handoff.going == Going::Draining && handoff.sessions == 0 {
            return Ok(());
        }
    }
    Ok(())
}

impl Handoff {
    fn order(&mut self, order: Order, mut fds: Vec<OwnedFd>) -> Result<(), HandoffError> {
        match (order, fds.pop()) {
            (Order::Peer(Role::Listener), Some(fd)) => {
                let link = ListenerEnd::from_fd(fd).map_err(HandoffError::Runtime)?;
                if self.going == Going::Waiting {
                    self.links.push(link);
                } else {
                    self.events.spawn(next_open(link));
                }
            }
            (Order::Peer(Role::Queue), Some(fd)) => {
                let unexpected = ChannelError::Hostile(WireError::Value("order"));
                let queue = self.shared.route.queue().ok_or(unexpected)?;
                let answers = queue.link(fd).map_err(HandoffError::Runtime)?;
                self.events.spawn(async move {
                    answers.await;
                    Event::Unlinked
                });
            }
            (Order::Go, None) => {
                self.events.spawn(prove(self.shared.clone()));
            }
            (Order::Drain, None) => self.going = Going::Draining,
            _ => return Err(ChannelError::Hostile(WireError::Value("order")).into()),
        }
        self.events.spawn(next_order(self.control.clone()));
        Ok(())
    }

    /// The backend has passed its proof: sessions may come.
    async fn begin(&mut self) -> Result<(), HandoffError> {
        if self.going == Going::Waiting {
            self.going = Going::Serving;
        }
        self.control.tell(&Report::Ready).await?;
        for link in self.links.drain(..) {
            self.events.spawn(next_open(link));
        }
        Ok(())
    }

    fn opened(&mut self, link: ListenerEnd, opened: Result<(Open, Vec<OwnedFd>), ChannelError>) {
        let (open, mut fds) = match opened {
            Ok(opened) => opened,
            // The listener is being replaced: the sessions that it has begun go on.
            Err(ChannelError::Closed) => return,
            Err(e) => return tracing::error!("listener: {e}"),
        };
        self.events.spawn(next_open(link));
        match fds.pop().map(SessionEnd::from_fd) {
            Some(Ok(end)) => {
                self.sessions = self.sessions.saturating_add(1);
                let shared = self.shared.clone();
                self.events.spawn(async move {
                    session::serve(shared, open, end).await;
                    Event::Ended
                });
            }
            Some(Err(e)) => tracing::error!("session={} no channel: {e}", open.id),
            None => tracing::error!("session={} came without its channel", open.id),
        }
    }
}

async fn next_order(control: Arc<ControlEnd>) -> Event {
    let mut inbox = Inbox::new(SHORT_FRAME);
    Event::Order(control.recv_with(&mut inbox).await)
}

async fn next_open(link: ListenerEnd) -> Event {
    let mut inbox = Inbox::new(SHORT_FRAME);
    let opened = link.recv_with(&mut inbox).await;
    Event::Opened(link, opened)
}

/// Has the backend prove that it does not relay, and waits for it when it does not answer yet.
async fn prove(shared: Arc<Shared>) -> Event {
    let deadline = Instant::now() + START;
    let (mut pause, longest) = PAUSE;
    let mut told = false;
    loop {
        let failure = match shared.route.prove().await {
            Ok(()) => return Event::Proved(Ok(())),
            Err(failure) => failure,
        };
        if failure.is_final() {
            return Event::Proved(Err(HandoffError::Backend(failure.to_string())));
        }
        if Instant::now() + pause >= deadline {
            let why = format!("no backend could be asked within {} s whether it relays: {failure}", START.as_secs());
            return Event::Proved(Err(HandoffError::Backend(why)));
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!("waiting up to {} s for a backend: {failure}", START.as_secs());
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(longest);
    }
}
