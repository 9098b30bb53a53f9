//! A program's environment: what the server's own has, less and more.

use super::peer::{self, Family, Peer};
use std::ffi::{CStr, CString};

/// The server's own environment, each entry `NAME=value`.
#[derive(Debug, Default)]
pub struct Inherited(Vec<CString>);

/// What is changed for one program, in this order: `NAME=value` sets, `NAME` alone removes.
#[derive(Debug, Default)]
pub struct Changes(Vec<CString>);

impl Inherited {
    /// Of these names and values. A name or value with a NUL is left out: none can have come from execve(2).
    pub fn new(all: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        Self(
            all.into_iter()
                .filter_map(|(name, value)| CString::new([&name, &b"="[..], &value].concat()).ok())
                .collect(),
        )
    }

    /// The value of one.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find_map(|entry| entry.to_bytes().strip_prefix(name)?.strip_prefix(b"="))
    }

    /// Takes one out.
    pub fn remove(&mut self, name: &[u8]) {
        self.0.retain(|entry| name_of(entry) != name);
    }

    /// The environment with these changes, in the order in which the original has it: what takes the place of an entry goes to the
    /// end, and the last entry goes to where that was.
    #[must_use]
    pub fn with<'a>(&'a self, changes: &'a Changes) -> Vec<&'a CStr> {
        let mut all: Vec<&CStr> = self.0.iter().map(CString::as_c_str).collect();
        for change in &changes.0 {
            if let Some(at) = all.iter().position(|entry| name_of(entry) == name_of(change)) {
                all.swap_remove(at);
            }
            if change.as_bytes().contains(&b'=') {
                all.push(change);
            }
        }
        all
    }
}

fn name_of(entry: &CStr) -> &[u8] {
    entry.to_bytes().split(|octet| *octet == b'=').next().unwrap_or_default()
}

impl Changes {
    /// What `peer` and the rules change. A rule's variables come last: they may say anything, even who the peer is.
    #[must_use]
    pub fn of<'a>(peer: &Peer<'_>, rules: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut changes = Self(Vec::with_capacity(20));
        changes.set(b"PROTO", Some(peer.protocol().as_bytes()));
        let (local, remote) = (peer.shown(peer.local.ip()), peer.shown(peer.remote.ip()));
        let (local_port, remote_port) = (peer.local.port().to_string(), peer.remote.port().to_string());
        let names: [(&[u8], Option<&[u8]>); 7] = [
            (b"LOCALIP", Some(local.as_bytes())),
            (b"LOCALPORT", Some(local_port.as_bytes())),
            (b"LOCALHOST", peer.local_host),
            (b"REMOTEIP", Some(remote.as_bytes())),
            (b"REMOTEPORT", Some(remote_port.as_bytes())),
            (b"REMOTEHOST", peer.remote_host),
            (b"REMOTEINFO", peer.info),
        ];
        for (name, value) in names {
            changes.set(&[b"TCP", name].concat(), value);
        }
        if peer.family != Family::V4 {
            let (local, remote) = (peer::mapped(peer.local.ip()), peer::mapped(peer.remote.ip()));
            for (name, value) in names {
                let value = match name {
                    b"LOCALIP" => Some(local.as_bytes()),
                    b"REMOTEIP" => Some(remote.as_bytes()),
                    _ => value,
                };
                changes.set(&[b"TCP6", name].concat(), value);
            }
            changes.set(b"TCP6INTERFACE", peer.interface);
        }
        rules.into_iter().for_each(|(name, value)| changes.set(name, Some(value)));
        changes
    }

    /// Sets a variable, or removes it. What has a NUL in it is cut there, as the original's strings are.
    pub fn set(&mut self, name: &[u8], value: Option<&[u8]>) {
        let text = value.map_or_else(|| name.to_vec(), |value| [name, b"=", value].concat());
        let text = text.split(|octet| *octet == 0).next().unwrap_or_default();
        self.0.extend(CString::new(text).ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(all: &[(&str, &str)]) -> Inherited {
        Inherited::new(all.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())))
    }

    fn shown(inherited: &Inherited, changes: &Changes) -> Vec<String> {
        inherited.with(changes).iter().map(|entry| entry.to_string_lossy().into_owned()).collect()
    }

    const PEER: Peer<'_> = Peer {
        family: Family::V4,
        local: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 25)), 25),
        remote: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 4711),
        local_host: Some(b"0"),
        remote_host: None,
        info: None,
        interface: None,
    };

    #[test]
    fn issue_11_stale_names_do_not_leak_and_the_rest_is_inherited() {
        let inherited = pairs(&[
            ("A", "1"),
            ("TCPREMOTEHOST", "stale"),
            ("TCPREMOTEINFO", "stale"),
            ("PROTO", "SSL"),
            ("TCPREMOTEIPX", "2"),
        ]);
        let changes = Changes::of(&PEER, []);
        let mut all = shown(&inherited, &changes);
        all.sort();
        assert_eq!(
            all,
            [
                "A=1",
                "PROTO=TCP",
                "TCPLOCALHOST=0",
                "TCPLOCALIP=192.0.2.25",
                "TCPLOCALPORT=25",
                "TCPREMOTEIP=192.0.2.9",
                "TCPREMOTEIPX=2",
                "TCPREMOTEPORT=4711"
            ]
        );
    }

    #[test]
    fn issue_11_a_rule_overrides_everything_and_its_last_word_counts() {
        let rules = [("A", "1"), ("PROTO", "X"), ("A", "2"), ("TCPREMOTEIP", "")];
        let rules = rules.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let all = shown(&Inherited::default(), &Changes::of(&PEER, rules));
        for entry in ["A=2", "PROTO=X", "TCPREMOTEIP="] {
            let name = entry.split('=').next().unwrap();
            let found: Vec<&String> = all.iter().filter(|one| one.split('=').next() == Some(name)).collect();
            assert_eq!(found, [entry], "{all:?}");
        }
    }

    #[test]
    fn issue_11_an_ipv6_socket_has_the_variables_of_the_ipv6_build_too() {
        let all = shown(&Inherited::default(), &Changes::of(&Peer { family: Family::Dual, ..PEER }, []));
        for entry in ["PROTO=TCP", "TCPREMOTEIP=192.0.2.9", "TCP6REMOTEIP=::ffff:192.0.2.9", "TCP6LOCALHOST=0"] {
            assert!(all.iter().any(|one| one == entry), "{entry}: {all:?}");
        }
        let all = shown(&Inherited::default(), &Changes::of(&Peer { family: Family::V6, ..PEER }, []));
        for entry in ["PROTO=TCP6", "TCPREMOTEIP=::ffff:192.0.2.9", "TCP6REMOTEPORT=4711"] {
            assert!(all.iter().any(|one| one == entry), "{entry}: {all:?}");
        }
    }
}
