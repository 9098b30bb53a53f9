//! Who the client is. The kernel's word, where descriptor 0 is a connection: nobody else is asked then, whatever the environment
//! says. Where it is a pipe, a UCSPI server's (`PROTO` and the four variables that belong to it): programs like sslserver stand
//! between the connection and us.

use gatepost_config::Listen;
use gatepost_qmail::environment::Environment;
use std::net::{IpAddr, SocketAddr};

/// Both ends of the connection, IPv4-mapped addresses made IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
}

impl Peer {
    /// `connection`: the local and the remote end, when the kernel knows them. None: nobody knows.
    pub(crate) fn of(connection: Option<(SocketAddr, SocketAddr)>, environment: &Environment) -> Option<Self> {
        match connection {
            Some((local, client)) => Some(Self { client: canonical(client), local: canonical(local) }),
            None if environment.is_ucspi() => Some(Self {
                client: end(environment, "TCPREMOTEIP", "TCPREMOTEPORT")?,
                local: end(environment, "TCPLOCALIP", "TCPLOCALPORT")?,
            }),
            None => None,
        }
    }

    /// Index of the `[[listen]]` that the connection would have come in by: the first with its port, else the first.
    pub(crate) fn listener(&self, listen: &[Listen]) -> u8 {
        let found = listen.iter().position(|listen| listen.address.port() == self.local.port());
        found.and_then(|index| u8::try_from(index).ok()).unwrap_or(0)
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn end(environment: &Environment, ip: &str, port: &str) -> Option<SocketAddr> {
    let text = |name| std::str::from_utf8(environment.get(name)?).ok();
    // ucspi-tcp6 has the interface behind the address.
    let ip: IpAddr = text(ip)?.split('%').next()?.parse().ok()?;
    Some(SocketAddr::new(ip.to_canonical(), text(port)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::slice::TlsMode;

    const UCSPI: [(&str, &str); 5] = [
        ("PROTO", "TCP"),
        ("TCPREMOTEIP", "198.51.100.7"),
        ("TCPREMOTEPORT", "4000"),
        ("TCPLOCALIP", "203.0.113.1"),
        ("TCPLOCALPORT", "25"),
    ];

    fn peer(client: &str, local: &str) -> Peer {
        Peer { client: client.parse().unwrap(), local: local.parse().unwrap() }
    }

    #[test]
    fn p4_the_kernel_s_word_is_the_client_and_without_it_a_ucspi_server_s() {
        let ucspi: Environment = UCSPI.into_iter().collect();
        let kernel = Some(("[::ffff:203.0.113.9]:26".parse().unwrap(), "[::ffff:192.0.2.9]:5".parse().unwrap()));
        assert_eq!(Peer::of(kernel, &ucspi), Some(peer("192.0.2.9:5", "203.0.113.9:26")));
        assert_eq!(Peer::of(kernel, &Environment::default()), Some(peer("192.0.2.9:5", "203.0.113.9:26")));
        assert_eq!(Peer::of(None, &ucspi), Some(peer("198.51.100.7:4000", "203.0.113.1:25")));
    }

    #[test]
    fn p4_who_is_not_known_is_not_guessed() {
        let rows = [
            ("PROTO", None),
            ("PROTO", Some("UNIX")),
            ("TCPREMOTEIP", None),
            ("TCPREMOTEIP", Some("localhost")),
            ("TCPREMOTEIP", Some("")),
            ("TCPREMOTEPORT", None),
            ("TCPREMOTEPORT", Some("70000")),
            ("TCPLOCALIP", None),
            ("TCPLOCALPORT", Some("smtp")),
        ];
        for (name, value) in rows {
            let mut environment: Environment = UCSPI.into_iter().collect();
            match value {
                Some(value) => environment.set(name, value),
                None => environment.unset(name),
            }
            assert_eq!(Peer::of(None, &environment), None, "{name} {value:?}");
        }
    }

    #[test]
    fn issue_11_ipv6_of_every_dialect() {
        for (proto, ip) in [("TCP6", "2001:db8::9"), ("TCP", "2001:db8::9"), ("SSL", "2001:db8::9%eth0")] {
            let mut environment: Environment = UCSPI.into_iter().collect();
            environment.set("PROTO", proto);
            environment.set("TCPREMOTEIP", ip);
            assert_eq!(Peer::of(None, &environment), Some(peer("[2001:db8::9]:4000", "203.0.113.1:25")), "{proto}");
        }
    }

    #[test]
    fn issue_11_the_port_says_which_listen_it_is() {
        let listen = |address: &str, tls| Listen { address: address.parse().unwrap(), tls, ..Listen::default() };
        let all = [listen("[::]:25", TlsMode::StartTls), listen("127.0.0.1:465", TlsMode::Implicit)];
        for (local, index) in [("203.0.113.1:25", 0), ("203.0.113.1:465", 1), ("203.0.113.1:2525", 0)] {
            assert_eq!(peer("192.0.2.9:5", local).listener(&all), index, "{local}");
        }
    }
}
