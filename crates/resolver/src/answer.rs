//! One answer, judged as hostile: whoever runs the zone of a client's address writes it, and so does whoever is between. Pure.

use crate::question::{DomainName, Kind, Question};
use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::name::ToName;
use domain::base::{Message, ParsedName};
use domain::rdata::{A, Aaaa, Cname, Ptr, Soa, Txt};
use gatepost_smtp::names::HostName;
use gatepost_wire::names::LIST_TEXT_MAX;
use std::fmt;
use std::net::IpAddr;

/// Records of one answer that are read.
pub(crate) const RECORDS_MAX: usize = 64;
/// Names or addresses that are kept of one answer.
pub const KEPT_MAX: usize = 16;
/// Octets that are kept of a text.
pub const TEXT_MAX: usize = LIST_TEXT_MAX;
/// CNAMEs that are followed for one question, over all answers to it.
pub const ALIASES_MAX: usize = 8;

/// What a server says, as far as it is of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// Host names (PTR), at least one. Others that the answer may hold are no names of hosts.
    Names(Vec<HostName>),
    /// Addresses (A, AAAA), at least one.
    Addresses(Vec<IpAddr>),
    /// A text (TXT), of [`TEXT_MAX`] octets at most: the first, where there are several.
    Text(Vec<u8>),
    /// The same must be asked of this name: the server did not follow the CNAME to its end.
    Alias {
        /// The name.
        name: DomainName,
        /// CNAMEs that led to it.
        depth: usize,
    },
    /// There is nothing.
    Nothing,
}

/// An answer that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub records: Records,
    /// For how long, seconds; `None`: an answer of "nothing" that doesn't say.
    pub ttl: Option<u32>,
}

/// Why an answer says nothing: not that there is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Cut off, although it came by TCP.
    Truncated,
    /// The server failed or refused, with this code.
    Code(Rcode),
    /// The server doesn't ask others: what it doesn't know may be there all the same.
    NotRecursive,
    /// It can't be read.
    Malformed,
    /// More CNAMEs than are followed, or a circle.
    Chain,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the answer is cut off"),
            Self::Code(code) => write!(f, "it answers {code}"),
            Self::NotRecursive => f.write_str("it does not ask other servers (no recursion)"),
            Self::Malformed => f.write_str("the answer can't be read"),
            Self::Chain => f.write_str("too many CNAMEs"),
        }
    }
}

/// Octets of an answer.
pub(crate) type Octets<'a> = &'a Message<[u8]>;

/// Judges `message`, of which the transport has found that it answers `question`.
///
/// # Errors
/// [`Unusable`]
pub fn judge(question: &Question, message: Octets<'_>) -> Result<Answer, Unusable> {
    let header = message.header();
    if header.tc() {
        return Err(Unusable::Truncated);
    }
    let exists = match header.rcode() {
        Rcode::NOERROR => true,
        Rcode::NXDOMAIN => false,
        code => return Err(Unusable::Code(code)),
    };
    if !header.ra() && !header.aa() {
        return Err(Unusable::NotRecursive);
    }
    let lines = lines(question.kind, message).ok_or(Unusable::Malformed)?;
    let (owner, depth, chain_ttl) = follow(question, &lines)?;
    let negative = negative_ttl(message);
    let nothing = |ttl| Answer { records: Records::Nothing, ttl };
    if !exists {
        return Ok(nothing(negative));
    }
    let mut kept = (Vec::new(), Vec::new(), None);
    let mut ttl = chain_ttl;
    let (mut seen, wanted) = (false, lines.iter().filter(|line| line.owner.name_eq(&owner)));
    for line in wanted {
        match &line.data {
            Data::Alias(_) => continue,
            Data::Name(Some(name)) if !kept.0.contains(name) && kept.0.len() < KEPT_MAX => kept.0.push(name.clone()),
            Data::Address(address) if kept.1.len() < KEPT_MAX => kept.1.push(*address),
            Data::Text(text) if kept.2.is_none() => kept.2 = Some(text.clone()),
            Data::Name(_) | Data::Address(_) | Data::Text(_) => {}
        }
        seen = true;
        ttl = ttl.min(line.ttl);
    }
    Ok(match kept {
        (names, ..) if !names.is_empty() => Answer { records: Records::Names(names), ttl: Some(ttl) },
        (_, addresses, _) if !addresses.is_empty() => Answer { records: Records::Addresses(addresses), ttl: Some(ttl) },
        (.., Some(text)) => Answer { records: Records::Text(text), ttl: Some(ttl) },
        _ if depth > 0 && !seen && negative.is_none() => {
            Answer { records: Records::Alias { name: owner, depth }, ttl: Some(ttl) }
        }
        _ => nothing(if seen { Some(ttl) } else { negative }),
    })
}

/// A record of the answer section that matters.
struct Line<'a> {
    owner: ParsedName<&'a [u8]>,
    ttl: u32,
    data: Data<'a>,
}

enum Data<'a> {
    Alias(ParsedName<&'a [u8]>),
    /// None: it is no host's name.
    Name(Option<HostName>),
    Address(IpAddr),
    Text(Vec<u8>),
}

/// `None`: a record can't be read. An answer that is half readable is no answer.
fn lines(kind: Kind, message: Octets<'_>) -> Option<Vec<Line<'_>>> {
    let mut lines = Vec::new();
    for record in message.answer().ok()?.take(RECORDS_MAX) {
        let record = record.ok()?;
        if record.class() != Class::IN {
            continue;
        }
        let data = match (record.rtype(), kind) {
            (Rtype::CNAME, _) => Data::Alias(record.to_record::<Cname<_>>().ok()??.into_data().into_cname()),
            (Rtype::PTR, Kind::Ptr) => {
                let name = record.to_record::<Ptr<_>>().ok()??.into_data().into_ptrdname();
                Data::Name(HostName::parse(name.to_string().as_bytes()))
            }
            (Rtype::A, Kind::A) => Data::Address(IpAddr::V4(record.to_record::<A>().ok()??.data().addr())),
            (Rtype::AAAA, Kind::Aaaa) => Data::Address(IpAddr::V6(record.to_record::<Aaaa>().ok()??.data().addr())),
            (Rtype::TXT, Kind::Txt) => {
                let text = record.to_record::<Txt<_>>().ok()??.into_data();
                Data::Text(text.iter().flatten().copied().take(TEXT_MAX).collect())
            }
            _ => continue,
        };
        lines.push(Line { owner: record.owner(), ttl: record.ttl().as_secs(), data });
    }
    Some(lines)
}

/// Follows the CNAMEs within the answer: the last name, how many led to it, and how long they are good for, seconds.
fn follow(question: &Question, lines: &[Line<'_>]) -> Result<(DomainName, usize, u32), Unusable> {
    let mut name = question.name.clone();
    let mut ttl = u32::MAX;
    for depth in 0..=ALIASES_MAX {
        let alias = lines.iter().find_map(|line| match &line.data {
            Data::Alias(target) if line.owner.name_eq(&name) => Some((target, line.ttl)),
            _ => None,
        });
        let Some((target, of_this)) = alias else { return Ok((name, depth, ttl)) };
        name = target.try_to_name::<Vec<u8>>().map_err(|_| Unusable::Malformed)?;
        ttl = ttl.min(of_this);
    }
    Err(Unusable::Chain)
}

/// For how long "nothing" is good, seconds (RFC 2308 §5). `None`: the answer doesn't say, because it isn't complete.
fn negative_ttl(message: Octets<'_>) -> Option<u32> {
    let mut authority = message.authority().ok()?.limit_to::<Soa<_>>();
    let soa = authority.next()?.ok()?;
    Some(soa.ttl().as_secs().min(soa.data().minimum().as_secs()))
}
