//! One connection: admit it or turn it away, make its channels, give each end to the role it belongs to.

use crate::accept::Socket;
use crate::keys::{Keys, SessionEnd, Unasked};
use crate::links::{Links, tell};
use crate::roster::{Inside, Nursery, Roster};
use crate::rules::Rules;
use crate::slots::{Slots, Waits};
use crate::turned::{Refused, turned};
use crate::{AuthLink, HandoffLink, KeyholderLink, NurseryLink};
use gatepost_channel::{ChannelError, End};
use gatepost_policy::admission::{Admission, Admitted, Limits, Ticket};
use gatepost_policy::conduct::{Ending, Offence, SLOW, Sanction};
use gatepost_policy::flood::Flood;
use gatepost_policy::networks::Networks;
use gatepost_rules::access::{Access, Permit};
use gatepost_smtp::envelope::{CloseReason, Service};
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_wire::auth::Answered;
use gatepost_wire::event::{Crashed, Penalised, Penalty, Turned};
use gatepost_wire::link::{self, Ended, HandoffOrder, Left, NurseryOrder, Open, OpenAuth, OpenKey, SessionId};
use gatepost_wire::link::{Start, StartDescriptors, Weights, close_reason, counted_user, has_delivered};
use gatepost_wire::slice::{ListenerSlice, TlsMode};
use gatepost_wire::terms::Terms;
use gatepost_wire::{AuthToSession, HandoffToSession, SessionToAuth, SessionToHandoff};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Session ids count from the milliseconds since 2024-01-01: ten hexadecimal digits until 2058, and unique across
/// restarts as long as fewer than a thousand sessions a second begin on average.
const EPOCH: Duration = Duration::from_secs(1_704_067_200);

/// A client that has come, and how.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) client: OwnedFd,
    pub(crate) from: SocketAddr,
    /// Index of the `[[listen]]`.
    pub(crate) listener: u8,
    pub(crate) tls: TlsMode,
    pub(crate) service: Service,
    /// Whose program it is, on a socket for those: `from` is then what it is counted by.
    user: Option<u32>,
    /// The address it came to.
    local: io::Result<SocketAddr>,
    /// What is different for it.
    pub(crate) terms: Terms,
    /// What DNS lists have said of it.
    pub(crate) listed: Weights,
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
    pub(crate) hostname: String,
    listeners: Vec<TlsMode>,
    services: Vec<Service>,
    pub(crate) admission: RefCell<Admission>,
    pub(crate) roster: RefCell<Roster>,
    pub(crate) links: RefCell<Links>,
    pub(crate) slots: Slots,
    pub(crate) keys: Keys,
    rules: RefCell<Rules>,
    networks: RefCell<Networks>,
    pub(crate) flood: RefCell<Flood>,
    pub(crate) refused: Refused,
    last_id: Cell<u64>,
    born: Instant,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({:?})", self.roster.borrow())
    }
}

impl Gate {
    pub(crate) fn new(slice: ListenerSlice, keys: Keys, waits: Waits) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first = u64::try_from(now.saturating_sub(EPOCH).as_millis()).unwrap_or_default();
        let ListenerSlice {
            listeners, services, hostname, sessions, sessions_per_address, offences, connections, ..
        } = slice;
        let limits = Limits { sessions, sessions_per_address, offences, connections };
        Self {
            hostname,
            listeners,
            services,
            admission: RefCell::new(Admission::new(limits)),
            roster: RefCell::default(),
            links: RefCell::default(),
            slots: Slots::new(waits),
            keys,
            rules: RefCell::default(),
            networks: RefCell::default(),
            flood: RefCell::default(),
            refused: Refused::default(),
            last_id: Cell::new(first),
            born: Instant::now(),
        }
    }

    pub(crate) fn set_rules(&self, rules: Rules) {
        self.rules.replace(rules);
    }

    pub(crate) fn set_networks(&self, networks: Networks) {
        self.networks.replace(networks);
    }

    /// Gives the number of the link.
    pub(crate) fn set_handoff(&self, link: Rc<HandoffLink>) -> u64 {
        self.links.borrow_mut().set_handoff(link)
    }

    /// Handoff says what came of telling a session to leave.
    pub(crate) fn left(&self, left: Left) {
        self.slots.left(left);
    }

    /// A link with handoff is at its end.
    pub(crate) fn handoff_gone(&self, number: u64) {
        self.links.borrow_mut().drop_handoff(number);
        self.slots.handoff_gone(number);
    }

    /// Gives the number of the link.
    pub(crate) fn set_auth(&self, link: Rc<AuthLink>) -> u64 {
        self.links.borrow_mut().set_auth(link)
    }

    /// What every session is offered by the auth of that link, if that is the same for all.
    pub(crate) fn set_offer(&self, number: u64, offer: Option<Mechanisms>) {
        self.links.borrow_mut().set_offer(number, offer);
    }

    pub(crate) fn set_keyholder(&self, link: KeyholderLink) {
        self.links.borrow_mut().set_keyholder(link);
    }

    /// New sessions go to this nursery. The one before hears that no more will come, and ends with its last session.
    pub(crate) fn set_nursery(&self, link: Rc<NurseryLink>) -> Nursery {
        let (nursery, before) = self.links.borrow_mut().set_nursery(link);
        if let Some(before) = before {
            tokio::task::spawn_local(async move {
                // An error means that it is gone already.
                let _ = tell(&before, &NurseryOrder::Retire, &[]).await;
            });
        }
        nursery
    }

    /// A nursery says that a session is over.
    pub(crate) fn ended(&self, nursery: Nursery, Ended { id, how }: Ended) {
        let Some(Inside { client, ticket, killed, .. }) = self.roster.borrow_mut().leave(id, nursery) else { return };
        let ending = ending(how);
        match how {
            link::End::Signal(signal) if ending.crashed => {
                gatepost_log::tell(Crashed { session: id, client, signal });
            }
            link::End::Signal(_) if killed => {
                tracing::info!(session = %id, %client, "session ended: its slot was needed, and it did not leave");
            }
            link::End::Signal(signal) => tracing::warn!(session = %id, %client, signal, "session killed from outside"),
            link::End::Exit(_) => {}
        }
        let sanction = self.admission.borrow_mut().ended(ticket, ending, self.now());
        self.slots.due.notify_one();
        self.tell_stress();
        if let Some(sanction) = sanction {
            let (penalty, length) = match sanction {
                Sanction::Slow => (Penalty::Late, SLOW),
                Sanction::Refused(length) => (Penalty::TurnedAway, length),
            };
            let seconds = u32::try_from(length / 1000).unwrap_or(u32::MAX);
            gatepost_log::tell(Penalised { session: id, client, penalty, seconds });
        }
    }

    /// A nursery is gone, and with it, as the first process of their namespace, all its sessions.
    pub(crate) fn nursery_gone(&self, nursery: Nursery) {
        for inside in self.roster.borrow_mut().leave_all(nursery) {
            self.release(inside.ticket);
        }
        self.links.borrow_mut().drop_nursery(nursery);
    }

    /// Nobody waits for a slot any more.
    pub(crate) fn close(&self) {
        self.slots.close();
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

    /// What is known of a fresh connection; none: the rules don't admit it, and it is turned away.
    pub(crate) fn know(&self, socket: &Socket, client: OwnedFd, from: SocketAddr) -> Option<Visitor> {
        let tls = self.listeners.get(usize::from(socket.index)).copied().unwrap_or(TlsMode::Off);
        let service = self.services.get(usize::from(socket.index)).copied().unwrap_or_default();
        let local = socket.local(&client);
        let access = self.rules.borrow().judge(from.ip());
        let terms = self.networks.borrow().terms(from.ip());
        let terms = match access {
            Access::Granted(Permit { relay, message_size }) => terms.with(relay, message_size),
            Access::Denied | Access::Unknown => terms,
        };
        let (listener, listed) = (socket.index, Weights::default());
        let visitor = Visitor { client, from, listener, tls, service, user: None, local, terms, listed };
        match access {
            Access::Granted(_) => return Some(visitor),
            Access::Denied => self.turn_away(visitor, Turned::Rules),
            Access::Unknown => {
                if self.may_log(from.ip()) {
                    tracing::error!(client = %from, "the rules are damaged: no client is taken");
                }
                self.turn_away(visitor, Turned::Failed);
            }
        }
        None
    }

    /// Whether the socket of that index is for programs of this machine.
    pub(crate) fn is_for_users(&self, index: u8) -> bool {
        self.services.get(usize::from(index)) == Some(&Service::Local)
    }

    /// Takes a program of a user's of this machine, about which no rule for networks says anything.
    pub(crate) async fn welcome_user(self: &Rc<Self>, socket: &Socket, client: OwnedFd, uid: u32) {
        let from = SocketAddr::new(counted_user(uid), 0);
        let (listener, local, user, terms) = (socket.index, socket.local(&client), Some(uid), Terms::default());
        let visitor = Visitor {
            client,
            from,
            listener,
            tls: TlsMode::Off,
            service: Service::Local,
            user,
            local,
            terms,
            listed: Weights::default(),
        };
        self.admit(visitor).await;
    }

    /// Gives a client a session, turns it away with the reason, or lets it wait for a slot.
    pub(crate) async fn admit(self: &Rc<Self>, visitor: Visitor) {
        let from = visitor.from;
        let id = SessionId(self.last_id.get().saturating_add(1));
        self.last_id.set(id.0);
        let admitted = self.admission.borrow_mut().admit(id.0, from.ip(), &visitor.terms, self.now());
        match admitted {
            Err(refusal) => self.turn_away(visitor, turned(refusal)),
            Ok(Admitted { ticket, waits, pause }) => {
                let pass = Pass { gate: Rc::clone(self), client: from, id, place: Place::Ticket(ticket) };
                self.slots.due.notify_one();
                self.tell_stress();
                match waits {
                    None => self.begin(visitor, pass, pause).await,
                    Some(refusal) => self.queue(visitor, pass, pause, refusal),
                }
            }
        }
    }

    /// Gives an admitted client its session.
    pub(crate) async fn begin(&self, visitor: Visitor, pass: Pass, pause: u16) {
        if let Err(mishap) = self.hand_out(pass, &visitor, pause).await {
            tracing::warn!(client = %visitor.from, reason = %mishap, "no session for a connection; its client is told to come again (421)");
            self.turn_away(visitor, Turned::Failed);
        }
    }

    /// Handoff first: when the session asks for its offer, the answer should be there already.
    async fn hand_out(&self, mut pass: Pass, visitor: &Visitor, pause: u16) -> Result<(), Mishap> {
        let (nursery, nursery_link) = self.links.borrow().nursery().ok_or(Mishap::Away)?;
        let (_, handoff) = self.links.borrow().handoff().ok_or(Mishap::Away)?;
        let (id, listener, service) = (pass.id, visitor.listener, visitor.service);
        let local = *visitor.local.as_ref().map_err(|e| io::Error::from(e.kind()))?;

        let (session_end, handoff_end) = End::<SessionToHandoff, HandoffToSession>::pair()?;
        let Terms { relay, exempt, message_size, hidden, .. } = visitor.terms;
        let user = visitor.user;
        let client = if user.is_some() { local } else { visitor.from };
        let listed = visitor.listed;
        let open = Open { id, client, local, listener, relay, message_size, exempt, service, user, listed };
        let open = HandoffOrder::Open(open);
        tell(&handoff, &open, &[handoff_end.as_fd()]).await?;
        drop(handoff_end);
        let (keyholder, unasked) = match visitor.tls {
            TlsMode::Off => (None, None),
            TlsMode::Implicit => (Some(self.key_channel(id, visitor.from).await?), None),
            // Most sessions never ask for a signature: the keyholder hears of this one when it does.
            TlsMode::StartTls => {
                self.links.borrow().keyholder().ok_or(Mishap::Away)?;
                let (session_end, unasked) = self.keys.channel(id)?;
                (Some(session_end), Some(unasked))
            }
        };
        let auth = match service {
            Service::Relay | Service::Local => None,
            Service::Submission => Some(self.auth_channel(id, visitor.from).await?),
        };
        let stress = self.admission.borrow().is_stressed();
        let tls = keyholder.is_some();
        let start = NurseryOrder::Start(Start { id, listener, tls, stress, pause, hidden, service });
        let descriptors = StartDescriptors {
            client: visitor.client.as_fd(),
            handoff: session_end.as_fd(),
            keyholder: keyholder.as_ref().map(AsFd::as_fd),
            auth: auth.as_ref().map(AsFd::as_fd),
        };
        pass.enter(nursery, unasked);
        tell(&nursery_link, &start, &descriptors.into_list()).await?;
        pass.keep();
        Ok(())
    }

    async fn key_channel(&self, id: SessionId, client: SocketAddr) -> Result<SessionEnd, Mishap> {
        let keyholder = self.links.borrow().keyholder().ok_or(Mishap::Away)?;
        let (session_end, keyholder_end) = End::pair()?;
        tell(&keyholder, &OpenKey { id, client: client.ip() }, &[keyholder_end.as_fd()]).await?;
        Ok(session_end)
    }

    /// Auth's offer is there before the session asks for it, where it is known: auth may be checking somebody else's password by then.
    async fn auth_channel(
        &self,
        id: SessionId,
        client: SocketAddr,
    ) -> Result<End<SessionToAuth, AuthToSession>, Mishap> {
        let (auth, offer) = self.links.borrow().auth().ok_or(Mishap::Away)?;
        let (session_end, auth_end) = End::<SessionToAuth, AuthToSession>::pair()?;
        if let Some(mechanisms) = offer {
            auth_end.tell(&Answered::Offer(mechanisms))?;
        }
        tell(&auth, &OpenAuth { id, client, offered: offer.is_some() }, &[auth_end.as_fd()]).await?;
        Ok(session_end)
    }

    fn release(&self, ticket: Ticket) {
        self.admission.borrow_mut().release(ticket, self.now());
        self.tell_stress();
        self.slots.due.notify_one();
    }

    /// Milliseconds of a clock that does not go back.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// An admitted client's place. Dropped before [`Pass::keep`], for an error or a drain that cuts the hand-over short, it
/// is free again.
pub(crate) struct Pass {
    gate: Rc<Gate>,
    client: SocketAddr,
    id: SessionId,
    place: Place,
}

/// Where the slot is.
enum Place {
    /// In our hand.
    Ticket(Ticket),
    /// In the roster.
    Inside(Nursery),
    /// With the session, until the nursery says that it has ended.
    Kept,
}

impl Pass {
    /// The session that it is for.
    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// Before the nursery is told: its `Ended` may be here sooner than we run again.
    fn enter(&mut self, nursery: Nursery, key: Option<Unasked>) {
        let before = std::mem::replace(&mut self.place, Place::Inside(nursery));
        if let Place::Ticket(ticket) = before {
            let inside = Inside { nursery, client: self.client, ticket, killed: false, key };
            self.gate.roster.borrow_mut().enter(self.id, inside);
        }
    }

    fn keep(mut self) {
        self.place = Place::Kept;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let ticket = match std::mem::replace(&mut self.place, Place::Kept) {
            Place::Kept => None,
            Place::Ticket(ticket) => Some(ticket),
            // None when it has left with its nursery already.
            Place::Inside(nursery) => self.gate.roster.borrow_mut().leave(self.id, nursery).map(|inside| inside.ticket),
        };
        if let Some(ticket) = ticket {
            self.gate.release(ticket);
        }
    }
}

/// What the end of a session's process tells of its client.
fn ending(how: link::End) -> Ending {
    let link::End::Exit(status) = how else { return Ending { crashed: how.is_crash(), ..Ending::default() } };
    let offence = match close_reason(status) {
        Some(CloseReason::Abuse) => Some(Offence::Abuse),
        Some(CloseReason::TlsFailed) => Some(Offence::TlsFailed),
        _ => None,
    };
    Ending { delivered: has_delivered(status), offence, crashed: false }
}
