//! One connection: admit it or turn it away, make its channels, give each end to the role it belongs to.

use crate::accept::Socket;
use crate::keys::{Keys, SessionEnd, Unasked};
use crate::links::{Links, tell};
use crate::rules::Rules;
use crate::sessions::{Nursery, Session, Sessions};
use crate::slots::{Slots, Waits};
use crate::turned::{Refused, turned};
use crate::{AuthLink, HandoffLink, KeyholderLink, NurseryLink};
use gatepost_channel::{ChannelError, End};
use gatepost_policy::admission::{Admission, Admitted, Limits, SlotClaim};
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

/// A client's connection that has no session, and what is known of it.
#[derive(Debug)]
pub(crate) struct Connection {
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
enum StartError {
    /// A role that the session needs is not there at the moment.
    Away,
    /// A link broke, or no descriptors are left.
    Channel(ChannelError),
}

impl From<ChannelError> for StartError {
    fn from(e: ChannelError) -> Self {
        Self::Channel(e)
    }
}

impl From<io::Error> for StartError {
    fn from(e: io::Error) -> Self {
        Self::Channel(e.into())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => f.write_str("a role that it needs is away"),
            Self::Channel(e) => e.fmt(f),
        }
    }
}

/// The role: what all connections share.
pub(crate) struct Listener {
    pub(crate) hostname: String,
    listeners: Vec<TlsMode>,
    services: Vec<Service>,
    pub(crate) admission: RefCell<Admission>,
    pub(crate) sessions: RefCell<Sessions>,
    pub(crate) links: RefCell<Links>,
    pub(crate) slots: Slots,
    pub(crate) keys: Keys,
    rules: RefCell<Rules>,
    networks: RefCell<Networks>,
    pub(crate) flood: RefCell<Flood>,
    pub(crate) refused: Refused,
    last_id: Cell<u64>,
    begun: Instant,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({:?})", self.sessions.borrow())
    }
}

impl Listener {
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
            sessions: RefCell::default(),
            links: RefCell::default(),
            slots: Slots::new(waits),
            keys,
            rules: RefCell::default(),
            networks: RefCell::default(),
            flood: RefCell::default(),
            refused: Refused::default(),
            last_id: Cell::new(first),
            begun: Instant::now(),
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
        let Some(Session { client, claim, killed, .. }) = self.sessions.borrow_mut().remove(id, nursery) else {
            return;
        };
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
        let sanction = self.admission.borrow_mut().ended(claim, ending, self.now());
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
        for session in self.sessions.borrow_mut().remove_all(nursery) {
            self.release(session.claim);
        }
        self.links.borrow_mut().drop_nursery(nursery);
    }

    /// Nobody waits for a slot any more.
    pub(crate) fn close(&self) {
        self.slots.close();
    }

    /// Says whose sessions are under way: the time of the drain is over, and they are cut off.
    pub(crate) fn name_all(&self) {
        for (id, client) in self.sessions.borrow().all() {
            tracing::warn!(session = %id, %client, "cut off: still under way at the end of limits.drain");
        }
    }

    /// Done when no session is under way.
    pub(crate) async fn idle(&self) {
        poll_fn(|cx| self.sessions.borrow_mut().poll_idle(cx.waker())).await;
    }

    /// What is known of a fresh connection; none: the rules don't admit it, and it is turned away.
    pub(crate) fn look_up(&self, socket: &Socket, client: OwnedFd, from: SocketAddr) -> Option<Connection> {
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
        let connection = Connection { client, from, listener, tls, service, user: None, local, terms, listed };
        match access {
            Access::Granted(_) => return Some(connection),
            Access::Denied => self.turn_away(connection, Turned::Rules),
            Access::Unknown => {
                if self.may_log(from.ip()) {
                    tracing::error!(client = %from, "the rules are damaged: no client is taken");
                }
                self.turn_away(connection, Turned::Failed);
            }
        }
        None
    }

    /// Whether the socket of that index is for programs of this machine.
    pub(crate) fn is_for_users(&self, index: u8) -> bool {
        self.services.get(usize::from(index)) == Some(&Service::Local)
    }

    /// Takes a program of a user's of this machine, about which no rule for networks says anything.
    pub(crate) async fn admit_user(self: &Rc<Self>, socket: &Socket, client: OwnedFd, uid: u32) {
        let from = SocketAddr::new(counted_user(uid), 0);
        let (listener, local, user, terms) = (socket.index, socket.local(&client), Some(uid), Terms::default());
        let connection = Connection {
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
        self.admit(connection).await;
    }

    /// Gives a client a session, turns it away with the reason, or lets it wait for a slot.
    pub(crate) async fn admit(self: &Rc<Self>, connection: Connection) {
        let from = connection.from;
        let id = SessionId(self.last_id.get().saturating_add(1));
        self.last_id.set(id.0);
        let admitted = self.admission.borrow_mut().admit(id.0, from.ip(), &connection.terms, self.now());
        match admitted {
            Err(refusal) => self.turn_away(connection, turned(refusal)),
            Ok(Admitted { claim, waits, pause }) => {
                let slot = Slot { listener: Rc::clone(self), client: from, id, holder: Holder::Listener(claim) };
                self.slots.due.notify_one();
                self.tell_stress();
                match waits {
                    None => self.begin(connection, slot, pause).await,
                    Some(refusal) => self.queue(connection, slot, pause, refusal),
                }
            }
        }
    }

    /// Gives an admitted client its session.
    pub(crate) async fn begin(&self, connection: Connection, slot: Slot, pause: u16) {
        if let Err(e) = self.hand_out(slot, &connection, pause).await {
            tracing::warn!(client = %connection.from, reason = %e, "no session for a connection; its client is told to come again (421)");
            self.turn_away(connection, Turned::Failed);
        }
    }

    /// Handoff first: when the session asks for its offer, the answer should be there already.
    async fn hand_out(&self, mut slot: Slot, connection: &Connection, pause: u16) -> Result<(), StartError> {
        let (nursery, nursery_link) = self.links.borrow().nursery().ok_or(StartError::Away)?;
        let (_, handoff) = self.links.borrow().handoff().ok_or(StartError::Away)?;
        let (id, listener, service) = (slot.id, connection.listener, connection.service);
        let local = *connection.local.as_ref().map_err(|e| io::Error::from(e.kind()))?;

        let (session_end, handoff_end) = End::<SessionToHandoff, HandoffToSession>::pair()?;
        let Terms { relay, exempt, message_size, hidden, .. } = connection.terms;
        let user = connection.user;
        let client = if user.is_some() { local } else { connection.from };
        let listed = connection.listed;
        let open = Open { id, client, local, listener, relay, message_size, exempt, service, user, listed };
        let open = HandoffOrder::Open(open);
        tell(&handoff, &open, &[handoff_end.as_fd()]).await?;
        drop(handoff_end);
        let (keyholder, unasked) = match connection.tls {
            TlsMode::Off => (None, None),
            TlsMode::Implicit => (Some(self.key_channel(id, connection.from).await?), None),
            // Most sessions never ask for a signature: the keyholder hears of this one when it does.
            TlsMode::StartTls => {
                self.links.borrow().keyholder().ok_or(StartError::Away)?;
                let (session_end, unasked) = self.keys.channel(id)?;
                (Some(session_end), Some(unasked))
            }
        };
        let auth = match service {
            Service::Relay | Service::Local => None,
            Service::Submission => Some(self.auth_channel(id, connection.from).await?),
        };
        let stress = self.admission.borrow().is_stressed();
        let tls = keyholder.is_some();
        let start = NurseryOrder::Start(Start { id, listener, tls, stress, pause, hidden, service });
        let descriptors = StartDescriptors {
            client: connection.client.as_fd(),
            handoff: session_end.as_fd(),
            keyholder: keyholder.as_ref().map(AsFd::as_fd),
            auth: auth.as_ref().map(AsFd::as_fd),
        };
        slot.enter_table(nursery, unasked);
        tell(&nursery_link, &start, &descriptors.into_list()).await?;
        slot.give_to_session();
        Ok(())
    }

    async fn key_channel(&self, id: SessionId, client: SocketAddr) -> Result<SessionEnd, StartError> {
        let keyholder = self.links.borrow().keyholder().ok_or(StartError::Away)?;
        let (session_end, keyholder_end) = End::pair()?;
        tell(&keyholder, &OpenKey { id, client: client.ip() }, &[keyholder_end.as_fd()]).await?;
        Ok(session_end)
    }

    /// Auth's offer is there before the session asks for it, where it is known: auth may be checking somebody else's password by then.
    async fn auth_channel(
        &self,
        id: SessionId,
        client: SocketAddr,
    ) -> Result<End<SessionToAuth, AuthToSession>, StartError> {
        let (auth, offer) = self.links.borrow().auth().ok_or(StartError::Away)?;
        let (session_end, auth_end) = End::<SessionToAuth, AuthToSession>::pair()?;
        if let Some(mechanisms) = offer {
            auth_end.tell(&Answered::Offer(mechanisms))?;
        }
        tell(&auth, &OpenAuth { id, client, offered: offer.is_some() }, &[auth_end.as_fd()]).await?;
        Ok(session_end)
    }

    fn release(&self, claim: SlotClaim) {
        self.admission.borrow_mut().release(claim, self.now());
        self.tell_stress();
        self.slots.due.notify_one();
    }

    /// Milliseconds of a clock that does not go back.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// An admitted client's slot. Dropped before [`Slot::give_to_session`], for an error or a drain that cuts the hand-over short, it
/// is free again.
pub(crate) struct Slot {
    listener: Rc<Listener>,
    client: SocketAddr,
    id: SessionId,
    holder: Holder,
}

/// Who gives the slot back.
enum Holder {
    /// The [`Slot`] itself.
    Listener(SlotClaim),
    /// The table of sessions has the claim, and the nursery has not been told yet.
    Table(Nursery),
    /// The session, which has it until the nursery says that it has ended.
    Session,
}

impl Slot {
    /// The session that it is for.
    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// Before the nursery is told: its `Ended` may be here sooner than we run again.
    fn enter_table(&mut self, nursery: Nursery, key: Option<Unasked>) {
        let before = std::mem::replace(&mut self.holder, Holder::Table(nursery));
        if let Holder::Listener(claim) = before {
            let session = Session { nursery, client: self.client, claim, killed: false, key };
            self.listener.sessions.borrow_mut().insert(self.id, session);
        }
    }

    fn give_to_session(mut self) {
        self.holder = Holder::Session;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let claim = match std::mem::replace(&mut self.holder, Holder::Session) {
            Holder::Session => None,
            Holder::Listener(claim) => Some(claim),
            // None when the nursery has ended, and all its sessions with it.
            Holder::Table(nursery) => {
                self.listener.sessions.borrow_mut().remove(self.id, nursery).map(|session| session.claim)
            }
        };
        if let Some(claim) = claim {
            self.listener.release(claim);
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
