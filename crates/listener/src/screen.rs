//! What is found out of a client before its greeting, while it has no session: whether it waits for it.
//!
//! A client that speaks first is a program that does not care for answers, or takes this for another protocol. Whoever begins with
//! TLS speaks first by design, and a load balancer's header has been read before. Nothing that a client says is taken away here: its
//! session finds it.

use crate::gate::{Gate, Visitor};
use gatepost_policy::flood::{Flood, Line};
use gatepost_policy::proxy::is_header;
use gatepost_policy::share::Origin;
use gatepost_smtp::replies;
use gatepost_sys::net;
use gatepost_wire::event;
use gatepost_wire::slice::{self, EarlyTalk, TlsMode};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Octets of what a client says too early that are looked at.
const LOOK: usize = 64;

/// How a client is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tests {
    /// Not at all.
    None,
    /// By what has come already: it waits for nothing.
    Glance,
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

/// A visitor whose connection is watched.
#[derive(Debug)]
struct Watched(Visitor);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.client.as_raw_fd()
    }
}

/// A client that waits. Dropped, because its place is needed or at a drain, it hears that it is to come again.
pub(crate) struct Guest {
    gate: Rc<Gate>,
    watched: Option<AsyncFd<Watched>>,
}

impl Guest {
    /// # Errors
    /// The runtime takes no more descriptors: the client is closed.
    #[allow(deprecated)] // Objected to for types that may give their descriptor away; a Watched owns its own.
    pub(crate) fn new(gate: &Rc<Gate>, visitor: Visitor) -> io::Result<Self> {
        let watched = AsyncFd::with_interest(Watched(visitor), Interest::READABLE)?;
        Ok(Self { gate: Rc::clone(gate), watched: Some(watched) })
    }

    fn visitor(&self) -> Option<&Visitor> {
        self.watched.as_ref().map(|watched| &watched.get_ref().0)
    }

    /// It waits no longer.
    fn rises(mut self) -> Option<Visitor> {
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

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(watched) = self.watched.take() {
            self.gate.dismiss(watched.into_inner().0, replies::FAILED);
        }
    }
}

/// Which of two came first.
enum First<A, B> {
    One(A),
    Other(B),
}

/// Waits for either; `one` where both are there.
async fn first<A, B>(one: impl Future<Output = A>, mut other: Pin<&mut impl Future<Output = B>>) -> First<A, B> {
    let mut one = pin!(one);
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(one) => Poll::Ready(First::One(one)),
        Poll::Pending => other.as_mut().poll(cx).map(First::Other),
    })
    .await
}

/// The tests.
#[derive(Debug)]
pub(crate) struct Screen {
    slice: slice::Screen,
    flood: RefCell<Flood>,
}

impl Screen {
    pub(crate) fn new(slice: slice::Screen) -> Self {
        Self { slice, flood: RefCell::default() }
    }

    /// Which tests there are for a client.
    pub(crate) fn tests(&self, visitor: &Visitor) -> Tests {
        let untested = self.slice.untested.iter().any(|network| network.contains(visitor.from.ip()));
        if untested || visitor.terms.relay || visitor.terms.exempt {
            Tests::None
        } else if self.slice.pause > 0 {
            Tests::Wait
        } else if self.hears(visitor) {
            Tests::Glance
        } else {
            Tests::None
        }
    }

    /// Whether it is looked for what the client says.
    fn hears(&self, visitor: &Visitor) -> bool {
        self.slice.early_talk != EarlyTalk::Off && visitor.tls != TlsMode::Implicit
    }

    /// The client, unless it has spoken already and is refused for it.
    pub(crate) fn glance(&self, gate: &Gate, visitor: Visitor) -> Option<Visitor> {
        if let Spoken::Something(octets, length) = spoken(visitor.client.as_fd())
            && self.refuses(gate, &visitor, octets.get(..length).unwrap_or_default())
        {
            gate.dismiss(visitor, replies::EARLY_TALK);
            return None;
        }
        Some(visitor)
    }

    /// The client when it has waited for its greeting, unless it speaks and is refused for it, or goes away.
    pub(crate) async fn hold(&self, guest: Guest) -> Option<Visitor> {
        let mut pause = pin!(tokio::time::sleep(Duration::from_millis(self.slice.pause.into())));
        if guest.visitor().is_some_and(|visitor| self.hears(visitor)) {
            match first(guest.speaks(), pause.as_mut()).await {
                First::One(Spoken::Gone) => {
                    drop(guest.rises());
                    return None;
                }
                First::One(Spoken::Something(octets, length)) => {
                    let said = octets.get(..length).unwrap_or_default();
                    let gate = Rc::clone(&guest.gate);
                    if guest.visitor().is_none_or(|visitor| self.refuses(&gate, visitor, said)) {
                        gate.dismiss(guest.rises()?, replies::EARLY_TALK);
                        return None;
                    }
                }
                First::One(Spoken::Nothing) | First::Other(()) => return guest.rises(),
            }
        }
        pause.await;
        guest.rises()
    }

    /// Tells that a client has spoken, and whether it is refused for it.
    fn refuses(&self, gate: &Gate, visitor: &Visitor, said: &[u8]) -> bool {
        let refused = self.slice.early_talk == EarlyTalk::Refuse;
        let client = visitor.from;
        let line = self.flood.borrow_mut().line(Origin::of(client.ip()), gate.now());
        if let Line::Write(kept) = line {
            if is_header(said) {
                tracing::warn!(
                    "client={client}: a PROXY header, but proxy_from of its [[listen]] does not name it (listener={})",
                    visitor.listener
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
