//! The entries of `/etc/hosts`, which go before whatever a name server says.

use gatepost_smtp::names::HostName;
use gatepost_wire::slice::HostsEntry;
use std::collections::HashMap;
use std::net::IpAddr;

/// A hosts file, to look up in.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    by_address: HashMap<IpAddr, HostName>,
    by_name: HashMap<HostName, Vec<IpAddr>>,
}

impl Hosts {
    /// As hosts(5): the first name of the first line of an address is its name; a name has the addresses of all its lines.
    pub(crate) fn new(entries: Vec<HostsEntry>) -> Self {
        let mut hosts = Self::default();
        for HostsEntry { address, names } in entries {
            let address = address.to_canonical();
            if let Some(name) = names.first() {
                hosts.by_address.entry(address).or_insert_with(|| name.clone());
            }
            for name in names {
                hosts.by_name.entry(name).or_default().push(address);
            }
        }
        hosts
    }

    pub(crate) fn name(&self, address: IpAddr) -> Option<&HostName> {
        self.by_address.get(&address.to_canonical())
    }

    /// The addresses of a name that is in the file at all.
    pub(crate) fn addresses(&self, name: &HostName) -> Option<&[IpAddr]> {
        self.by_name.get(name).map(Vec::as_slice)
    }
}
