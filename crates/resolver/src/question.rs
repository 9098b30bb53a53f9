//! What can be asked.

use domain::base::iana::{Class, Rtype};
use domain::base::{Message, MessageBuilder, Name, Question as Line};
use gatepost_smtp::names::HostName;
use std::net::IpAddr;
use std::str::FromStr;

/// A name of any kind, not only a host's: CNAMEs lead through such as `1.0/25.2.0.192.in-addr.arpa` (RFC 2317). Compared without
/// regard to case.
pub(crate) type DomainName = Name<Vec<u8>>;

/// Kinds of records that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Ptr,
    A,
    Aaaa,
    Txt,
}

impl Kind {
    pub(crate) const fn rtype(self) -> Rtype {
        match self {
            Self::Ptr => Rtype::PTR,
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
            Self::Txt => Rtype::TXT,
        }
    }

    /// For addresses of the family of `ip`.
    #[must_use]
    pub const fn of_family(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::A,
            IpAddr::V6(_) => Self::Aaaa,
        }
    }
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// Of which name.
    pub name: DomainName,
    /// Which records.
    pub kind: Kind,
}

impl Question {
    /// For the names of an address. `None` can't be, but for a library that is mistaken.
    #[must_use]
    pub fn reverse(ip: IpAddr) -> Option<Self> {
        Some(Self { name: DomainName::reverse_from_addr(ip.to_canonical()).ok()?, kind: Kind::Ptr })
    }

    /// For the addresses of a host, of one family. `None`: as above.
    #[must_use]
    pub fn forward(host: &HostName, kind: Kind) -> Option<Self> {
        Some(Self { name: DomainName::from_str(host.as_str()).ok()?, kind })
    }

    /// For what a DNS list says of an address (RFC 5782 §2.1, §2.4). `None`: as above, or the name would be too long.
    #[must_use]
    pub(crate) fn listed_address(ip: IpAddr, zone: &HostName, kind: Kind) -> Option<Self> {
        let name = match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                format!("{d}.{c}.{b}.{a}.{zone}")
            }
            IpAddr::V6(ip) => {
                let nibbles = ip.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
                nibbles.fold(String::new(), |name, nibble| format!("{name}{nibble:x}.")) + zone.as_str()
            }
        };
        Some(Self { name: DomainName::from_str(&name).ok()?, kind })
    }

    /// For what a DNS list says of a name (RFC 5782 §3). `None`: as above.
    #[must_use]
    pub(crate) fn listed_name(name: &str, zone: &HostName, kind: Kind) -> Option<Self> {
        Some(Self { name: DomainName::from_str(&format!("{name}.{zone}")).ok()?, kind })
    }

    /// As a query for a server that follows CNAMEs itself. `udp_max`: octets of an answer by UDP, by EDNS (RFC 6891).
    pub(crate) fn query(&self, id: u16, udp_max: Option<u16>) -> Option<Message<Vec<u8>>> {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(id);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        builder.push(Line::new(&self.name, self.kind.rtype(), Class::IN)).ok()?;
        let mut builder = builder.additional();
        if let Some(udp_max) = udp_max {
            builder
                .opt(|opt| {
                    opt.set_udp_payload_size(udp_max);
                    Ok(())
                })
                .ok()?;
        }
        Some(builder.into_message())
    }
}
