//! Claims in the order in which they are served, where each that is served adds to the weight of its networks.

use super::origin::{Network, Origin};
use std::collections::{BTreeMap, BTreeSet};

/// The weights of the networks around a claim, and its arrival. Of those that are inside a network the weights around it are 0.
type Rank = ([u64; 3], u64);

/// Those that wait, the lightest network first, of equals the first come. To put one in, or to serve the first, is as dear as the
/// logarithm of their number, however many are of one network.
#[derive(Debug)]
pub(super) struct Queue<K> {
    nodes: BTreeMap<Network, Node>,
    /// `(parent, rank of the first claim inside, network)`.
    order: BTreeSet<(Option<Network>, Rank, Network)>,
    /// `(arrival, id)` of the claims of each address.
    claims: BTreeMap<Network, BTreeSet<(u64, K)>>,
}

#[derive(Debug)]
struct Node {
    weight: u64,
    /// Its rank in the order, if there is a claim inside.
    listed: Option<Rank>,
}

impl<K: Ord + Copy> Queue<K> {
    pub(super) fn new() -> Self {
        Self { nodes: BTreeMap::new(), order: BTreeSet::new(), claims: BTreeMap::new() }
    }

    /// Puts a claim in. `weight`: of a network before anybody is served.
    pub(super) fn add(&mut self, origin: Origin, arrival: u64, id: K, weight: impl Fn(Network) -> u64) {
        for network in origin.path() {
            self.nodes.entry(network).or_insert_with(|| Node { weight: weight(network), listed: None });
        }
        self.claims.entry(origin.address()).or_default().insert((arrival, id));
        self.list(origin);
    }

    /// Who is served next.
    pub(super) fn first(&self) -> Option<K> {
        let mut within = None;
        while let Some((_, network)) = self.first_in(within) {
            within = Some(network);
        }
        self.claims.get(&within?)?.first().map(|(_, id)| *id)
    }

    /// The first claim, which is of a client at `origin`, has been served `amount` units.
    pub(super) fn serve(&mut self, origin: Origin, amount: u64) {
        if let Some(claims) = self.claims.get_mut(&origin.address()) {
            claims.pop_first();
        }
        for network in origin.path() {
            if let Some(node) = self.nodes.get_mut(&network) {
                node.weight = node.weight.saturating_add(amount);
            }
        }
        self.list(origin);
    }

    /// Brings the ranks of the networks around `origin` up to date, the narrowest first.
    fn list(&mut self, origin: Origin) {
        let [block, site, address] = origin.path();
        let claims = self.claims.get(&address).and_then(BTreeSet::first);
        let mut first = claims.map(|(arrival, _)| ([0; 3], *arrival));
        for (level, parent, network) in [(2_usize, Some(site), address), (1, Some(block), site), (0, None, block)] {
            let Some(node) = self.nodes.get_mut(&network) else { return };
            if let Some(weight) = first.as_mut().and_then(|(weights, _)| weights.get_mut(level)) {
                *weight = node.weight;
            }
            let before = std::mem::replace(&mut node.listed, first);
            if before != first {
                before.map(|rank| self.order.remove(&(parent, rank, network)));
                first.map(|rank| self.order.insert((parent, rank, network)));
            }
            first = parent.and_then(|parent| self.first_in(Some(parent))).map(|(rank, _)| rank);
        }
    }

    /// The network right below `parent` with the first claim, and its rank.
    fn first_in(&self, parent: Option<Network>) -> Option<(Rank, Network)> {
        let least = (parent, ([0; 3], 0), Network::LEAST);
        let greatest = (parent, ([u64::MAX; 3], u64::MAX), Network::GREATEST);
        self.order.range(least..=greatest).next().map(|(_, rank, network)| (*rank, *network))
    }
}
