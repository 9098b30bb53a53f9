//! Where a client is, as three nested networks.

use std::net::IpAddr;

/// The leading bits of an address, the rest zero. The families and the three levels never mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network {
    level: u8,
    v6: bool,
    bits: u64,
}

impl Network {
    pub(super) const LEAST: Self = Self { level: 0, v6: false, bits: 0 };
    pub(super) const GREATEST: Self = Self { level: u8::MAX, v6: true, bits: u64::MAX };
}

/// A client as it is counted: what one customer can change at will is one address (IPv6 /64), what a site is given is one
/// network (IPv4 /24, IPv6 /48), and what one provider can hand out quickly lies in one block (IPv4 /16, IPv6 /40).
/// IPv4-mapped IPv6 is IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin([Network; 3]);

impl Origin {
    /// Of a client at `ip`.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        let (v6, bits, masks) = match ip.to_canonical() {
            IpAddr::V4(ip) => (false, u64::from(ip.to_bits()), [0xffff_0000, 0xffff_ff00, 0xffff_ffff]),
            IpAddr::V6(ip) => {
                let bits = u64::try_from(ip.to_bits() >> 64).unwrap_or_default();
                (true, bits, [0xffff_ffff_ff00_0000, 0xffff_ffff_ffff_0000, u64::MAX])
            }
        };
        let [block, site, address] = masks.map(|mask| bits & mask);
        Self([
            Network { level: 0, v6, bits: block },
            Network { level: 1, v6, bits: site },
            Network { level: 2, v6, bits: address },
        ])
    }

    /// A number for the widest network around the client: IPv4 /16, IPv6 /40.
    #[must_use]
    pub const fn block(self) -> u64 {
        let [block, _, _] = self.0;
        block.bits
    }

    /// The client itself: one IPv4 address or IPv6 /64.
    pub(crate) const fn address(self) -> Network {
        let [.., address] = self.0;
        address
    }

    /// The networks around the client, the widest first.
    pub(crate) const fn path(self) -> [Network; 3] {
        self.0
    }
}
