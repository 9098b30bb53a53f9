//! `[[listen]]`.

use super::COUNT_MAX;
use crate::facts::Listen;
use crate::fault::{Page, Span, Wrong};
use crate::section::Section;
use crate::value;
use gatepost_wire::slice::TlsMode;
use toml::Spanned;

/// A listener, and where in the text its settings are.
pub(super) struct Listener {
    pub(super) listen: Listen,
    /// Its address, or its heading; nothing when there is no `[[listen]]` at all.
    address: Option<Span>,
    pub(super) tls: Option<Span>,
    /// False when a setting is wrong and its default is used instead: no other fault follows from that.
    pub(super) sure: bool,
}

const TLS_MODES: [(&str, TlsMode); 3] =
    [("starttls", TlsMode::StartTls), ("implicit", TlsMode::Implicit), ("off", TlsMode::Off)];

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Vec<Listener> {
    let sections = root.several(page, "listen");
    let mut all: Vec<Listener> = Vec::new();
    for section in &sections {
        let listener = one_listener(page, section);
        let other = all.iter().find(|other| listener.sure && other.sure && overlap(&other.listen, &listener.listen));
        if let (Some(span), Some(other)) = (listener.address.as_ref(), other) {
            let what =
                format!("listen.address: {} is taken by {} above", listener.listen.address, other.listen.address);
            page.fault(span, Wrong::new(what, "write another address or port, or take one out"));
        }
        all.push(listener);
    }
    if let Some(span) = sections.get(COUNT_MAX).and_then(Section::span) {
        page.fault(span, Wrong::new(format!("more than {COUNT_MAX} [[listen]]"), "take some out"));
    }
    if !root.holds("listen") {
        all.push(Listener { listen: Listen::default(), address: None, tls: None, sure: true });
    }
    all
}

fn one_listener(page: &mut Page<'_>, section: &Section<'_>) -> Listener {
    let default = Listen::default();
    let address = section.text(page, "address", value::listen_address);
    let tls = section.word(page, "tls", &TLS_MODES);
    // Ignored, every client would be taken for the proxy.
    if let Some(first) = section.list(page, "proxy_from", value::network).first() {
        let wrong = Wrong::new("not available in this version", "write proxy_from = [], or take it out");
        section.fault(page, "proxy_from", first, wrong);
    }
    Listener {
        address: address.as_ref().map(Spanned::span).or_else(|| section.span().cloned()),
        tls: tls.as_ref().map(Spanned::span).or_else(|| section.span().cloned()),
        sure: address.is_some() == section.has("address") && tls.is_some() == section.has("tls"),
        listen: Listen {
            address: address.map_or(default.address, Spanned::into_inner),
            tls: tls.map_or(default.tls, Spanned::into_inner),
        },
    }
}

/// True when both cannot be bound: the same port, and one address holds the other.
fn overlap(a: &Listen, b: &Listen) -> bool {
    let (a, b) = (a.address, b.address);
    let wide = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && a.is_ipv4() == b.is_ipv4() && (wide || a.ip() == b.ip())
}
