//! `[relay]`, and the file of domains that it names.

use super::Read;
use crate::facts::Relay;
use crate::fault::{Page, Wrong, utf8};
use crate::keys::Kind::{List, Text};
use crate::keys::Unset::{Is, Said};
use crate::keys::{Table, keys};
use crate::section::{Section, plain};
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
        /// The same as a constant database. Not available in this version: write `domains_file`.
        "domains_cdb" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/domains.cdb\"";
        /// Networks whose clients may send to any domain. Not everyone.
        "clients" = List("an address, or a network like `192.0.2.0/24`"), Is("[]"), since "0.1", as "[\"127.0.0.0/8\", \"::1\"]";
    },
};

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>, read: Read) -> Relay {
    let section = root.one(page, "relay");
    let mut domains = plain(section.list(page, "domains", value::relay_domain));
    let domains_file = section.text(page, "domains_file", value::path);
    if let (Some(path), Some(read)) = (&domains_file, read) {
        let more = domains_of(page, &section, path, read);
        domains.extend(more);
    }
    section.get(page, "domains_cdb", |_| -> Result<(), Wrong> {
        Err(Wrong::new("not available in this version", "write domains_file = \"...\", one domain a line"))
    });
    let clients = section.list(page, "clients", value::network);
    for network in clients.iter().filter(|network| network.get_ref().prefix() == 0) {
        let wrong = Wrong::new(format!("{} would let everyone relay", network.get_ref()), "write your own networks");
        section.fault(page, "clients", network, wrong);
    }
    if !["domains", "domains_file", "domains_cdb", "clients"].iter().any(|key| section.holds(key)) {
        section.lack(page, "domains", "write in [relay] the domains to take mail for: domains = [\"example.org\"]");
    }
    Relay { domains, domains_file: domains_file.map(Spanned::into_inner), clients: plain::<Network>(clients) }
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
    let text = match utf8(&bytes, path.get_ref()) {
        Ok(text) => text,
        Err(faults) => {
            page.adopt(&path.span(), faults);
            return Vec::new();
        }
    };
    let mut file = Page::new(path.get_ref(), text);
    let mut domains = Vec::new();
    let mut start = 0_usize;
    for line in text.split_inclusive('\n') {
        let entry = line.split('#').next().unwrap_or_default();
        let indent = entry.len().saturating_sub(entry.trim_start().len());
        let entry = entry.trim();
        let from = start.saturating_add(indent);
        match value::relay_domain(entry) {
            _ if entry.is_empty() => {}
            Ok(domain) => domains.push(domain),
            Err(wrong) => file.fault(&(from..from.saturating_add(entry.len())), wrong),
        }
        start = start.saturating_add(line.len());
    }
    match file.into_faults() {
        Some(faults) => page.adopt(&path.span(), faults),
        // What makes such files can fail, and a refusal is for good: all mail would bounce.
        None if domains.is_empty() => {
            let advice = "write the domains into it, one a line, or take domains_file out";
            section.fault(page, "domains_file", path, Wrong::new("there is no domain in the file", advice));
        }
        None => {}
    }
    domains
}
