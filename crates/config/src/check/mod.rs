//! The walk through the tree: every key read, every value checked alone, then against the others. A file per section.

mod admission;
mod backend;
mod jail;
mod limits;
mod listen;
mod log;
mod metrics;
mod names;
mod network;
mod rates;
mod relay;
mod route;
mod smtp;
mod submission;
mod tables;
mod tls;

use self::backend::Backends;
use crate::facts::{Config, SPOOL, USER_IDS, Users};
use crate::fault::{Faults, Page, Wrong};
use crate::file::Read;
use crate::keys::Kind::{Other, Text};
use crate::keys::Unset::{Is, Required};
use crate::keys::{Known, Table, keys};
use crate::section::{self, Section};
use crate::syntax;
use crate::value;
use gatepost_wire::control::Role;
use gatepost_wire::network::Network;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Every section, and every key of each.
pub const TABLES: &[Table] = &[
    TOP,
    listen::TABLE,
    tls::TABLE,
    tls::PAIR,
    relay::TABLE,
    backend::TABLE,
    route::TABLE,
    tables::SENDERS,
    tables::RECIPIENTS,
    tables::HELO,
    smtp::TABLE,
    network::TABLE,
    admission::TABLE,
    admission::LIST,
    rates::TABLE,
    submission::TABLE,
    names::TABLE,
    limits::TABLE,
    log::TABLE,
    metrics::TABLE,
    jail::TABLE,
];

/// What a text may have.
const KNOWN: Known = Known { listed: TABLES, alike: &route::BACKEND };

/// What stands before the first section.
const TOP: Table = Table {
    name: "",
    repeated: false,
    text: "These stand at the top, before the first section.",
    keys: keys! {
        /// The full name of this server: in its greeting, in EHLO and in `Received`. The name that its address has in DNS.
        "hostname" = Text("a host name"), Required, since "0.1", as "\"mx.example.org\"";
        /// The directory of content files, which are there only while a message is under way. The user handoff must own it.
        "spool" = Text("an absolute path"), Is("\"/var/spool/gatepost\""), since "0.1", as "\"/srv/spool/gatepost\"";
        /// How the accounts of the roles begin: `gatepost` for `gatepost-listen` and the others. A number: the roles have the ids
        /// from it on, and no accounts are needed.
        "users" = Other("the beginning of a name, or a user id"), Is("\"gatepost\""), since "0.1", as "61000";
    },
};

/// 65534 is "nobody" by custom and 65535 "no id" where ids have 16 bits: not for a role.
const NOBODY: RangeInclusive<u64> = 65_534..=65_535;
/// Ids that numbered users take.
const ROLES: u64 = Role::ALL.len() as u64;

/// The facts in the text of `page`, or all that is wrong with it.
pub(crate) fn check(mut page: Page<'_>, read: Read) -> Result<Config, Faults> {
    let text = syntax::mend(&mut page);
    let (tree, _) = DeTable::parse_recoverable(&text);
    let root = Section::root(&mut page, KNOWN, tree.get_ref());
    let config = facts(&mut page, &root, read);
    match page.into_faults() {
        None => Ok(config),
        Some(faults) => Err(faults),
    }
}

/// Where a value is wrong its default is used, so that checking can go on; the result is not given out then.
fn facts(page: &mut Page<'_>, root: &Section<'_>, read: Read) -> Config {
    let hostname = root.text(page, "hostname", value::hostname);
    if !root.has("hostname") {
        root.lack(page, "hostname", "write at the top: hostname = \"mx.example.org\"");
    }
    let spool = root.text(page, "spool", value::path);
    let users = root.get(page, "users", users);
    let (listeners, socket) = listen::facts(page, root);
    let tls = tls::facts(page, root, &listeners);
    let proxies: Vec<Network> = listeners.iter().flat_map(|listener| &listener.listen.proxy_from).copied().collect();
    let relay = relay::facts(page, root, &proxies, read);
    listen::proxies_relay(page, &listeners, "relay.clients", &relay.clients);
    let (submission, permitted) = submission::facts(page, root, &listeners, socket, read);
    let limits = limits::facts(page, root);
    let networks = network::facts(page, root, &network::Besides { limits: &limits, proxies: &proxies, read });
    for block in networks.iter().filter(|block| block.terms.relay) {
        listen::proxies_relay(page, &listeners, "network.networks", &block.networks);
    }
    let files = relay.clients_file.iter().chain(networks.iter().filter_map(|block| block.file.as_ref()));
    network::too_many(page, root, files.map(|file| file.networks.len()).sum());
    let numbered = users.as_ref().is_some_and(|users| matches!(users.get_ref(), Users::From(_)));
    let mut backends = Backends::new(&listeners, numbered);
    let backend = backends.first(page, root);
    let routes = route::facts(page, root, &mut backends);
    let (backend, routes) = backends.share_connections(page, backend, routes);
    Config {
        hostname: hostname.map(Spanned::into_inner).unwrap_or_default(),
        spool: spool.map_or_else(|| PathBuf::from(SPOOL), Spanned::into_inner),
        users: users.map(Spanned::into_inner).unwrap_or_default(),
        listen: listeners.into_iter().map(|listener| listener.listen).collect(),
        tls,
        relay,
        backend,
        routes,
        tables: tables::facts(page, root, permitted, read),
        smtp: smtp::facts(page, root),
        networks,
        names: names::facts(page, root),
        rates: rates::facts(page, root),
        limits,
        log: log::facts(page, root),
        admission: admission::facts(page, root, read),
        submission,
        metrics: metrics::facts(page, root),
        jail: jail::facts(page, root),
    }
}

fn users(value: &DeValue<'_>) -> Result<Users, Wrong> {
    let DeValue::Integer(_) = value else { return value::account_prefix(section::text(value)?).map(Users::Named) };
    let id = section::within(section::integer(value)?, USER_IDS, |id| id.to_string())?;
    let taken = id..id.saturating_add(ROLES);
    if taken.contains(NOBODY.start()) || taken.contains(NOBODY.end()) {
        return Err(Wrong::new(
            format!("the {ROLES} ids from {id} on include that of nobody"),
            format!("write {} or more", NOBODY.end().saturating_add(1)),
        ));
    }
    u32::try_from(id).map(Users::From).map_err(|_| Wrong::new("too much", "write a user id"))
}
