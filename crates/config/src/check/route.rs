//! `[[route]]`.

use super::backend::{self, Backends};
use crate::facts::{ROUTES_MAX, Route};
use crate::fault::{Page, Wrong};
use crate::keys::Kind::{List, Other};
use crate::keys::Unset::{Is, Required, Said};
use crate::keys::{Table, keys};
use crate::section::{Section, plain};
use crate::value;
use std::collections::BTreeSet;
use toml::Spanned;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "route",
    repeated: true,
    text: "Recipients whose mail goes to another backend. A transaction keeps the backend of its first recipient; those of others \
           hear 452 and have to come separately. 32 at most.",
    keys: keys! {
        /// Domains whose mail goes there; a leading dot covers all domains below. Mail is taken for them as for those of
        /// `[relay]`. Of two entries that cover a domain the longer one counts.
        "domains" = List("a domain, or one with a leading dot"), Said("none"), since "0.1", as "[\"lists.example.org\"]";
        /// Whole addresses whose mail goes there, whatever is said of their domain. Of domains that mail is taken for.
        "recipients" = List("an address"), Is("[]"), since "0.1", as "[\"tickets@example.org\"]";
        /// Where: with the keys of `[backend]`, in braces or below `[route.backend]`. Not a queue program.
        "backend" = Other("a section"), Required, since "0.1", as "{ profile = \"lmtp\", connect = \"unix:/run/lists.sock\" }";
    },
};

/// The backend in it.
pub(super) const BACKEND: Table = Table { name: "route.backend", ..backend::TABLE };

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>, backends: &mut Backends<'_>) -> Vec<Route> {
    let sections = root.several(page, "route");
    if let Some(span) = sections.get(ROUTES_MAX).and_then(Section::span) {
        page.fault(span, Wrong::new(format!("more than {ROUTES_MAX} [[route]]"), "take some out"));
    }
    let mut seen = BTreeSet::new();
    sections.iter().map(|section| one(page, section, backends, &mut seen)).collect()
}

fn one(page: &mut Page<'_>, section: &Section<'_>, backends: &mut Backends<'_>, seen: &mut BTreeSet<String>) -> Route {
    let domains = section.list(page, "domains", value::relay_domain);
    let recipients = section.list(page, "recipients", value::address);
    if !section.holds("domains") && !section.holds("recipients") {
        section.lack(page, "domains", "write whose mail goes there: domains = [\"lists.example.org\"]");
    }
    for (key, entry) in
        domains.iter().map(|entry| ("domains", entry)).chain(recipients.iter().map(|to| ("recipients", to)))
    {
        if !seen.insert(entry.get_ref().clone()) {
            twice(page, section, key, entry);
        }
    }
    let backend = section.one(page, BACKEND.name);
    let backend = backends.one(page, &backend, false);
    Route { domains: plain(domains), recipients: plain(recipients), backend }
}

fn twice(page: &mut Page<'_>, section: &Section<'_>, key: &str, entry: &Spanned<String>) {
    let what = format!("\"{}\" stands in two places, and mail goes to one backend", entry.get_ref());
    section.fault(page, key, entry, Wrong::new(what, "take one of them out"));
}
