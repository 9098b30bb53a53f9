//! Octets of something scarce over all sessions, in fair shares by network: see [`gatepost_policy::share`]. When there are none
//! left for a light network, a transaction of the heaviest one loses what it has, and its client hears 452 4.3.1.

use gatepost_policy::share::{Action, Answer, Origin, Shares, WhenFull};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all transactions share. `T`: what a transaction keeps in it, dropped when it is taken back.
#[derive(Debug)]
pub(crate) struct Pool<T>(Arc<Mutex<State<T>>>);

/// A transaction's number, and the number of its claim.
type Claim = (u64, u32);

#[derive(Debug)]
struct State<T> {
    shares: Shares<Claim>,
    /// Octets that are claimed at once, at least and at most: growing by halves needs few claims.
    step: RangeInclusive<u64>,
    /// What transactions keep that wait for their clients, and how many claims each has.
    parked: BTreeMap<u64, (T, u32)>,
    last: u64,
}

/// One transaction's part. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Part<T> {
    pool: Pool<T>,
    origin: Origin,
    id: u64,
    claims: u32,
    held: u64,
    used: u64,
    parked: bool,
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Pool<T> {
    /// `octets` in all, of which a part claims as many at once as `step` says, however few it takes.
    pub(crate) fn new(octets: u64, step: RangeInclusive<u64>) -> Self {
        // No claim waits beyond the call that makes it.
        let state = State { shares: Shares::new(octets, 1), step, parked: BTreeMap::new(), last: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// An empty part, for a transaction of a client at `origin`.
    pub(crate) fn part(&self, origin: Origin) -> Part<T> {
        let mut state = self.lock();
        state.last = state.last.wrapping_add(1);
        Part { pool: self.clone(), origin, id: state.last, claims: 0, held: 0, used: 0, parked: false }
    }

    /// There are `octets` from now on; never fewer than are in use.
    pub(crate) fn resize(&self, octets: u64) {
        self.lock().shares.resize(octets);
    }

    /// Octets in use.
    pub(crate) fn used(&self) -> u64 {
        self.lock().shares.used()
    }

    /// Whether a client at `origin` would get `octets` now.
    pub(crate) fn has_room(&self, origin: Origin, octets: u64) -> bool {
        self.lock().shares.has_room(origin, octets)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn claim(&mut self, claim: Claim, origin: Origin, octets: u64) -> bool {
        let mut granted = match self.shares.claim(claim, origin, octets, WhenFull::Reclaim, 0) {
            Answer::Refused => return false,
            Answer::Granted => true,
            Answer::Waiting => false,
        };
        while let Some(action) = self.shares.poll() {
            match action {
                Action::Grant(id) => granted = granted || id == claim,
                Action::Reclaim((id, _)) => {
                    if let Some((contents, claims)) = self.parked.remove(&id) {
                        drop(contents);
                        self.release(id, claims);
                    }
                }
                Action::Refuse(_) => {}
            }
        }
        if granted {
            self.shares.hold(claim, false);
        } else {
            self.shares.release(claim, 0);
        }
        granted
    }

    fn hold(&mut self, id: u64, claims: u32, reclaimable: bool) {
        (0..claims).for_each(|claim| self.shares.hold((id, claim), reclaimable));
    }

    fn release(&mut self, id: u64, claims: u32) {
        (0..claims).for_each(|claim| self.shares.release((id, claim), 0));
    }
}

impl<T> Part<T> {
    /// Takes `octets` more, which can't be taken back before [`Part::park`]. False when there are none for this client.
    #[must_use]
    pub(crate) fn take(&mut self, octets: usize) -> bool {
        let used = self.used.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX));
        let missing = used.saturating_sub(self.held);
        if missing > 0 {
            let mut state = self.pool.lock();
            let more = missing.max(self.held.clamp(*state.step.start(), *state.step.end()));
            if !state.claim((self.id, self.claims), self.origin, more) {
                return false;
            }
            drop(state);
            self.claims = self.claims.saturating_add(1);
            self.held = self.held.saturating_add(more);
        }
        self.used = used;
        true
    }

    /// Keeps `contents` while the transaction waits for its client; whoever needs the memory more may have them dropped.
    pub(crate) fn park(&mut self, contents: T) {
        self.parked = true;
        let mut state = self.pool.lock();
        state.parked.insert(self.id, (contents, self.claims));
        state.hold(self.id, self.claims, true);
    }

    /// Something is parked, or was until it was dropped.
    pub(crate) fn is_parked(&self) -> bool {
        self.parked
    }

    /// Gives back what was parked, and from now on it can't be dropped; none when it has been.
    pub(crate) fn resume(&mut self) -> Option<T> {
        self.parked = false;
        let mut state = self.pool.lock();
        let kept = state.parked.remove(&self.id);
        match &kept {
            Some(_) => state.hold(self.id, self.claims, false),
            None => (self.claims, self.held, self.used) = (0, 0, 0),
        }
        kept.map(|(contents, _)| contents)
    }

    /// Gives everything back; what is parked is dropped.
    pub(crate) fn release(&mut self) {
        let mut state = self.pool.lock();
        state.parked.remove(&self.id);
        state.release(self.id, self.claims);
        drop(state);
        (self.claims, self.held, self.used, self.parked) = (0, 0, 0, false);
    }
}

impl<T> Drop for Part<T> {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    #[test]
    fn p6_parts_never_exceed_the_total_and_come_back() {
        let memory = Pool::<()>::new(16 * KIB, 4 * KIB..=64 * KIB);
        let mut first = memory.part(origin("192.0.2.1"));
        let mut second = memory.part(origin("192.0.2.1"));
        assert!(first.take(10 << 10));
        assert!(!second.take(7 << 10));
        assert!(second.take(6 << 10));
        assert!(!first.take(1));
        drop(first);
        assert!(second.take(4 << 10));
        drop(second);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn p13_a_newcomer_gets_what_the_heaviest_network_has_parked_and_not_what_is_in_use() {
        let memory = Pool::new(64 * KIB, 4 * KIB..=64 * KIB);
        let mut parts: Vec<_> = (0..8).map(|_| memory.part(origin("192.0.2.1"))).collect();
        for (number, part) in (0..).zip(&mut parts) {
            assert!(part.take(8 << 10));
            if number > 1 {
                part.park(number);
            }
        }
        // The same address gets nothing more.
        assert!(!memory.part(origin("192.0.2.1")).take(1));
        let mut newcomer = memory.part(origin("198.51.100.1"));
        assert!(newcomer.take(20 << 10));
        let left: Vec<_> = parts.iter_mut().skip(2).map(Part::resume).collect();
        assert_eq!(left, [None, None, None, Some(5), Some(6), Some(7)]);
        assert!(!parts[0].take(8 << 10), "the total is kept");
        drop((newcomer, parts));
        assert_eq!(memory.used(), 0);
    }
}
