//! `[[network]]`.

use crate::facts::{COUNT_MAX, ForNetworks, Limits};
use crate::fault::{Page, Wrong};
use crate::file::Read;
use crate::keys::Kind::{List, Number, Size, Text, Truth};
use crate::keys::Unset::{Is, Said};
use crate::keys::{GIB, Table, keys, kib};
use crate::networks::{Barred, NETWORKS_MAX, NetworkFile};
use crate::section::{Section, plain};
use crate::value;
use gatepost_smtp::keyword::{Keyword, Keywords};
use gatepost_wire::network::Network;
use gatepost_wire::terms::Terms;
use toml::Spanned;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "network",
    repeated: true,
    text: "What is different for clients of some networks. Where a client is in several, the section that has the network with the \
           longest prefix counts, and no other; of two with the same network the first.",
    keys: keys! {
        /// The networks. One at least, here or in `networks_file`.
        "networks" = List("an address, or a network like `192.0.2.0/24`"), Said("those of `networks_file`"), since "0.1", as "[\"192.0.2.0/24\", \"2001:db8::/32\"]";
        /// A file with more of them, one a line; `#` begins a comment. In force within two seconds of being replaced; while
        /// there is a mistake in it, the networks that it had before are. In all such files together 65536 networks at most.
        "networks_file" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/partners\"";
        /// They may send to any domain. Not for a network that is everyone.
        "relay" = Truth, Is("false"), since "0.1", as "true";
        /// Their conduct has no consequences: they are neither slowed down nor turned away for it, and `[rates]` are not for them.
        /// Not for a network that is everyone.
        "exempt" = Truth, Is("false"), since "0.1", as "true";
        /// Their largest message, octets: no more than `message_size` in `[limits]`.
        "message_size" = Size(kib(64), 16 * GIB), Said("that of `[limits]`"), since "0.1", as "\"10MiB\"";
        /// Sessions at once from one address or /64 of theirs.
        "sessions_per_address" = Number(1, 100_000), Said("that of `[limits]`"), since "0.1", as "100";
        /// Keywords that EHLO does not show to them, for clients that have faults in using them: `PIPELINING`, `CHUNKING`, `8BITMIME`,
        /// `STARTTLS`, `DSN`, `SMTPUTF8`, `SIZE`, `ENHANCEDSTATUSCODES`, `PRDR`, `LIMITS`. Whoever uses one nevertheless may.
        "hide" = List("a keyword of EHLO"), Is("[]"), since "0.1", as "[\"PIPELINING\", \"CHUNKING\"]";
    },
};

/// What the sections are checked against.
pub(super) struct Besides<'a> {
    pub(super) limits: &'a Limits,
    /// Peers that must send a PROXY header.
    pub(super) proxies: &'a [Network],
    pub(super) read: Read,
}

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>, besides: &Besides<'_>) -> Vec<ForNetworks> {
    let sections = root.several(page, "network");
    // One octet would do, and no list of a person's is longer.
    if let Some(span) = sections.get(COUNT_MAX).and_then(Section::span) {
        page.fault(span, Wrong::new(format!("more than {} [[network]]", COUNT_MAX), "take some out"));
    }
    sections.iter().map(|section| one(page, section, besides)).collect()
}

fn one(page: &mut Page<'_>, section: &Section<'_>, besides: &Besides<'_>) -> ForNetworks {
    let networks = section.list(page, "networks", value::network);
    let (exempt, relay) = (section.truth(page, "exempt", false), section.truth(page, "relay", false));
    if !section.holds("networks") && !section.holds("networks_file") {
        section.lack(page, "networks", "write whom it is for: networks = [\"192.0.2.0/24\"]");
    }
    for network in networks.iter().filter(|network| network.get_ref().prefix() == 0) {
        let (what, advice) = match (relay, exempt) {
            (true, _) => ("let everyone relay", "write your own networks"),
            (_, true) => ("exempt everyone", "write offences = 0 in [limits]"),
            _ => continue,
        };
        section.fault(page, "networks", network, Wrong::new(format!("{} would {what}", network.get_ref()), advice));
    }
    let barred = Barred {
        everyone: match (relay, exempt) {
            (true, _) => Some("relay"),
            (_, true) => Some("do anything"),
            _ => None,
        },
        proxies: if relay { besides.proxies.to_vec() } else { Vec::new() },
    };
    let hidden: Keywords = plain(section.list(page, "hide", keyword)).into_iter().collect();
    let terms = Terms {
        relay,
        exempt,
        message_size: section.size_within(page, "message_size", 0..=besides.limits.message_size, 0),
        sessions_per_address: section.number(page, "sessions_per_address", 0),
        hidden,
    };
    let file = file(page, section, "networks_file", barred, besides.read);
    ForNetworks { networks: plain::<Network>(networks), file, terms }
}

/// The file of networks that `key` names.
pub(super) fn file(
    page: &mut Page<'_>,
    section: &Section<'_>,
    key: &'static str,
    barred: Barred,
    read: Read,
) -> Option<NetworkFile> {
    let path = section.text(page, key, value::path)?;
    let mut file = NetworkFile::new(path.get_ref().clone(), barred);
    if let Some(Err(faults)) = read.map(|read| file.renew(NETWORKS_MAX, read)) {
        page.adopt(&Spanned::span(&path), faults);
    }
    Some(file)
}

/// More networks than there is memory for, in all files together.
pub(super) fn too_many(page: &mut Page<'_>, root: &Section<'_>, networks: usize) {
    if networks > NETWORKS_MAX {
        let what = format!("{networks} networks in files, and {NETWORKS_MAX} are taken in all together");
        page.lack(root.span(), Wrong::new(what, "make fewer and wider ones of them"));
    }
}

fn keyword(text: &str) -> Result<Keyword, Wrong> {
    Keyword::named(text).ok_or_else(|| {
        let all: Vec<&str> = Keyword::ALL.iter().map(|keyword| keyword.name()).collect();
        Wrong::new(format!("\"{text}\" is no keyword that EHLO shows"), format!("write some of {}", all.join(", ")))
    })
}
