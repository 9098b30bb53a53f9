//! Requests that wait for their turn: whose is next is decided by network, and so is who is refused when too many wait, and who gives
//! a turn back that takes long while others wait (P13).
//!
//! Pure: the caller says the time, in milliseconds of a clock that does not go back.

use crate::share::{Network, Origin};
use crate::turns::Turns;
use std::collections::BTreeMap;

/// Who waits, with what is needed to answer, and who is served.
#[derive(Debug)]
pub struct FairQueue<T> {
    waiting: Vec<(Origin, T)>,
    most: usize,
    served: Vec<Served>,
    at_once: usize,
    last: u64,
    turns: Turns,
}

/// Somebody's turn, from [`FairQueue::next`] to [`FairQueue::ended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Turn(u64);

#[derive(Debug)]
struct Served {
    turn: Turn,
    origin: Origin,
    begun: u64,
    /// What it has used is known up to then.
    charged: u64,
    /// It has been asked for its turn.
    is_reclaimed: bool,
}

/// How somebody who waits comes to a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reclaim {
    /// Nobody waits for whom none is free or asked for already.
    Nothing,
    /// This turn is to be ended. It is named once.
    Turn(Turn),
    /// No turn has taken long enough; the first will have at this time.
    At(u64),
}

impl<T> FairQueue<T> {
    /// In which so many wait at most, while so many are served at once.
    #[must_use]
    pub fn new(most: usize, at_once: usize) -> Self {
        Self { waiting: Vec::new(), most, served: Vec::new(), at_once, last: 0, turns: Turns::new() }
    }

    /// Somebody waits. What is returned has no turn: of more than may wait, one of the network of which most wait; of equals, of the one
    /// that has used most.
    pub fn push(&mut self, origin: Origin, request: T, now: u64) -> Option<T> {
        self.waiting.push((origin, request));
        if self.waiting.len() <= self.most {
            return None;
        }
        self.charge(now);
        let mut waiting = BTreeMap::<Network, u64>::new();
        for network in self.waiting.iter().flat_map(|(origin, _)| origin.path()) {
            let count = waiting.entry(network).or_default();
            *count = count.saturating_add(1);
        }
        let weight = |network| (waiting.get(&network).copied().unwrap_or_default(), self.turns.used(network, now));
        let (at, _) = self.origins().max_by_key(|(_, origin)| origin.path().map(weight))?;
        Some(self.waiting.remove(at).1)
    }

    /// Who is served next, if not so many are served already. [`FairQueue::ended`] is owed for it.
    pub fn next(&mut self, now: u64) -> Option<(Turn, T)> {
        if self.served.len() >= self.at_once {
            return None;
        }
        let at = self.turns.next(self.origins(), now)?;
        let (origin, request) = self.waiting.remove(at);
        self.last = self.last.wrapping_add(1);
        let turn = Turn(self.last);
        // Others go before the next one of the same network, also before it is known what this one takes.
        self.turns.spend(origin, 1, now);
        self.served.push(Served { turn, origin, begun: now, charged: now, is_reclaimed: false });
        Some((turn, request))
    }

    /// Those of whom that is so are not waited for any more.
    pub fn forget(&mut self, left: impl Fn(&T) -> bool) {
        self.waiting.retain(|(_, request)| !left(request));
    }

    /// A turn has ended.
    pub fn ended(&mut self, turn: Turn, now: u64) {
        let Some(at) = self.served.iter().position(|served| served.turn == turn) else { return };
        let Served { origin, charged, .. } = self.served.swap_remove(at);
        self.turns.spend(origin, now.saturating_sub(charged), now);
    }

    /// Whose turn is to be ended, since others wait and it has taken `long` milliseconds: of the network that has used most.
    pub fn reclaim(&mut self, long: u64, now: u64) -> Reclaim {
        let free = self.at_once.saturating_sub(self.served.len());
        let coming = self.served.iter().filter(|served| served.is_reclaimed).count().saturating_add(free);
        if self.waiting.len() <= coming {
            return Reclaim::Nothing;
        }
        self.charge(now);
        let over = |served: &Served| served.begun.saturating_add(long);
        let held = || self.served.iter().enumerate().filter(|(_, served)| !served.is_reclaimed);
        let long_enough = held().filter(|(_, served)| over(served) <= now).map(|(at, served)| (at, served.origin));
        match self.turns.last(long_enough, now) {
            Some(at) => self.served.get_mut(at).map_or(Reclaim::Nothing, |served| {
                served.is_reclaimed = true;
                Reclaim::Turn(served.turn)
            }),
            None => held().map(|(_, served)| over(served)).min().map_or(Reclaim::Nothing, Reclaim::At),
        }
    }

    /// What those who are served have used up to now is known from now on.
    fn charge(&mut self, now: u64) {
        for served in &mut self.served {
            let since = std::mem::replace(&mut served.charged, now);
            self.turns.spend(served.origin, now.saturating_sub(since), now);
        }
    }

    fn origins(&self) -> impl Iterator<Item = (usize, Origin)> {
        self.waiting.iter().enumerate().map(|(at, (origin, _))| (at, *origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn attacker(n: u32) -> Origin {
        Origin::of(IpAddr::V4(Ipv4Addr::from_bits((10 << 24) | n)))
    }

    #[test]
    fn p13_a_newcomer_is_next_however_many_ask() {
        let newcomer = Origin::of("192.0.2.1".parse().unwrap());
        for (most, at_once) in [(512, 1), (1024, 256)] {
            let mut queue = FairQueue::new(most, at_once);
            for n in 0..5000 {
                assert_eq!(queue.push(attacker(n), n, 0).is_some(), n as usize >= most, "{n}");
            }
            let begun: Vec<Turn> = std::iter::from_fn(|| Some(queue.next(0)?.0)).collect();
            assert_eq!(begun.len(), at_once);
            // Each takes all of its time; when the first ends, whoever used nothing is next.
            queue.ended(begun[0], 10_000);
            assert_eq!(queue.push(newcomer, 7777, 10_000), None);
            assert_eq!(queue.next(10_000).unwrap().1, 7777);
            assert_eq!(queue.next(10_000), None);
        }
    }

    #[test]
    fn p13_who_waits_gets_the_turn_that_the_heaviest_network_has_had_for_long() {
        let newcomer = Origin::of("192.0.2.1".parse().unwrap());
        // One of another network, whose turn is the oldest.
        let mut queue = FairQueue::new(1024, 256);
        assert_eq!(queue.push(Origin::of("198.51.100.1".parse().unwrap()), 9999, 0), None);
        let (slow, _) = queue.next(0).unwrap();
        for n in 0..255 {
            assert_eq!(queue.push(attacker(n), n, 100), None);
            assert!(queue.next(100).is_some(), "{n}");
        }
        assert_eq!(queue.reclaim(1000, 5000), Reclaim::Nothing, "nobody waits");
        assert_eq!(queue.push(newcomer, 7777, 500), None);
        assert_eq!(queue.reclaim(1000, 500), Reclaim::At(1000), "none has taken long");
        let Reclaim::Turn(taken) = queue.reclaim(1000, 1100) else { panic!("a turn is taken back") };
        assert_ne!(taken, slow, "a light network keeps its own");
        assert_eq!(queue.reclaim(1000, 1100), Reclaim::Nothing, "one for one who waits");
        assert_eq!(queue.next(1100), None, "it has not ended yet");
        queue.ended(taken, 1101);
        assert_eq!(queue.reclaim(1000, 1101), Reclaim::Nothing, "one is free");
        assert_eq!(queue.next(1101).unwrap().1, 7777);
    }

    #[test]
    fn issue_15_who_is_gone_is_not_served() {
        let origin = |n: u32| attacker(n << 8);
        let mut queue = FairQueue::new(512, 2);
        for n in 0..10 {
            assert_eq!(queue.push(origin(n), n, 0), None);
        }
        queue.forget(|n| *n != 7);
        assert_eq!(queue.next(0).unwrap().1, 7);
        assert_eq!(queue.next(0), None);
    }
}
