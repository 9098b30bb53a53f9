//! The facts of a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How addresses are shown, which depends on the socket that a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// A socket of IPv4: the original's environment.
    V4,
    /// A socket of IPv6 that takes both, or of IPv4 with `-4`: IPv4 is shown as IPv4, and the variables of the IPv6 build are there too.
    Dual,
    /// `-6`: all is IPv6, IPv4 in its mapped form.
    V6,
}

/// A connection, with all that was found out about it.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// How to show addresses.
    pub family: Family,
    /// The address it came to. IPv4 never in its mapped form.
    pub local: SocketAddr,
    /// The address it came from. IPv4 never in its mapped form.
    pub remote: SocketAddr,
    /// Our name.
    pub local_host: Option<&'a [u8]>,
    /// The peer's name.
    pub remote_host: Option<&'a [u8]>,
    /// The user's name, as the peer's host says.
    pub info: Option<&'a [u8]>,
    /// The interface by which a link-local address is reached.
    pub interface: Option<&'a [u8]>,
}

impl Peer<'_> {
    /// PROTO: by the address, or by the socket where that shows IPv6 alone.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        if self.family == Family::V6 || self.remote.is_ipv6() { "TCP6" } else { "TCP" }
    }

    /// An address as TCPLOCALIP or TCPREMOTEIP has it.
    #[must_use]
    pub fn shown(&self, ip: IpAddr) -> String {
        if self.family == Family::V6 { mapped(ip) } else { ip.to_string() }
    }
}

/// An address as IPv6.
#[must_use]
pub fn mapped(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_string(),
        IpAddr::V6(ip) => ip.to_string(),
    }
}

/// The host of the command line, where it needs no look-up.
#[must_use]
pub fn wildcard(host: &[u8]) -> bool {
    matches!(host, b"" | b"0" | b":0")
}

/// Every address of this machine, in that family.
#[must_use]
pub fn unspecified(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}
