//! An admitted client's session begins: its channels are made, and each end is given to the role it belongs to.

use crate::connection::Connection;
use crate::links::tell;
use crate::listener::Listener;
use crate::sessions::{Nursery, Session};
use crate::unasked::{SessionEnd, Unasked};
use gatepost_channel::{ChannelError, End};
use gatepost_policy::admission::SlotClaim;
use gatepost_smtp::envelope::Service;
use gatepost_wire::auth::Answered;
use gatepost_wire::event::Turned;
use gatepost_wire::link::{HandoffOrder, NurseryOrder, Open, OpenAuth, OpenKey, SessionId, Start, StartDescriptors};
use gatepost_wire::slice::TlsMode;
use gatepost_wire::terms::Terms;
use gatepost_wire::{AuthToSession, HandoffToSession, SessionToAuth, SessionToHandoff};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;

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

impl Listener {
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

    /// A slot is free again.
    pub(crate) fn release(&self, claim: SlotClaim) {
        self.admission.borrow_mut().release(claim, self.now());
        self.tell_stress();
        self.slots.due.notify_one();
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
    pub(crate) fn new(listener: &Rc<Listener>, client: SocketAddr, id: SessionId, claim: SlotClaim) -> Self {
        Self { listener: Rc::clone(listener), client, id, holder: Holder::Listener(claim) }
    }

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
