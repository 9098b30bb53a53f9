//! Why the client is not served. For the admin.

use gatepost_jail::JailError;
use gatepost_role::RoleError;
use std::fmt;
use std::io;
use std::net::IpAddr;

/// Why the client is not served.
#[derive(Debug)]
pub(crate) enum InetdError {
    /// The configuration has mistakes; each with its place.
    Configuration(String),
    /// The system does not fit the configuration; sentences.
    Unfit(Vec<String>),
    /// Nobody has said who the client is.
    Unknown,
    /// It must send a PROXY header, which nobody reads here.
    Balanced(IpAddr),
    /// The rules deny it. None: it could not read a reply.
    Denied { ip: IpAddr, reply: Option<String> },
    /// Handoff can't work, or the backend is not safe to send mail to.
    Role(RoleError),
    /// The parent could not be confined.
    Jail(JailError),
    /// The session could not be confined: its own words.
    Session(String),
    /// The system refused something that it must not.
    System(&'static str, io::Error),
}

impl fmt::Display for InetdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(faults) => f.write_str(faults),
            Self::Unfit(faults) => f.write_str(&faults.join("\n")),
            Self::Unknown => f.write_str(
                "nobody says who the client is: descriptor 0 is no TCP connection, and the environment has no PROTO with TCPREMOTEIP, \
                 TCPREMOTEPORT, TCPLOCALIP and TCPLOCALPORT of a UCSPI server; start it by inetd, xinetd, systemd (Accept=yes, \
                 StandardInput=socket) or tcpserver",
            ),
            Self::Balanced(ip) => write!(
                f,
                "client={ip} must send a PROXY header by proxy_from of its [[listen]], and gatepost inetd reads no PROXY header: let the \
                 load balancer connect to gatepost serve"
            ),
            Self::Denied { ip, .. } => write!(f, "client={ip} refused by the rules"),
            Self::Role(e) => e.fmt(f),
            Self::Jail(e) => e.fmt(f),
            Self::Session(why) => write!(f, "the session has not begun: {why}"),
            Self::System(step, e) => write!(f, "cannot {step}: {e}"),
        }
    }
}

impl InetdError {
    /// As lines of a log, one for each fault: without the text of the configuration and the mark below it.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let text = self.to_string();
        let faults: Vec<String> =
            text.split(if matches!(self, Self::Configuration(_)) { "\n\n" } else { "\n" }).map(in_short).collect();
        faults.into_iter()
    }

    /// For `map_err`: the system refused to `step`.
    pub(crate) fn system(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |e| Self::System(step, e)
    }
}

impl From<RoleError> for InetdError {
    fn from(e: RoleError) -> Self {
        Self::Role(e)
    }
}

impl From<JailError> for InetdError {
    fn from(e: JailError) -> Self {
        Self::Jail(e)
    }
}

/// What and where, and what to do about it.
fn in_short(fault: &str) -> String {
    let advice = fault.lines().skip(1).filter_map(|line| line.strip_prefix("  = "));
    fault.lines().take(1).chain(advice).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_config::Config;
    use std::path::Path;

    #[test]
    fn issue_11_each_fault_is_one_line_with_its_place_and_the_advice() {
        let faults = Config::parse("hostname = 7\n[limits]\nsessions = 0\n", Path::new("x.toml")).unwrap_err();
        let lines: Vec<String> = InetdError::Configuration(faults.to_string()).lines().collect();
        assert!(lines.contains(&"x.toml:1:12: hostname: a number, not a text; write \"7\"".to_owned()), "{lines:#?}");
        assert!(lines.iter().all(|line| line.starts_with("x.toml:") && !line.contains('\n')), "{lines:#?}");
        let unfit = InetdError::Unfit(vec!["one".to_owned(), "two".to_owned()]);
        assert_eq!(unfit.lines().collect::<Vec<_>>(), ["one", "two"]);
    }
}
