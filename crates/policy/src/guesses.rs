//! Wrong passwords: how late their answer comes, by where they came from and by whose they were meant to be.
//!
//! Only a refusal is late: who knows the password waits for nobody's guesses, so nobody can lock out an owner (P13). What a guesser can
//! try is bounded by the sessions that he may have at once, each of which waits. Memory is bounded by `REMEMBERED_MAX`. Times are
//! milliseconds of any clock that does not go back.

use crate::bounded::forget_half;
use crate::share::{Network, Origin};
use std::collections::BTreeMap;

/// Addresses, and logins, remembered at once. Beyond, half of them are forgotten: those with the fewest wrong passwords.
pub(crate) const REMEMBERED_MAX: usize = 8192;
/// How late the answer to the first wrong password is; each further one from the same address is twice as late.
pub const FIRST: u64 = 1000;
/// The latest.
pub(crate) const LATEST: u64 = 10_000;
/// How much later an answer is for each wrong password for the same login, from wherever.
const EACH: u64 = 50;
/// The most that others' guesses add to one's own.
const OTHERS_MAX: u64 = 3000;
/// Milliseconds after which one wrong password is forgotten.
const DECAY: u64 = 60_000;

/// A leaky bucket.
#[derive(Debug, Clone, Copy)]
struct Count {
    fill: u64,
    at: u64,
}

impl Count {
    /// What is left, and when one was last forgotten: another wrong password does not put off the next.
    fn now(self, now: u64) -> Self {
        let forgotten = now.saturating_sub(self.at) / DECAY;
        Self { fill: self.fill.saturating_sub(forgotten), at: self.at.saturating_add(forgotten.saturating_mul(DECAY)) }
    }
}

/// What is remembered.
#[derive(Debug, Default)]
pub struct Guesses {
    addresses: BTreeMap<Network, Count>,
    logins: BTreeMap<Box<[u8]>, Count>,
}

impl Guesses {
    /// A wrong password for `login` from `origin`: how long to wait before it is refused. None: only the source of logins knows whose.
    pub fn wrong(&mut self, origin: Origin, login: Option<&[u8]>, now: u64) -> u64 {
        let own = one_more(&mut self.addresses, origin.address(), now);
        let all = login.map_or(own, |login| one_more(&mut self.logins, login.into(), now));
        let doublings = u32::try_from(own.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        let late = FIRST.saturating_mul(1_u64 << doublings);
        let others = all.saturating_sub(own).saturating_mul(EACH).min(OTHERS_MAX);
        late.saturating_add(others).min(LATEST)
    }

    /// A right one: whoever knows it has only mistyped before.
    pub fn right(&mut self, origin: Origin) {
        self.addresses.remove(&origin.address());
    }
}

/// How many there are with this one.
fn one_more<K: Ord>(counts: &mut BTreeMap<K, Count>, key: K, now: u64) -> u64 {
    let before = counts.get(&key).map(|count| count.now(now)).filter(|count| count.fill > 0);
    let Count { fill, at } = before.unwrap_or(Count { fill: 0, at: now });
    let fill = fill.saturating_add(1);
    counts.insert(key, Count { fill, at });
    if counts.len() > REMEMBERED_MAX {
        forget_half(counts, |count| count.now(now).fill);
    }
    fill
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn at(n: u32) -> Origin {
        Origin::of(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | n)))
    }

    #[test]
    fn issue_15_each_guess_of_an_address_is_answered_later_than_the_one_before() {
        let mut guesses = Guesses::default();
        let late: Vec<u64> = (0..6).map(|_| guesses.wrong(at(1), Some(b"joe"), 0)).collect();
        assert_eq!(late, [1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(guesses.wrong(at(2), Some(b"ann"), 0), 1000, "another address, another login");
        guesses.right(at(1));
        assert!(guesses.wrong(at(1), Some(b"joe"), 0) <= 1000 + 6 * EACH);
        assert_eq!(guesses.wrong(at(1), Some(b"joe"), 60 * DECAY), 1000, "forgotten after an hour");
    }

    #[test]
    fn issue_15_who_mistypes_all_the_time_is_forgiven_as_well() {
        let mut guesses = Guesses::default();
        // A client with an old password, which tries once in fifty-nine seconds.
        let late = (0..50).map(|n| guesses.wrong(at(1), None, n * 59_000)).max();
        assert_eq!(late, Some(2000));
    }

    #[test]
    fn issue_15_guesses_from_a_thousand_addresses_are_late_and_an_owner_s_mistake_is_not_much_later() {
        let mut guesses = Guesses::default();
        for n in 0..10_000 {
            assert!(guesses.wrong(at(n % 1000), Some(b"joe"), u64::from(n)) >= 1000);
        }
        assert_eq!(guesses.wrong(at(5000), Some(b"joe"), 10_000), 1000 + OTHERS_MAX);
    }

    #[test]
    fn p13_memory_is_bounded() {
        let mut guesses = Guesses::default();
        for n in 0..20_000_u32 {
            guesses.wrong(at(n), Some(&n.to_le_bytes()), 0);
        }
        assert!(guesses.addresses.len() <= REMEMBERED_MAX && guesses.logins.len() <= REMEMBERED_MAX);
    }
}
