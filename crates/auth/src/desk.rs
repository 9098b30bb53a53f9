//! Attempts that wait for their turn: one password is checked at a time, and whose is next is decided by network (P13). Pure: the
//! caller says the time, in milliseconds of a clock that does not go back.

use gatepost_policy::share::Origin;
use gatepost_policy::turns::Turns;

/// Attempts that wait; of more, one of the network that has used most is answered "not known" at once.
pub(crate) const WAITING_MAX: usize = 512;

/// Who waits, with what is needed to answer.
#[derive(Debug)]
pub(crate) struct Desk<T> {
    waiting: Vec<(Origin, T)>,
    turns: Turns,
}

impl<T> Default for Desk<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), turns: Turns::new() }
    }
}

impl<T> Desk<T> {
    /// Somebody waits. What is returned has no turn.
    pub(crate) fn wants(&mut self, origin: Origin, attempt: T, now: u64) -> Option<T> {
        self.waiting.push((origin, attempt));
        if self.waiting.len() <= WAITING_MAX {
            return None;
        }
        let place = self.turns.last(self.places(), now)?;
        Some(self.waiting.remove(place).1)
    }

    /// Who is next.
    pub(crate) fn next(&mut self, now: u64) -> Option<(Origin, T)> {
        let place = self.turns.next(self.places(), now)?;
        Some(self.waiting.remove(place))
    }

    /// Those of whom that is so are not waited for any more.
    pub(crate) fn forget(&mut self, left: impl Fn(&T) -> bool) {
        self.waiting.retain(|(_, attempt)| !left(attempt));
    }

    /// One has taken so many milliseconds.
    pub(crate) fn took(&mut self, origin: Origin, milliseconds: u64, now: u64) {
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

    #[test]
    fn p13_an_owner_is_next_however_many_guess() {
        let attacker = |n: u32| Origin::of(IpAddr::V4(Ipv4Addr::from_bits((10 << 24) | n)));
        let owner = Origin::of("192.0.2.1".parse().unwrap());
        let mut desk = Desk::default();
        for n in 0..1000 {
            assert_eq!(desk.wants(attacker(n), n, 0).is_some(), n as usize >= WAITING_MAX, "{n}");
        }
        let (origin, _) = desk.next(0).unwrap();
        desk.took(origin, 100, 100);
        assert_eq!(desk.wants(owner, 7777, 100), None);
        assert_eq!(desk.next(100), Some((owner, 7777)));
    }

    #[test]
    fn issue_15_who_is_gone_takes_no_place() {
        let origin = |n: u32| Origin::of(IpAddr::V4(Ipv4Addr::from_bits((10 << 24) | (n << 8))));
        let mut desk = Desk::default();
        for n in 0..10 {
            assert_eq!(desk.wants(origin(n), n, 0), None);
        }
        desk.forget(|n| *n != 7);
        assert_eq!(desk.next(0), Some((origin(7), 7)));
        assert_eq!(desk.next(0), None);
    }
}
