//! `[relay]`, and the file of domains that it names.

use super::network;
use crate::facts::Relay;
use crate::fault::{Page, Wrong};
use crate::file::Read;
use crate::keys::Kind::{List, Text};
use crate::keys::Unset::{Is, Said};
use crate::keys::{Table, keys};
use crate::list_file;
use crate::networks::Barred;
use crate::section::{Section, plain};
use crate::tables::{TableFile, renew_cdb};
use crate::value;
use gatepost_wire::network::Network;
use std::io;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "relay",
    repeated: false,
    text: "What is taken. One of these at least has to say something.",
    keys: keys! {
        /// Domains that mail is taken for. A leading dot stands for every domain below it, and not for itself.
        "domains" = List("a domain"), Is("[]"), since "0.1", as "[\"example.org\", \".example.net\"]";
        /// A file with more of them, one a line; `#` begins a comment. Read at a start and at each reload.
        "domains_file" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/domains\"";
        /// A constant database with more of them, 4 MiB at most, as `cdbmake` and qmail's `qmail-newmrh` make it: the domain is the key, in
        /// lower case, with its leading dot if it has one; what is stored for it is not looked at. In force within two seconds of being
        /// replaced. A domain that a `[[route]]` covers as well goes there. While the file is damaged, recipients that it would be asked
        /// about hear `451 4.3.0`.
        "domains_cdb" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/domains.cdb\"";
        /// Networks whose clients may send to any domain. Not everyone.
        "clients" = List("an address, or a network like `192.0.2.0/24`"), Is("[]"), since "0.1", as "[\"127.0.0.0/8\", \"::1\"]";
        /// A file with more of them, one a line; `#` begins a comment. In force within two seconds of being replaced; while
        /// there is a mistake in it, the networks that it had before are. With the files of `[[network]]` 65536 networks at most.
        "clients_file" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/clients\"";
    },
};

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>, proxies: &[Network], read: Read) -> Relay {
    let section = root.one(page, "relay");
    let mut domains = plain(section.list(page, "domains", value::relay_domain));
    let domains_file = section.text(page, "domains_file", value::path);
    if let (Some(path), Some(read)) = (&domains_file, read) {
        let more = domains_of(page, &section, path, read);
        domains.extend(more);
    }
    let domains_cdb = section.text(page, "domains_cdb", value::path).map(|path| {
        let mut file = TableFile::new(path.get_ref().clone());
        if let Some(Err(faults)) = read.map(|read| renew_cdb(&mut file, Some("domain"), read)) {
            page.adopt(&path.span(), faults);
        }
        file
    });
    let clients = section.list(page, "clients", value::network);
    for network in clients.iter().filter(|network| network.get_ref().prefix() == 0) {
        let wrong = Wrong::new(format!("{} would let everyone relay", network.get_ref()), "write your own networks");
        section.fault(page, "clients", network, wrong);
    }
    if !TABLE.keys.iter().any(|key| section.holds(key.name)) && !root.holds("route") {
        section.lack(page, "domains", "write in [relay] the domains to take mail for: domains = [\"example.org\"]");
    }
    let barred = Barred { everyone: Some("relay"), proxies: proxies.to_vec() };
    let clients_file = network::file(page, &section, "clients_file", barred, read);
    Relay {
        domains,
        domains_file: domains_file.map(Spanned::into_inner),
        domains_cdb,
        clients: plain::<Network>(clients),
        clients_file,
    }
}

/// The domains in a file: one a line, `#` begins a comment.
fn domains_of(
    page: &mut Page<'_>,
    section: &Section<'_>,
    path: &Spanned<PathBuf>,
    read: fn(&Path) -> io::Result<Vec<u8>>,
) -> Vec<String> {
    let bytes = match read(path.get_ref()) {
        Ok(bytes) => bytes,
        Err(error) => {
            let advice = "write the file, one domain a line, or name another";
            section.fault(page, "domains_file", path, Wrong::new(format!("cannot be read: {error}"), advice));
            return Vec::new();
        }
    };
    let domains = match list_file::entries(path.get_ref(), &bytes, value::relay_domain) {
        Ok(domains) => domains,
        Err(faults) => {
            page.adopt(&path.span(), faults);
            return Vec::new();
        }
    };
    // What makes such files can fail, and a refusal is for good: all mail would bounce.
    if domains.is_empty() {
        let advice = "write the domains into it, one a line, or take domains_file out";
        section.fault(page, "domains_file", path, Wrong::new("there is no domain in the file", advice));
    }
    domains
}
