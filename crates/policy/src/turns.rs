//! Whose turn it is when several want one thing that only one can have at a time: the keyholder's processor (P13).
//!
//! [`Turns`] remembers what each network has used lately and serves the one that used least, from the widest networks to
//! addresses, as [`crate::share`] does for what is held. Whoever keeps it busy waits behind everybody who does not, for no
//! longer than one piece of work, and nobody is refused. What was used is forgotten by halves, one a second.
//!
//! Pure: the caller says the time, in milliseconds of a clock that does not go back. Memory is bounded by [`NETWORKS_MAX`].

use crate::bounded::forget_half;
use crate::share::{Network, Origin};
use std::collections::BTreeMap;

/// Networks remembered at once. When there would be more, those that used least are forgotten.
pub const NETWORKS_MAX: usize = 12 * 1024;
/// Time after which half of what was used is forgotten, milliseconds.
pub(crate) const HALF_LIFE: u64 = 1000;

#[derive(Debug, Clone, Copy)]
struct Used {
    amount: u64,
    at: u64,
}

impl Used {
    fn now(self, now: u64) -> u64 {
        self.halved(now).amount
    }

    /// What is left, and when it was last halved: what is used in between does not put that off.
    fn halved(self, now: u64) -> Self {
        let halves = now.saturating_sub(self.at) / HALF_LIFE;
        let amount = u32::try_from(halves).ok().and_then(|halves| self.amount.checked_shr(halves)).unwrap_or(0);
        Self { amount, at: self.at.saturating_add(halves.saturating_mul(HALF_LIFE)) }
    }
}

/// What each network has used lately.
#[derive(Debug, Default)]
pub struct Turns {
    used: BTreeMap<Network, Used>,
}

impl Turns {
    /// Nobody has used anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of those that wait, the one whose networks have used least; of equals the first. None when nobody waits.
    pub fn next<K>(&self, waiting: impl IntoIterator<Item = (K, Origin)>, now: u64) -> Option<K> {
        let used = |network| self.used(network, now);
        waiting.into_iter().min_by_key(|(_, origin)| origin.path().map(used)).map(|(id, _)| id)
    }

    /// Of those that wait, the one whose networks have used most; of equals the last. None when nobody waits.
    pub fn last<K>(&self, waiting: impl IntoIterator<Item = (K, Origin)>, now: u64) -> Option<K> {
        let used = |network| self.used(network, now);
        waiting.into_iter().max_by_key(|(_, origin)| origin.path().map(used)).map(|(id, _)| id)
    }

    /// What all in a network have used lately.
    pub(crate) fn used(&self, network: Network, now: u64) -> u64 {
        self.used.get(&network).map_or(0, |used| used.now(now))
    }

    /// A client at `origin` has used `amount`, in any unit, at `now`.
    pub fn spend(&mut self, origin: Origin, amount: u64, now: u64) {
        for network in origin.path() {
            let used = self.used.entry(network).or_insert(Used { amount: 0, at: now });
            *used = used.halved(now);
            used.amount = used.amount.saturating_add(amount);
        }
        if self.used.len() > NETWORKS_MAX {
            // What is used up is nothing to remember.
            self.used.retain(|_, used| used.now(now) > 0);
            forget_half(&mut self.used, |used| used.now(now));
        }
    }

    /// Networks remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.used.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    #[test]
    fn p13_whoever_used_least_is_served_first_on_each_level() {
        let mut turns = Turns::new();
        turns.spend(origin("10.0.0.1"), 3000, 0);
        turns.spend(origin("10.0.0.2"), 100, 0);
        turns.spend(origin("10.1.0.1"), 2000, 0);
        for (waiting, expected) in [
            (&["10.0.0.1", "10.1.0.1"][..], "10.1.0.1"),
            (&["10.0.0.1", "10.0.0.2"], "10.0.0.2"),
            (&["10.1.0.9", "2001:db8::1"], "2001:db8::1"),
            (&["10.0.1.1", "10.0.0.2"], "10.0.1.1"),
            (&["192.0.2.1", "198.51.100.1"], "192.0.2.1"),
            (&["10.0.0.1"], "10.0.0.1"),
        ] {
            let waiting = waiting.iter().map(|text| (*text, origin(text)));
            assert_eq!(turns.next(waiting, 0), Some(expected));
        }
        let waiting = ["10.0.0.1", "192.0.2.1"].map(|text| (text, origin(text)));
        assert_eq!(turns.last(waiting, 0), Some("10.0.0.1"));
        assert_eq!(turns.next::<u8>([], 0), None);
    }

    #[test]
    fn p13_what_was_used_is_forgotten_by_halves() {
        let mut turns = Turns::new();
        turns.spend(origin("10.0.0.1"), 1024, 0);
        turns.spend(origin("10.1.0.1"), 600, 0);
        let both = || [("first", origin("10.0.0.1")), ("second", origin("10.1.0.1"))];
        assert_eq!(turns.next(both(), 0), Some("second"));
        turns.spend(origin("10.1.0.1"), 400, HALF_LIFE);
        assert_eq!(turns.next(both(), HALF_LIFE), Some("first"), "512 against 700");
        assert_eq!(turns.next(both(), 100 * HALF_LIFE), Some("first"), "both nothing");
    }

    #[test]
    fn p13_who_uses_it_all_the_time_is_forgotten_as_well() {
        let mut turns = Turns::new();
        for step in 0..7200 {
            turns.spend(origin("10.0.0.1"), 100, step * HALF_LIFE / 2);
        }
        // An hour of it counts no more than the last seconds.
        let now = 3600 * HALF_LIFE;
        turns.spend(origin("10.1.0.1"), 1000, now);
        let both = [("all the time", origin("10.0.0.1")), ("at once", origin("10.1.0.1"))];
        assert_eq!(turns.next(both, now), Some("all the time"));
    }

    #[test]
    fn p13_a_newcomer_waits_for_one_piece_of_work_whoever_attacks() {
        // A thousand addresses of 100 networks ask all the time; each piece of work is worth 3000.
        let mut turns = Turns::new();
        let attackers: Vec<Origin> = (0..1000_u32)
            .map(|n| Origin::of(IpAddr::V4(Ipv4Addr::from_bits((10 << 24) | ((n % 100) << 16) | n))))
            .collect();
        for step in 0..600 {
            let now = step * 3;
            let served = turns.next(attackers.iter().map(|origin| (*origin, *origin)), now).unwrap();
            turns.spend(served, 3000, now);
            let newcomer = (origin("192.0.2.1"), origin("192.0.2.1"));
            if step > 100 {
                let waiting = attackers.iter().map(|origin| (*origin, *origin)).chain([newcomer]);
                assert_eq!(turns.next(waiting, now), Some(newcomer.0), "step {step}");
            }
        }
    }

    #[test]
    fn p6_what_is_remembered_is_bounded_and_the_heaviest_stay() {
        let mut turns = Turns::new();
        turns.spend(origin("192.0.2.1"), 1 << 40, 0);
        for n in 0..100_000_u32 {
            turns.spend(Origin::of(IpAddr::V4(Ipv4Addr::from_bits((10 << 24) | (n << 4)))), 3000, 0);
            assert!(turns.remembered() <= NETWORKS_MAX);
        }
        let waiting = [("heavy", origin("192.0.2.1")), ("light", origin("10.0.0.0"))];
        assert_eq!(turns.next(waiting, 0), Some("light"));
    }
}
