//! Networks as keys of a compiled file. Neither dialect of tcprules can make a key with a line end in it, so these are in no
//! file of theirs, and mean nothing to their readers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most lengths that there can be: those of IPv6, 0 to 128.
pub(super) const LENGTHS_MAX: u32 = 129;

/// An address of a family and how many of its bits count; the others are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    ip: IpAddr,
    length: u8,
}

/// The address that a text stands for; an IPv4 address in IPv6's form is one of IPv4.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    let ip: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(ip.to_canonical())
}

/// Where a file says which lengths of this family it has: an octet each.
pub(super) fn lengths_key(family: IpAddr) -> &'static [u8] {
    if family.is_ipv4() { b"\n4" } else { b"\n6" }
}

impl Network {
    /// The one of this length around an address; None where the family has fewer bits.
    pub(super) fn new(ip: IpAddr, length: u8) -> Option<Self> {
        let ip = match ip {
            IpAddr::V4(ip) => {
                let drop = 32_u32.checked_sub(length.into())?;
                // A shift by all bits is none in Rust, and the result 0 here.
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(drop).unwrap_or(0)))
            }
            IpAddr::V6(ip) => {
                let drop = 128_u32.checked_sub(length.into())?;
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(drop).unwrap_or(0)))
            }
        };
        Some(Self { ip, length })
    }

    /// Reads `address/length`. An IPv4 network in IPv6's form is none: its length would be another.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (ip, length) = std::str::from_utf8(text).ok()?.split_once('/')?;
        let plain = length.bytes().all(|digit| digit.is_ascii_digit());
        Self::new(ip.parse().ok()?, length.parse().ok().filter(|_| plain)?)
    }

    /// Its key in a compiled file.
    pub(super) fn key(self) -> Vec<u8> {
        format!("\n{self}").into_bytes()
    }

    /// The family's key and the octet that tells of this length.
    pub(super) fn listed(self) -> (&'static [u8], u8) {
        (lengths_key(self.ip), self.length)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.length)
    }
}
