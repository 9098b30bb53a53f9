//! Admission: how many sessions at once, in all and from one place, and who has to wait.
//!
//! Three bounds, each counted on what a client cannot choose freely:
//! - one IPv4 address or IPv6 /64 holds `sessions_per_address` sessions at most;
//! - one IPv4 /24 or IPv6 /48 cannot have the last tenth of the slots: they are for networks that have none;
//! - an address whose session crashed waits, each time longer: whoever brute-forces a memory error by trial has few. So does
//!   one whose sessions end badly all the time, though each of them is harmless: see [`Offence`].
//!
//! Memory is bounded by the number of slots and [`PENALTIES_MAX`]; nothing here grows with the number of clients seen.
//! Times are milliseconds of any clock that does not go back.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Penalties remembered at once. When one more is due, the one that ends first is forgiven.
pub const PENALTIES_MAX: usize = 4096;
/// First penalty, milliseconds; each further one is twice the one before.
pub const PENALTY_FIRST: u64 = 10_000;
/// Longest penalty, milliseconds.
pub const PENALTY_LONGEST: u64 = 3_600_000;
/// After the end of a penalty, this many milliseconds without another undo one doubling.
pub const PENALTY_DECAY: u64 = 600_000;
/// One slot in this many is kept for networks without a session.
const RESERVE_SHARE: u32 = 10;

/// Milliseconds in which one unit drains out of a bucket of offences.
const OFFENCE_DECAY: u64 = 10_000;

/// Beyond three of four slots taken, newcomers are served with little patience.
const STRESS_SHARE: u32 = 4;

/// Signals by which a session dies of what its client sent: faults, aborts, forbidden calls, spent limits. Not KILL or
/// TERM, which come from outside and are not the client's doing. Numbers of Linux on x86 and ARM.
const PEERS_FAULT: [u8; 9] = [
    4,  // ILL
    5,  // TRAP
    6,  // ABRT: a panic
    7,  // BUS
    8,  // FPE
    11, // SEGV
    24, // XCPU
    25, // XFSZ
    31, // SYS: seccomp
];

/// True when a session that was ended by `signal` earns its client a penalty.
#[must_use]
pub fn blames_peer(signal: u8) -> bool {
    PEERS_FAULT.contains(&signal)
}

/// How a session can end that is no crime once. With room for 30, a dictionary of names, tried a hundred a session, runs into a penalty
/// with the eleventh session; a sender whose handshakes fail and who then comes back in clear is left alone up to six a minute.
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

/// How much is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once.
    pub sessions: u32,
    /// Sessions at once from one IPv4 address or IPv6 /64.
    pub sessions_per_address: u32,
    /// What an address's bucket of [`Offence`]s holds; the one that makes it run over earns a penalty. 0: not counted.
    pub offences: u32,
}

/// Why a client is sent away, each with its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// All slots are taken, or all but those kept for other networks.
    Full,
    /// Its address has as many sessions as one may have.
    Address,
    /// A penalty runs for this many milliseconds more.
    Penalty(u64),
}

impl Refusal {
    /// The enhanced status code (RFC 3463) that goes with 421.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Full => "4.3.2",
            Self::Address | Self::Penalty(_) => "4.7.0",
        }
    }

    /// The reply in place of a greeting, CRLF included: a temporary one, so that no mail bounces.
    #[must_use]
    pub fn reply(self, hostname: &str) -> String {
        let text = match self {
            Self::Full => "all slots are taken, try again later",
            Self::Address => "too many connections from your address, try again later",
            Self::Penalty(_) => "not now, try again later",
        };
        format!("421 {} {hostname} {text}\r\n", self.status())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("no free slot"),
            Self::Address => f.write_str("too many sessions from this address"),
            Self::Penalty(left) => write!(f, "penalty for {} s more", left.div_ceil(1000)),
        }
    }
}

/// A client as it is counted: addresses are what one customer can change at will, networks what a site has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Network);

/// The leading bits of an address, the rest zero; families never mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Network {
    V4(u32),
    V6(u64),
}

impl Key {
    /// An IPv4 address, or an IPv6 /64: less than that is one host to its owner.
    fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(ip) => Network::V4(ip.to_bits()),
            IpAddr::V6(ip) => Network::V6((ip.to_bits() >> 64) as u64),
        })
    }

    /// The IPv4 /24 or IPv6 /48 around it: what one site is usually given.
    fn network(self) -> Network {
        match self.0 {
            Network::V4(bits) => Network::V4(bits & 0xffff_ff00),
            Network::V6(bits) => Network::V6(bits & 0xffff_ffff_ffff_0000),
        }
    }
}

/// A taken slot. Give it back by [`Admission::release`]: a ticket lost is a slot lost.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the slot stays taken until the ticket is given back"]
pub struct Ticket(Key);

#[derive(Debug, Clone, Copy)]
struct Penalty {
    until: u64,
    /// Doublings that the next one starts from.
    level: u32,
}

impl Penalty {
    /// The level once the quiet time up to `now` has undone its share.
    fn level_at(self, now: u64) -> u32 {
        let undone = now.saturating_sub(self.until) / PENALTY_DECAY;
        self.level.saturating_sub(u32::try_from(undone).unwrap_or(u32::MAX))
    }
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

/// Counts sessions and penalties. Ordered maps, not hashed ones: no seed to draw inside a jail, none to guess.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    sessions: u32,
    by_key: BTreeMap<Key, u32>,
    by_network: BTreeMap<Network, u32>,
    penalties: BTreeMap<Key, Penalty>,
    offences: BTreeMap<Key, Bucket>,
}

impl Admission {
    /// Nobody admitted yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            sessions: 0,
            by_key: BTreeMap::new(),
            by_network: BTreeMap::new(),
            penalties: BTreeMap::new(),
            offences: BTreeMap::new(),
        }
    }

    /// Takes a slot for a client at `ip`.
    ///
    /// # Errors
    /// [`Refusal`]: which bound is reached. Nothing is counted then.
    pub fn admit(&mut self, ip: IpAddr, now: u64) -> Result<Ticket, Refusal> {
        let key = Key::of(ip);
        if let Some(penalty) = self.penalties.get(&key)
            && now < penalty.until
        {
            return Err(Refusal::Penalty(penalty.until.saturating_sub(now)));
        }
        if self.by_key.get(&key).is_some_and(|n| *n >= self.limits.sessions_per_address) {
            return Err(Refusal::Address);
        }
        let reserve = self.limits.sessions / RESERVE_SHARE;
        let newcomer = !self.by_network.contains_key(&key.network());
        let slots = if newcomer { self.limits.sessions } else { self.limits.sessions.saturating_sub(reserve) };
        if self.sessions >= slots {
            return Err(Refusal::Full);
        }
        self.sessions = self.sessions.saturating_add(1);
        add(&mut self.by_key, key);
        add(&mut self.by_network, key.network());
        Ok(Ticket(key))
    }

    /// Gives a slot back.
    pub fn release(&mut self, ticket: Ticket) {
        self.sessions = self.sessions.saturating_sub(1);
        subtract(&mut self.by_key, ticket.0);
        subtract(&mut self.by_network, ticket.0.network());
    }

    /// Gives the slot of a session back that its client brought down (see [`blames_peer`]): its address waits.
    /// Returns the length of the penalty, milliseconds.
    pub fn crashed(&mut self, ticket: Ticket, now: u64) -> u64 {
        let key = ticket.0;
        self.release(ticket);
        self.penalize(key, now)
    }

    /// Gives the slot of a session back that ended badly. Once too often, and its address waits: then the length of the
    /// penalty, milliseconds.
    pub fn offended(&mut self, ticket: Ticket, offence: Offence, now: u64) -> Option<u64> {
        let key = ticket.0;
        self.release(ticket);
        if self.limits.offences == 0 {
            return None;
        }
        let before = self.offences.get(&key).copied();
        let fill = before.map_or(0, |bucket| bucket.fill_at(now)).saturating_add(offence.weight());
        if fill > self.limits.offences {
            self.offences.remove(&key);
            return Some(self.penalize(key, now));
        }
        if before.is_none() {
            self.forget_offences(now);
        }
        // What has begun to drain goes on draining: an offence every nine seconds is not one without a pause.
        let part = before
            .filter(|bucket| bucket.fill_at(now) > 0)
            .map_or(0, |bucket| now.saturating_sub(bucket.at) % OFFENCE_DECAY);
        self.offences.insert(key, Bucket { fill, at: now.saturating_sub(part) });
        None
    }

    fn penalize(&mut self, key: Key, now: u64) -> u64 {
        let before = self.penalties.get(&key).map_or(0, |penalty| penalty.level_at(now));
        let doubled = 1_u64.checked_shl(before).and_then(|factor| PENALTY_FIRST.checked_mul(factor));
        let length = doubled.map_or(PENALTY_LONGEST, |length| length.min(PENALTY_LONGEST));
        // Beyond the longest there is nothing to double, and nothing that should take longer to decay.
        let level = if length < PENALTY_LONGEST { before.saturating_add(1) } else { before };
        if !self.penalties.contains_key(&key) {
            self.make_room(now);
        }
        self.penalties.insert(key, Penalty { until: now.saturating_add(length), level });
        length
    }

    /// True when more than three quarters of the slots are taken: new sessions should be short with their clients. Never
    /// with fewer than four slots, where one session would be enough for it.
    #[must_use]
    pub fn is_stressed(&self) -> bool {
        let slots = self.limits.sessions;
        self.sessions > slots.saturating_sub(slots / STRESS_SHARE)
    }

    /// Sessions now.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    /// Addresses whose offences are remembered.
    #[must_use]
    pub fn offenders(&self) -> usize {
        self.offences.len()
    }

    /// Addresses with a penalty, running or not yet decayed.
    #[must_use]
    pub fn penalties(&self) -> usize {
        self.penalties.len()
    }

    /// As with penalties, whoever has least to answer for is forgotten first.
    fn forget_offences(&mut self, now: u64) {
        if self.offences.len() < PENALTIES_MAX {
            return;
        }
        self.offences.retain(|_, bucket| bucket.fill_at(now) > 0);
        while self.offences.len() >= PENALTIES_MAX {
            let least = self.offences.iter().min_by_key(|(_, bucket)| bucket.fill_at(now)).map(|(key, _)| *key);
            let Some(key) = least else { return };
            self.offences.remove(&key);
        }
    }

    /// Forgiving the penalty that ends first is what an attacker gains least by: to be rid of one he needs
    /// [`PENALTIES_MAX`] other networks, each of which could have tried in its own right.
    fn make_room(&mut self, now: u64) {
        if self.penalties.len() < PENALTIES_MAX {
            return;
        }
        self.penalties.retain(|_, penalty| now < penalty.until || penalty.level_at(now) > 0);
        while self.penalties.len() >= PENALTIES_MAX {
            let first = self.penalties.iter().min_by_key(|(_, penalty)| penalty.until).map(|(key, _)| *key);
            let Some(key) = first else { return };
            self.penalties.remove(&key);
        }
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    let count = counts.entry(key).or_insert(0);
    *count = count.saturating_add(1);
}

fn subtract<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    match counts.get_mut(&key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            counts.remove(&key);
        }
    }
}
