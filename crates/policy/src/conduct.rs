//! How an address (IPv6: a /64) has behaved, and what it has to bear for that.
//!
//! Behind one address may be many, and the sender of good mail must not pay for a neighbour (P13): who delivers a message has
//! credit for an hour, and with it all offences are forgiven. Too many offences slow an address down at first: each of its
//! sessions is greeted [`SLOW_PAUSE`] late. One that goes on is turned away, without credit only, for [`REFUSED`] at a time and
//! never longer. A session that crashed has its address turned away at once, each time longer, but with credit no longer than
//! the first time: whoever brute-forces a memory error by trial has few.
//!
//! Memory is bounded by [`ADDRESSES_MAX`]. Times are milliseconds of any clock that does not go back.

use crate::bounded::forget_half;
use crate::share::{Network, Origin};
use std::collections::BTreeMap;

/// Addresses remembered at once for each of: offences, sanctions, credit. Beyond, half of them are forgotten: the fewest
/// offences, the sanctions and the credit that end first. To be rid of a sanction an attacker needs as many other addresses,
/// each of which could have tried in its own right.
pub const ADDRESSES_MAX: usize = 8192;
/// An address has credit for so long after a message was delivered for it.
pub const CREDIT: u64 = 3_600_000;
/// How long an address is slow.
pub const SLOW: u64 = 60_000;
/// How late its sessions are greeted meanwhile.
pub const SLOW_PAUSE: u16 = 2_000;
/// How long an address is turned away that goes on.
pub const REFUSED: u64 = 10_000;
/// How long it is turned away for the first crash; each further one is twice the one before.
pub const CRASH_FIRST: u64 = 10_000;
/// The longest that it is turned away for a crash.
pub const CRASH_LONGEST: u64 = 600_000;
/// After the end of it, this long without another crash undoes one doubling.
pub const CRASH_DECAY: u64 = 600_000;
/// Milliseconds in which one unit drains out of a bucket of offences.
const OFFENCE_DECAY: u64 = 10_000;

/// How a session can end that has consequences only when it happens often. With room for 30, a dictionary of names, tried a hundred a session, is slowed down with
/// the eleventh session; a sender whose handshakes fail and who then comes back in clear is left alone up to six a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// It overstepped a limit and was told 421.
    Abuse,
    /// Its TLS handshake failed.
    TlsFailed,
}

impl Offence {
    fn weight(self) -> u32 {
        match self {
            Self::Abuse => 3,
            Self::TlsFailed => 1,
        }
    }
}

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ending {
    /// A message was delivered.
    pub delivered: bool,
    /// It ended badly.
    pub offence: Option<Offence>,
    /// Its process died of what the client sent.
    pub crashed: bool,
}

/// What an address has to bear from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sanction {
    /// Its sessions are greeted late.
    Slow,
    /// It is turned away for so many milliseconds.
    Refused(u64),
}

/// How a new client is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As everybody.
    Good,
    /// It is greeted late.
    Slow,
    /// It is turned away, for so many milliseconds more.
    Refused(u64),
}

/// Offences of one address: a leaky bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    fill: u32,
    at: u64,
}

impl Bucket {
    fn fill_at(self, now: u64) -> u32 {
        let drained = now.saturating_sub(self.at) / OFFENCE_DECAY;
        self.fill.saturating_sub(u32::try_from(drained).unwrap_or(u32::MAX))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Sanctions {
    slow_until: u64,
    refused_until: u64,
    /// Doublings that the next crash starts from.
    crashes: u32,
}

impl Sanctions {
    /// What is left of the doublings after the quiet time up to `now`.
    fn crashes_at(self, now: u64) -> u32 {
        let undone = now.saturating_sub(self.refused_until) / CRASH_DECAY;
        self.crashes.saturating_sub(u32::try_from(undone).unwrap_or(u32::MAX))
    }
}

/// What is remembered of addresses.
#[derive(Debug)]
pub struct Conduct {
    /// What a bucket of offences holds; 0: they are not counted.
    offences_max: u32,
    offences: BTreeMap<Network, Bucket>,
    sanctions: BTreeMap<Network, Sanctions>,
    /// Until when an address has credit.
    credit: BTreeMap<Network, u64>,
}

impl Conduct {
    /// Nobody is known. Offences beyond `offences_max` have consequences; 0: they are not counted.
    #[must_use]
    pub fn new(offences_max: u32) -> Self {
        Self { offences_max, offences: BTreeMap::new(), sanctions: BTreeMap::new(), credit: BTreeMap::new() }
    }

    /// How a new client at `origin` is treated.
    #[must_use]
    pub fn standing(&self, origin: Origin, now: u64) -> Standing {
        match self.sanctions.get(&origin.address()) {
            Some(sanctions) if now < sanctions.refused_until => {
                Standing::Refused(sanctions.refused_until.saturating_sub(now))
            }
            Some(sanctions) if now < sanctions.slow_until => Standing::Slow,
            _ => Standing::Good,
        }
    }

    /// A session of a client at `origin` has ended so. What its address has to bear for that, if anything.
    pub fn ended(&mut self, origin: Origin, ending: Ending, now: u64) -> Option<Sanction> {
        let address = origin.address();
        if ending.delivered {
            self.delivered(address, now);
        }
        let credit = self.credit.get(&address).is_some_and(|until| now < *until);
        if ending.crashed {
            return Some(self.crashed(address, credit, now));
        }
        let full = self.is_too_much(address, ending.offence?, now);
        if !full {
            return None;
        }
        let sanctions = self.sanctions_of(address);
        if now < sanctions.slow_until && !credit {
            sanctions.refused_until = sanctions.refused_until.max(now.saturating_add(REFUSED));
            sanctions.slow_until = sanctions.refused_until.saturating_add(SLOW);
            return Some(Sanction::Refused(REFUSED));
        }
        sanctions.slow_until = now.saturating_add(SLOW);
        Some(Sanction::Slow)
    }

    /// Addresses that have something to bear now.
    #[must_use]
    pub(crate) fn sanctioned(&self, now: u64) -> usize {
        self.sanctions.values().filter(|s| now < s.slow_until.max(s.refused_until)).count()
    }

    /// Forgets what an address has done, and what it has to bear for that.
    pub fn forgive(&mut self, origin: Origin) {
        self.offences.remove(&origin.address());
        self.sanctions.remove(&origin.address());
    }

    /// Addresses remembered for offences, sanctions and credit.
    #[must_use]
    pub fn remembered(&self) -> [usize; 3] {
        [self.offences.len(), self.sanctions.len(), self.credit.len()]
    }

    fn delivered(&mut self, address: Network, now: u64) {
        self.offences.remove(&address);
        if let Some(sanctions) = self.sanctions.get_mut(&address) {
            sanctions.slow_until = 0;
            if sanctions.crashes == 0 {
                sanctions.refused_until = 0;
            }
        }
        self.credit.insert(address, now.saturating_add(CREDIT));
        if self.credit.len() > ADDRESSES_MAX {
            forget_half(&mut self.credit, |until| *until);
        }
    }

    fn crashed(&mut self, address: Network, credit: bool, now: u64) -> Sanction {
        let sanctions = self.sanctions_of(address);
        let before = sanctions.crashes_at(now);
        let doublings = if credit { 0 } else { before };
        let doubled = 1_u64.checked_shl(doublings).and_then(|factor| CRASH_FIRST.checked_mul(factor));
        let length = doubled.map_or(CRASH_LONGEST, |length| length.min(CRASH_LONGEST));
        // Beyond the longest there is nothing to double, and nothing that should take longer to decay.
        sanctions.crashes = if credit || length == CRASH_LONGEST { before } else { before.saturating_add(1) };
        sanctions.refused_until = sanctions.refused_until.max(now.saturating_add(length));
        Sanction::Refused(length)
    }

    /// Counts an offence. True when the bucket runs over, which empties it.
    fn is_too_much(&mut self, address: Network, offence: Offence, now: u64) -> bool {
        if self.offences_max == 0 {
            return false;
        }
        let before = self.offences.get(&address).copied();
        let fill = before.map_or(0, |bucket| bucket.fill_at(now)).saturating_add(offence.weight());
        if fill > self.offences_max {
            self.offences.remove(&address);
            return true;
        }
        // What has begun to drain goes on draining: an offence every nine seconds is not one without a pause.
        let part = before
            .filter(|bucket| bucket.fill_at(now) > 0)
            .map_or(0, |bucket| now.saturating_sub(bucket.at) % OFFENCE_DECAY);
        self.offences.insert(address, Bucket { fill, at: now.saturating_sub(part) });
        if self.offences.len() > ADDRESSES_MAX {
            self.offences.retain(|_, bucket| bucket.fill_at(now) > 0);
            forget_half(&mut self.offences, |bucket| bucket.fill_at(now).into());
        }
        false
    }

    fn sanctions_of(&mut self, address: Network) -> &mut Sanctions {
        if self.sanctions.len() >= ADDRESSES_MAX && !self.sanctions.contains_key(&address) {
            forget_half(&mut self.sanctions, |sanctions| sanctions.refused_until.max(sanctions.slow_until));
        }
        self.sanctions.entry(address).or_default()
    }
}
