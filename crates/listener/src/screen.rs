//! What is found out of a client before its greeting, while it has no session: whether it waits for it, and what DNS lists say of it.
//!
//! A client that speaks first is a program that does not care for answers, or takes this for another protocol. Whoever begins with
//! TLS speaks first by design, and a load balancer's header has been read before. Nothing that a client says is taken away here: its
//! session finds it.

use crate::connection::Connection;
use crate::listener::Listener;
use crate::lists::Lists;
use gatepost_policy::flood::{Flood, Line};
use gatepost_policy::lists::ListDecision;
use gatepost_policy::proxy::is_header;
use gatepost_policy::share::Origin;
use gatepost_role::{First, first};
use gatepost_smtp::envelope::Service;
use gatepost_smtp::replies;
use gatepost_sys::net;
use gatepost_wire::event::{self, Course};
use gatepost_wire::slice::{self, EarlyTalk, TlsMode};
use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// Octets of what a client says too early that are looked at.
const LOOK: usize = 64;

/// Least wait of a client that is listed and neither deferred nor refused: most programs that send spam don't wait so long.
const SLOWED: Duration = Duration::from_secs(6);

/// How a client is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tests {
    /// Not at all.
    None,
    /// By what has come already: it waits for nothing.
    Peek,
    /// While it waits.
    Wait,
}

/// What has come of a client.
#[derive(Debug, Clone, Copy)]
enum Spoken {
    Nothing,
    /// So many octets, or more.
    Something([u8; LOOK], usize),
    /// Its end.
    Gone,
}

/// A connection that is watched.
#[derive(Debug)]
struct Watched(Connection);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.client.as_raw_fd()
    }
}

/// A client that waits for its greeting. Dropped, because others are to wait or at a drain, it hears that it is to come again.
pub(crate) struct Ungreeted {
    listener: Rc<Listener>,
    watched: Option<AsyncFd<Watched>>,
}

impl Ungreeted {
    /// # Errors
    /// The runtime takes no more descriptors: the client is closed.
    pub(crate) fn new(listener: &Rc<Listener>, connection: Connection) -> io::Result<Self> {
        let watched = gatepost_channel::watch(Watched(connection), Interest::READABLE)?;
        Ok(Self { listener: Rc::clone(listener), watched: Some(watched) })
    }

    fn connection(&self) -> Option<&Connection> {
        self.watched.as_ref().map(|watched| &watched.get_ref().0)
    }

    /// It waits no longer.
    fn into_connection(mut self) -> Option<Connection> {
        self.watched.take().map(|watched| watched.into_inner().0)
    }

    /// Ready as soon as something has come of it.
    async fn speaks(&self) -> Spoken {
        let Some(watched) = &self.watched else { return Spoken::Gone };
        loop {
            let Ok(mut ready) = watched.readable().await else { return Spoken::Gone };
            match spoken(watched.get_ref().0.client.as_fd()) {
                Spoken::Nothing => ready.clear_ready(),
                said => return said,
            }
        }
    }
}

impl Drop for Ungreeted {
    fn drop(&mut self) {
        if let Some(watched) = self.watched.take() {
            self.listener.dismiss(watched.into_inner().0, replies::FAILED);
        }
    }
}

/// The tests.
#[derive(Debug)]
pub(crate) struct Screen {
    slice: slice::Screen,
    pub(crate) lists: Lists,
    flood: RefCell<Flood>,
}

impl Screen {
    pub(crate) fn new(slice: slice::Screen) -> Self {
        Self { lists: Lists::new(&slice), slice, flood: RefCell::default() }
    }

    /// Which tests there are for a client.
    pub(crate) fn tests(&self, connection: &Connection) -> Tests {
        let untested = self.slice.untested.iter().any(|network| network.contains(connection.from.ip()));
        if untested || connection.terms.relay || connection.terms.exempt {
            Tests::None
        } else if connection.service == Service::Relay && (self.slice.pause > 0 || !self.lists.is_empty()) {
            // Not who logs in: people at home are on lists of addresses from which no server sends.
            Tests::Wait
        } else if self.hears(connection) {
            Tests::Peek
        } else {
            Tests::None
        }
    }

    /// Whether it is looked for what the client says.
    fn hears(&self, connection: &Connection) -> bool {
        self.slice.early_talk != EarlyTalk::Off && connection.tls != TlsMode::Implicit
    }

    /// The client, unless it has spoken already and is refused for it.
    pub(crate) fn peek(&self, listener: &Listener, connection: Connection) -> Option<Connection> {
        if let Spoken::Something(octets, length) = spoken(connection.client.as_fd())
            && self.refuses(listener, &connection, octets.get(..length).unwrap_or_default())
        {
            listener.dismiss(connection, replies::EARLY_TALK);
            return None;
        }
        Some(connection)
    }

    /// The client when it has waited for its greeting, unless it is sent away: because it has spoken, or for what lists say of it; or goes.
    pub(crate) async fn test_waiting(&self, ungreeted: Ungreeted) -> Option<Connection> {
        let (listener, connection) = (Rc::clone(&ungreeted.listener), ungreeted.connection()?);
        let (client, hears) = (connection.from.ip(), self.hears(connection));
        let mut waits = pin!(self.wait(client));
        let early =
            if hears { first(ungreeted.speaks(), waits.as_mut()).await } else { First::Other(waits.as_mut().await) };
        let decision = match early {
            First::Other(decision) => decision,
            First::One(Spoken::Something(octets, length)) => {
                let said = octets.get(..length).unwrap_or_default();
                if ungreeted.connection().is_none_or(|connection| self.refuses(&listener, connection, said)) {
                    listener.dismiss(ungreeted.into_connection()?, replies::EARLY_TALK);
                    return None;
                }
                waits.await
            }
            First::One(Spoken::Gone | Spoken::Nothing) => {
                drop(ungreeted.into_connection());
                return None;
            }
        };
        let weights = decision.map(|decision| decision.weights).unwrap_or_default();
        if let Some(decision) = decision.filter(|decision| decision.score > 0) {
            let heard = match decision.course {
                Course::Deferred | Course::Refused => self.lists.reply(&listener.hostname, client, decision).await,
                Course::Favoured | Course::Usual | Course::Slowed => String::new(),
            };
            self.tell_listed(&listener, ungreeted.connection()?, decision, &heard);
            if !heard.is_empty() {
                listener.dismiss_with(ungreeted.into_connection()?, &heard);
                return None;
            }
        }
        let mut connection = ungreeted.into_connection()?;
        connection.listed = weights;
        Some(connection)
    }

    /// Waits until a client may be greeted, or is to be sent away for what lists say of it.
    async fn wait(&self, client: IpAddr) -> Option<ListDecision> {
        let begun = Instant::now();
        let pause = Duration::from_millis(self.slice.pause.into());
        let decision = if self.lists.is_empty() { None } else { Some(self.lists.decide(client).await) };
        let pause = match decision.map(|decision| decision.course) {
            Some(Course::Favoured | Course::Deferred | Course::Refused) => Duration::ZERO,
            Some(Course::Slowed) => pause.max(SLOWED),
            Some(Course::Usual) | None => pause,
        };
        tokio::time::sleep_until(begun + pause).await;
        decision
    }

    fn tell_listed(&self, listener: &Listener, connection: &Connection, decision: ListDecision, heard: &str) {
        let client = connection.from;
        if let Line::Write(kept) = self.flood.borrow_mut().line(Origin::of(client.ip()), listener.now()) {
            gatepost_log::tell(event::ListedClient {
                client,
                course: decision.course,
                score: decision.score,
                list: self.lists.zone(decision).as_bytes(),
                heard: heard.trim_ascii_end().as_bytes(),
                count: kept.saturating_add(1),
            });
        }
    }

    /// Tells that a client has spoken, and whether it is refused for it.
    fn refuses(&self, listener: &Listener, connection: &Connection, said: &[u8]) -> bool {
        let refused = self.slice.early_talk == EarlyTalk::Refuse;
        let client = connection.from;
        let line = self.flood.borrow_mut().line(Origin::of(client.ip()), listener.now());
        if let Line::Write(kept) = line {
            if is_header(said) {
                tracing::warn!(
                    "client={client}: a PROXY header, but proxy_from of its [[listen]] does not name it (listener={})",
                    connection.listener
                );
            }
            gatepost_log::tell(event::EarlyTalk { client, refused, line: said, count: kept.saturating_add(1) });
        }
        refused
    }
}

/// What has come of a client, which stays there for its session.
fn spoken(client: BorrowedFd<'_>) -> Spoken {
    let mut begin = [0; LOOK];
    match net::peek(client, &mut begin) {
        Ok(0) => Spoken::Gone,
        Ok(length) => Spoken::Something(begin, length),
        Err(e) if e.kind() == ErrorKind::WouldBlock => Spoken::Nothing,
        Err(_) => Spoken::Gone,
    }
}
