//! One connection: admit it or turn it away, make its channels, give each end to the role it belongs to.

use crate::accept::Socket;
use crate::roster::{Inside, Nursery, Roster};
use crate::{HandoffLink, KeyholderLink, NurseryLink};
use gatepost_channel::{AsyncEnd, ChannelError, End};
use gatepost_policy::admission::{Admission, Limits, Offence, Ticket, blames_peer};
use gatepost_smtp::envelope::CloseReason;
use gatepost_sys::seq::is_crowded;
use gatepost_wire::link::close_reason;
use gatepost_wire::link::{self, Ended, Open, OpenKey, SessionId, Start, StartDescriptors};
use gatepost_wire::slice::{ListenerSlice, TlsMode};
use gatepost_wire::{Direction, HandoffToSession, KeyholderToSession, SessionToHandoff, SessionToKeyholder};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Session ids count from the milliseconds since 2024-01-01: ten hexadecimal digits until 2058, and unique across
/// restarts as long as fewer than a thousand sessions a second begin on average.
const EPOCH: Duration = Duration::from_secs(1_704_067_200);

/// Wait before descriptors are sent again that were too many at once.
const CROWDED_WAIT: Duration = Duration::from_millis(2);

/// The newest link with each role.
#[derive(Default)]
struct Links {
    nursery: Option<(Nursery, Rc<NurseryLink>)>,
    handoff: Option<Rc<HandoffLink>>,
    keyholder: Option<Rc<KeyholderLink>>,
}

/// Why an admitted connection gets no session after all.
enum Mishap {
    /// A role that the session needs is not there at the moment.
    Away,
    /// A link broke, or no descriptors are left.
    Channel(ChannelError),
}

impl From<ChannelError> for Mishap {
    fn from(e: ChannelError) -> Self {
        Self::Channel(e)
    }
}

impl From<io::Error> for Mishap {
    fn from(e: io::Error) -> Self {
        Self::Channel(e.into())
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => f.write_str("a role that it needs is away"),
            Self::Channel(e) => e.fmt(f),
        }
    }
}

/// Everything that connections share.
pub(crate) struct Gate {
    hostname: String,
    listeners: Vec<TlsMode>,
    admission: RefCell<Admission>,
    roster: RefCell<Roster>,
    links: RefCell<Links>,
    last_id: Cell<u64>,
    last_nursery: Cell<u64>,
    born: Instant,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({:?})", self.roster.borrow())
    }
}

impl Gate {
    pub(crate) fn new(slice: ListenerSlice) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first = u64::try_from(now.saturating_sub(EPOCH).as_millis()).unwrap_or_default();
        let ListenerSlice { sessions, sessions_per_address, offences, .. } = slice;
        let limits = Limits { sessions, sessions_per_address, offences };
        Self {
            hostname: slice.hostname,
            listeners: slice.listeners,
            admission: RefCell::new(Admission::new(limits)),
            roster: RefCell::default(),
            links: RefCell::default(),
            last_id: Cell::new(first),
            last_nursery: Cell::new(0),
            born: Instant::now(),
        }
    }

    pub(crate) fn set_handoff(&self, link: HandoffLink) {
        self.links.borrow_mut().handoff = Some(Rc::new(link));
    }

    pub(crate) fn set_keyholder(&self, link: KeyholderLink) {
        self.links.borrow_mut().keyholder = Some(Rc::new(link));
    }

    /// New sessions go to this nursery. The one before hears that no more will come, and ends with its last session.
    pub(crate) fn set_nursery(&self, link: Rc<NurseryLink>) -> Nursery {
        let nursery = Nursery(self.last_nursery.get().saturating_add(1));
        self.last_nursery.set(nursery.0);
        let before = self.links.borrow_mut().nursery.replace((nursery, link));
        if let Some((_, before)) = before {
            // An error means that it is gone already.
            let _ = before.finish();
        }
        nursery
    }

    /// A nursery says that a session is over.
    pub(crate) fn ended(&self, nursery: Nursery, ended: Ended) {
        let Some(Inside { client, ticket, .. }) = self.roster.borrow_mut().leave(ended.id, nursery) else { return };
        match ended.how {
            link::End::Signal(signal) if blames_peer(signal) => {
                let penalty = self.admission.borrow_mut().crashed(ticket, self.now());
                let seconds = penalty / 1000;
                tracing::warn!(session = %ended.id, %client, signal, penalty = seconds, "session crashed: its client waits");
            }
            link::End::Signal(signal) => {
                tracing::warn!(session = %ended.id, %client, signal, "session killed from outside");
                self.admission.borrow_mut().release(ticket);
            }
            link::End::Exit(status) => match offence(status) {
                Some(offence) => {
                    let penalty = self.admission.borrow_mut().offended(ticket, offence, self.now());
                    if let Some(seconds) = penalty.map(|penalty| penalty / 1000) {
                        tracing::warn!(session = %ended.id, %client, ?offence, penalty = seconds, "too often: its client waits");
                    }
                }
                None => self.admission.borrow_mut().release(ticket),
            },
        }
    }

    /// A nursery is gone, and with it, as the first process of their namespace, all its sessions.
    pub(crate) fn nursery_gone(&self, nursery: Nursery) {
        for inside in self.roster.borrow_mut().leave_all(nursery) {
            self.admission.borrow_mut().release(inside.ticket);
        }
        let mut links = self.links.borrow_mut();
        if links.nursery.as_ref().is_some_and(|(newest, _)| *newest == nursery) {
            links.nursery = None;
        }
    }

    /// Says whose sessions are under way: the time of the drain is over, and they are cut off.
    pub(crate) fn name_all(&self) {
        for (id, client) in self.roster.borrow().all() {
            tracing::warn!(session = %id, %client, "cut off: still under way at the end of limits.drain");
        }
    }

    /// Done when no session is under way.
    pub(crate) async fn quiet(&self) {
        poll_fn(|cx| self.roster.borrow_mut().poll_quiet(cx.waker())).await;
    }

    /// Gives a fresh connection a session, or turns it away with the reason.
    pub(crate) async fn welcome(&self, socket: &Socket, client: OwnedFd, from: SocketAddr) {
        let tls = self.listeners.get(usize::from(socket.index)).copied().unwrap_or(TlsMode::Off);
        let admitted = self.admission.borrow_mut().admit(from.ip(), self.now());
        let reply = match admitted {
            Err(refusal) => {
                tracing::debug!(client = %from, %refusal, "turned away");
                refusal.reply(&self.hostname)
            }
            Ok(ticket) => {
                let pass = Pass { gate: self, client: from, place: Place::Ticket(ticket) };
                match self.hand_out(pass, socket, &client, tls).await {
                    Ok(()) => return,
                    Err(mishap) => {
                        tracing::warn!(client = %from, reason = %mishap, "no session for a connection");
                        format!("421 4.3.0 {} cannot serve you now, try again later\r\n", self.hostname)
                    }
                }
            }
        };
        // A client of an implicit TLS listener could not read it.
        if tls != TlsMode::Implicit {
            turn_away(client, &reply);
        }
    }

    /// Handoff first: when the session asks for its offer, the answer should be there already.
    async fn hand_out(
        &self,
        mut pass: Pass<'_>,
        socket: &Socket,
        client: &OwnedFd,
        tls: TlsMode,
    ) -> Result<(), Mishap> {
        let (nursery, nursery_link) = self.links.borrow().nursery.clone().ok_or(Mishap::Away)?;
        let handoff = self.links.borrow().handoff.clone().ok_or(Mishap::Away)?;
        let id = SessionId(self.last_id.get().saturating_add(1));
        self.last_id.set(id.0);
        let listener = socket.index;
        let local = socket.local(client)?;

        let (session_end, handoff_end) = End::<SessionToHandoff, HandoffToSession>::pair()?;
        tell(&handoff, &Open { id, client: pass.client, local, listener }, &[handoff_end.as_fd()]).await?;
        drop(handoff_end);
        let keyholder = if tls == TlsMode::Off { None } else { Some(self.key_channel(id, pass.client).await?) };

        let stress = self.admission.borrow().is_stressed();
        let start = Start { id, listener, tls: keyholder.is_some(), stress };
        let descriptors = StartDescriptors {
            client: client.as_fd(),
            handoff: session_end.as_fd(),
            keyholder: keyholder.as_ref().map(AsFd::as_fd),
        };
        pass.enter(id, nursery);
        tell(&nursery_link, &start, &descriptors.into_list()).await?;
        pass.keep();
        Ok(())
    }

    async fn key_channel(
        &self,
        id: SessionId,
        client: SocketAddr,
    ) -> Result<End<SessionToKeyholder, KeyholderToSession>, Mishap> {
        let keyholder = self.links.borrow().keyholder.clone().ok_or(Mishap::Away)?;
        let (session_end, keyholder_end) = End::pair()?;
        tell(&keyholder, &OpenKey { id, client: client.ip() }, &[keyholder_end.as_fd()]).await?;
        Ok(session_end)
    }

    /// Milliseconds of a clock that does not go back.
    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// An admitted client's place. Dropped before [`Pass::keep`], for an error or a drain that cuts the hand-over short, it
/// is free again.
struct Pass<'g> {
    gate: &'g Gate,
    client: SocketAddr,
    place: Place,
}

/// Where the slot is.
enum Place {
    /// In our hand.
    Ticket(Ticket),
    /// In the roster, under this session.
    Inside(SessionId, Nursery),
    /// With the session, until the nursery says that it has ended.
    Kept,
}

impl Pass<'_> {
    /// Before the nursery is told: its `Ended` may be here sooner than we run again.
    fn enter(&mut self, id: SessionId, nursery: Nursery) {
        let before = std::mem::replace(&mut self.place, Place::Inside(id, nursery));
        if let Place::Ticket(ticket) = before {
            self.gate.roster.borrow_mut().enter(id, Inside { nursery, client: self.client, ticket });
        }
    }

    fn keep(mut self) {
        self.place = Place::Kept;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let ticket = match std::mem::replace(&mut self.place, Place::Kept) {
            Place::Kept => None,
            Place::Ticket(ticket) => Some(ticket),
            // None when it has left with its nursery already.
            Place::Inside(id, nursery) => self.gate.roster.borrow_mut().leave(id, nursery).map(|inside| inside.ticket),
        };
        if let Some(ticket) = ticket {
            self.gate.admission.borrow_mut().release(ticket);
        }
    }
}

/// Sends a message with its descriptors. Waits, and the accept loop with it, while the peer is behind: either its queue is
/// full or, with many descriptors a message, the kernel's count of those under way is.
async fn tell<Out: Direction, In: Direction>(
    link: &AsyncEnd<Out, In>,
    message: &Out::Message<'_>,
    fds: &[BorrowedFd<'_>],
) -> Result<(), ChannelError> {
    loop {
        match link.tell_with(message, fds).await {
            Err(ChannelError::Io(e)) if is_crowded(&e) => tokio::time::sleep(CROWDED_WAIT).await,
            other => return other,
        }
    }
}

/// What a session's exit status tells against its client.
fn offence(status: u8) -> Option<Offence> {
    match close_reason(status)? {
        CloseReason::Abuse => Some(Offence::Abuse),
        CloseReason::TlsFailed => Some(Offence::TlsFailed),
        _ => None,
    }
}

/// Octets that are read of a client who is turned away and has not waited for the greeting.
const UNREAD: usize = 16 * 1024;

/// Says why, as far as the send buffer of a fresh connection takes it, and closes. Never waits. What the client has sent
/// already is read first: closed with octets unread, a connection is reset, and the reply is lost (RFC 2525 §2.17).
fn turn_away(client: OwnedFd, reply: &str) {
    let mut client = TcpStream::from(client);
    let _ = client.write(reply.as_bytes());
    let mut client = File::from(OwnedFd::from(client));
    // Read by read(2): recvfrom(2) is not one of this role's calls.
    let _ = client.read(&mut [0; UNREAD]);
}
