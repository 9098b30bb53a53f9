//! How many lines of the log a client that comes to nothing may cause (P14): a bucket for each address and for the networks
//! around it. What does not fit is counted, and the count is told with the next line that does.
//!
//! Pure: the caller says the time, in milliseconds of a clock that does not go back. Memory is bounded by [`NETWORKS_MAX`].

use crate::bounded::forget_half;
use crate::share::{Network, Origin};
use std::collections::BTreeMap;

/// Networks remembered at once; when there would be more, those whose buckets are emptiest are forgotten.
pub const NETWORKS_MAX: usize = 12 * 1024;
/// Lines at once from an address (IPv6 /64), the network around it (IPv4 /24, IPv6 /48) and the block (IPv4 /16, IPv6 /40).
const BURST: [u32; 3] = [1600, 400, 100];
/// Milliseconds after which an address may cause one more line; a network four times as many, a block sixteen times.
const LINE: u64 = 1000;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    fill: u32,
    at: u64,
    kept: u32,
}

/// What to do with one more line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Write it, and before it, when not 0, that so many about this client were not written.
    Write(u32),
    /// Count it.
    Keep,
}

/// The buckets.
#[derive(Debug, Default)]
pub struct Flood {
    buckets: BTreeMap<Network, Bucket>,
}

impl Flood {
    /// Nobody has caused a line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more line about a client at `origin`.
    pub fn line(&mut self, origin: Origin, now: u64) -> Line {
        let path = origin.path();
        let [.., address] = path;
        if !self.has_room(origin, now) {
            let kept = self.buckets.get(&address).map_or(0, |bucket| bucket.kept).saturating_add(1);
            self.fill_up(2, address, 0, kept, now);
            return Line::Keep;
        }
        let kept = self.buckets.get(&address).map_or(0, |bucket| bucket.kept);
        for (level, network) in (0..).zip(path) {
            self.fill_up(level, network, 1, 0, now);
        }
        Line::Write(kept)
    }

    /// Whether one more line about a client at `origin` would be written.
    #[must_use]
    pub fn has_room(&self, origin: Origin, now: u64) -> bool {
        (0..).zip(origin.path()).zip(BURST).all(|((level, network), burst)| self.fill(level, network, now) < burst)
    }

    /// Networks remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.buckets.len()
    }

    fn fill(&self, level: u32, network: Network, now: u64) -> u32 {
        self.buckets.get(&network).map_or(0, |bucket| {
            let drained = u32::try_from(since(bucket, now) / step(level)).unwrap_or(u32::MAX);
            bucket.fill.saturating_sub(drained)
        })
    }

    fn fill_up(&mut self, level: u32, network: Network, lines: u32, kept: u32, now: u64) {
        if self.buckets.len() >= NETWORKS_MAX && !self.buckets.contains_key(&network) {
            forget_half(&mut self.buckets, |bucket| bucket.fill.into());
        }
        let fill = self.fill(level, network, now).saturating_add(lines);
        // What has begun to drain goes on draining.
        let rest = self.buckets.get(&network).map_or(0, |bucket| since(bucket, now) % step(level));
        self.buckets.insert(network, Bucket { fill, at: now.saturating_sub(rest), kept });
    }
}

/// Milliseconds for one line on that level, the widest first.
fn step(level: u32) -> u64 {
    (LINE / 16).saturating_mul(1 << level.saturating_mul(2).min(8))
}

fn since(bucket: &Bucket, now: u64) -> u64 {
    now.saturating_sub(bucket.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn origin(bits: u32) -> Origin {
        Origin::of(IpAddr::V4(Ipv4Addr::from_bits(bits)))
    }

    fn written(flood: &mut Flood, clients: impl Iterator<Item = u32>, now: u64) -> usize {
        clients.filter(|bits| flood.line(origin(*bits), now) != Line::Keep).count()
    }

    #[test]
    fn p14_a_flood_is_counted_and_not_written() {
        let mut flood = Flood::new();
        assert_eq!(written(&mut flood, (0..1000).map(|_| 1), 0), 100, "one address");
        assert!(
            !flood.has_room(origin(1), 0) && flood.has_room(origin(1), LINE) && flood.has_room(origin(0x0a00_0001), 0)
        );
        assert_eq!(flood.line(origin(1), LINE), Line::Write(900), "and how many were not written is told");
        assert_eq!(flood.line(origin(1), LINE), Line::Keep);
        assert_eq!(flood.line(origin(1), 3 * LINE), Line::Write(1));
        assert_eq!(flood.line(origin(0x0a00_0001), LINE), Line::Write(0), "somebody else");
        let mut flood = Flood::new();
        assert_eq!(written(&mut flood, (0..10_000).map(|n| n % 256), 0), 400, "one /24");
        let mut flood = Flood::new();
        assert_eq!(written(&mut flood, (0..20_000).map(|n| n % 65_536), 0), 1600, "one /16");
    }

    #[test]
    fn p14_a_line_every_second_is_always_written() {
        let mut flood = Flood::new();
        assert!((0..5000).all(|second| flood.line(origin(7), second * LINE) == Line::Write(0)));
        // Half as much again is, too, until the bucket is full.
        let kept = (0..5000).filter(|n| flood.line(origin(8), n * 2 * LINE / 3) == Line::Keep).count();
        assert!((1450..1600).contains(&kept), "{kept}");
    }

    #[test]
    fn p6_what_is_remembered_is_bounded() {
        let mut flood = Flood::new();
        for n in 0..50_000_u32 {
            flood.line(origin(n << 8), u64::from(n));
            assert!(flood.remembered() <= NETWORKS_MAX);
        }
        // Nor do those grow without end of whom nothing is written: their block has no room.
        let mut flood = Flood::new();
        for n in 0..50_000_u32 {
            flood.line(origin(n), 0);
            assert!(flood.remembered() <= NETWORKS_MAX, "{n}");
        }
    }
}
