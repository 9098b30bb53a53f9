//! Fair shares of what is scarce: session slots, backend connections, memory, disk, handshakes (P13).
//!
//! [`Shares`] divides `capacity` units among clients by max-min fairness over the tree of their networks: IPv4 /16, /24,
//! address; IPv6 /40, /48, /64. While units are free, whoever asks gets them. When none is free, units are taken back from
//! the network that holds most, inside it from the part that holds most, there from the address that holds most, and there
//! from the holding that has made no progress for the longest time. Units are taken back only for a client whose network
//! would still hold less afterwards than the network that gives; whoever holds most himself waits or is refused.
//!
//! The law, tested in `tests/law`: with attackers in `k < capacity / 2` networks, at any pace, a client from a
//! network that holds nothing is granted a unit as soon as one holding has been taken back, so within the time that the
//! owner of the resource needs to end one holding.
//!
//! Sans-IO: the caller says what happens and carries out each [`Action`] that [`Shares::poll`] returns. Memory is bounded
//! by the number of holdings (at most `capacity`) and of waiting claims (`waiting_max`).

mod origin;
mod queue;
mod tree;

pub(crate) use origin::Network;
pub use origin::Origin;

use queue::Queue;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tree::Tree;

/// What the owner of the resource must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<K> {
    /// The waiting claim has its units now.
    Grant(K),
    /// The waiting claim waits no longer, because a lighter network does: refuse it.
    Refuse(K),
    /// End this holding and call [`Shares::release`]; its units are promised to somebody who waits.
    Reclaim(K),
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The units are held from now on.
    Granted,
    /// [`Action::Grant`] or [`Action::Refuse`] follows, unless the claim is released before.
    Waiting,
    /// There is nothing for this client now.
    Refused,
}

/// What a claim may do when no unit is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait only when units can be taken back for it at once.
    Reclaim,
    /// Wait in any case, for whatever becomes free.
    Queue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting {
        arrival: u64,
    },
    Held {
        reclaimable: bool,
        moved: u64,
        since: u64,
    },
    /// Told to end; its units are still in use.
    Ending,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    origin: Origin,
    amount: u64,
    state: State,
    /// What the tree of holdings has: whether it may be taken back, and when it moved.
    listed: (bool, u64),
}

impl Entry {
    fn new(origin: Origin, amount: u64, state: State) -> Self {
        Self { origin, amount, state, listed: (false, 0) }
    }

    /// When it came, among those that wait.
    fn arrival(&self) -> u64 {
        if let State::Waiting { arrival } = self.state { arrival } else { u64::MAX }
    }
}

/// When a reclaimable holding is spare: see [`Shares::of_what_is_spare`].
#[derive(Debug, Clone, Copy)]
struct Spare {
    age: u64,
    turn: u64,
}

/// Units of one resource, and who holds or waits for them. `K` names a claim.
#[derive(Debug)]
pub struct Shares<K> {
    capacity: u64,
    waiting_max: usize,
    /// See [`Shares::of_what_is_spare`].
    spare: Option<Spare>,
    /// The latest time that was given.
    now: u64,
    entries: BTreeMap<K, Entry>,
    /// Firm holdings: those that have not been told to end.
    held: Tree<K>,
    /// Those that the tree does not have as they are. A holding changes many times while nobody waits, and the order in which holdings are
    /// taken back is looked at only then: see [`Shares::settle`].
    stale: BTreeSet<K>,
    /// Waiting claims.
    waiting: Tree<K>,
    /// Units of holdings that have been told to end.
    ending: u64,
    arrivals: u64,
    actions: VecDeque<Action<K>>,
}

impl<K: Ord + Copy> Shares<K> {
    /// `capacity` units, of which nobody holds any; at most `waiting_max` claims wait at once.
    #[must_use]
    pub fn new(capacity: u64, waiting_max: usize) -> Self {
        Self {
            capacity,
            waiting_max,
            spare: None,
            now: 0,
            entries: BTreeMap::new(),
            held: Tree::new(),
            stale: BTreeSet::new(),
            waiting: Tree::new(),
            ending: 0,
            arrivals: 0,
            actions: VecDeque::new(),
        }
    }

    /// The same for a resource whose reclaimable holdings are of no use to their holders at the moment, and are cheap to get
    /// anew. Once a holding has not moved for `age`, or has been held for `turn`, its units are also taken back for a network that
    /// would hold more afterwards than the one that gives, as long as it does not hold more before, and within one address: of
    /// those that have not moved, and else of all, the one that was held for longest. So however many networks hold a unit each
    /// and however often they move it, who holds nothing has his turn.
    #[must_use]
    pub fn of_what_is_spare(self, age: u64, turn: u64) -> Self {
        Self { spare: Some(Spare { age, turn }), ..self }
    }

    /// It is `now`: takes back what has become spare since.
    pub fn look(&mut self, now: u64) {
        self.now = self.now.max(now);
        self.rebalance(None);
    }

    /// Asks for `amount` units for a client at `origin`. `id` must not be in use; `now` is any clock that does not go
    /// back. What is granted counts as having moved at `now`, and is reclaimable until [`Shares::hold`] says otherwise.
    pub fn claim(&mut self, id: K, origin: Origin, amount: u64, when_full: WhenFull, now: u64) -> Answer {
        self.now = self.now.max(now);
        if self.entries.contains_key(&id) || amount > self.capacity {
            return Answer::Refused;
        }
        if self.waiting.total() == 0 && amount <= self.free() {
            self.enter(id, Entry::new(origin, amount, State::Held { reclaimable: true, moved: now, since: now }));
            return Answer::Granted;
        }
        if self.waiting.len() >= self.waiting_max && !self.displace(origin, amount) {
            return Answer::Refused;
        }
        self.arrivals = self.arrivals.saturating_add(1);
        self.enter(id, Entry::new(origin, amount, State::Waiting { arrival: self.arrivals }));
        let finds = self.rebalance(Some(id));
        if when_full == WhenFull::Reclaim && !finds {
            self.leave(id);
            return Answer::Refused;
        }
        self.grant(now);
        if matches!(self.entries.get(&id), Some(Entry { state: State::Waiting { .. }, .. })) {
            return Answer::Waiting;
        }
        // Granted in this call: the answer says it, so no action repeats it.
        self.actions.retain(|action| *action != Action::Grant(id));
        Answer::Granted
    }

    /// The holding made progress at `now`: among those of its address it is now the last to be taken back.
    pub fn moved(&mut self, id: K, now: u64) {
        self.now = self.now.max(now);
        self.update(id, |_, moved| *moved = now);
    }

    /// Whether the holding may be taken back. One that may not still counts against its network.
    pub fn hold(&mut self, id: K, reclaimable: bool) {
        self.update(id, |may, _| *may = reclaimable);
        if reclaimable {
            self.rebalance(None);
        }
    }

    /// The holding was told to end and does not: it is held on, and not taken back before [`Shares::hold`] says that it may
    /// be. Another is told to end instead.
    pub fn keep(&mut self, id: K, now: u64) {
        self.now = self.now.max(now);
        if !matches!(self.entries.get(&id), Some(Entry { state: State::Ending, .. })) {
            return;
        }
        if let Some(entry) = self.leave(id) {
            self.enter(id, Entry { state: State::Held { reclaimable: false, moved: now, since: now }, ..entry });
        }
        self.rebalance(None);
    }

    /// The holding has ended, or the claim no longer waits.
    pub fn release(&mut self, id: K, now: u64) {
        self.now = self.now.max(now);
        self.leave(id);
        self.grant(now);
        self.rebalance(None);
    }

    /// There are `capacity` units from now on; never fewer than are in use.
    pub fn resize(&mut self, capacity: u64) {
        self.capacity = capacity.max(self.used());
        self.grant(self.now);
        self.rebalance(None);
    }

    /// Whether a claim would be granted, at once or for what would be taken back for it. Nothing is claimed or taken back.
    pub fn has_room(&mut self, origin: Origin, amount: u64) -> bool {
        let supply = self.ending.saturating_add(self.free());
        if amount > self.capacity || self.waiting.total() > 0 {
            return false;
        }
        let told = self.gather(origin, amount, amount.saturating_sub(supply), &Promised::default());
        let found = told.is_some();
        self.restore(told.unwrap_or_default());
        found
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action<K>> {
        self.actions.pop_front()
    }

    /// Units that nobody uses.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.held.total()).saturating_sub(self.ending)
    }

    /// Units in use, those of holdings that were told to end included.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.held.total().saturating_add(self.ending)
    }

    /// Claims that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Units held by the whole network (IPv4 /16, IPv6 /40) around `origin`.
    #[must_use]
    pub fn held_around(&self, origin: Origin) -> u64 {
        let [block, ..] = origin.path();
        self.held.weight(block)
    }

    fn enter(&mut self, id: K, mut entry: Entry) {
        let Entry { origin, amount, state, .. } = entry;
        match state {
            State::Waiting { arrival } => self.waiting.add(origin, amount, arrival, id, true),
            State::Held { reclaimable, moved, .. } => {
                entry.listed = (reclaimable, moved);
                self.held.add(origin, amount, moved, id, reclaimable);
            }
            State::Ending => self.ending = self.ending.saturating_add(amount),
        }
        self.entries.insert(id, entry);
    }

    fn leave(&mut self, id: K) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        let Entry { origin, amount, state, listed: (reclaimable, moved) } = entry;
        match state {
            State::Waiting { arrival } => self.waiting.remove(origin, amount, arrival, id, true),
            State::Held { .. } => {
                self.stale.remove(&id);
                self.held.remove(origin, amount, moved, id, reclaimable);
            }
            State::Ending => self.ending = self.ending.saturating_sub(amount),
        }
        Some(entry)
    }

    fn update(&mut self, id: K, change: impl FnOnce(&mut bool, &mut u64)) {
        if let Some(Entry { state: State::Held { reclaimable, moved, .. }, .. }) = self.entries.get_mut(&id) {
            change(reclaimable, moved);
            self.stale.insert(id);
        }
    }

    /// Brings the tree of holdings up to date.
    fn settle(&mut self) {
        while let Some(id) = self.stale.first().copied() {
            self.stale.remove(&id);
            if let Some(entry) = self.leave(id) {
                self.enter(id, entry);
            }
        }
    }

    /// Grants free units to those that wait, the lightest network first.
    fn grant(&mut self, now: u64) {
        while let Some((id, entry)) = self.next_waiting() {
            if entry.amount > self.free() {
                return;
            }
            self.leave(id);
            self.enter(id, Entry { state: State::Held { reclaimable: true, moved: now, since: now }, ..entry });
            self.actions.push_back(Action::Grant(id));
        }
    }

    /// Takes back what those that wait may have: in the order in which they will be served, until one must wait for others
    /// to end by themselves. Whether `id` will find enough.
    fn rebalance(&mut self, id: Option<K>) -> bool {
        let mut supply = self.ending.saturating_add(self.free());
        // There is enough for all of them.
        if self.waiting.total() <= supply {
            return true;
        }
        let mut queue = Queue::new();
        for id in self.waiting.ids() {
            if let Some(entry) = self.entries.get(&id) {
                queue.add(entry.origin, entry.arrival(), id, |network| self.held.weight(network));
            }
        }
        let mut promised = Promised::default();
        let mut finds = false;
        while let Some((next, entry)) = queue.first().and_then(|next| Some((next, *self.entries.get(&next)?))) {
            let Entry { origin, amount, .. } = entry;
            let missing = amount.saturating_sub(supply);
            let Some(taken) = self.take_back(origin, amount, missing, &promised) else { break };
            supply = supply.saturating_add(taken).saturating_sub(amount);
            promised.add(origin, amount);
            queue.serve(origin, amount);
            finds |= Some(next) == id;
        }
        finds
    }

    /// The waiting claim that is served next.
    fn next_waiting(&self) -> Option<(K, Entry)> {
        let waiting = self.waiting.ids().filter_map(|id| Some((id, *self.entries.get(&id)?)));
        waiting.min_by_key(|(_, entry)| (entry.origin.path().map(|network| self.held.weight(network)), entry.arrival()))
    }

    /// Tells holdings to end that have `missing` units in sum, for a claim of `amount` units. None, and none is told,
    /// when that would take from networks that hold no more than the client's would.
    fn take_back(&mut self, origin: Origin, amount: u64, missing: u64, promised: &Promised) -> Option<u64> {
        let told = self.gather(origin, amount, missing, promised)?;
        self.actions.extend(told.iter().map(|(id, _)| Action::Reclaim(*id)));
        Some(told.iter().map(|(_, entry)| entry.amount).fold(0, u64::saturating_add))
    }

    /// Puts holdings of `missing` units in sum among those that end, and gives them as they were.
    fn gather(&mut self, origin: Origin, amount: u64, missing: u64, promised: &Promised) -> Option<Vec<(K, Entry)>> {
        let mut taken = 0_u64;
        let mut told = Vec::new();
        if missing > 0 {
            self.settle();
        }
        while taken < missing {
            let entry = self.victim(origin, amount, promised).and_then(|id| Some((id, self.leave(id)?)));
            let Some((id, entry)) = entry else {
                self.restore(told);
                return None;
            };
            self.enter(id, Entry { state: State::Ending, ..entry });
            taken = taken.saturating_add(entry.amount);
            told.push((id, entry));
        }
        Some(told)
    }

    fn restore(&mut self, told: Vec<(K, Entry)>) {
        for (id, entry) in told {
            self.leave(id);
            self.enter(id, entry);
        }
    }

    /// The holding to take back for `origin`: walk from the widest networks to addresses, each time into the heaviest.
    fn victim(&self, origin: Origin, amount: u64, promised: &Promised) -> Option<K> {
        let mut parent = None;
        let mut own = true;
        for network in origin.path() {
            let heaviest = self.held.heaviest(parent)?;
            if own && heaviest != network {
                let (ours, theirs) = (self.weight(network, promised), self.held.weight(heaviest));
                if ours.saturating_add(amount) >= theirs {
                    // From equals only what is spare.
                    let equals = self.held.as_heavy(parent, theirs).filter(|_| ours <= theirs);
                    return self
                        .spare_of(equals.filter_map(|network| self.held.slowest(self.held.heaviest_address(network))));
                }
                own = false;
            }
            parent = Some(heaviest);
        }
        let address = parent?;
        // As from the client's own address.
        if own { self.spare_of(self.held.of(address)) } else { self.held.slowest(address) }
    }

    /// Of these holdings the one that is spare and is taken back first.
    fn spare_of(&self, ids: impl Iterator<Item = K>) -> Option<K> {
        let Spare { age, turn } = self.spare?;
        let spare = ids.filter_map(|id| {
            let State::Held { moved, since, .. } = self.entries.get(&id)?.state else { return None };
            let moves = moved.saturating_add(age) > self.now;
            (!moves || since.saturating_add(turn) <= self.now).then_some((moves, since, id))
        });
        spare.min().map(|(.., id)| id)
    }

    fn weight(&self, network: Network, promised: &Promised) -> u64 {
        self.held.weight(network).saturating_add(promised.0.get(&network).copied().unwrap_or_default())
    }

    /// Removes one of those that wait: the claim of the network that holds and waits for most goes, the last come first, if
    /// this client's network is lighter. So `waiting_max` claims are room for a first claim of as many networks.
    fn displace(&mut self, origin: Origin, amount: u64) -> bool {
        let weight = |network| self.held.weight(network).saturating_add(self.waiting.weight(network));
        let waiting = self.waiting.ids().filter_map(|id| Some((id, *self.entries.get(&id)?)));
        let last = waiting.max_by_key(|(_, entry)| (entry.origin.path().map(weight), entry.arrival()));
        let Some((id, last)) = last else { return false };
        let mut apart = origin.path().into_iter().zip(last.origin.path()).filter(|(ours, theirs)| ours != theirs);
        if apart.next().is_none_or(|(ours, theirs)| weight(ours).saturating_add(amount) >= weight(theirs)) {
            return false;
        }
        self.leave(id);
        self.actions.push_back(Action::Refuse(id));
        true
    }
}

/// Units of claims that will be served from what is free or being ended, by network.
#[derive(Debug, Default)]
struct Promised(BTreeMap<Network, u64>);

impl Promised {
    fn add(&mut self, origin: Origin, amount: u64) {
        for network in origin.path() {
            let weight = self.0.entry(network).or_default();
            *weight = weight.saturating_add(amount);
        }
    }
}
