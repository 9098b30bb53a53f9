//! What an admin wishes: sessions are told to end, an address's past is forgotten. The launcher has checked who asks, and gives us the
//! connection to answer by.

use crate::listener::Listener;
use gatepost_wire::control::{Order, Whom};
use gatepost_wire::gauge::Gauges;
use gatepost_wire::link::SessionId;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::rc::Rc;

impl Listener {
    /// Does it, and says in a line what comes of it. An admin who does not read is not waited for: the connection never blocks.
    pub(crate) fn carry_out(self: &Rc<Self>, order: Order, admin: OwnedFd) {
        let said = match order {
            Order::Kick(whom) => match self.kick(whom) {
                0 => "no such session is under way\n".to_owned(),
                1 => "1 session is told to end, unless its message is being delivered\n".to_owned(),
                n => format!("{n} sessions are told to end, unless their messages are being delivered\n"),
            },
            Order::Forgive(address) => {
                self.admission.borrow_mut().forgive(address.to_canonical(), self.now());
                format!("what {address} has done before counts no more\n")
            }
            _ => return,
        };
        let _ = File::from(admin).write(said.as_bytes());
    }

    /// Tells sessions to end. How many there are.
    fn kick(self: &Rc<Self>, whom: Whom) -> usize {
        let sessions = self.sessions.borrow();
        let meant = sessions.all().filter(|(id, client)| match whom {
            Whom::Session(session) => *id == session,
            Whom::Address(address) => client.ip().to_canonical() == address.to_canonical(),
        });
        let ids: Vec<SessionId> = meant.map(|(id, _)| id).collect();
        let count = ids.len();
        for id in ids {
            let listener = Rc::clone(self);
            tokio::task::spawn_local(async move { listener.end_session(id).await });
        }
        count
    }

    /// Tells the observer how much there is now.
    pub(crate) fn tell_gauges(&self) {
        let (sessions, waiting) = self.sessions.borrow().count();
        let admission = self.admission.borrow();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        gatepost_log::gauge(Gauges::Listener {
            sessions: number(sessions),
            slots: admission.capacity(),
            waiting: number(waiting),
            penalties: number(admission.penalties(self.now())),
        });
    }
}
