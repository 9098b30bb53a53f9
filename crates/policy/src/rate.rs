//! How often something may happen for the clients of one address (IPv6: a /64), and of the network around it (IPv4 /24, IPv6
//! /48), which has [`SITE`] times as much.
//!
//! Token buckets: an address may use all of its rate at once, and gets it back evenly. What is refused costs nothing, so whoever
//! comes too often has his rate and no less, and is never locked out by himself.
//!
//! Nor by his neighbours (P13), however many they are and however often they come: once somebody found the network's bucket empty,
//! the last of it is for whoever has waited longest since he got something. What an address must leave to others is the less, the
//! longer it has waited, and nothing for one that got nothing yet. So hundreds of hosts of one provider get their turns, also when
//! they always come in the same order.
//!
//! Memory is bounded by [`ADDRESSES_MAX`] for each of the two levels; beyond, those are forgotten whose buckets are nearest to empty:
//! an address that is forgotten may do more than before, never less. Times are milliseconds of any clock that does not go back.

use crate::bounded::forget_half;
use crate::share::{Network, Origin};
use gatepost_wire::rate::Rate;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Addresses, and networks, remembered at once.
pub const ADDRESSES_MAX: usize = 8192;
/// How many times the rate of an address the network around it has.
pub const SITE: u64 = 4;
/// For so many times the period of the rate, addresses leave something to others after one of their network was refused.
const CONTESTED: u64 = 2;

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// When nothing of it will be used any more, in parts.
    unused: u64,
    /// Of an address: when it got something last. Of a network: until when its addresses leave something to others.
    at: u64,
}

/// The buckets of one level. Their contents are counted in parts of a token: `speed` of them come back in a millisecond.
#[derive(Debug)]
struct Level<Of> {
    /// Parts a millisecond.
    speed: u64,
    /// Parts of a whole bucket.
    whole: u64,
    buckets: BTreeMap<Of, Bucket>,
}

impl<Of: Ord + Copy> Level<Of> {
    fn new(rate: Rate, factor: u64) -> Self {
        let speed = u64::from(rate.count.max(1)).saturating_mul(factor);
        Self { speed, whole: speed.saturating_mul(period(rate)), buckets: BTreeMap::new() }
    }

    /// Parts that are used.
    fn used(&self, whose: Of, now: u64) -> u64 {
        let unused = self.buckets.get(&whose).map_or(0, |bucket| bucket.unused);
        unused.saturating_sub(now.saturating_mul(self.speed))
    }

    fn at(&self, whose: Of) -> Option<u64> {
        self.buckets.get(&whose).map(|bucket| bucket.at)
    }

    fn take(&mut self, whose: Of, parts: u64, now: u64) {
        let used = self.used(whose, now).saturating_add(parts);
        self.bucket(whose, now).unused = now.saturating_mul(self.speed).saturating_add(used);
    }

    fn bucket(&mut self, whose: Of, now: u64) -> &mut Bucket {
        if self.buckets.len() >= ADDRESSES_MAX && !self.buckets.contains_key(&whose) {
            let back = now.saturating_mul(self.speed);
            forget_half(&mut self.buckets, |bucket| bucket.unused.saturating_sub(back));
        }
        self.buckets.entry(whose).or_default()
    }
}

/// Milliseconds in which as many tokens come back as a bucket holds. One token has as many parts.
fn period(rate: Rate) -> u64 {
    u64::from(rate.seconds.max(1)).saturating_mul(1000)
}

/// What the clients of each address have used of one rate.
#[derive(Debug)]
pub struct Used(Option<Measured>);

#[derive(Debug)]
struct Measured {
    /// Parts of a token, and milliseconds in which a bucket fills.
    token: u64,
    addresses: Level<Network>,
    sites: Level<Network>,
}

impl Used {
    /// Nothing, of that rate; none: nothing is measured, and everything may happen.
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Self {
        Self(rate.map(|rate| Measured {
            token: period(rate),
            addresses: Level::new(rate, 1),
            sites: Level::new(rate, SITE),
        }))
    }

    /// Whether it may happen once more for a client at `origin`. If the network around it has no more, others there leave it
    /// something from now on.
    #[must_use]
    pub fn may(&mut self, origin: Origin, now: u64) -> bool {
        self.0.as_mut().is_none_or(|measured| measured.may(origin, now))
    }

    /// It has happened once more.
    pub fn count(&mut self, origin: Origin, now: u64) {
        if let Some(measured) = &mut self.0 {
            measured.count(origin, now);
        }
    }

    /// What the address has used is forgiven, and the network around it has it back.
    pub fn forgive(&mut self, origin: Origin, now: u64) {
        let Some(Measured { addresses, sites, .. }) = &mut self.0 else { return };
        let [_, site, address] = origin.path();
        let used = addresses.used(address, now);
        addresses.buckets.remove(&address);
        if let Some(bucket) = sites.buckets.get_mut(&site) {
            bucket.unused = bucket.unused.saturating_sub(used);
        }
    }

    /// Addresses and networks remembered.
    #[must_use]
    pub fn remembered(&self) -> [usize; 2] {
        self.0.as_ref().map_or([0; 2], |measured| [measured.addresses.buckets.len(), measured.sites.buckets.len()])
    }
}

/// What each login has used of one rate, from whatever addresses. A login is known by a hash, so that its length costs no memory.
/// Two with the same hash share a bucket; nobody logs in by a name of his own choice.
#[derive(Debug)]
pub struct UsedByLogin(Option<(u64, Level<u64>)>);

impl UsedByLogin {
    /// Nothing, of that rate; none: nothing is measured, and everything may happen.
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Self {
        Self(rate.map(|rate| (period(rate), Level::new(rate, 1))))
    }

    /// Whether it may happen once more for a login.
    #[must_use]
    pub fn may(&self, login: &str, now: u64) -> bool {
        self.0.as_ref().is_none_or(|(token, level)| level.used(key(login), now).saturating_add(*token) <= level.whole)
    }

    /// It has happened once more.
    pub fn count(&mut self, login: &str, now: u64) {
        if let Some((token, level)) = &mut self.0 {
            level.take(key(login), *token, now);
        }
    }
}

fn key(login: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    login.hash(&mut hasher);
    hasher.finish()
}

impl Measured {
    fn may(&mut self, origin: Origin, now: u64) -> bool {
        let [_, site, address] = origin.path();
        if self.addresses.used(address, now).saturating_add(self.token) > self.addresses.whole {
            return false;
        }
        let contested = self.sites.at(site).is_some_and(|until| now < until);
        let left = if contested { self.leaves(address, now) } else { 0 };
        let room = self.sites.whole.saturating_sub(self.sites.used(site, now));
        let may = self.token.saturating_add(left) <= room;
        if !may {
            self.sites.bucket(site, now).at = now.saturating_add(self.token.saturating_mul(CONTESTED));
        }
        may
    }

    /// Parts of the network's bucket that this address leaves to those that have waited for longer: as much as a bucket of its own
    /// holds when it has just got something, half of that after the time in which its own fills, and so on.
    fn leaves(&self, address: Network, now: u64) -> u64 {
        let Some(last) = self.addresses.at(address) else { return 0 };
        let waited = u128::from(self.token.saturating_add(now.saturating_sub(last)));
        let left = u128::from(self.addresses.whole).saturating_mul(self.token.into()).checked_div(waited);
        left.and_then(|left| u64::try_from(left).ok()).unwrap_or_default()
    }

    fn count(&mut self, origin: Origin, now: u64) {
        let [_, site, address] = origin.path();
        self.addresses.take(address, self.token, now);
        self.addresses.bucket(address, now).at = now;
        self.sites.take(site, self.token, now);
    }
}
