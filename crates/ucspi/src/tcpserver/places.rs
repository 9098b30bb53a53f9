//! How many connections one address or network has, and how often it has come. Exact: never one more than allowed, and none refused
//! while there are fewer. Memory is bounded by the number of connections and by `REMEMBERED`.

use super::long::{Limits, Rate};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// Addresses and networks, each, whose rates are remembered. Beyond, the one that is nearest to being forgotten is.
pub(crate) const REMEMBERED: usize = 65_536;

/// Why a connection gets no process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its address has this many.
    Address(u32),
    /// Its network has this many.
    Prefix(u32),
    /// Its address has come too often.
    AddressRate(Rate),
    /// Its network has come too often.
    PrefixRate(Rate),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(most) => write!(f, "its address has {most} connections"),
            Self::Prefix(most) => write!(f, "its network has {most} connections"),
            Self::AddressRate(rate) => write!(f, "its address has come {} times in {} s", rate.count, rate.seconds),
            Self::PrefixRate(rate) => write!(f, "its network has come {} times in {} s", rate.count, rate.seconds),
        }
    }
}

/// The leading bits of an address: 32 of IPv4 or 64 of IPv6, and of those the network's 24 or 48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    V4(u32),
    V6(u64),
}

impl Part {
    fn address(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }

    fn prefix(self) -> Self {
        match self {
            Self::V4(bits) => Self::V4(bits & 0xffff_ff00),
            Self::V6(bits) => Self::V6(bits & 0xffff_ffff_ffff_0000),
        }
    }
}

/// Who has how many places.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    addresses: BTreeMap<Part, u32>,
    prefixes: BTreeMap<Part, u32>,
    address_visits: Visits,
    prefix_visits: Visits,
}

impl Places {
    /// None taken.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (address, prefix) = (limits.address_rate, limits.prefix_rate);
        Self {
            limits,
            addresses: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            address_visits: Visits::new(address),
            prefix_visits: Visits::new(prefix),
        }
    }

    /// Takes a place. `now`: milliseconds of a clock that does not go back.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is counted then.
    pub fn take(&mut self, ip: IpAddr, now: u64) -> Result<(), Refusal> {
        let address = Part::address(ip);
        let (of_address, of_prefix) = self.held(ip);
        if let Some(most) = self.limits.per_address.filter(|most| of_address >= *most) {
            return Err(Refusal::Address(most));
        }
        if let Some(most) = self.limits.per_prefix.filter(|most| of_prefix >= *most) {
            return Err(Refusal::Prefix(most));
        }
        // Both are asked before either is told: a visit that is refused is none.
        if let Some(rate) = self.address_visits.too_many(address, now) {
            return Err(Refusal::AddressRate(rate));
        }
        if let Some(rate) = self.prefix_visits.too_many(address.prefix(), now) {
            return Err(Refusal::PrefixRate(rate));
        }
        self.address_visits.note(address, now);
        self.prefix_visits.note(address.prefix(), now);
        add(&mut self.addresses, address);
        add(&mut self.prefixes, address.prefix());
        Ok(())
    }

    /// Gives a place back.
    pub fn give_back(&mut self, ip: IpAddr) {
        let address = Part::address(ip);
        subtract(&mut self.addresses, address);
        subtract(&mut self.prefixes, address.prefix());
    }

    /// Places that this address has, and its network.
    #[must_use]
    pub fn held(&self, ip: IpAddr) -> (u32, u32) {
        let address = Part::address(ip);
        let count = |all: &BTreeMap<Part, u32>, part| all.get(&part).copied().unwrap_or_default();
        (count(&self.addresses, address), count(&self.prefixes, address.prefix()))
    }
}

fn add(counts: &mut BTreeMap<Part, u32>, part: Part) {
    let count = counts.entry(part).or_default();
    *count = count.saturating_add(1);
}

fn subtract(counts: &mut BTreeMap<Part, u32>, part: Part) {
    match counts.get_mut(&part) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            counts.remove(&part);
        }
    }
}

/// How often who has come: for each the time at which it will be as if it never had (the generic cell rate algorithm). Times are in
/// parts of a millisecond, as many as the rate counts visits: so each visit takes a whole number of them, and no rate is rounded.
#[derive(Debug)]
struct Visits {
    rate: Option<Rate>,
    clear_at: BTreeMap<Part, u128>,
    order: BTreeSet<(u128, Part)>,
}

impl Visits {
    fn new(rate: Option<Rate>) -> Self {
        Self { rate, clear_at: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// The rate, where one visit more is over it.
    fn too_many(&self, who: Part, now: u64) -> Option<Rate> {
        let rate = self.rate?;
        let now = parts(rate, now);
        let used = self.clear_at.get(&who).copied().unwrap_or_default().saturating_sub(now);
        (used.saturating_add(visit(rate)) > parts(rate, span(rate))).then_some(rate)
    }

    fn note(&mut self, who: Part, now: u64) {
        let Some(rate) = self.rate else { return };
        let now = parts(rate, now);
        while let Some((at, part)) = self.order.first().copied()
            && (at <= now || self.order.len() >= REMEMBERED)
        {
            self.order.remove(&(at, part));
            self.clear_at.remove(&part);
        }
        let before = self.clear_at.get(&who).copied();
        if let Some(before) = before {
            self.order.remove(&(before, who));
        }
        let clear_at = before.unwrap_or_default().max(now).saturating_add(visit(rate));
        self.clear_at.insert(who, clear_at);
        self.order.insert((clear_at, who));
    }
}

/// Milliseconds in parts.
fn parts(rate: Rate, milliseconds: u64) -> u128 {
    u128::from(milliseconds).saturating_mul(rate.count.max(1).into())
}

/// Parts of one visit: `count` of them are a span.
fn visit(rate: Rate) -> u128 {
    span(rate).into()
}

/// Milliseconds.
fn span(rate: Rate) -> u64 {
    u64::from(rate.seconds).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn issue_11_limits_are_exact() {
        let mut places = Places::new(Limits { per_address: Some(2), per_prefix: Some(3), ..Limits::default() });
        assert_eq!([places.take(ip(1), 0), places.take(ip(1), 0)], [Ok(()), Ok(())]);
        assert_eq!(places.take(ip(1), 0), Err(Refusal::Address(2)));
        assert_eq!(places.take(ip(2), 0), Ok(()));
        assert_eq!(places.take(ip(3), 0), Err(Refusal::Prefix(3)));
        assert_eq!(places.take([192, 0, 3, 1].into(), 0), Ok(()));
        // One IPv6 /64 is one address.
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!([places.take(v6("2001:db8::1"), 0), places.take(v6("2001:db8::2"), 0)], [Ok(()), Ok(())]);
        assert_eq!(places.take(v6("2001:db8::3"), 0), Err(Refusal::Address(2)));
        assert_eq!(places.take(v6("2001:db8:0:1::1"), 0), Ok(()));
        assert_eq!(places.take(v6("2001:db8:0:2::1"), 0), Err(Refusal::Prefix(3)));
        places.give_back(ip(1));
        assert_eq!(places.held(ip(1)), (1, 2));
        assert_eq!(places.take(v6("::ffff:192.0.2.1"), 0), Ok(()));
        for last in [1, 1, 2] {
            places.give_back(ip(last));
        }
        assert_eq!(places.held(ip(1)), (0, 0));
        assert_eq!(places.addresses.len(), 3);
    }

    #[test]
    fn issue_11_rates_are_exact_and_refusals_cost_nothing() {
        let rate = Rate { count: 3, seconds: 60 };
        let mut places = Places::new(Limits { address_rate: Some(rate), ..Limits::default() });
        for now in [0, 0, 5] {
            assert_eq!(places.take(ip(1), now), Ok(()), "{now}");
        }
        for now in [6, 10_000, 19_999] {
            assert_eq!(places.take(ip(1), now), Err(Refusal::AddressRate(rate)), "{now}");
        }
        assert_eq!(places.take(ip(2), 19_999), Ok(()));
        assert_eq!(places.take(ip(1), 20_000), Ok(()));
        assert_eq!(places.take(ip(1), 20_001), Err(Refusal::AddressRate(rate)));
        // What has been quiet is forgotten.
        assert_eq!(places.take(ip(3), 1_000_000), Ok(()));
        assert_eq!(places.address_visits.clear_at.len(), 1);
    }

    #[test]
    fn rates_that_do_not_divide_their_time_are_exact() {
        for (count, seconds) in [(600, 1), (1000, 1), (1001, 1), (5000, 1), (7, 1), (70_000, 60)] {
            let rate = Rate { count, seconds };
            let mut places = Places::new(Limits { address_rate: Some(rate), ..Limits::default() });
            let mut come = |times: u32, now| (0..times).filter(|_| places.take(ip(1), now).is_ok()).count() as u32;
            assert_eq!(come(2 * count, 1_000_000), count, "{count}/{seconds}s");
            // And so many in each of the following spans.
            for second in 1..=3 {
                let now = 1_000_000 + second * u64::from(seconds) * 1000;
                assert_eq!(come(2 * count, now), count, "{count}/{seconds}s, {second}");
            }
            let half = come(2 * count, 1_000_000 + u64::from(seconds) * 3500);
            assert_eq!(half, count / 2, "{count}/{seconds}s, half a span later");
        }
        // However late it is.
        let rate = Rate { count: u32::MAX, seconds: u32::MAX };
        let mut places = Places::new(Limits { prefix_rate: Some(rate), ..Limits::default() });
        assert_eq!(places.take(ip(1), u64::MAX), Ok(()));
        let rate = Rate { count: 2, seconds: 1 };
        let mut places = Places::new(Limits { prefix_rate: Some(rate), ..Limits::default() });
        let times = [(); 3].map(|()| places.take(ip(1), u64::MAX).is_ok());
        assert_eq!(times, [true, true, false]);
    }

    #[test]
    fn issue_11_what_is_remembered_is_bounded() {
        let rate = Rate { count: 1, seconds: 3600 };
        let mut places = Places::new(Limits { address_rate: Some(rate), ..Limits::default() });
        for n in 0..100_000_u32 {
            let ip = std::net::Ipv4Addr::from_bits(n).into();
            assert_eq!(places.take(ip, u64::from(n)), Ok(()));
            places.give_back(ip);
        }
        let visits = &places.address_visits;
        assert_eq!((visits.clear_at.len(), visits.order.len()), (REMEMBERED, REMEMBERED));
        assert!(places.addresses.is_empty());
    }
}
