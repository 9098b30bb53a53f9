//! Values that are written as text: sizes, durations, names, paths, where a backend listens.

use crate::Connect;
use crate::fault::Wrong;
use gatepost_policy::relay::{DomainFault, check_domain, check_entry};
use gatepost_smtp::names::HostName;
use gatepost_wire::network::{Network, NetworkFault};
use gatepost_wire::rate::{COUNT_MAX, Rate};
use gatepost_wire::slice::CodeRange;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Longest path of a unix socket: 108 octets of `sun_path` less the final NUL.
const SOCKET_PATH_MAX: usize = 107;

const SIZES: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];
const TIMES: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 3600)];

/// Octets: a number, alone or with KiB, MiB or GiB.
pub(crate) fn size(text: &str) -> Result<u64, Wrong> {
    let (digits, unit) = number_and_unit(text);
    let factor = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match (digits.parse::<u64>(), factor) {
        (Ok(n), Some(factor)) if !digits.is_empty() => {
            n.checked_mul(factor).ok_or_else(|| Wrong::new(format!("{text} is too much"), "write less"))
        }
        (Ok(n), None) => {
            // MB, M, mib and the like: what is meant is clear enough to say.
            let meant = unit.trim().get(..1).and_then(|first| {
                SIZES.iter().find(|(name, _)| name.starts_with(&first.to_ascii_uppercase()) && !name.is_empty())
            });
            let advice = match meant {
                Some((name, _)) => format!("write \"{n}{name}\" (1 KiB is 1024 octets)"),
                None => SIZE_ADVICE.to_owned(),
            };
            Err(Wrong::new(format!("\"{text}\" has an unknown unit"), advice))
        }
        _ => Err(Wrong::new(format!("\"{text}\" is no size"), SIZE_ADVICE)),
    }
}

const SIZE_ADVICE: &str = "write a number of octets, or a number with KiB, MiB or GiB, such as \"50MiB\"";

/// The shortest way to write a size.
pub(crate) fn size_text(octets: u64) -> String {
    let fitting = SIZES.iter().rev().skip(1).find(|(_, factor)| octets >= *factor && octets.is_multiple_of(*factor));
    fitting.map_or_else(|| octets.to_string(), |(name, factor)| format!("{}{name}", octets / factor))
}

/// A number with s, m or h.
pub(crate) fn duration(text: &str) -> Result<Duration, Wrong> {
    let (digits, unit) = number_and_unit(text);
    let factor = TIMES.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match (digits.parse::<u64>(), factor) {
        (Ok(n), Some(factor)) => n
            .checked_mul(factor)
            .map(Duration::from_secs)
            .ok_or_else(|| Wrong::new(format!("{text} is too long"), "write less")),
        (Ok(n), None) if unit.is_empty() => Err(Wrong::new(
            format!("{text} has no unit"),
            format!("write \"{n}s\", or with m for minutes or h for hours"),
        )),
        _ => Err(Wrong::new(format!("\"{text}\" is no duration"), DURATION_ADVICE)),
    }
}

pub(crate) const DURATION_ADVICE: &str = "write a number with s, m or h, such as \"30s\", \"5m\" or \"1h\"";

/// The shortest way to write a duration.
pub(crate) fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let fitting = TIMES.iter().rev().find(|(_, factor)| seconds >= *factor && seconds.is_multiple_of(*factor));
    fitting.map_or_else(|| format!("{seconds}s"), |(name, factor)| format!("{}{name}", seconds / factor))
}

/// So many in a time: `120/m`; or `none`.
pub(crate) fn rate(text: &str) -> Result<Option<Rate>, Wrong> {
    if text == "none" {
        return Ok(None);
    }
    let (count, unit) = text.split_once('/').unwrap_or((text, ""));
    let seconds = TIMES.iter().find(|(name, _)| *name == unit).and_then(|(_, seconds)| u32::try_from(*seconds).ok());
    let digits = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    match (count.parse::<u32>(), seconds) {
        (Ok(0), Some(_)) => Err(Wrong::new(format!("\"{text}\" lets nobody in"), RATE_ADVICE)),
        (Ok(count @ 1..=COUNT_MAX), Some(seconds)) if digits => Ok(Some(Rate { count, seconds })),
        (_, Some(_)) if digits => {
            Err(Wrong::new(format!("\"{text}\" is too much"), format!("write {COUNT_MAX} or less")))
        }
        _ => Err(Wrong::new(format!("\"{text}\" is no rate"), RATE_ADVICE)),
    }
}

const RATE_ADVICE: &str = "write a number with /s, /m or /h, such as \"120/m\", or \"none\"";

fn number_and_unit(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Endings under which every machine is called the same: what installers write when nobody gave the machine a name, and
/// what RFC 6761 §6.3 and §6.4 reserve. No other server can look such a name up.
const NOBODYS: [&str; 4] = ["localdomain", "localdomain4", "localdomain6", "invalid"];

/// Our own name: fully qualified (RFC 5321 §2.3.5), or `localhost` for a gatepost that no one else reaches.
pub(crate) fn hostname(text: &str) -> Result<String, Wrong> {
    let name = host(text)?;
    let (first, last) = (name.split('.').next(), name.rsplit('.').next());
    let nobodys = last.is_some_and(|last| NOBODYS.contains(&last) || last == "localhost" && name.contains('.'));
    if nobodys || first == Some("localhost") && name.contains('.') {
        return Err(Wrong::new(
            format!("\"{text}\" is not the name of this machine alone"),
            "write the name that its address has in DNS, such as \"mx.example.org\": other servers refuse mail from a name \
             that they cannot look up",
        ));
    }
    if name.contains('.') || name == "localhost" {
        return Ok(name);
    }
    Err(Wrong::new(
        format!("\"{text}\" is not a full host name"),
        format!("write it with its domain, such as \"{text}.example.org\""),
    ))
}

/// A host name in lower case.
pub(crate) fn host(text: &str) -> Result<String, Wrong> {
    check_domain(text.as_bytes())
        .map_err(|fault| Wrong::new(format!("\"{text}\": {fault}"), host_advice(text, fault)))?;
    match text.chars().find(|c| !c.is_ascii() || *c == '_') {
        Some(c) => Err(Wrong::new(
            format!("\"{text}\": {c:?} has no place in a host name"),
            "write letters, digits, hyphens and dots; a name beyond ASCII in its xn-- form",
        )),
        None => Ok(text.to_ascii_lowercase()),
    }
}

fn host_advice(text: &str, fault: DomainFault) -> String {
    let trimmed = text.trim_matches('.');
    match fault {
        DomainFault::Wildcard => "write out each name".to_owned(),
        DomainFault::TrailingDot if check_domain(trimmed.as_bytes()).is_ok() => format!("write \"{trimmed}\""),
        _ => "write a host name, such as \"mx.example.org\"".to_owned(),
    }
}

/// An entry of the relay domains, in lower case (ASCII letters only, as they are compared).
pub(crate) fn relay_domain(text: &str) -> Result<String, Wrong> {
    match check_entry(text.as_bytes()) {
        Ok(()) => Ok(text.to_ascii_lowercase()),
        Err(fault) => Err(Wrong::new(format!("\"{text}\": {fault}"), relay_domain_advice(text, fault))),
    }
}

fn relay_domain_advice(text: &str, fault: DomainFault) -> String {
    let meant = match fault {
        DomainFault::Wildcard => text.strip_prefix('*').unwrap_or(text),
        DomainFault::Mailbox => text.rsplit('@').next().unwrap_or(text),
        DomainFault::Address => return "list networks that may relay in relay.clients".to_owned(),
        DomainFault::Empty => return "take it out".to_owned(),
        _ => text.trim().trim_end_matches('.'),
    };
    if meant != text && check_entry(meant.as_bytes()).is_ok() {
        return format!("write \"{meant}\"");
    }
    "write a domain, such as \"example.org\", or \".example.org\" for all below it".to_owned()
}

/// A whole address, in lower case.
pub(crate) fn address(text: &str) -> Result<String, Wrong> {
    let (name, domain) = text.rsplit_once('@').unwrap_or_default();
    let wrong =
        |fault: &str| Wrong::new(format!("\"{text}\": {fault}"), "write an address, such as \"user@example.org\"");
    if name.is_empty() {
        return Err(wrong("no address"));
    }
    match check_domain(domain.as_bytes()) {
        Ok(()) => Ok(text.to_ascii_lowercase()),
        Err(fault) => Err(wrong(&fault.to_string())),
    }
}

/// A network, or one address.
pub(crate) fn network(text: &str) -> Result<Network, Wrong> {
    text.parse().map_err(|fault: NetworkFault| {
        let advice = match fault {
            NetworkFault::HostBits(network) => format!("write \"{network}\", or the address alone"),
            NetworkFault::Address => "write an address and a prefix length, such as \"192.0.2.0/24\"".to_owned(),
            NetworkFault::Prefix { .. } => "write the length after the slash, such as \"192.0.2.0/24\"".to_owned(),
        };
        Wrong::new(format!("\"{text}\": {fault}"), advice)
    })
}

/// The zone of a DNS list.
pub(crate) fn zone(text: &str) -> Result<HostName, Wrong> {
    let named = HostName::parse(text.as_bytes()).filter(|zone| zone.as_str().contains('.'));
    named.ok_or_else(|| {
        Wrong::new(format!("\"{text}\" is no domain"), "write the zone of the list, such as \"bl.example.net\"")
    })
}

/// Answers of a DNS list: one, or the first and the last.
pub(crate) fn list_codes(text: &str) -> Result<CodeRange, Wrong> {
    let advice = "write addresses of 127.0.0.0/8, such as \"127.0.0.2\" or \"127.0.0.2-127.0.0.11\"";
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (Ok(first), Ok(last)) = (first.trim().parse::<Ipv4Addr>(), last.trim().parse::<Ipv4Addr>()) else {
        return Err(Wrong::new(format!("\"{text}\" is no address, and not two with a hyphen between them"), advice));
    };
    if !first.is_loopback() || !last.is_loopback() {
        return Err(Wrong::new(format!("\"{text}\" is not in 127.0.0.0/8, where the answers of lists are"), advice));
    }
    if first > last {
        return Err(Wrong::new(
            format!("\"{text}\": the first is behind the last"),
            format!("write \"{last}-{first}\""),
        ));
    }
    if last >= Ipv4Addr::new(127, 255, 255, 0) {
        let what = format!("\"{text}\" has 127.255.255.x in it, by which a list refuses to answer: that is no listing");
        return Err(Wrong::new(what, advice));
    }
    Ok(CodeRange { first: first.to_bits(), last: last.to_bits() })
}

/// An absolute path without detours.
pub(crate) fn path(text: &str) -> Result<PathBuf, Wrong> {
    let path = Path::new(text);
    let plain = path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() {
        return Err(Wrong::new(format!("\"{text}\" is not an absolute path"), "begin it with a slash"));
    }
    if !plain || text.chars().any(char::is_control) || path == Path::new("/") {
        return Err(Wrong::new(
            format!("\"{}\" is no plain path", text.escape_debug()),
            "write it without \"..\" and without control characters",
        ));
    }
    Ok(path.to_owned())
}

/// The path of a unix socket.
pub(crate) fn socket_path(text: &str) -> Result<PathBuf, Wrong> {
    let path = path(text)?;
    if text.len() > SOCKET_PATH_MAX {
        return Err(Wrong::new(
            format!("the path has {} octets, a socket's has at most {SOCKET_PATH_MAX}", text.len()),
            "let it lie in a directory with a shorter one",
        ));
    }
    Ok(path)
}

/// `unix:/path` or `tcp:address:port`.
pub(crate) fn connect(text: &str) -> Result<Connect, Wrong> {
    match text.split_once(':') {
        Some(("unix", name)) => socket_path(name).map(Connect::Unix),
        Some(("tcp", address)) => tcp(address).map(Connect::Tcp),
        _ => {
            let advice = if text.starts_with('/') {
                format!("write \"unix:{text}\"")
            } else if text.parse::<SocketAddr>().is_ok() {
                format!("write \"tcp:{text}\"")
            } else {
                "write \"unix:/path/of/the/socket\" or \"tcp:127.0.0.1:10025\"".to_owned()
            };
            Err(Wrong::new(format!("\"{text}\" names no place to connect to"), advice))
        }
    }
}

fn tcp(text: &str) -> Result<SocketAddr, Wrong> {
    let wrong = |what: &str, advice: &str| Err(Wrong::new(format!("\"{text}\" {what}"), advice));
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => wrong("has port 0", "write the port that the backend listens on"),
        Ok(address) if address.ip().is_unspecified() => {
            wrong("is no address to connect to", "write the address that the backend listens on, such as 127.0.0.1")
        }
        Ok(address) => Ok(address),
        // Names would be resolved by a process that has no resolver, at a moment that nobody chose.
        Err(_) => wrong(
            "is no address and port",
            "write an address, not a name: \"tcp:127.0.0.1:10025\" or \"tcp:[::1]:10025\"",
        ),
    }
}

/// An address and port to listen on.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, Wrong> {
    let address: SocketAddr = text.parse().map_err(|_| no_listen_address(text))?;
    let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
    if plain.is_ipv4() && address.is_ipv6() {
        return Err(Wrong::new(format!("\"{text}\" is an IPv4 address in IPv6 form"), format!("write \"{plain}\"")));
    }
    Ok(address)
}

/// The port of DNS.
const NAME_PORT: u16 = 53;

/// A name server: an address, with its port unless that is 53.
pub(crate) fn name_server(text: &str) -> Result<SocketAddr, Wrong> {
    let plain = text.parse().map(|ip: IpAddr| SocketAddr::new(ip, NAME_PORT)).ok();
    let server =
        plain.or_else(|| text.parse().ok()).filter(|server| server.port() > 0 && !server.ip().is_unspecified());
    server.ok_or_else(|| {
        Wrong::new(
            format!("\"{text}\" is no address of a name server"),
            "write an address, such as \"127.0.0.1\" or \"[::1]:5353\"",
        )
    })
}

fn no_listen_address(text: &str) -> Wrong {
    let port = text.trim_start_matches(['*', ':']);
    let advice = if text.parse::<Ipv6Addr>().is_ok() {
        format!("write \"[{text}]:25\"")
    } else if text.parse::<Ipv4Addr>().is_ok() {
        format!("write \"{text}:25\"")
    } else if port.parse::<u16>().is_ok() {
        format!("write \"[::]:{port}\", or \"0.0.0.0:{port}\" for IPv4 alone")
    } else {
        "write an address and a port, such as \"[::]:25\", or \"0.0.0.0:25\" for IPv4 alone".to_owned()
    };
    Wrong::new(format!("\"{text}\" is no address and port"), advice)
}

/// The beginning of the account names: a login name, short enough that the longest role's name still fits.
pub(crate) fn account_prefix(text: &str) -> Result<String, Wrong> {
    if text.parse::<u32>().is_ok_and(|id| id > 0) {
        return Err(Wrong::new("a number in quotes is read as a name", format!("write {text} without quotes")));
    }
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    if first && rest && text.len() <= 20 {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(
        format!("\"{text}\" cannot begin the name of an account"),
        "write at most 20 lower-case letters, digits, hyphens and underscores, such as \"gatepost\"",
    ))
}
