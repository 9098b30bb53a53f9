//! Requests that wait for their turn: whose is next is decided by network, and so is who is refused when too many wait (P13).
//!
//! Pure: the caller says the time, in milliseconds of a clock that does not go back.

use crate::share::Origin;
use crate::turns::Turns;

/// Who waits, with what is needed to answer.
#[derive(Debug)]
pub struct FairQueue<T> {
    waiting: Vec<(Origin, T)>,
    most: usize,
    running: usize,
    at_once: usize,
    turns: Turns,
}

impl<T> FairQueue<T> {
    /// In which so many wait at most, while so many are served at once.
    #[must_use]
    pub fn new(most: usize, at_once: usize) -> Self {
        Self { waiting: Vec::new(), most, running: 0, at_once, turns: Turns::new() }
    }

    /// Somebody waits. What is returned has no turn: of more than may wait, one of the network that has used most.
    pub fn push(&mut self, origin: Origin, request: T, now: u64) -> Option<T> {
        self.waiting.push((origin, request));
        if self.waiting.len() <= self.most {
            return None;
        }
        let at = self.turns.last(self.origins(), now)?;
        Some(self.waiting.remove(at).1)
    }

    /// Who is served next, if not so many are served already. [`FairQueue::ended`] is owed for it.
    pub fn next(&mut self, now: u64) -> Option<(Origin, T)> {
        if self.running >= self.at_once {
            return None;
        }
        let at = self.turns.next(self.origins(), now)?;
        self.running = self.running.saturating_add(1);
        Some(self.waiting.remove(at))
    }

    /// Those of whom that is so are not waited for any more.
    pub fn forget(&mut self, left: impl Fn(&T) -> bool) {
        self.waiting.retain(|(_, request)| !left(request));
    }

    /// One that was served has ended, after so many milliseconds.
    pub fn ended(&mut self, origin: Origin, milliseconds: u64, now: u64) {
        self.running = self.running.saturating_sub(1);
        self.turns.spend(origin, milliseconds.saturating_add(1), now);
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
            let begun: Vec<Origin> = std::iter::from_fn(|| Some(queue.next(0)?.0)).collect();
            assert_eq!(begun.len(), at_once);
            // Each takes all of its time; when the first ends, whoever used nothing is next.
            queue.ended(begun[0], 10_000, 10_000);
            assert_eq!(queue.push(newcomer, 7777, 10_000), None);
            assert_eq!(queue.next(10_000), Some((newcomer, 7777)));
            assert_eq!(queue.next(10_000), None);
        }
    }

    #[test]
    fn issue_15_who_is_gone_is_not_served() {
        let origin = |n: u32| attacker(n << 8);
        let mut queue = FairQueue::new(512, 2);
        for n in 0..10 {
            assert_eq!(queue.push(origin(n), n, 0), None);
        }
        queue.forget(|n| *n != 7);
        assert_eq!(queue.next(0), Some((origin(7), 7)));
        assert_eq!(queue.next(0), None);
    }
}
