//! Networks, as `address/prefix`. They are part of this crate because slices contain them; `policy`, which decides by them, imports
//! `wire`.

use crate::codec::{Reader, Value, WireError};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IPv4 or IPv6 network. IPv4-mapped IPv6 is IPv4 here, on both sides of every comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// Why a text is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFault {
    /// What is before the slash is not an address.
    Address,
    /// What is after the slash is not a number, or exceeds the `max` of this family.
    Prefix {
        /// 32 or 128.
        max: u8,
    },
    /// Bits are set after the prefix; this network is probably meant.
    HostBits(Network),
}

impl fmt::Display for NetworkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("no IPv4 or IPv6 address before the slash"),
            Self::Prefix { max } => write!(f, "the prefix length is a number from 0 to {max}"),
            Self::HostBits(network) => write!(f, "bits are set beyond the prefix: the network is {network}"),
        }
    }
}

impl std::error::Error for NetworkFault {}

const MAPPED_BITS: u8 = 96;

impl Network {
    /// The network of `prefix` bits that holds `ip`; a prefix too long for the family means the address alone.
    #[must_use]
    pub fn around(ip: IpAddr, prefix: u8) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Self { base: IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask)), prefix }
            }
            IpAddr::V6(ip) => {
                let prefix = prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Self { base: IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask)), prefix }
            }
        }
    }

    /// True when `ip` is in this network. Never true for an address of the other family.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.base.is_ipv4() && Self::around(ip, self.prefix) == *self
    }

    /// True when an address is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// Length of the prefix, bits.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl Value<'_> for Network {
    const MAX: usize = IpAddr::MAX + 1;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        self.base.write(out, field)?;
        self.prefix.write(out, field)
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        let read = Self { base: IpAddr::read(r, field)?, prefix: u8::read(r, field)? };
        if Self::around(read.base, read.prefix) == read { Ok(read) } else { Err(WireError::Value(field)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Network {
    type Err = NetworkFault;

    /// Reads `address/prefix`, or an address alone as the network of just that address.
    fn from_str(text: &str) -> Result<Self, NetworkFault> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| NetworkFault::Address)?;
        let max = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => max,
            // Digits only: `u8::from_str` would also take a plus sign.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|n| *n <= max).ok_or(NetworkFault::Prefix { max })?
            }
            Some(_) => return Err(NetworkFault::Prefix { max }),
        };
        let mapped = ip.is_ipv6() && ip.to_canonical().is_ipv4();
        let network = match (mapped, prefix.checked_sub(MAPPED_BITS)) {
            (true, Some(prefix)) => Self::around(ip, prefix),
            // ::ffff:0.0.0.0/90 contains mapped and other addresses: it is not one network here.
            (true, None) => return Err(NetworkFault::Prefix { max }),
            (false, _) => Self::around(ip, prefix),
        };
        if network.base == ip.to_canonical() { Ok(network) } else { Err(NetworkFault::HostBits(network)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn p4_network_holds_only_its_own_addresses() {
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "192.0.2.0/24",
                &["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7"],
                &["192.0.3.0", "192.0.1.255", "::192.0.2.7"],
            ),
            ("192.0.2.7", &["192.0.2.7", "::ffff:192.0.2.7"], &["192.0.2.6", "192.0.2.8"]),
            ("192.0.2.7/32", &["192.0.2.7"], &["192.0.2.6"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], &["::1", "2001:db8::1"]),
            ("::/0", &["::1", "2001:db8::1"], &["192.0.2.1", "::ffff:192.0.2.1"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "2001:db7:ffff::"]),
            ("2001:db8::1", &["2001:db8::1"], &["2001:db8::2"]),
            ("10.128.0.0/9", &["10.128.0.1", "10.255.255.255"], &["10.127.255.255"]),
            ("::ffff:192.0.2.0/120", &["192.0.2.9", "::ffff:192.0.2.9"], &["192.0.3.9"]),
        ];
        for (network, inside, outside) in table {
            let network: Network = network.parse().unwrap();
            for text in *inside {
                assert!(network.contains(ip(text)), "{network} should hold {text}");
            }
            for text in *outside {
                assert!(!network.contains(ip(text)), "{network} should not hold {text}");
            }
        }
    }

    #[test]
    fn faulty_networks_say_what_is_wrong() {
        let meant = |text: &str| NetworkFault::HostBits(text.parse().unwrap());
        let table = [
            ("", NetworkFault::Address),
            ("/24", NetworkFault::Address),
            ("example.org", NetworkFault::Address),
            ("192.0.2/24", NetworkFault::Address),
            (" 192.0.2.0/24", NetworkFault::Address),
            ("[2001:db8::]/32", NetworkFault::Address),
            ("192.0.2.0/", NetworkFault::Prefix { max: 32 }),
            ("192.0.2.0/33", NetworkFault::Prefix { max: 32 }),
            ("192.0.2.0/+24", NetworkFault::Prefix { max: 32 }),
            ("192.0.2.0/-1", NetworkFault::Prefix { max: 32 }),
            ("192.0.2.0/24/24", NetworkFault::Prefix { max: 32 }),
            ("192.0.2.0/255.255.255.0", NetworkFault::Prefix { max: 32 }),
            ("2001:db8::/129", NetworkFault::Prefix { max: 128 }),
            ("2001:db8::/999", NetworkFault::Prefix { max: 128 }),
            ("::ffff:0.0.0.0/90", NetworkFault::Prefix { max: 128 }),
            ("192.0.2.7/24", meant("192.0.2.0/24")),
            ("2001:db8::1/64", meant("2001:db8::/64")),
            ("1.2.3.4/0", meant("0.0.0.0/0")),
        ];
        for (text, fault) in table {
            assert_eq!(text.parse::<Network>(), Err(fault), "{text}");
        }
    }

    #[test]
    fn a_network_reads_back_what_it_prints() {
        for text in ["192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32", "::1/128", "192.0.2.1/32"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
    }
}
