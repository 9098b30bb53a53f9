//! Weights of nested networks, with the heaviest part of each found at once.

use super::origin::{Network, Origin};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    /// Units of all entries inside.
    weight: u64,
    /// Entries inside that may be chosen.
    open: u32,
}

/// Entries below their networks. Each network knows its weight; those with an entry that may be chosen are ordered by it.
#[derive(Debug)]
pub(super) struct Tree<K> {
    nodes: BTreeMap<Network, Node>,
    /// `(parent, weight, network)` of networks with an entry that may be chosen.
    order: BTreeSet<(Option<Network>, u64, Network)>,
    /// `(rank, id)` of the entries of each address that may be chosen.
    ranks: BTreeMap<Network, BTreeSet<(u64, K)>>,
    ids: BTreeSet<K>,
    total: u64,
}

impl<K: Ord + Copy> Tree<K> {
    pub(super) fn new() -> Self {
        Self { nodes: BTreeMap::new(), order: BTreeSet::new(), ranks: BTreeMap::new(), ids: BTreeSet::new(), total: 0 }
    }

    pub(super) fn add(&mut self, origin: Origin, amount: u64, rank: u64, id: K, open: bool) {
        self.change(origin, |node| {
            node.weight = node.weight.saturating_add(amount);
            node.open = node.open.saturating_add(u32::from(open));
        });
        self.total = self.total.saturating_add(amount);
        self.ids.insert(id);
        if open {
            let [.., address] = origin.path();
            self.ranks.entry(address).or_default().insert((rank, id));
        }
    }

    /// Takes out what [`Tree::add`] has put in with the same arguments.
    pub(super) fn remove(&mut self, origin: Origin, amount: u64, rank: u64, id: K, open: bool) {
        self.change(origin, |node| {
            node.weight = node.weight.saturating_sub(amount);
            node.open = node.open.saturating_sub(u32::from(open));
        });
        self.total = self.total.saturating_sub(amount);
        self.ids.remove(&id);
        if open {
            let [.., address] = origin.path();
            if let Some(ranks) = self.ranks.get_mut(&address) {
                ranks.remove(&(rank, id));
                if ranks.is_empty() {
                    self.ranks.remove(&address);
                }
            }
        }
    }

    fn change(&mut self, origin: Origin, change: impl Fn(&mut Node)) {
        let mut parent = None;
        for network in origin.path() {
            let node = self.nodes.entry(network).or_default();
            self.order.remove(&(parent, node.weight, network));
            change(node);
            if node.open > 0 {
                self.order.insert((parent, node.weight, network));
            }
            if node.weight == 0 && node.open == 0 {
                self.nodes.remove(&network);
            }
            parent = Some(network);
        }
    }

    /// Units in `network`.
    pub(super) fn weight(&self, network: Network) -> u64 {
        self.nodes.get(&network).map_or(0, |node| node.weight)
    }

    /// Units in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Entries in all.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = K> {
        self.ids.iter().copied()
    }

    /// The heaviest network right below `parent` (None: of all) in which an entry may be chosen.
    pub(super) fn heaviest(&self, parent: Option<Network>) -> Option<Network> {
        let least = Network::LEAST;
        let below = self.order.range((parent, 0, least)..=(parent, u64::MAX, Network::GREATEST));
        below.last().map(|(_, _, network)| *network)
    }

    /// The networks right below `parent` that have this weight, and an entry that may be chosen.
    pub(super) fn as_heavy(&self, parent: Option<Network>, weight: u64) -> impl Iterator<Item = Network> {
        let alike = self.order.range((parent, weight, Network::LEAST)..=(parent, weight, Network::GREATEST));
        alike.map(|(_, _, network)| *network)
    }

    /// The heaviest address of the heaviest part of `network`.
    pub(super) fn heaviest_address(&self, network: Network) -> Network {
        let mut within = network;
        while let Some(part) = self.heaviest(Some(within)) {
            within = part;
        }
        within
    }

    /// The entries of an address that may be chosen.
    pub(super) fn of(&self, address: Network) -> impl Iterator<Item = K> {
        self.ranks.get(&address).into_iter().flatten().map(|(_, id)| *id)
    }

    /// The entry of an address with the lowest rank.
    pub(super) fn slowest(&self, address: Network) -> Option<K> {
        self.ranks.get(&address)?.first().map(|(_, id)| *id)
    }
}
