//! Orders from the launcher, news from the listener, one task per session.

use crate::allowance::{self, Allowance};
use crate::backend::{Doors, Facts, Patience, Queue};
use crate::session::{House, attend};
use crate::spool::Spool;
use crate::{ControlEnd, HandoffError, ListenerEnd, SessionEnd};
use gatepost_channel::{ChannelError, Inbox};
use gatepost_policy::relay::{Relay, RelayTable};
use gatepost_wire::WireError;
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::link::Open;
use gatepost_wire::slice::{Dialect, HandoffSlice};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Longest wait for a backend to come up when we start.
pub(crate) const START: Duration = Duration::from_secs(30);
/// First and longest pause between two attempts to reach it.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Longest frame that launcher or listener send.
const SHORT_FRAME: usize = 256;

/// All that sessions share, from our slice of the configuration.
///
/// # Errors
/// A domain or network that is none.
pub(crate) fn house(slice: &HandoffSlice) -> Result<Arc<House>, HandoffError> {
    let clients = slice.clients.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?;
    let relay = Relay { domains: RelayTable::new(&slice.domains)?, clients, any_domain: slice.any_domain };
    let facts = Facts {
        hostname: slice.hostname.clone(),
        dialect: slice.dialect,
        identity: slice.identity,
        patience: Patience::new(Duration::from_secs(slice.reply_timeout.into())),
    };
    Ok(Arc::new(House {
        doors: Doors::new(slice.connect.clone(), facts, slice.relay_proof),
        relay,
        spool: Spool::new(&slice.spool),
        message_size: slice.message_size,
        recipients: slice.recipients,
        allowance: Allowance::new(allowance::TOTAL),
        idle: Arc::default(),
        queue: Queue::default(),
        inbox: Mutex::new(Inbox::default()),
    }))
}

/// Removes what a killed process has left, and makes sure that a content file can be made.
///
/// # Errors
/// It can't.
pub(crate) fn prepare_spool(house: &House, directory: &str) -> Result<(), HandoffError> {
    let ready = house.spool.clean().and_then(|removed| {
        if removed > 0 {
            tracing::warn!("removed {removed} content files that an earlier process has left");
        }
        house.spool.file().map(drop)
    });
    ready.map_err(|cause| HandoffError::Spool { directory: directory.to_owned(), cause })
}

/// What can happen.
enum Event {
    /// An order, or the end of orders.
    Order(Result<(Order, Vec<OwnedFd>), ChannelError>),
    /// The backend has proved itself, or not.
    Proved(Result<(), HandoffError>),
    /// A new session, or the end of a link.
    Opened(ListenerEnd, Result<(Open, Vec<OwnedFd>), ChannelError>),
    /// The queue role is gone, or is linked anew.
    Unlinked,
    /// A session is over.
    Parted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    /// For the order to begin, then for the backend's proof.
    Waiting,
    Serving,
    Draining,
}

/// The role at work. All that can happen is a task of one set, which tells of it by ending.
struct Handoff {
    house: Arc<House>,
    control: Arc<ControlEnd>,
    events: JoinSet<Event>,
    /// Links that are not yet listened to.
    links: Vec<ListenerEnd>,
    sessions: usize,
    going: Going,
}

/// Serves until drained, or until the launcher is gone.
///
/// # Errors
/// The backend is not safe to send mail to; the launcher broke the rules.
pub(crate) async fn serve(control: gatepost_jail::ControlEnd, house: Arc<House>) -> Result<(), HandoffError> {
    let control = Arc::new(ControlEnd::new(control).map_err(HandoffError::Runtime)?);
    let mut events = JoinSet::new();
    events.spawn(next_order(control.clone()));
    let mut handoff = Handoff { house, control, events, links: Vec::new(), sessions: 0, going: Going::Waiting };
    while let Some(event) = handoff.events.join_next().await {
        match event {
            Ok(Event::Order(Ok((order, fds)))) => handoff.order(order, fds)?,
            // Without a launcher there is nobody to serve for. Sessions see their channels close and say 421.
            Ok(Event::Order(Err(ChannelError::Closed))) => return Ok(()),
            Ok(Event::Order(Err(e))) => return Err(e.into()),
            Ok(Event::Proved(proved)) => {
                proved?;
                handoff.begin().await?;
            }
            Ok(Event::Opened(link, opened)) => handoff.opened(link, opened),
            Ok(Event::Unlinked) => {}
            Ok(Event::Parted) | Err(_) => handoff.sessions = handoff.sessions.saturating_sub(1),
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
                let hear = self.house.queue.link(fd).map_err(HandoffError::Runtime)?;
                self.events.spawn(async move {
                    hear.await;
                    Event::Unlinked
                });
            }
            (Order::Go, None) => {
                self.events.spawn(prove(self.house.clone()));
            }
            (Order::Drain, None) => self.going = Going::Draining,
            _ => return Err(ChannelError::Hostile(WireError::Value("order")).into()),
        }
        self.events.spawn(next_order(self.control.clone()));
        Ok(())
    }

    /// The backend has proved itself: from now on there can be sessions.
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
            // A listener that is being replaced: the sessions that it has opened go on.
            Err(ChannelError::Closed) => return,
            Err(e) => return tracing::error!("listener: {e}"),
        };
        self.events.spawn(next_open(link));
        match fds.pop().map(SessionEnd::from_fd) {
            Some(Ok(end)) => {
                self.sessions = self.sessions.saturating_add(1);
                let house = self.house.clone();
                self.events.spawn(async move {
                    attend(house, open, end).await;
                    Event::Parted
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

/// Has the backend prove itself, and waits for it to come up meanwhile.
async fn prove(house: Arc<House>) -> Event {
    let deadline = Instant::now() + START;
    let (mut pause, longest) = PAUSE;
    let mut told = false;
    loop {
        let proved = match house.doors.facts.dialect {
            Dialect::Queue => house.queue.is_there(),
            Dialect::Smtp | Dialect::Lmtp | Dialect::Qmqp => house.doors.prove().await,
        };
        let failure = match proved {
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
