//! The system's files about names, `resolv.conf` and `hosts`, as far as they are used here. Their writers are the administrator and
//! programs of his; what can't be read in them is passed over, as everywhere else.

use gatepost_smtp::names::HostName;
use gatepost_wire::slice::HostsEntry;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where the system's name servers stand.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where its own names stand.
pub const HOSTS: &str = "/etc/hosts";

/// Name servers that are used at most, as in the C library (MAXNS).
pub const SERVERS_MAX: usize = 3;
/// Lines of a hosts file that are used at most, and names of each.
pub const HOSTS_MAX: (usize, usize) = (4096, 8);
const PORT: u16 = 53;

/// The name servers of a `resolv.conf` (resolv.conf(5)): the first [`SERVERS_MAX`], or that of this host if it names none. A
/// server with a zone (`fe80::1%eth0`) is passed over: the zone isn't known where it is asked.
#[must_use]
pub fn name_servers(resolv_conf: &[u8]) -> Vec<SocketAddr> {
    let servers = lines(resolv_conf).filter(|line| !line.starts_with(['#', ';'])).filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        Some(SocketAddr::new(address.parse().ok()?, PORT))
    });
    let servers: Vec<SocketAddr> = servers.take(SERVERS_MAX).collect();
    if servers.is_empty() { vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)] } else { servers }
}

/// The entries of a hosts file (hosts(5)). Names that are no host's are left out, and entries without a name.
#[must_use]
pub fn hosts(file: &[u8]) -> Vec<HostsEntry> {
    let entries = lines(file).filter_map(|line| {
        let (line, _) = line.split_once('#').unwrap_or((line, ""));
        let mut words = line.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        let names: Vec<HostName> =
            words.filter_map(|word| HostName::parse(word.as_bytes())).take(HOSTS_MAX.1).collect();
        (!names.is_empty()).then_some(HostsEntry { address, names })
    });
    entries.take(HOSTS_MAX.0).collect()
}

/// The lines that are text.
fn lines(file: &[u8]) -> impl Iterator<Item = &str> {
    file.split(|octet| *octet == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_12_name_servers_are_those_that_the_c_library_asks() {
        let this = "127.0.0.1:53";
        for (text, servers) in [
            ("nameserver 192.0.2.1\n", &["192.0.2.1:53"][..]),
            (
                "search a.test\n  nameserver\t2001:db8::1   \noptions edns0\nnameserver 192.0.2.1 # b",
                &["[2001:db8::1]:53", "192.0.2.1:53"],
            ),
            ("#nameserver 192.0.2.1\n;nameserver 192.0.2.2\n", &[this]),
            ("", &[this]),
            ("nameserver\nnameserver x\nnameserver fe80::1%eth0\nnameservers 192.0.2.1\n", &[this]),
            ("nameserver 127.0.0.53\r\n", &["127.0.0.53:53"]),
            (
                "\u{fffd}\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4",
                &["1.1.1.1:53", "2.2.2.2:53", "3.3.3.3:53"],
            ),
        ] {
            let found: Vec<String> = name_servers(text.as_bytes()).iter().map(ToString::to_string).collect();
            assert_eq!(found, servers, "{text:?}");
        }
        assert_eq!(name_servers(b"\xff\xfe\nnameserver 192.0.2.1\n").len(), 1);
    }

    #[test]
    fn issue_12_hosts_are_addresses_with_their_names() {
        let text = b"127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # more\n# 192.0.2.1 no.test\n192.0.2.2 A.test. 192.0.2.3 b_c.test\n\
                     192.0.2.4\nx y.test\n\xff\xff\n192.0.2.5 -bad-\n";
        let found: Vec<(String, Vec<String>)> = hosts(text)
            .iter()
            .map(|entry| (entry.address.to_string(), entry.names.iter().map(ToString::to_string).collect()))
            .collect();
        let expected =
            [("127.0.0.1", "localhost"), ("::1", "localhost ip6-localhost"), ("192.0.2.2", "a.test b_c.test")];
        let expected: Vec<(String, Vec<String>)> = expected
            .iter()
            .map(|(address, names)| ((*address).to_owned(), names.split(' ').map(str::to_owned).collect()))
            .collect();
        assert_eq!(found, expected);
        let many = "192.0.2.1 a.test\n".repeat(HOSTS_MAX.0 + 5);
        assert_eq!(hosts(many.as_bytes()).len(), HOSTS_MAX.0);
    }
}
