//! What happens again and again to one client is told once a minute, with its number. The first time is told at once.
//!
//! Sans-IO: the caller says what happens, tells what [`Tally::poll`] gives, and calls [`Tally::tick`] once a minute as long as
//! [`Tally::is_quiet`] is false. Memory is bounded by [`ENTRIES_MAX`].

use crate::share::{Network, Origin};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// Clients remembered at once, each with one thing that happens to it. One more, and what there is to tell is told early.
pub const ENTRIES_MAX: usize = 2048;

/// Something to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<W> {
    /// The client to which it happened last.
    pub client: SocketAddr,
    /// What.
    pub what: W,
    /// How often to clients of its address (IPv6: its /64), since it was told last.
    pub count: u32,
}

/// What has happened since the last tick.
#[derive(Debug)]
pub struct Tally<W> {
    /// What is not told yet; 0: told just now.
    entries: BTreeMap<(Network, W), (SocketAddr, u32)>,
    due: VecDeque<Told<W>>,
}

impl<W> Default for Tally<W> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), due: VecDeque::new() }
    }
}

impl<W: Ord + Copy> Tally<W> {
    /// It has happened to this client.
    pub fn count(&mut self, client: SocketAddr, what: W) {
        let key = (Origin::of(client.ip()).address(), what);
        if let Some((last, count)) = self.entries.get_mut(&key) {
            (*last, *count) = (client, count.saturating_add(1));
            return;
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.tick();
            self.entries.clear();
        }
        self.entries.insert(key, (client, 0));
        self.due.push_back(Told { client, what, count: 1 });
    }

    /// A minute has passed.
    pub fn tick(&mut self) {
        for ((_, what), (client, count)) in &mut self.entries {
            if *count > 0 {
                self.due.push_back(Told { client: *client, what: *what, count: *count });
            }
        }
        self.entries.retain(|_, (_, count)| std::mem::take(count) > 0);
    }

    /// What is to be told now.
    pub fn poll(&mut self) -> Option<Told<W>> {
        self.due.pop_front()
    }

    /// Nothing has happened since the last tick.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(n: u32) -> SocketAddr {
        SocketAddr::from((std::net::Ipv4Addr::from_bits(n), 25))
    }

    fn told(tally: &mut Tally<u8>) -> Vec<(SocketAddr, u8, u32)> {
        std::iter::from_fn(|| tally.poll()).map(|told| (told.client, told.what, told.count)).collect()
    }

    #[test]
    fn issue_12_an_address_has_one_line_a_minute_with_all_that_happened() {
        let mut tally = Tally::default();
        for _ in 0..1000 {
            tally.count(client(7), 1);
        }
        tally.count(client(8), 1);
        tally.count(client(7), 2);
        assert_eq!(told(&mut tally), [(client(7), 1, 1), (client(8), 1, 1), (client(7), 2, 1)]);
        tally.tick();
        assert_eq!(told(&mut tally), [(client(7), 1, 999)]);
        tally.count(client(7), 1);
        tally.count(client(8), 1);
        assert_eq!(told(&mut tally), [(client(8), 1, 1)]);
        tally.tick();
        assert_eq!(told(&mut tally), [(client(7), 1, 1)]);
        assert!(!tally.is_quiet());
        tally.tick();
        assert!(tally.is_quiet() && told(&mut tally).is_empty());
    }

    #[test]
    fn p6_a_tally_is_bounded_and_loses_no_number() {
        let mut tally = Tally::default();
        let mut sum = 0;
        for n in 0..100_000 {
            tally.count(client(n % 5000), 1);
            assert!(tally.entries.len() <= ENTRIES_MAX && tally.due.len() <= ENTRIES_MAX + 1);
            sum += told(&mut tally).iter().map(|(_, _, count)| count).sum::<u32>();
        }
        tally.tick();
        sum += told(&mut tally).iter().map(|(_, _, count)| count).sum::<u32>();
        assert_eq!(sum, 100_000);
    }
}
