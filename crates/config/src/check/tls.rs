//! `[tls]` and `[[tls.pair]]`.

use super::listen::Listener;
use crate::facts::{COUNT_MAX, Pair, Tls, TlsVersion};
use crate::fault::{Page, Wrong};
use crate::keys::Kind::{List, Text, Truth, Word};
use crate::keys::Unset::{Is, Required, Said};
use crate::keys::{Table, keys};
use crate::section::{Section, plain};
use crate::value;
use gatepost_wire::slice::TlsMode;
use toml::Spanned;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "tls",
    repeated: false,
    text: "TLS with clients. `certificate` and `key` are needed as long as a `[[listen]]` speaks TLS.",
    keys: keys! {
        /// The certificate and its chain, the leaf first, as PEM.
        "certificate" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/tls/cert.pem\"";
        /// Its private key, as PEM. It should be root's, with mode 0600: it is read before any client is served, and one process
        /// without network holds it.
        "key" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/tls/key.pem\"";
        /// MAIL before STARTTLS is refused. Not for a server that takes mail from everybody (RFC 3207 section 4).
        "required" = Truth, Is("false"), since "0.1", as "true";
        /// The oldest version that is spoken.
        "minimum" = Word(&["1.2", "1.3"]), Is("\"1.2\""), since "0.1", as "\"1.3\"";
    },
};

/// `[[tls.pair]]`.
pub(super) const PAIR: Table = Table {
    name: "tls.pair",
    repeated: true,
    text: "Another certificate, for clients that ask for one of its names. 254 at most.",
    keys: keys! {
        /// The names. A pair without names is the default, as that of `[tls]` is.
        "names" = List("a host name"), Is("[]"), since "0.1", as "[\"mx.example.net\"]";
        /// The certificate and its chain, the leaf first, as PEM.
        "certificate" = Text("an absolute path"), Required, since "0.1", as "\"/etc/gatepost/tls/example.net/cert.pem\"";
        /// Its private key, as PEM.
        "key" = Text("an absolute path"), Required, since "0.1", as "\"/etc/gatepost/tls/example.net/key.pem\"";
    },
};

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>, listeners: &[Listener]) -> Tls {
    let section = root.one(page, "tls");
    let versions = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    let minimum = section.word(page, "minimum", &versions);
    let required = section.truth(page, "required", false);
    let mut pairs = Vec::new();
    if section.has("certificate") || section.has("key") {
        pairs.extend(pair(page, &section, Vec::new()));
    }
    let more = section.several(page, "tls.pair");
    for each in &more {
        let names = plain(each.list(page, "names", value::host));
        pairs.extend(pair(page, each, names));
    }
    if let Some(span) = more.get(COUNT_MAX.saturating_sub(1)).and_then(Section::span) {
        page.fault(span, Wrong::new(format!("{COUNT_MAX} or more [[tls.pair]]"), "take some out"));
    }
    let default = section.has("certificate") || section.has("key") || more.iter().any(|each| !each.has("names"));
    if let Some(first) = more.first().filter(|_| !default) {
        let what = "tls: no pair for clients that name no server, and most that send mail do not";
        let advice = "write certificate and key in [tls], or a [[tls.pair]] without names";
        page.lack(first.span(), Wrong::new(what, advice));
    }
    let any_pair = ["certificate", "key", "pair"].iter().any(|key| section.has(key));
    tls_fits(page, &section, any_pair, required, listeners);
    Tls { pairs, required, minimum: minimum.map(Spanned::into_inner).unwrap_or_default() }
}

/// Checks that who is to speak TLS can, and that someone does when it is required.
fn tls_fits(page: &mut Page<'_>, section: &Section<'_>, any_pair: bool, required: bool, listeners: &[Listener]) {
    let speaks = |listener: &&Listener| listener.listen.tls != TlsMode::Off;
    if let Some(first) = listeners.iter().filter(|listener| listener.sure).find(speaks).filter(|_| !any_pair) {
        let what = format!("the listener at {} is to speak TLS, and there is no certificate", first.listen.address);
        let advice = "write certificate and key in [tls], or tls = \"off\" in [[listen]]";
        page.lack(first.tls.as_ref(), Wrong::new(what, advice));
    }
    if required && !listeners.is_empty() && !listeners.iter().any(|listener| speaks(&listener)) {
        let what = "tls.required: no listener speaks TLS, so no mail could come in";
        let advice = "write tls = \"starttls\" in [[listen]], or required = false";
        page.lack(section.span(), Wrong::new(what, advice));
    }
}

/// The certificate and key of a section; `None` when one is wrong or missing.
pub(super) fn pair(page: &mut Page<'_>, section: &Section<'_>, names: Vec<String>) -> Option<Pair> {
    let certificate = section.text(page, "certificate", value::path);
    let key = section.text(page, "key", value::path);
    for (one, other) in [("certificate", "key"), ("key", "certificate")] {
        if !section.has(one) {
            let advice = format!("write the {one} that goes with the {other}: {one} = \"/etc/gatepost/tls/...\"");
            section.lack(page, one, &advice);
        }
    }
    Some(Pair { names, certificate: certificate?.into_inner(), key: key?.into_inner() })
}
