//! Orders from the launcher, new sessions from the listener, one task for each session.

use crate::session;
use crate::shared::Shared;
use crate::{ListenerEnd, SessionEnd};
use gatepost_channel::{ChannelError, Inbox};
use gatepost_jail::ControlEnd;
use gatepost_role::{AsyncControl, Heard, Phase, RoleError, SHORT_FRAME, Step};
use gatepost_wire::control::Role;
use gatepost_wire::link::Open;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Longest wait for a backend to answer when we start.
pub(crate) const START: Duration = Duration::from_secs(30);
/// First and longest pause between two attempts to reach it.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What can happen.
enum Event {
    /// The backend has passed its proof, or not.
    Proved(Result<(), RoleError>),
    /// A new session, or the end of a link.
    Opened(ListenerEnd, Result<(Open, Vec<OwnedFd>), ChannelError>),
    /// The queue role is gone, or is linked anew.
    Unlinked,
    /// A session is over.
    Ended,
}

/// The role. Whatever can happen is waited for by a task of one set, which ends when it has.
struct Handoff {
    shared: Arc<Shared>,
    control: AsyncControl,
    events: JoinSet<Event>,
    /// Links that are not read yet.
    links: Vec<ListenerEnd>,
    sessions: usize,
}

/// Serves until drained.
///
/// # Errors
/// [`RoleError`].
pub(crate) async fn serve(control: ControlEnd, shared: Arc<Shared>) -> Result<(), RoleError> {
    let control = AsyncControl::new(Role::Handoff, control)?;
    let mut handoff = Handoff { shared, control, events: JoinSet::new(), links: Vec::new(), sessions: 0 };
    while !(handoff.control.phase() == Phase::Draining && handoff.sessions == 0) {
        let event = async {
            match handoff.events.join_next().await {
                Some(event) => event,
                None => pending().await,
            }
        };
        match handoff.control.order_or(event).await? {
            Heard::Order(step) => handoff.follow(step)?,
            Heard::Other(Ok(Event::Proved(proved))) => {
                proved?;
                handoff.begin().await?;
            }
            Heard::Other(Ok(Event::Opened(link, opened))) => handoff.opened(link, opened),
            Heard::Other(Ok(Event::Unlinked)) => {}
            Heard::Other(Ok(Event::Ended) | Err(_)) => handoff.sessions = handoff.sessions.saturating_sub(1),
        }
    }
    Ok(())
}

impl Handoff {
    fn follow(&mut self, step: Step<OwnedFd>) -> Result<(), RoleError> {
        let watching = RoleError::system("watch a link");
        match step {
            Step::Link(Role::Queue, fd) => {
                let unexpected = || RoleError::Peer(Role::Queue, "linked, but the backend is no queue program".into());
                let queue = self.shared.route.queue().ok_or_else(unexpected)?;
                let answers = queue.link(fd).map_err(watching)?;
                self.events.spawn(async move {
                    answers.await;
                    Event::Unlinked
                });
            }
            Step::Link(_, fd) => {
                let link = ListenerEnd::from_fd(fd).map_err(watching)?;
                if matches!(self.control.phase(), Phase::Waiting | Phase::Starting) {
                    self.links.push(link);
                } else {
                    self.events.spawn(next_open(link));
                }
            }
            Step::Begin => {
                self.events.spawn(prove(self.shared.clone()));
            }
            Step::Drain | Step::Socket(..) => {}
        }
        Ok(())
    }

    /// The backend has passed its proof: sessions may come.
    async fn begin(&mut self) -> Result<(), RoleError> {
        self.control.ready().await?;
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
            return Event::Proved(Err(RoleError::Backend(failure.to_string())));
        }
        if Instant::now() + pause >= deadline {
            let why = format!("no backend could be asked within {} s whether it relays: {failure}", START.as_secs());
            return Event::Proved(Err(RoleError::Backend(why)));
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!("waiting up to {} s for a backend: {failure}", START.as_secs());
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(longest);
    }
}
