//! Sessions that are over: their slots are free, and what they tell of their clients is remembered.

use crate::listener::Listener;
use crate::sessions::{Nursery, Session};
use gatepost_policy::conduct::{Ending, Offence, SLOW, Sanction};
use gatepost_smtp::envelope::CloseReason;
use gatepost_wire::event::{Crashed, Penalised, Penalty};
use gatepost_wire::link::{self, Ended, close_reason, has_delivered};
use std::future::poll_fn;

impl Listener {
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
