//! The walk through the tree: every key read, every value checked alone, then against the others.

use crate::facts::{
    Backend, Config, Connect, Jail, Limits, Listen, Pair, Queue, QueueUser, REPLY_TIMEOUT, Relax, Relay, SPOOL, Tls,
    TlsVersion, Users,
};
use crate::fault::{Faults, Page, Span, Wrong, utf8};
use crate::profile::{IDENTITIES, Profile, identity_name};
use crate::section::{self, Section};
use crate::syntax;
use crate::value;
use gatepost_policy::net::Network;
use gatepost_smtp::data::BareLf;
use gatepost_smtp::server::Leniency;
use gatepost_wire::slice::{Identity, TlsMode};
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

/// RLIMIT_DATA of a session. Less than this and TLS has no room for a large certificate chain.
const DATA: RangeInclusive<u64> = 512 * KIB..=GIB;
/// A message: RFC 5321 §4.5.3.1.7 wants room for 64 KiB at least.
const MESSAGE_SIZE: RangeInclusive<u64> = 64 * KIB..=16 * GIB;
/// Recipients: RFC 5321 §4.5.3.1.8 wants room for 100 at least.
const RECIPIENTS: RangeInclusive<u16> = 100..=u16::MAX;
/// Each session is a process.
const SESSIONS: RangeInclusive<u32> = 1..=100_000;
const OFFENCES: RangeInclusive<u32> = 0..=1_000_000;
const COMMAND_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const SESSION_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// A client gives up after ten minutes (RFC 5321 §4.5.3.2.6) and sends again what was taken.
const REPLY_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(599);
/// Listeners and pairs are told apart by one octet between processes.
const COUNT_MAX: usize = 255;
/// First user id: not root. The last leaves room for a dozen roles.
const USER_IDS: RangeInclusive<u64> = 1..=0xffff_fff0;
/// What 16 bits have for "nobody" and "no id": not for a role.
const NOBODY: RangeInclusive<u64> = 65_534..=65_535;
/// Ids that numbered users take.
const ROLES: u64 = 8;

/// Reads a file that the configuration names; none: such a file is taken on trust.
pub(crate) type Read = Option<fn(&Path) -> io::Result<Vec<u8>>>;

/// The facts in the text of `page`, or all that is wrong with it.
pub(crate) fn check(mut page: Page<'_>, read: Read) -> Result<Config, Faults> {
    let text = syntax::mend(&mut page);
    let (tree, _) = DeTable::parse_recoverable(&text);
    let root = Section::root(&mut page, tree.get_ref());
    let config = facts(&mut page, &root, read);
    match page.into_faults() {
        None => Ok(config),
        Some(faults) => Err(faults),
    }
}

/// Where something is wrong, a default stands in: the value is not used then.
fn facts(page: &mut Page<'_>, root: &Section<'_>, read: Read) -> Config {
    let hostname = root.text(page, "hostname", value::hostname);
    if !root.has("hostname") {
        root.lack(page, "hostname", "write at the top: hostname = \"mx.example.org\"");
    }
    let spool = root.text(page, "spool", value::path);
    let users = root.get(page, "users", users);
    let heard = listen(page, root);
    let tls = tls(page, root, &heard);
    let relay = relay(page, root, read);
    let numbered = users.as_ref().is_some_and(|users| matches!(users.get_ref(), Users::From(_)));
    let backend = backend(page, root, &heard, numbered);
    Config {
        hostname: hostname.map(Spanned::into_inner).unwrap_or_default(),
        spool: spool.map_or_else(|| PathBuf::from(SPOOL), Spanned::into_inner),
        users: users.map(Spanned::into_inner).unwrap_or_default(),
        listen: heard.into_iter().map(|heard| heard.listen).collect(),
        tls,
        relay,
        backend,
        smtp: smtp(page, root),
        limits: limits(page, root),
        jail: jail(page, root),
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

/// A listener and where its settings stand.
struct Heard {
    listen: Listen,
    /// Its address, or its heading; nothing when there is no `[[listen]]` at all.
    address: Option<Span>,
    tls: Option<Span>,
    /// False when a default stands in for something wrong, so that nothing follows from it.
    sure: bool,
}

const TLS_MODES: [(&str, TlsMode); 3] =
    [("starttls", TlsMode::StartTls), ("implicit", TlsMode::Implicit), ("off", TlsMode::Off)];

fn listen(page: &mut Page<'_>, root: &Section<'_>) -> Vec<Heard> {
    let sections = root.several(page, "listen");
    let mut all: Vec<Heard> = Vec::new();
    for section in &sections {
        let heard = one_listener(page, section);
        let other = all.iter().find(|other| heard.sure && other.sure && overlap(&other.listen, &heard.listen));
        if let (Some(span), Some(other)) = (heard.address.as_ref(), other) {
            let what = format!("listen.address: {} is taken by {} above", heard.listen.address, other.listen.address);
            page.fault(span, Wrong::new(what, "write another address or port, or take one out"));
        }
        all.push(heard);
    }
    if let Some(span) = sections.get(COUNT_MAX).and_then(Section::span) {
        page.fault(span, Wrong::new(format!("more than {COUNT_MAX} [[listen]]"), "take some out"));
    }
    if !root.holds("listen") {
        all.push(Heard { listen: Listen::default(), address: None, tls: None, sure: true });
    }
    all
}

fn one_listener(page: &mut Page<'_>, section: &Section<'_>) -> Heard {
    let default = Listen::default();
    let address = section.text(page, "address", value::listen_address);
    let tls = section.word(page, "tls", &TLS_MODES);
    // Ignored, every client would be taken for the proxy.
    if let Some(first) = section.list(page, "proxy_from", value::network).first() {
        let wrong = Wrong::new("not available in this version", "write proxy_from = [], or take it out");
        section.fault(page, "proxy_from", first, wrong);
    }
    Heard {
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

fn tls(page: &mut Page<'_>, root: &Section<'_>, heard: &[Heard]) -> Tls {
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
    tls_fits(page, &section, any_pair, required, heard);
    Tls { pairs, required, minimum: minimum.map(Spanned::into_inner).unwrap_or_default() }
}

/// Checks that who is to speak TLS can, and that someone does when it is required.
fn tls_fits(page: &mut Page<'_>, section: &Section<'_>, any_pair: bool, required: bool, heard: &[Heard]) {
    let speaks = |heard: &&Heard| heard.listen.tls != TlsMode::Off;
    if let Some(first) = heard.iter().filter(|heard| heard.sure).find(speaks).filter(|_| !any_pair) {
        let what = format!("the listener at {} is to speak TLS, and there is no certificate", first.listen.address);
        let advice = "write certificate and key in [tls], or tls = \"off\" in [[listen]]";
        page.lack(first.tls.as_ref(), Wrong::new(what, advice));
    }
    if required && !heard.is_empty() && !heard.iter().any(|heard| speaks(&heard)) {
        let what = "tls.required: no listener speaks TLS, so no mail could come in";
        let advice = "write tls = \"starttls\" in [[listen]], or required = false";
        page.lack(section.span(), Wrong::new(what, advice));
    }
}

/// The certificate and key of a section; `None` when one is wrong or missing.
fn pair(page: &mut Page<'_>, section: &Section<'_>, names: Vec<String>) -> Option<Pair> {
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

fn relay(page: &mut Page<'_>, root: &Section<'_>, read: Read) -> Relay {
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

fn backend(page: &mut Page<'_>, root: &Section<'_>, heard: &[Heard], numbered: bool) -> Backend {
    let section = root.one(page, "backend");
    let profile = section.word(page, "profile", &Profile::ALL.map(|profile| (profile.name(), profile)));
    if !section.has("profile") {
        section.lack(
            page,
            "profile",
            "write in [backend] what stands behind: profile = \"postfix\", or \"smtp\" for any",
        );
    }
    let reply_timeout = duration(page, &section, "reply_timeout", REPLY_TIMEOUTS, REPLY_TIMEOUT);
    let identity = section.word(page, "identity", &IDENTITIES);
    let profile = profile.map(Spanned::into_inner);
    let mut connect = Vec::new();
    let mut queue = None;
    if profile == Some(Profile::QmailQueue) {
        queue = Some(queue_program(page, &section, numbered));
    } else {
        connect = section.one_or_list(page, "connect", value::connect);
        places(page, &section, &connect, heard);
        for key in ["home", "queue_user", "queue_as"] {
            section.get(page, key, |_| -> Result<(), Wrong> {
                Err(Wrong::new("only a queue program has that", "take it out, or write profile = \"qmail-queue\""))
            });
        }
    }
    let relay_proof = relay_proof(page, &section, profile);
    let identity = match profile {
        Some(profile) if queue.is_none() => hand_over(page, &section, profile, &connect, identity),
        _ => Identity::None,
    };
    let profile = profile.unwrap_or(Profile::Smtp);
    Backend {
        profile,
        connect: plain(connect),
        queue,
        dialect: profile.dialect(),
        identity,
        relay_proof,
        reply_timeout,
    }
}

/// The qmail home unless given.
const QMAIL_HOME: &str = "/var/qmail";

/// The program to run and its users. `numbered`: users are numbers, so that there need be no accounts.
fn queue_program(page: &mut Page<'_>, section: &Section<'_>, numbered: bool) -> Queue {
    let home = section.text(page, "home", value::path).map_or_else(|| QMAIL_HOME.into(), Spanned::into_inner);
    let program = section.text(page, "connect", |text| match text.starts_with('/') {
        true => value::path(text),
        false => Err(Wrong::new(
            format!("\"{text}\" is no path of a program"),
            format!("write \"{QMAIL_HOME}/bin/qmail-queue\", or take it out"),
        )),
    });
    let mut user = |key, account: &str| {
        let given = section.get(page, key, queue_user).map(Spanned::into_inner);
        given.unwrap_or_else(|| if numbered { QueueUser::Own } else { QueueUser::Account(account.to_owned()) })
    };
    let (user, owner) = (user("queue_user", "qmaild"), user("queue_as", "qmailq"));
    Queue { program: program.map_or_else(|| home.join("bin/qmail-queue"), Spanned::into_inner), home, user, owner }
}

fn queue_user(value: &DeValue<'_>) -> Result<QueueUser, Wrong> {
    let DeValue::Integer(_) = value else {
        let name = section::text(value)?;
        let right = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        let wrong = || Wrong::new(format!("\"{}\" is no account", name.escape_debug()), "write an account's name");
        return if right && !name.is_empty() { Ok(QueueUser::Account(name.to_owned())) } else { Err(wrong()) };
    };
    let id = section::within(section::integer(value)?, USER_IDS, |id| id.to_string())?;
    u32::try_from(id).map(QueueUser::Id).map_err(|_| Wrong::new("too much", "write a user id"))
}

/// Whether the backend is to prove that it does not relay: where it can be asked, unless told otherwise.
fn relay_proof(page: &mut Page<'_>, section: &Section<'_>, profile: Option<Profile>) -> bool {
    let unasked = profile.filter(|profile| !profile.can_be_asked());
    let Some(profile) = unasked else { return section.truth(page, "relay_proof", true) };
    let given = section.get(page, "relay_proof", |value| match value {
        DeValue::Boolean(true) => Err(Wrong::new(
            format!(
                "{} takes a message for whomever it is, so there is nothing that it could be asked",
                profile.name()
            ),
            "take it out; what may pass is said by [relay] alone",
        )),
        value => section::truth(value),
    });
    given.is_some_and(Spanned::into_inner)
}

/// Checks that there is a place to connect to, and that none of them is our own.
fn places(page: &mut Page<'_>, section: &Section<'_>, connect: &[Spanned<Connect>], heard: &[Heard]) {
    if !section.holds("connect") {
        section.lack(page, "connect", "write in [backend] where it listens: connect = \"tcp:127.0.0.1:10025\"");
    }
    for place in connect {
        let Connect::Tcp(to) = *place.get_ref() else { continue };
        let ours = |listen: SocketAddr| {
            listen.port() == to.port()
                && (listen.ip() == to.ip() || listen.ip().is_unspecified() && to.ip().is_loopback())
        };
        if let Some(heard) = heard.iter().find(|heard| heard.sure && ours(heard.listen.address)) {
            let what = format!("gatepost itself listens at {}: mail would go in circles", heard.listen.address);
            section.fault(page, "connect", place, Wrong::new(what, "write where the backend listens"));
        }
    }
}

/// How the backend is told who the client is: in a way that it understands at each place it listens at.
fn hand_over(
    page: &mut Page<'_>,
    section: &Section<'_>,
    profile: Profile,
    connect: &[Spanned<Connect>],
    given: Option<Spanned<Identity>>,
) -> Identity {
    for place in connect.iter().filter(|place| profile.identities(place.get_ref()).is_empty()) {
        let what = format!("{} does not listen for SMTP on a unix socket", profile.name());
        section.fault(page, "connect", place, Wrong::new(what, "write \"tcp:127.0.0.1:...\" and let it listen there"));
    }
    let understood = |identity: Identity| {
        let mut places = connect.iter().map(|place| profile.identities(place.get_ref()));
        places.all(|ways| ways.is_empty() || ways.contains(&identity))
    };
    let ways = connect.iter().flat_map(|place| profile.identities(place.get_ref())).copied();
    let fitting: Vec<Identity> = ways.filter(|identity| understood(*identity)).collect();
    let default = fitting.first().copied().unwrap_or(Identity::None);
    let Some(given) = given else { return default };
    if !understood(*given.get_ref()) {
        let what = format!("{} cannot be told by \"{}\" there", profile.name(), identity_name(*given.get_ref()));
        let advice = match profile {
            Profile::Postfix | Profile::Exim | Profile::OpenSmtpd if *given.get_ref() == Identity::None => format!(
                "write \"{}\": without it {} takes every client for a neighbour and relays",
                identity_name(default),
                profile.name()
            ),
            _ => format!("write \"{}\"", identity_name(default)),
        };
        section.fault(page, "identity", &given, Wrong::new(what, advice));
    }
    given.into_inner()
}

const BARE_LF: [(&str, BareLf); 2] = [("refuse", BareLf::Refuse), ("normalize", BareLf::Normalize)];

fn smtp(page: &mut Page<'_>, root: &Section<'_>) -> Leniency {
    let section = root.one(page, "smtp");
    let mut leniency = Leniency::default();
    for name in Leniency::names() {
        if let Some(switch) = leniency.switch(name) {
            *switch = section.truth(page, name, *switch);
        }
    }
    if let Some(bare_lf) = section.word(page, "bare_lf", &BARE_LF).map(Spanned::into_inner) {
        (leniency.lf_in_data, leniency.lf_in_chunks) = (bare_lf, bare_lf);
    }
    leniency
}

fn limits(page: &mut Page<'_>, root: &Section<'_>) -> Limits {
    let section = root.one(page, "limits");
    let default = Limits::default();
    let sessions = section.number(page, "sessions", SESSIONS, default.sessions);
    Limits {
        data: size(page, &section, "data", DATA, default.data),
        sessions,
        sessions_per_address: section.number(page, "sessions_per_address", SESSIONS, default.sessions_per_address),
        offences: section.number(page, "offences", OFFENCES, default.offences),
        message_size: size(page, &section, "message_size", MESSAGE_SIZE, default.message_size),
        recipients: section.number(page, "recipients", RECIPIENTS, default.recipients),
        command_timeout: duration(page, &section, "command_timeout", COMMAND_TIMEOUT, default.command_timeout),
        session_time: duration(page, &section, "session_time", SESSION_TIME, default.session_time),
    }
}

fn size(page: &mut Page<'_>, section: &Section<'_>, key: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
    let read = |value: &DeValue<'_>| {
        let octets = match value {
            DeValue::String(text) => value::size(text)?,
            value => section::integer(value)?,
        };
        section::within(octets, range, value::size_text)
    };
    section.get(page, key, read).map_or(default, Spanned::into_inner)
}

fn duration(
    page: &mut Page<'_>,
    section: &Section<'_>,
    key: &str,
    range: RangeInclusive<Duration>,
    default: Duration,
) -> Duration {
    let read = |value: &DeValue<'_>| {
        let duration = match value {
            // A number alone would be seconds to one reader and milliseconds to the next.
            DeValue::Integer(n) => value::duration(n.as_str()),
            value => value::duration(section::text(value)?),
        };
        section::within(duration?, range, value::duration_text)
    };
    section.get(page, key, read).map_or(default, Spanned::into_inner)
}

fn jail(page: &mut Page<'_>, root: &Section<'_>) -> Jail {
    let section = root.one(page, "jail");
    let words = Relax::ALL.map(|relax| (relax.name(), relax));
    let mut relax = plain(section.list(page, "relax", |text| section::word(text, &words)));
    relax.sort_unstable();
    relax.dedup();
    Jail { relax }
}

fn plain<T>(spanned: Vec<Spanned<T>>) -> Vec<T> {
    spanned.into_iter().map(Spanned::into_inner).collect()
}
