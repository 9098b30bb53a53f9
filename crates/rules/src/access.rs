//! What rules mean to an SMTP server that knows no more of a client than his address.

use gatepost_ucspi::cdb::{Cdb, ReadAt};
use gatepost_ucspi::rules::{Peer, Rule, RuleDecision, Variable, find};
use gatepost_ucspi::tcpserver::options::number;
use std::io;
use std::net::IpAddr;

/// What is different for a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permit {
    /// It may send to any domain: RELAYCLIENT is set, to whatever.
    pub relay: bool,
    /// Octets of its largest message, as DATABYTES says it; 0: those of the configuration.
    pub message_size: u64,
}

/// What the rules say of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Access {
    /// It may connect.
    Granted(Permit),
    /// It may not.
    Denied,
    /// The file is damaged: nobody knows.
    Unknown,
}

impl Access {
    /// By these rules.
    pub fn of<R: ReadAt>(file: &Cdb<R>, ip: IpAddr) -> Self {
        Self::found(|peer| find(file, peer), ip)
    }

    pub(crate) fn found(find: impl FnOnce(&Peer<'_>) -> io::Result<Option<Rule>>, ip: IpAddr) -> Self {
        match find(&Peer { ip: ip.to_string().as_bytes(), host: None, info: None }).map(RuleDecision::from) {
            Ok(RuleDecision::NoRule) => Self::Granted(Permit::default()),
            Ok(RuleDecision::Deny) => Self::Denied,
            Ok(RuleDecision::Allow(variables)) => Self::Granted(permit(&variables)),
            Err(_) => Self::Unknown,
        }
    }
}

/// The last of several with one name counts. Of a number qmail reads the digits that it begins with; without any it is 0: no limit
/// of its own.
fn permit(variables: &[Variable]) -> Permit {
    let last = |name: &[u8]| variables.iter().rfind(|variable| variable.name == name).map(|found| &found.value);
    Permit {
        relay: last(b"RELAYCLIENT").is_some(),
        message_size: last(b"DATABYTES").map(|value| number(value)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_ucspi::rules::source::compile;

    #[test]
    fn issue_12_rules_say_who_may_connect_relay_and_send_how_much() {
        let source = "10.0.0.0/8:allow,RELAYCLIENT=\"\"\n192.0.2.:allow,DATABYTES=\"9\",DATABYTES=\"1000\"\n2001:db8:::deny\n\
                      192.0.2.66:deny\n198.51.100.1:allow,DATABYTES=\"none\"\n=:deny\n\
                      203.0.113.1:allow,DATABYTES=\"10000000x\"\n203.0.113.2:allow,DATABYTES=\"99999999999999999999\"\n\
                      203.0.113.3:allow,DATABYTES=\"-5\"\n203.0.113.4:allow,DATABYTES=\"\"\n203.0.113.5:allow,DATABYTES=\"+5\"\n";
        let file = Cdb::new(compile(source.as_bytes()).unwrap().file().unwrap());
        let granted = |relay, message_size| Access::Granted(Permit { relay, message_size });
        for (ip, access) in [
            ("10.1.2.3", granted(true, 0)),
            ("192.0.2.1", granted(false, 1000)),
            ("192.0.2.66", Access::Denied),
            ("198.51.100.1", granted(false, 0)),
            ("198.51.100.2", granted(false, 0)),
            ("203.0.113.1", granted(false, 10_000_000)),
            ("203.0.113.2", granted(false, u64::MAX)),
            ("203.0.113.3", granted(false, 0)),
            ("203.0.113.4", granted(false, 0)),
            ("203.0.113.5", granted(false, 0)),
            ("2001:db8::1", Access::Denied),
            ("2001:db9::1", granted(false, 0)),
        ] {
            assert_eq!(Access::of(&file, ip.parse().unwrap()), access, "{ip}");
        }
        for damaged in [&b""[..], b"junk", &[0xff; 4096]] {
            assert_eq!(Access::of(&Cdb::new(damaged), [192, 0, 2, 66].into()), Access::Unknown);
        }
    }
}
