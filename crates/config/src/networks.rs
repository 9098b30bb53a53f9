//! Networks that stand in files of their own, and what is different for whom.

use crate::fault::{Fault, Faults, Wrong};
use crate::file::read;
use crate::{Config, list_file, value};
use gatepost_policy::networks::Networks;
use gatepost_wire::network::Network;
use gatepost_wire::terms::{NetworksSlice, Terms, TermsFor};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Networks in all files together: the listener has them in its memory, twice while they change.
pub const NETWORKS_MAX: usize = 65_536;

/// A file of networks, one a line, and what was in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFile {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// Its networks.
    pub networks: Vec<Network>,
    /// What may not stand in it.
    barred: Barred,
}

/// What may not stand in a list of networks, because of what its clients may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Barred {
    /// All addresses there are: what they would all be allowed then.
    pub(crate) everyone: Option<&'static str>,
    /// Load balancers: whoever comes through one would have its rights.
    pub(crate) proxies: Vec<Network>,
}

impl Barred {
    fn check(&self, network: Network) -> Result<Network, Wrong> {
        if let (Some(may), 0) = (self.everyone, network.prefix()) {
            return Err(Wrong::new(format!("{network} would let everyone {may}"), "write your own networks"));
        }
        match self.proxies.iter().find(|proxy| proxy.overlaps(&network)) {
            Some(proxy) => Err(Wrong::new(
                format!("{network} may relay, and has the load balancer {proxy} in it"),
                "take it out here, or out of proxy_from",
            )),
            None => Ok(network),
        }
    }
}

impl NetworkFile {
    /// Not read yet.
    pub(crate) fn new(path: PathBuf, barred: Barred) -> Self {
        Self { path, networks: Vec::new(), barred }
    }

    /// Reads it anew, by `read`. `most`: networks that may be in it.
    pub(crate) fn renew(&mut self, most: usize, read: impl Fn(&Path) -> io::Result<Vec<u8>>) -> Result<bool, Faults> {
        let whole = |what: String, advice: &str| Faults::from(Fault::of_file(&self.path, Wrong::new(what, advice)));
        let bytes = read(&self.path).map_err(|error| whole(format!("cannot be read: {error}"), "write the file"))?;
        let networks = list_file::entries(&self.path, &bytes, |entry| self.barred.check(value::network(entry)?))?;
        if networks.is_empty() {
            // What makes such files can fail, and for many a refusal would follow.
            return Err(whole("there is no network in it".to_owned(), "write one a line, or take the file out"));
        }
        if networks.len() > most {
            let what = format!("{} networks, and {NETWORKS_MAX} are taken in all files together", networks.len());
            return Err(whole(what, "make fewer and wider ones of them"));
        }
        let others = networks != self.networks;
        self.networks = networks;
        Ok(others)
    }
}

impl Config {
    /// The files of networks that it names, always in the same order.
    pub fn network_files(&self) -> impl Iterator<Item = &NetworkFile> {
        self.relay.clients_file.iter().chain(self.networks.iter().filter_map(|block| block.file.as_ref()))
    }

    /// Reads one of [`Config::network_files`] anew. Whether it has other networks now than before.
    ///
    /// # Errors
    /// [`Faults`] of the file: what was in it before stays in force.
    pub fn renew_networks(&mut self, place: usize) -> Result<bool, Faults> {
        let others = self.network_files().enumerate().filter(|(other, _)| *other != place);
        let taken: usize = others.map(|(_, file)| file.networks.len()).sum();
        let blocks = self.networks.iter_mut().filter_map(|block| block.file.as_mut());
        let mut files = self.relay.clients_file.iter_mut().chain(blocks);
        let file = files.nth(place);
        file.map_or(Ok(false), |file| file.renew(NETWORKS_MAX.saturating_sub(taken), read))
    }

    /// What is different for some networks, for the listener.
    #[must_use]
    pub fn networks_slice(&self) -> NetworksSlice {
        let of_file = |file: &Option<NetworkFile>| file.as_ref().map(|file| file.networks.clone()).unwrap_or_default();
        let different = self.networks.iter().map(|block| TermsFor {
            networks: [block.networks.clone(), of_file(&block.file)].concat(),
            terms: block.terms,
        });
        NetworksSlice { relay: of_file(&self.relay.clients_file), different: different.collect() }
    }

    /// What is different for a client at `ip`.
    #[must_use]
    pub fn terms(&self, ip: IpAddr) -> Terms {
        Networks::new(self.networks_slice()).terms(ip)
    }
}
