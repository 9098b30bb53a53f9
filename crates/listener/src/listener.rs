//! What all connections share: the links, the tables, the limits and what is counted.

use crate::links::{Links, tell};
use crate::rules::Rules;
use crate::sessions::{Nursery, Sessions};
use crate::slot_waits::{Slots, Waits};
use crate::unasked::Keys;
use crate::{AuthLink, HandoffLink, KeyholderLink, NurseryLink};
use gatepost_policy::admission::{Admission, Limits};
use gatepost_policy::flood::{Flood, Line};
use gatepost_policy::networks::Networks;
use gatepost_policy::share::Origin;
use gatepost_policy::tally::Tally;
use gatepost_smtp::envelope::Service;
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_wire::event::Turned;
use gatepost_wire::link::{Left, NurseryOrder};
use gatepost_wire::slice::{ListenerSlice, TlsMode};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Session ids count from the milliseconds since 2024-01-01: ten hexadecimal digits until 2058, and unique across
/// restarts as long as fewer than a thousand sessions a second begin on average.
const EPOCH: Duration = Duration::from_secs(1_704_067_200);

/// What is told of those who get no session.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    pub(crate) tally: RefCell<Tally<Turned>>,
    /// There is something to tell in a minute.
    pub(crate) due: Notify,
}

/// The role: what all connections share.
pub(crate) struct Listener {
    pub(crate) hostname: String,
    pub(crate) listeners: Vec<TlsMode>,
    pub(crate) services: Vec<Service>,
    pub(crate) admission: RefCell<Admission>,
    pub(crate) sessions: RefCell<Sessions>,
    pub(crate) links: RefCell<Links>,
    pub(crate) slots: Slots,
    pub(crate) keys: Keys,
    pub(crate) rules: RefCell<Rules>,
    pub(crate) networks: RefCell<Networks>,
    pub(crate) flood: RefCell<Flood>,
    pub(crate) refused: Refused,
    pub(crate) last_id: Cell<u64>,
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

    /// Nobody waits for a slot any more.
    pub(crate) fn close(&self) {
        self.slots.close();
    }

    /// Whether one more line may be logged about a client that gets no session.
    pub(crate) fn may_log(&self, ip: IpAddr) -> bool {
        self.flood.borrow_mut().line(Origin::of(ip), self.now()) != Line::Keep
    }

    /// Milliseconds of a clock that does not go back.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
