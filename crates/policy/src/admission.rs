//! Admission: who gets a session, who waits for one, who is turned away, and whose session has to end for somebody else.
//!
//! - one IPv4 address or IPv6 /64 has `sessions_per_address` sessions at most, or as many as its [`Terms`] say, those that wait for a slot included. As many
//!   again wait until one of these ends, so that whoever shares an address with others gets his turn;
//! - slots are shared fairly by network (P13): [`crate::share`]. While some are free, whoever comes gets one. When none is, a
//!   client whose network holds less than another waits, and the oldest session of the heaviest address in the heaviest
//!   network has to end;
//! - [`WAITING_MAX`] clients wait for a slot at most, and as many for their address, each by fair shares;
//! - an address has as many new connections in a time as its rate allows, and the network around it four times as many:
//!   [`crate::rate`]. Who is refused for another reason is not counted;
//! - how an address has behaved decides whether it is slowed down or turned away: [`crate::conduct`]. Not in exempt networks.
//!
//! Memory is bounded by the number of slots, [`WAITING_MAX`] and [`crate::conduct::ADDRESSES_MAX`]; nothing here grows with the
//! number of clients seen. Times are milliseconds of any clock that does not go back.

use crate::conduct::{Conduct, Ending, SLOW_PAUSE, Sanction, Standing};
use crate::rate::Used;
use crate::share::{Action, Answer, Network, Origin, Shares, WhenFull};
use gatepost_wire::rate::Rate;
use gatepost_wire::terms::Terms;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;

/// Clients that wait for a slot, or for their address, at once. One more is turned away, or one whose network has more is instead.
pub const WAITING_MAX: usize = 256;

/// Beyond three of four slots taken, newcomers are waited for only for a short time.
const STRESS_SHARE: u32 = 4;

/// How much is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once.
    pub sessions: u32,
    /// Sessions at once from one IPv4 address or IPv6 /64.
    pub sessions_per_address: u32,
    /// What an address's bucket of offences holds, see [`Conduct::new`].
    pub offences: u32,
    /// New connections of an address, see [`crate::rate`].
    pub connections: Option<Rate>,
}

/// Why a client is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// All slots are taken, by networks that have no more than this one, or for longer than it may wait.
    Full,
    /// Its address has as many sessions as one may have, and others wait for one to end.
    Address,
    /// It, or its network, has had as many connections of late as it may have.
    Rate,
    /// It is turned away for its conduct, for this many milliseconds more.
    Penalty(u64),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("no free slot"),
            Self::Address => f.write_str("too many sessions from this address"),
            Self::Rate => f.write_str("too many connections in a short time"),
            Self::Penalty(left) => write!(f, "penalty for {} s more", left.div_ceil(1000)),
        }
    }
}

/// A slot that is held or waited for. Give it back by [`Admission::ended`] or [`Admission::release`]: a claim that is not
/// given back is a slot lost.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the slot stays taken until the claim is given back"]
pub struct SlotClaim {
    id: u64,
    origin: Origin,
    exempt: bool,
}

/// A client that is not turned away.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its slot.
    pub claim: SlotClaim,
    /// The slot is not free yet: [`Action::Grant`] or [`Action::Refuse`] follows for its id. What it hears when it is
    /// refused, or has waited for too long.
    pub waits: Option<Refusal>,
    /// Milliseconds that its greeting waits.
    pub pause: u16,
}

/// Sessions, those who wait for one, and how addresses have behaved. Ordered maps, not hashed ones: no seed to draw inside a
/// jail, none to guess.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    slots: Shares<u64>,
    /// Those that wait for their address, all together [`WAITING_MAX`] by fair shares.
    queues: Shares<u64>,
    /// Those of them that have a [`SlotClaim`] and are not counted among the sessions of their address.
    queued: BTreeMap<u64, Origin>,
    addresses: BTreeMap<Network, Address>,
    conduct: Conduct,
    connections: Used,
    /// Slots were scarce when [`Admission::stress_has_changed`] was asked last.
    stressed: bool,
    actions: VecDeque<Action<u64>>,
}

/// The clients of one address.
#[derive(Debug, Default)]
struct Address {
    /// Those that have a slot or wait for one.
    sessions: u32,
    /// Those that wait until one of these ends, the first come first.
    queue: VecDeque<u64>,
}

impl Admission {
    /// Nobody admitted yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            slots: Shares::new(limits.sessions.into(), WAITING_MAX),
            // No claim to wait waits itself, beyond the call that makes it.
            queues: Shares::new(u64::try_from(WAITING_MAX).unwrap_or(u64::MAX), 1),
            queued: BTreeMap::new(),
            addresses: BTreeMap::new(),
            conduct: Conduct::new(limits.offences),
            connections: Used::new(limits.connections),
            stressed: false,
            actions: VecDeque::new(),
            limits,
        }
    }

    /// Asks for a slot for a client at `ip`, for which `terms` hold. `id` names it from now on, and must not be in use. Call
    /// [`Admission::poll`] afterwards.
    ///
    /// # Errors
    /// [`Refusal`]: which bound is reached. Nothing is counted then.
    pub fn admit(&mut self, id: u64, ip: IpAddr, terms: &Terms, now: u64) -> Result<Admitted, Refusal> {
        let origin = Origin::of(ip);
        let exempt = terms.exempt;
        let standing = if exempt { Standing::Good } else { self.conduct.standing(origin, now) };
        if let Standing::Refused(left) = standing {
            return Err(Refusal::Penalty(left));
        }
        if !exempt && !self.connections.may(origin, now) {
            return Err(Refusal::Rate);
        }
        let most = match terms.sessions_per_address {
            0 => self.limits.sessions_per_address,
            most => most,
        };
        let full = self.addresses.get(&origin.address()).is_some_and(|address| address.sessions >= most);
        let answer = if full {
            self.enqueue(id, origin, most, now)
        } else {
            self.slots.claim(id, origin, 1, WhenFull::Queue, now)
        };
        let refusal = if full { Refusal::Address } else { Refusal::Full };
        if answer == Answer::Refused {
            return Err(refusal);
        }
        if !exempt {
            self.connections.count(origin, now);
        }
        if !full {
            let address = self.addresses.entry(origin.address()).or_default();
            address.sessions = address.sessions.saturating_add(1);
        }
        let waits = (answer == Answer::Waiting).then_some(refusal);
        let pause = if standing == Standing::Slow { SLOW_PAUSE } else { 0 };
        Ok(Admitted { claim: SlotClaim { id, origin, exempt }, waits, pause })
    }

    /// Slots in all.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.limits.sessions
    }

    /// Addresses that are greeted late or turned away.
    #[must_use]
    pub fn penalties(&self, now: u64) -> usize {
        self.conduct.sanctioned(now)
    }

    /// Forgets how an address has behaved, and how often it has come; with it the rest of its IPv6 /64.
    pub fn forgive(&mut self, ip: IpAddr, now: u64) {
        let origin = Origin::of(ip);
        self.conduct.forgive(origin);
        self.connections.forgive(origin, now);
    }

    /// What is to be done now. [`Action::Reclaim`]: this session must end, and [`Admission::ended`] be called then, or
    /// [`Admission::stays`].
    pub fn poll(&mut self) -> Option<Action<u64>> {
        self.actions.pop_front().or_else(|| self.slots.poll())
    }

    /// A session that was to end for somebody else does not for now; another has to instead, until [`Admission::may_end`].
    pub fn stays(&mut self, id: u64, now: u64) {
        self.slots.keep(id, now);
    }

    /// A session that stayed may be told to end from now on.
    pub fn may_end(&mut self, id: u64) {
        self.slots.hold(id, true);
    }

    /// Gives back the slot of a session, or of a client that no longer waits for one.
    pub fn release(&mut self, claim: SlotClaim, now: u64) {
        let SlotClaim { id, origin, .. } = claim;
        if self.queued.remove(&id).is_some() {
            self.leave_queue(id, origin, now);
            return;
        }
        if let Some(address) = self.addresses.get_mut(&origin.address()) {
            address.sessions = address.sessions.saturating_sub(1);
            if address.sessions == 0 && address.queue.is_empty() {
                self.addresses.remove(&origin.address());
            }
        }
        self.slots.release(id, now);
        self.dequeue(origin, now);
    }

    /// Waits until a session of its address, which may have `most`, ends.
    fn enqueue(&mut self, id: u64, origin: Origin, most: u32, now: u64) -> Answer {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let waiting = self.addresses.get(&origin.address()).map_or(0, |address| address.queue.len());
        if waiting >= most || self.queues.claim(id, origin, 1, WhenFull::Reclaim, now) == Answer::Refused {
            return Answer::Refused;
        }
        // Who may wait no longer leaves at once.
        while let Some(action) = self.queues.poll() {
            if let Action::Reclaim(heaviest) = action {
                self.actions.push_back(Action::Refuse(heaviest));
                if let Some(origin) = self.queued.get(&heaviest).copied() {
                    self.leave_queue(heaviest, origin, now);
                }
            }
        }
        self.queued.insert(id, origin);
        self.addresses.entry(origin.address()).or_default().queue.push_back(id);
        Answer::Waiting
    }

    fn leave_queue(&mut self, id: u64, origin: Origin, now: u64) {
        if let Some(address) = self.addresses.get_mut(&origin.address()) {
            address.queue.retain(|waits| *waits != id);
        }
        self.queues.release(id, now);
    }

    /// A session of that address has ended: the first that waits for that may have a slot.
    fn dequeue(&mut self, origin: Origin, now: u64) {
        let Some(address) = self.addresses.get_mut(&origin.address()) else { return };
        let Some(id) = address.queue.pop_front() else { return };
        address.sessions = address.sessions.saturating_add(1);
        self.queued.remove(&id);
        self.queues.release(id, now);
        match self.slots.claim(id, origin, 1, WhenFull::Queue, now) {
            Answer::Granted => self.actions.push_back(Action::Grant(id)),
            Answer::Waiting => {}
            Answer::Refused => self.actions.push_back(Action::Refuse(id)),
        }
    }

    /// Gives back the slot of a session that ended so. What its address has to bear for that, if anything.
    pub fn ended(&mut self, claim: SlotClaim, ending: Ending, now: u64) -> Option<Sanction> {
        let (origin, exempt) = (claim.origin, claim.exempt);
        self.release(claim, now);
        if exempt { None } else { self.conduct.ended(origin, ending, now) }
    }

    /// True when more than three quarters of the slots are taken: new sessions should be short with their clients. Never
    /// with fewer than four slots, where one session would be enough for it.
    #[must_use]
    pub fn is_stressed(&self) -> bool {
        let slots = self.limits.sessions;
        self.sessions() > u64::from(slots.saturating_sub(slots / STRESS_SHARE))
    }

    /// Whether slots have become scarce since this was asked last, or no longer are: they are from three quarters on, and until
    /// half of them are free again, so that a number that goes up and down is not told of.
    pub fn stress_has_changed(&mut self) -> Option<bool> {
        let begins = !self.stressed && self.is_stressed();
        let ends = self.stressed && self.sessions() <= u64::from(self.limits.sessions / 2);
        self.stressed ^= begins || ends;
        (begins || ends).then_some(begins)
    }

    /// Sessions now, and slots in all.
    #[must_use]
    pub fn slots(&self) -> (u32, u32) {
        (u32::try_from(self.sessions()).unwrap_or(u32::MAX), self.limits.sessions)
    }

    /// Sessions now.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.slots.used()
    }

    /// Clients that wait for one, or for a session of their address to end.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let queued = usize::try_from(self.queues.used()).unwrap_or(usize::MAX);
        self.slots.waiting().saturating_add(queued)
    }
}
