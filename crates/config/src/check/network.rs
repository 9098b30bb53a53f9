//! `[[network]]`.

use crate::facts::ForNetworks;
use crate::fault::{Page, Wrong};
use crate::section::{Section, plain};
use crate::value;
use gatepost_wire::network::Network;

/// The keys of the section.
pub(super) const KEYS: &[&str] = &["networks", "exempt"];

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
