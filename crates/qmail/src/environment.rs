//! The environment that a UCSPI server, inetd or systemd hands down: what qmail-smtpd reads of it, and the whole of it for the
//! queue program. Where tcp-env had to stand in front, its work is done here.

use std::net::{IpAddr, SocketAddr};

use zeroize::Zeroize;

use crate::text::{VALUE_MAX, clean};

/// Name and value pairs in their order, names once each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<N: Into<Vec<u8>>, V: Into<Vec<u8>>> FromIterator<(N, V)> for Environment {
    /// Of a name that comes twice the first value holds, as for getenv(3).
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            let name = name.into();
            if environment.get_octets(&name).is_none() {
                environment.pairs.push((name, value.into()));
            }
        }
        environment
    }
}

impl Environment {
    /// The value of a variable; set and empty is `Some`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_octets(name.as_bytes())
    }

    fn get_octets(&self, name: &[u8]) -> Option<&[u8]> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// Whether a variable is set, even to nothing.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets a variable to a value of ours, in its old place or at the end.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        match self.pairs.iter_mut().find(|(known, _)| known == name.as_bytes()) {
            Some((_, old)) => *old = value.into(),
            None => self.pairs.push((name.into(), value.into())),
        }
    }

    /// Sets a variable to what a client said: cleaned and cut, P11.
    pub(crate) fn set_hostile(&mut self, name: &str, value: &[u8]) {
        self.set(name, clean(value, VALUE_MAX));
    }

    /// Removes a variable.
    pub fn unset(&mut self, name: &str) {
        self.pairs.retain(|(known, _)| known != name.as_bytes());
    }

    /// Overwrites and forgets all values: this process is about to be one that must not know them.
    pub fn forget(&mut self) {
        self.pairs.iter_mut().for_each(|(_, value)| value.zeroize());
        self.pairs.clear();
    }

    /// All of it, in order: for the queue program and the programs beside it.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// RELAYCLIENT: set, even to nothing, any recipient is taken, with this appended.
    #[must_use]
    pub fn relay_client(&self) -> Option<&[u8]> {
        self.get("RELAYCLIENT")
    }

    /// QMAILQUEUE. Set and empty is a program that can't be run, as in notqmail.
    #[must_use]
    pub fn queue_program(&self) -> &[u8] {
        self.get("QMAILQUEUE").unwrap_or(b"bin/qmail-queue")
    }

    /// TCPLOCALHOST, else TCPLOCALIP, else `unknown`: the name after `by`.
    #[must_use]
    pub fn local_name(&self) -> &[u8] {
        self.get("TCPLOCALHOST").or_else(|| self.get("TCPLOCALIP")).unwrap_or(b"unknown")
    }

    /// TCPREMOTEHOST, else `unknown`.
    #[must_use]
    pub fn remote_host(&self) -> &[u8] {
        self.get("TCPREMOTEHOST").unwrap_or(b"unknown")
    }

    /// TCPREMOTEIP, else `unknown`.
    #[must_use]
    pub fn remote_ip(&self) -> &[u8] {
        self.get("TCPREMOTEIP").unwrap_or(b"unknown")
    }

    /// Whether a UCSPI server has been here and its variables are to be believed.
    #[must_use]
    pub fn is_ucspi(&self) -> bool {
        matches!(self.get("PROTO"), Some(b"TCP" | b"TCP6" | b"SSL"))
    }

    /// The work of tcp-env: under inetd, xinetd or systemd, sets what tcpserver would have set from the addresses of the
    /// socket, and removes a peer's name and ident answer that someone else left. Without a socket, REMOTE_ADDR and
    /// REMOTE_PORT of a systemd unit are believed; without those nothing is touched, so that a pipe works as under qmail.
    pub fn complete(&mut self, local: Option<SocketAddr>, remote: Option<SocketAddr>) {
        if self.is_ucspi() {
            return;
        }
        let Some(remote) = remote.or_else(|| self.systemd_remote()) else { return };
        let (ip, port) = (remote.ip().to_canonical(), remote.port());
        self.set("PROTO", if ip.is_ipv4() { "TCP" } else { "TCP6" });
        for stale in ["TCPLOCALIP", "TCPLOCALPORT", "TCPREMOTEHOST", "TCPREMOTEINFO"] {
            self.unset(stale);
        }
        if let Some(local) = local {
            self.set("TCPLOCALIP", local.ip().to_canonical().to_string());
            self.set("TCPLOCALPORT", local.port().to_string());
        }
        self.set("TCPREMOTEIP", ip.to_string());
        self.set("TCPREMOTEPORT", port.to_string());
    }

    fn systemd_remote(&self) -> Option<SocketAddr> {
        let text = |name| self.get(name).and_then(|value| std::str::from_utf8(value).ok());
        let ip: IpAddr = text("REMOTE_ADDR")?.parse().ok()?;
        Some(SocketAddr::new(ip, text("REMOTE_PORT").and_then(|port| port.parse().ok()).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().copied().collect()
    }

    #[test]
    fn order_is_kept_and_names_are_single() {
        let mut environment = of(&[("B", "1"), ("A", "2"), ("B", "3")]);
        environment.set("A", "4");
        environment.set("C", "");
        environment.unset("nope");
        assert_eq!(environment, of(&[("B", "1"), ("A", "4"), ("C", "")]));
        assert!(environment.has("C") && !environment.has("D"));
        environment.unset("A");
        assert_eq!(environment.iter().map(|(name, _)| name).collect::<Vec<_>>(), [b"B", b"C"]);
    }

    #[test]
    fn p11_what_a_client_said_goes_in_cleaned() {
        let mut environment = Environment::default();
        environment.set_hostile("SENDER", b"a\nLD_PRELOAD=x\0@b");
        assert_eq!(environment.get("SENDER"), Some(&b"aLD_PRELOAD=x@b"[..]));
        environment.set_hostile("SENDER", &[b'x'; 5000]);
        assert_eq!(environment.get("SENDER").map(<[u8]>::len), Some(VALUE_MAX));
    }

    #[test]
    fn a59_names_fall_back_to_unknown() {
        let nothing = Environment::default();
        assert_eq!([nothing.local_name(), nothing.remote_host(), nothing.remote_ip()], [b"unknown"; 3]);
        assert_eq!(of(&[("TCPLOCALIP", "192.0.2.1")]).local_name(), b"192.0.2.1");
        assert_eq!(nothing.queue_program(), b"bin/qmail-queue");
        assert_eq!(of(&[("QMAILQUEUE", "")]).queue_program(), b"");
    }

    #[test]
    fn tcp_env_s_work_is_done_where_nobody_did_it() {
        let local = Some("192.0.2.1:25".parse().unwrap());
        let stale = [("TCPREMOTEHOST", "evil.example"), ("TCPREMOTEINFO", "root"), ("TCPREMOTEIP", "10.0.0.1")];
        let mut inetd = of(&stale);
        inetd.complete(local, Some("198.51.100.7:4000".parse().unwrap()));
        for (name, value) in [
            ("PROTO", Some("TCP")),
            ("TCPLOCALIP", Some("192.0.2.1")),
            ("TCPLOCALPORT", Some("25")),
            ("TCPREMOTEIP", Some("198.51.100.7")),
            ("TCPREMOTEPORT", Some("4000")),
            ("TCPREMOTEHOST", None),
            ("TCPREMOTEINFO", None),
        ] {
            assert_eq!(inetd.get(name), value.map(str::as_bytes), "{name}");
        }
        for (remote, proto, ip) in
            [("[2001:db8::9]:5", "TCP6", "2001:db8::9"), ("[::ffff:192.0.2.9]:5", "TCP", "192.0.2.9")]
        {
            let mut environment = of(&[("PROTO", "UNIX")]);
            environment.complete(None, Some(remote.parse().unwrap()));
            assert_eq!(environment.get("PROTO"), Some(proto.as_bytes()));
            assert_eq!(environment.get("TCPREMOTEIP"), Some(ip.as_bytes()));
            assert!(!environment.has("TCPLOCALIP"));
        }
    }

    #[test]
    fn a_ucspi_server_s_word_stands() {
        for proto in ["TCP", "TCP6", "SSL"] {
            let before = of(&[("PROTO", proto), ("TCPREMOTEIP", "192.0.2.7"), ("TCPREMOTEHOST", "h.example")]);
            let mut after = before.clone();
            after.complete(None, Some("198.51.100.7:4000".parse().unwrap()));
            assert_eq!(after, before);
        }
    }

    #[test]
    fn systemd_s_variables_do_without_a_socket() {
        let mut unit = of(&[("REMOTE_ADDR", "2001:db8::5"), ("REMOTE_PORT", "99")]);
        unit.complete(None, None);
        assert_eq!(unit.get("TCPREMOTEIP"), Some(&b"2001:db8::5"[..]));
        assert_eq!(unit.get("TCPREMOTEPORT"), Some(&b"99"[..]));
        let mut pipe = of(&[("TCPREMOTEIP", "192.0.2.7")]);
        pipe.complete(None, None);
        assert_eq!(pipe, of(&[("TCPREMOTEIP", "192.0.2.7")]));
        let mut odd = of(&[("REMOTE_ADDR", "evil\nname")]);
        odd.complete(None, None);
        assert!(!odd.has("TCPREMOTEIP"));
    }
}
