//! Requests that wait for their turn: so many look-ups at once, handed out by network, because a client whose name servers don't
//! answer takes ten seconds of one (P13). Pure: the caller says the time, in milliseconds of a clock that does not go back.

use crate::lookup::QUESTIONS_MAX;
use gatepost_policy::share::Origin;
use gatepost_policy::turns::Turns;
use std::net::IpAddr;

/// Look-ups under way at once: one has one question under way at a time.
pub(crate) const AT_ONCE: usize = QUESTIONS_MAX;
/// Requests that wait; of more, one of the network that has used most is answered "temporary" at once.
pub(crate) const WAITING_MAX: usize = 1024;

/// Who waits, with what is needed to answer.
#[derive(Debug)]
pub(crate) struct Desk<T> {
    waiting: Vec<(IpAddr, T)>,
    running: usize,
    turns: Turns,
}

impl<T> Default for Desk<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), running: 0, turns: Turns::new() }
    }
}

impl<T> Desk<T> {
    /// A client's names are wanted. What is returned gets no look-up.
    pub(crate) fn wants(&mut self, client: IpAddr, request: T, now: u64) -> Option<T> {
        self.waiting.push((client, request));
        if self.waiting.len() <= WAITING_MAX {
            return None;
        }
        let place = self.turns.last(self.places(), now)?;
        Some(self.waiting.remove(place).1)
    }

    /// The next look-up to begin, if there is room for one.
    pub(crate) fn next(&mut self, now: u64) -> Option<(IpAddr, T)> {
        if self.running >= AT_ONCE {
            return None;
        }
        let place = self.turns.next(self.places(), now)?;
        self.running = self.running.saturating_add(1);
        Some(self.waiting.remove(place))
    }

    /// One that was begun has ended, after so many milliseconds.
    pub(crate) fn ended(&mut self, client: IpAddr, took: u64, now: u64) {
        self.running = self.running.saturating_sub(1);
        self.turns.spend(Origin::of(client), took.saturating_add(1), now);
    }

    fn places(&self) -> impl Iterator<Item = (usize, Origin)> {
        self.waiting.iter().enumerate().map(|(place, (client, _))| (place, Origin::of(*client)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn attacker(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits((10 << 24) | n))
    }

    #[test]
    fn p13_clients_whose_name_servers_are_silent_wait_behind_all_others() {
        let mut desk = Desk::default();
        let newcomer: IpAddr = "192.0.2.1".parse().unwrap();
        for n in 0..5000 {
            let refused = desk.wants(attacker(n), n, 0);
            assert_eq!(refused.is_some(), n >= u32::try_from(WAITING_MAX).unwrap(), "{n}");
        }
        let mut begun = Vec::new();
        while let Some((client, _)) = desk.next(0) {
            begun.push(client);
        }
        assert_eq!(begun.len(), AT_ONCE);
        // Each takes all of its time; the first that ends makes room for whoever used nothing.
        desk.ended(begun.remove(0), 10_000, 10_000);
        assert_eq!(desk.wants(newcomer, 1, 10_000), None);
        assert_eq!(desk.next(10_000).map(|(client, _)| client), Some(newcomer));
        assert_eq!(desk.next(10_000), None);
    }
}
