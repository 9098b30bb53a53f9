//! Relay: which domains mail is taken for, and from whom it is taken for any domain.

use crate::local_part::{self, Danger};
use crate::sorted::{Sorted, TooLarge};
use gatepost_wire::network::Network;
use std::fmt;
use std::net::IpAddr;

/// Longest domain, octets (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_MAX: usize = 255;
const LABEL_MAX: usize = 63;

/// Why a text is no domain, or no entry of a relay table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainFault {
    /// Nothing there.
    Empty,
    /// Longer than [`DOMAIN_MAX`].
    Long,
    /// Two dots in a row.
    EmptyLabel,
    /// A dot at the end: RFC 5321 §4.1.2 has none.
    TrailingDot,
    /// More than 63 octets between two dots.
    LongLabel,
    /// A hyphen at the beginning or end of a label.
    Hyphen,
    /// A whole address, with an at sign.
    Mailbox,
    /// A star; a leading dot covers subdomains.
    Wildcard,
    /// An address of a host in place of a name.
    Address,
    /// This octet has no place in a domain.
    Octet(u8),
    /// More entries than a table of 4 GiB can hold.
    TooLarge,
}

impl fmt::Display for DomainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a domain is missing"),
            Self::Long => write!(f, "a domain has at most {DOMAIN_MAX} octets"),
            Self::EmptyLabel => f.write_str("two dots in a row"),
            Self::TrailingDot => f.write_str("a domain does not end with a dot"),
            Self::LongLabel => write!(f, "more than {LABEL_MAX} octets between two dots"),
            Self::Hyphen => f.write_str("a label begins or ends with a hyphen"),
            Self::Mailbox => f.write_str("a whole address where its domain is wanted"),
            Self::Wildcard => f.write_str("a star stands for nothing here: a leading dot covers subdomains"),
            Self::Address => f.write_str("an address of a host where a domain is wanted"),
            Self::Octet(octet) => write!(f, "\"{}\" has no place in a domain", octet.escape_ascii()),
            Self::TooLarge => f.write_str("too many domains"),
        }
    }
}

impl std::error::Error for DomainFault {}

/// Checks a domain name: labels of letters, digits, hyphens and underscores, or of octets from 0x80 on (RFC 6531).
///
/// # Errors
/// [`DomainFault`]: the first thing that is wrong with it.
pub fn check_domain(domain: &[u8]) -> Result<(), DomainFault> {
    if domain.is_empty() {
        return Err(DomainFault::Empty);
    }
    if domain.len() > DOMAIN_MAX {
        return Err(DomainFault::Long);
    }
    if let Some(octet) = domain.iter().find(|b| !is_domain_octet(**b)) {
        return Err(match octet {
            b'@' => DomainFault::Mailbox,
            b'*' => DomainFault::Wildcard,
            b'[' | b':' => DomainFault::Address,
            _ => DomainFault::Octet(*octet),
        });
    }
    if domain.ends_with(b".") {
        return Err(DomainFault::TrailingDot);
    }
    for label in domain.split(|b| *b == b'.') {
        match label {
            [] => return Err(DomainFault::EmptyLabel),
            [b'-', ..] | [.., b'-'] => return Err(DomainFault::Hyphen),
            _ if label.len() > LABEL_MAX => return Err(DomainFault::LongLabel),
            _ => {}
        }
    }
    // No top-level domain is a number; 192.0.2.1 without brackets is an address, whatever else it may be taken for.
    match domain.rsplit(|b| *b == b'.').next() {
        Some(last) if last.iter().all(u8::is_ascii_digit) => Err(DomainFault::Address),
        _ => Ok(()),
    }
}

/// Checks an entry of a [`RelayTable`]: a domain, or a dot and a domain.
///
/// # Errors
/// As [`check_domain`].
pub fn check_entry(entry: &[u8]) -> Result<(), DomainFault> {
    check_domain(entry.strip_prefix(b".").unwrap_or(entry))
}

fn is_domain_octet(octet: u8) -> bool {
    octet >= 0x80 || octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.')
}

/// Domains that mail is taken for. `example.org` covers just that; `.example.org` covers every domain below it, not
/// itself. ASCII letters are compared without case, all other octets as they are: a domain beyond ASCII is covered in
/// the forms it is listed in.
///
/// One block of text and eight octets an entry: 100 000 domains take about 3 MB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayTable(Sorted);

impl RelayTable {
    /// A table of these entries, in any order; doubles are dropped.
    ///
    /// # Errors
    /// The fault of the first entry that is none.
    pub fn new<T: AsRef<[u8]>>(entries: impl IntoIterator<Item = T>) -> Result<Self, DomainFault> {
        let mut table = Sorted::default();
        for entry in entries {
            check_entry(entry.as_ref())?;
            table.push(entry.as_ref()).map_err(|TooLarge| DomainFault::TooLarge)?;
        }
        Ok(Self(table.sorted()))
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when no domain is covered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when mail for `domain` is taken. What is no domain by [`check_domain`] is never covered, so neither
    /// `example.org.` nor `.example.org` nor `example.org\n` can pass for `example.org`.
    #[must_use]
    pub fn covers(&self, domain: impl AsRef<[u8]>) -> bool {
        self.longest(domain).is_some()
    }

    /// Octets of the longest entry that covers `domain`, as [`RelayTable::covers`].
    #[must_use]
    pub fn longest(&self, domain: impl AsRef<[u8]>) -> Option<usize> {
        let domain = domain.as_ref();
        check_domain(domain).ok()?;
        let name = domain.to_ascii_lowercase();
        let mut rest = name.as_slice();
        while !rest.is_empty() {
            if self.0.contains(rest) {
                return Some(rest.len());
            }
            rest = from_next_dot(rest);
        }
        None
    }
}

/// `.b.c` of `a.b.c` and `.c` of `.b.c`; nothing of `c`.
pub(crate) fn from_next_dot(name: &[u8]) -> &[u8] {
    let after = name.get(1..).unwrap_or_default();
    after.iter().position(|b| *b == b'.').and_then(|at| after.get(at..)).unwrap_or_default()
}

/// True for the address literal (RFC 5321 §4.1.3) of this address.
#[must_use]
pub fn is_literal_of(domain: &[u8], address: IpAddr) -> bool {
    let inner =
        domain.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).and_then(|rest| str::from_utf8(rest).ok());
    let Some(inner) = inner else { return false };
    let (tag, v6) = inner.split_at_checked(5).unwrap_or_default();
    let literal =
        if tag.eq_ignore_ascii_case("ipv6:") { v6.parse().map(IpAddr::V6) } else { inner.parse().map(IpAddr::V4) };
    literal.is_ok_and(|literal| literal.to_canonical() == address.to_canonical())
}

/// What is to be done with a forward-path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Take it.
    Allow,
    /// Not a domain of ours, not a client that may relay: 550 5.7.1.
    RelayDenied,
    /// A domain of ours, but the MTA behind could read the local part as something else: 550 5.7.1.
    BadLocalPart,
}

/// Everything a relay decision rests on.
#[derive(Debug, Clone, Default)]
pub struct Relay {
    /// Domains mail is taken for.
    pub domains: RelayTable,
    /// Networks whose clients may send to any domain.
    pub clients: Vec<Network>,
    /// Take mail for any domain from anyone: true only before a sink, or a backend that has proved to refuse strangers.
    pub any_domain: bool,
}

impl Relay {
    /// Whether `client` may send to this forward-path; see [`judge`].
    #[must_use]
    pub fn judge(&self, local_part: &[u8], domain: Option<&[u8]>, client: IpAddr) -> Judgement {
        judge(local_part, domain, client, self)
    }

    /// Whether `client` may send to any domain.
    #[must_use]
    pub fn is_client(&self, client: IpAddr) -> bool {
        self.clients.iter().any(|network| network.contains(client))
    }

    /// As [`Relay::judge`] for a client that is `trusted` to send to any domain, or not, whatever its address. `listed`: the domain is
    /// taken for because of a list beside [`Relay::domains`].
    #[must_use]
    pub fn judge_as(&self, local_part: &[u8], domain: Option<&[u8]>, trusted: bool, listed: bool) -> Judgement {
        judge_as(local_part, domain, (trusted, listed), self)
    }
}

/// Whether `client` may send to the forward-path `local_part@domain`, both as they stand in the path (quotes and
/// brackets included); without a domain only postmaster is known (RFC 5321 §4.5.1).
///
/// The session that asks may be owned by its client, so nothing is taken as already checked: octets that could end a
/// command line are refused here too.
#[must_use]
pub fn judge(local_part: &[u8], domain: Option<&[u8]>, client: IpAddr, relay: &Relay) -> Judgement {
    judge_as(local_part, domain, (relay.is_client(client), false), relay)
}

fn judge_as(local_part: &[u8], domain: Option<&[u8]>, (trusted, listed): (bool, bool), relay: &Relay) -> Judgement {
    let Some(domain) = domain else {
        return if local_part::is_postmaster(local_part) { Judgement::Allow } else { Judgement::RelayDenied };
    };
    let anywhere = (trusted || relay.any_domain) && is_destination(domain);
    if !anywhere && !listed && !relay.domains.covers(domain) {
        return Judgement::RelayDenied;
    }
    match local_part::danger(local_part) {
        None => Judgement::Allow,
        // A client that may send anywhere gains nothing by a detour.
        Some(Danger::Route) if trusted => Judgement::Allow,
        Some(_) => Judgement::BadLocalPart,
    }
}

/// A domain or an address literal (RFC 5321 §4.1.3), the latter loosely: no octet that means anything else to an MTA.
fn is_destination(domain: &[u8]) -> bool {
    match domain.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        Some(literal) => {
            !literal.is_empty()
                && domain.len() <= DOMAIN_MAX
                && literal.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-'))
        }
        None => check_domain(domain).is_ok(),
    }
}
