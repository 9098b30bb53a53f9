//! Requests that wait for their turn: whose is next is decided by network, and so is who gives way when too many wait (P13).
//!
//! Pure: the caller says the time, in milliseconds of a clock that does not go back.

use crate::share::Origin;
use crate::turns::Turns;

/// Who waits, with what is needed to answer.
#[derive(Debug)]
pub struct Desk<T> {
    waiting: Vec<(Origin, T)>,
    most: usize,
    running: usize,
    at_once: usize,
    turns: Turns,
}

impl<T> Desk<T> {
    /// At which so many wait at most, while so many are served at once.
    #[must_use]
    pub fn new(most: usize, at_once: usize) -> Self {
        Self { waiting: Vec::new(), most, running: 0, at_once, turns: Turns::new() }
    }

    /// Somebody waits. What is returned has no turn: of more than may wait, one of the network that has used most.
    pub fn wants(&mut self, origin: Origin, request: T, now: u64) -> Option<T> {
        self.waiting.push((origin, request));
        if self.waiting.len() <= self.most {
            return None;
        }
        let place = self.turns.last(self.places(), now)?;
        Some(self.waiting.remove(place).1)
    }

    /// Who is served next, if there is room for one. [`Desk::ended`] is owed for it.
    pub fn next(&mut self, now: u64) -> Option<(Origin, T)> {
        if self.running >= self.at_once {
            return None;
        }
        let place = self.turns.next(self.places(), now)?;
        self.running = self.running.saturating_add(1);
        Some(self.waiting.remove(place))
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

    fn places(&self) -> impl Iterator<Item = (usize, Origin)> {
        self.waiting.iter().enumerate().map(|(place, (origin, _))| (place, *origin))
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
            let mut desk = Desk::new(most, at_once);
            for n in 0..5000 {
                assert_eq!(desk.wants(attacker(n), n, 0).is_some(), n as usize >= most, "{n}");
            }
            let begun: Vec<Origin> = std::iter::from_fn(|| Some(desk.next(0)?.0)).collect();
            assert_eq!(begun.len(), at_once);
            // Each takes all of its time; the first that ends makes room for whoever used nothing.
            desk.ended(begun[0], 10_000, 10_000);
            assert_eq!(desk.wants(newcomer, 7777, 10_000), None);
            assert_eq!(desk.next(10_000), Some((newcomer, 7777)));
            assert_eq!(desk.next(10_000), None);
        }
    }

    #[test]
    fn issue_15_who_is_gone_takes_no_place() {
        let origin = |n: u32| attacker(n << 8);
        let mut desk = Desk::new(512, 2);
        for n in 0..10 {
            assert_eq!(desk.wants(origin(n), n, 0), None);
        }
        desk.forget(|n| *n != 7);
        assert_eq!(desk.next(0), Some((origin(7), 7)));
        assert_eq!(desk.next(0), None);
    }
}
