//! What is different for the networks that a client is in: of several that hold its address, the one with the longest prefix counts.

use gatepost_wire::network::Network;
use gatepost_wire::terms::{NetworksSlice, Terms, TermsFor};
use std::net::IpAddr;

/// Networks, each with a value.
#[derive(Debug, Clone)]
struct Longest<T> {
    /// By network, each once.
    entries: Vec<(Network, T)>,
    /// The lengths of prefixes that there are, the longest first.
    prefixes: Vec<u8>,
}

impl<T> Default for Longest<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), prefixes: Vec::new() }
    }
}

impl<T> Longest<T> {
    /// Of those that name one network, the first counts.
    fn new(entries: impl IntoIterator<Item = (Network, T)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by_key(|(network, _)| *network);
        entries.dedup_by_key(|(network, _)| *network);
        entries.shrink_to_fit();
        let mut prefixes: Vec<u8> = entries.iter().map(|(network, _)| network.prefix()).collect();
        prefixes.sort_unstable_by(|a, b| b.cmp(a));
        prefixes.dedup();
        prefixes.shrink_to_fit();
        Self { entries, prefixes }
    }

    /// A look-up for each length of prefix that there is. A length beyond that of the address's family finds the address itself,
    /// which no other network can be longer than.
    fn find(&self, ip: IpAddr) -> Option<&T> {
        self.prefixes.iter().find_map(|prefix| {
            let around = Network::around(ip, *prefix);
            let place = self.entries.binary_search_by_key(&around, |(network, _)| *network).ok()?;
            self.entries.get(place).map(|(_, value)| value)
        })
    }
}

/// What is different for whom.
#[derive(Debug, Clone, Default)]
pub struct Networks {
    relay: Longest<()>,
    /// The place of the terms, since there are many networks and few terms.
    different: Longest<u16>,
    terms: Vec<Terms>,
}

impl Networks {
    /// As the configuration says.
    #[must_use]
    pub fn new(slice: NetworksSlice) -> Self {
        let NetworksSlice { relay, different } = slice;
        let terms = different.iter().map(|block| block.terms).collect();
        let networks = (0_u16..).zip(different);
        Self {
            relay: Longest::new(relay.into_iter().map(|network| (network, ()))),
            different: Longest::new(networks.flat_map(|(place, TermsFor { networks, .. })| {
                networks.into_iter().map(move |network| (network, place))
            })),
            terms,
        }
    }

    /// What is different for a client at `ip`.
    #[must_use]
    pub fn terms(&self, ip: IpAddr) -> Terms {
        let place = self.different.find(ip).copied().map(usize::from);
        let terms = place.and_then(|place| self.terms.get(place)).copied().unwrap_or_default();
        Terms { relay: terms.relay || self.relay.find(ip).is_some(), ..terms }
    }
}
