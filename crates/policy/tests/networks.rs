//! The longest network that holds an address decides, as a search through all of them finds it.
#![allow(clippy::unwrap_used)] // Functions shared by tests, too.

use gatepost_policy::networks::Networks;
use gatepost_wire::network::Network;
use gatepost_wire::terms::{NetworksSlice, Terms, TermsFor};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn block(networks: &[&str], terms: Terms) -> TermsFor {
    TermsFor { networks: networks.iter().map(|network| network.parse().unwrap()).collect(), terms }
}

#[test]
fn issue_12_the_longest_network_decides() {
    let sized = |message_size| Terms { message_size, ..Terms::default() };
    let networks = Networks::new(NetworksSlice {
        relay: vec!["198.51.100.0/24".parse().unwrap(), "192.0.2.9".parse().unwrap()],
        different: vec![
            block(&["0.0.0.0/0", "2001:db8::/32"], sized(1)),
            block(&["192.0.2.0/24", "2001:db8:1::/48"], Terms { relay: true, ..sized(2) }),
            block(&["192.0.2.1"], sized(3)),
            block(&["192.0.2.1", "2001:db8:1::1"], sized(4)),
        ],
    });
    for (ip, size, relay) in [
        ("203.0.113.1", 1, false),
        ("198.51.100.7", 1, true),
        ("192.0.2.2", 2, true),
        ("192.0.2.1", 3, false),
        ("192.0.2.9", 2, true),
        ("::ffff:192.0.2.1", 3, false),
        ("2001:db8::1", 1, false),
        ("2001:db8:1::2", 2, true),
        ("2001:db8:1::1", 4, false),
        ("2001:db9::1", 0, false),
    ] {
        let terms = networks.terms(ip.parse().unwrap());
        assert_eq!((terms.message_size, terms.relay), (size, relay), "{ip}");
    }
    assert_eq!(Networks::default().terms("192.0.2.1".parse().unwrap()), Terms::default());
}

fn address() -> impl Strategy<Value = IpAddr> {
    // Few bits, so that networks hold one another.
    prop_oneof![
        (0_u32..64, 0_u32..4).prop_map(|(low, high)| IpAddr::V4(Ipv4Addr::from_bits(high << 28 | low))),
        (0_u128..64, 0_u128..4).prop_map(|(low, high)| IpAddr::V6(Ipv6Addr::from_bits(high << 124 | low))),
    ]
}

proptest! {
    #[test]
    fn issue_12_a_look_up_finds_what_a_search_finds(
        blocks in prop::collection::vec(prop::collection::vec((address(), 0_u8..=128), 0..6), 0..6),
        ip in address(),
    ) {
        let networks = |block: &Vec<(IpAddr, u8)>| block.iter().map(|(ip, prefix)| Network::around(*ip, *prefix)).collect();
        let blocks: Vec<Vec<Network>> = blocks.iter().map(networks).collect();
        let holding = blocks.iter().zip(1_u64..).flat_map(|(block, size)| block.iter().map(move |network| (network, size)));
        let mut expected = (None, 0);
        for (network, size) in holding.filter(|(network, _)| network.contains(ip)) {
            if expected.0.is_none_or(|longest| network.prefix() > longest) {
                expected = (Some(network.prefix()), size);
            }
        }
        let different = blocks.iter().zip(1_u64..).map(|(networks, message_size)| {
            TermsFor { networks: networks.clone(), terms: Terms { message_size, ..Terms::default() } }
        });
        let found = Networks::new(NetworksSlice { relay: Vec::new(), different: different.collect() });
        prop_assert_eq!(found.terms(ip).message_size, expected.1);
    }
}
