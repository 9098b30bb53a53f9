//! `[[network]]`.

use crate::facts::ForNetworks;
use crate::fault::{Page, Wrong};
use crate::keys::Kind::{List, Truth};
use crate::keys::Unset::{Is, Required};
use crate::keys::{Table, keys};
use crate::section::{Section, plain};
use crate::value;
use gatepost_wire::network::Network;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "network",
    repeated: true,
    text: "What is different for clients of some networks.",
    keys: keys! {
        /// The networks. One at least.
        "networks" = List("an address, or a network like `192.0.2.0/24`"), Required, since "0.1", as "[\"192.0.2.0/24\", \"2001:db8::/32\"]";
        /// Their conduct has no consequences: they are neither slowed down nor turned away for it. Not for a network that is
        /// everyone.
        "exempt" = Truth, Is("false"), since "0.1", as "true";
    },
};

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Vec<ForNetworks> {
    root.several(page, "network").iter().map(|section| one(page, section)).collect()
}

fn one(page: &mut Page<'_>, section: &Section<'_>) -> ForNetworks {
    let networks = section.list(page, "networks", value::network);
    let exempt = section.truth(page, "exempt", false);
    if !section.holds("networks") {
        section.lack(page, "networks", "write whom it is for: networks = [\"192.0.2.0/24\"]");
    }
    for network in networks.iter().filter(|network| exempt && network.get_ref().prefix() == 0) {
        let wrong =
            Wrong::new(format!("{} would exempt everyone", network.get_ref()), "write offences = 0 in [limits]");
        section.fault(page, "networks", network, wrong);
    }
    ForNetworks { networks: plain::<Network>(networks), exempt }
}
