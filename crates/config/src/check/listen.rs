//! `[[listen]]`.

use crate::facts::{COUNT_MAX, Listen};
use crate::fault::{Page, Span, Wrong};
use crate::keys::Kind::{List, Text, Truth, Word};
use crate::keys::Unset::{Is, Said};
use crate::keys::{Table, keys};
use crate::section::{self, Section};
use crate::value;
use gatepost_smtp::envelope::Service;
use gatepost_wire::network::Network;
use gatepost_wire::slice::TlsMode;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use toml::Spanned;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "listen",
    repeated: true,
    text: "A port where clients are taken. Without any there is one with all defaults. 255 at most. A socket for it that systemd or \
           another program hands over is used; else it is bound.",
    keys: keys! {
        /// Where it listens. `[::]` takes IPv4 too, unless `v6only` is true. `unix:` and a path, with `service = "submission"`: a
        /// socket for programs of this machine, as sendmail(1) of gatepost speaks to. Whose program it is the kernel says: no login is
        /// asked for, and there is no TLS. Its directory must exist. One at most.
        "address" = Text("an address and a port, or `unix:` and a path"), Is("\"[::]:25\""), since "0.1", as "\"192.0.2.25:25\"";
        /// An IPv6 address takes IPv6 alone.
        "v6only" = Truth, Said("false; true for `[::]` where there is a `0.0.0.0` with the same port"), since "0.1", as "true";
        /// `starttls`: a client may begin TLS. `implicit`: the connection begins with TLS, as on port 465. `off`: there is none.
        "tls" = Word(&["starttls", "implicit", "off"]), Is("\"starttls\""), since "0.1", as "\"implicit\"";
        /// `relay`: mail for our domains, from anybody. `submission`: mail to anywhere, from whoever has logged in; `[submission]`
        /// says where logins come from. Needs TLS.
        "service" = Word(&["relay", "submission"]), Is("\"relay\""), since "0.1", as "\"submission\"";
        /// Load balancers: peers that must begin with a PROXY header, version 1 or 2, which says who the client is. None of
        /// them may be in `clients` of `[relay]`. gatepost inetd reads no header, and refuses them.
        "proxy_from" = List("an address, or a network like `192.0.2.0/24`"), Is("[]"), since "0.1", as "[\"198.51.100.7\"]";
    },
};

/// A listener, and where in the text its settings are.
pub(super) struct Listener {
    pub(super) listen: Listen,
    /// Its address, or its heading; nothing when there is no `[[listen]]` at all.
    address: Option<Span>,
    /// `v6only` as it is written; none when the other listeners decide.
    v6only: Option<bool>,
    pub(super) tls: Option<Span>,
    /// `proxy_from`, where it is written.
    proxies: Vec<Spanned<Network>>,
    /// False when a setting is wrong and its default is used instead: no other fault follows from that.
    pub(super) sure: bool,
}

/// The words of `tls`.
pub(super) const TLS_MODES: [(&str, TlsMode); 3] =
    [("starttls", TlsMode::StartTls), ("implicit", TlsMode::Implicit), ("off", TlsMode::Off)];

/// What stands before the path of a socket.
const LOCAL: &str = "unix:";

/// The words of `service`.
const SERVICES: [(&str, Service); 2] = [("relay", Service::Relay), ("submission", Service::Submission)];

/// The listeners at ports, and the socket for programs of this machine.
pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> (Vec<Listener>, Option<PathBuf>) {
    let sections = root.several(page, "listen");
    let (local, sections): (Vec<_>, Vec<_>) = sections.into_iter().partition(is_local);
    let socket = local_socket(page, &local);
    let mut all: Vec<Listener> = sections.iter().map(|section| one_listener(page, section)).collect();
    leave_ipv4_to_its_own(&mut all);
    for (index, listener) in all.iter().enumerate() {
        let mut earlier = all.iter().take(index).filter(|other| listener.sure && other.sure);
        let other = earlier.find(|other| overlap(&other.listen, &listener.listen));
        if let (Some(span), Some(other)) = (listener.address.as_ref(), other) {
            let what =
                format!("listen.address: {} is taken by {} above", listener.listen.address, other.listen.address);
            page.fault(span, Wrong::new(what, "write another address or port, or take one out"));
        }
    }
    if let Some(span) = sections.get(COUNT_MAX).and_then(Section::span) {
        page.fault(span, Wrong::new(format!("more than {COUNT_MAX} [[listen]]"), "take some out"));
    }
    if !root.holds("listen") {
        all.push(Listener {
            listen: Listen::default(),
            address: None,
            v6only: None,
            tls: None,
            proxies: Vec::new(),
            sure: true,
        });
    }
    (all, socket)
}

fn is_local(section: &Section<'_>) -> bool {
    section.written("address").is_some_and(|address| address.starts_with(LOCAL))
}

/// Of those that are sockets for programs of this machine the first.
fn local_socket(page: &mut Page<'_>, sections: &[Section<'_>]) -> Option<PathBuf> {
    let mut path = None;
    for section in sections {
        let address =
            section.text(page, "address", |text| value::socket_path(text.strip_prefix(LOCAL).unwrap_or(text)));
        let service = section.word(page, "service", &SERVICES);
        if service.as_ref().is_none_or(|service| *service.get_ref() != Service::Submission) {
            section.lack(
                page,
                "service",
                "write service = \"submission\": that is all that a socket for programs of this machine is for",
            );
        }
        for key in ["v6only", "tls", "proxy_from"] {
            let none = Wrong::new("a socket for programs of this machine has none", "take it out");
            let _: Option<Spanned<()>> = section.get(page, key, |_| Err(none));
        }
        if let (Some(_), Some(second)) = (&path, &address) {
            let wrong = Wrong::new("a second socket for programs of this machine", "take one out");
            section.fault(page, "address", second, wrong);
        }
        path = path.or(address.map(Spanned::into_inner));
    }
    path
}

/// Where `0.0.0.0` and `[::]` are both listed with one port, the second takes IPv6 alone unless `v6only` says otherwise:
/// as it was before one listener could take both.
fn leave_ipv4_to_its_own(all: &mut [Listener]) {
    let wide = |address: SocketAddr| address.ip().is_unspecified();
    let addresses = all.iter().map(|listener| listener.listen.address);
    let ipv4: Vec<u16> = addresses.filter(|a| a.is_ipv4() && wide(*a)).map(|a| a.port()).collect();
    for Listener { listen, .. } in all.iter_mut().filter(|listener| listener.v6only.is_none()) {
        listen.v6only = listen.address.is_ipv6() && wide(listen.address) && ipv4.contains(&listen.address.port());
    }
}

fn one_listener(page: &mut Page<'_>, section: &Section<'_>) -> Listener {
    let default = Listen::default();
    let address = section.text(page, "address", value::listen_address);
    let v6only = section.get(page, "v6only", section::truth);
    let ipv4 = address.as_ref().is_some_and(|address| address.get_ref().is_ipv4());
    if let Some(v6only) = v6only.as_ref().filter(|v6only| ipv4 && *v6only.get_ref()) {
        let wrong = Wrong::new("an IPv4 address takes no IPv6", "take it out, or write address = \"[::]:25\"");
        section.fault(page, "v6only", v6only, wrong);
    }
    let v6only = v6only.map(Spanned::into_inner);
    let tls = section.word(page, "tls", &TLS_MODES);
    let service = section.word(page, "service", &SERVICES);
    let submits = service.as_ref().is_some_and(|service| *service.get_ref() == Service::Submission);
    if let Some(off) = tls.as_ref().filter(|tls| submits && *tls.get_ref() == TlsMode::Off) {
        let wrong = Wrong::new("passwords do not go over a listener without TLS", "write \"starttls\" or \"implicit\"");
        section.fault(page, "tls", off, wrong);
    }
    let proxies = section.list(page, "proxy_from", value::network);
    for network in proxies.iter().filter(|network| network.get_ref().prefix() == 0) {
        let what = format!("{} would let everyone say who he is", network.get_ref());
        section.fault(page, "proxy_from", network, Wrong::new(what, "write the addresses of your load balancers"));
    }
    Listener {
        address: address.as_ref().map(Spanned::span).or_else(|| section.span().cloned()),
        tls: tls.as_ref().map(Spanned::span).or_else(|| section.span().cloned()),
        sure: address.is_some() == section.has("address")
            && v6only.is_some() == section.has("v6only")
            && tls.is_some() == section.has("tls"),
        v6only,
        proxies: proxies.clone(),
        listen: Listen {
            address: address.map_or(default.address, Spanned::into_inner),
            v6only: v6only.unwrap_or(default.v6only),
            tls: tls.map_or(default.tls, Spanned::into_inner),
            service: service.map_or(default.service, Spanned::into_inner),
            proxy_from: proxies.iter().map(|network| *network.get_ref()).collect(),
        },
    }
}

/// A connection for which a load balancer names no client has its own address. If that could relay, so could whoever comes
/// through it.
pub(super) fn proxies_relay(page: &mut Page<'_>, listeners: &[Listener], key: &str, clients: &[Network]) {
    for network in listeners.iter().flat_map(|listener| &listener.proxies) {
        if let Some(client) = clients.iter().find(|client| client.overlaps(network.get_ref())) {
            let what = format!("listen.proxy_from: {} may relay by {key}, which has {client}", network.get_ref());
            page.fault(&network.span(), Wrong::new(what, "take it out of one of them"));
        }
    }
}

/// True when both cannot be bound: the same port, and one address holds the other.
fn overlap(a: &Listen, b: &Listen) -> bool {
    let port = a.address.port();
    port == b.address.port() && port != 0 && (takes(a, b.address.ip()) || takes(b, a.address.ip()))
}

/// True when `listen` hears what is sent to `ip`; an unspecified `ip` stands for all of its family.
pub(super) fn takes(listen: &Listen, ip: IpAddr) -> bool {
    match listen.address.ip() {
        own if !own.is_unspecified() => own == ip,
        IpAddr::V4(_) => ip.is_ipv4(),
        IpAddr::V6(_) => ip.is_ipv6() || !listen.v6only,
    }
}
