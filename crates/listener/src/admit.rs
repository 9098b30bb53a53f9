//! Who is admitted: the rules and the limits are asked, and the client gets a session, waits for a slot or is turned away.

use crate::connection::{Connection, Socket};
use crate::listener::Listener;
use crate::start::Slot;
use crate::turned::turned;
use gatepost_policy::admission::Admitted;
use gatepost_rules::access::{Access, Permit};
use gatepost_smtp::envelope::Service;
use gatepost_wire::event::Turned;
use gatepost_wire::link::{SessionId, Weights, counted_user};
use gatepost_wire::slice::TlsMode;
use gatepost_wire::terms::Terms;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

impl Listener {
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
                let slot = Slot::new(self, from, id, claim);
                self.slots.due.notify_one();
                self.tell_stress();
                match waits {
                    None => self.begin(connection, slot, pause).await,
                    Some(refusal) => self.queue(connection, slot, pause, refusal),
                }
            }
        }
    }
}
