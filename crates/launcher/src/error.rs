//! What can go wrong in the launcher. Every variant reads as a sentence and says what to do.

use gatepost_wire::control::Role;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why gatepost does not run. All of it is for the one who runs it to mend.
#[derive(Debug)]
pub enum LauncherError {
    /// One or more facts about the system do not fit the plan; each a sentence.
    Unfit(Vec<String>),
    /// An address cannot be listened on.
    Bind(SocketAddr, io::Error),
    /// A role did not get ready.
    NotReady(Role, String),
    /// A role's confinement, seen from outside, is weaker than its profile.
    Weak(Role, Vec<String>),
    /// The system refused something that it should never refuse.
    System(&'static str, io::Error),
    /// The backend could not be asked whether it relays for strangers.
    Unproved,
    /// Told to stop while the roles were starting: nobody's mistake.
    Stopped,
}

impl fmt::Display for LauncherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(faults) => f.write_str(&faults.join("\n")),
            Self::Bind(address, e) if e.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{address} is taken: stop the program that listens there (ss -ltnp shows it) or choose another [[listen]] address"
                )
            }
            Self::Bind(address, e) if e.kind() == io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "cannot listen on {address}: ports below 1024 need root, CAP_NET_BIND_SERVICE or a socket inherited from systemd"
                )
            }
            Self::Bind(address, e) if e.kind() == io::ErrorKind::AddrNotAvailable => {
                write!(
                    f,
                    "{address} is no address of this machine (ip addr shows them): write one that is, or \"[::]:{port}\" for all, in [[listen]]",
                    port = address.port()
                )
            }
            Self::Bind(address, e) if gatepost_sys::net::is_without_ipv6(e) => {
                write!(
                    f,
                    "cannot listen on {address}: this machine has no IPv6; write address = \"0.0.0.0:{port}\" in [[listen]]",
                    port = address.port()
                )
            }
            Self::Bind(address, e) => write!(f, "cannot listen on {address}: {e}"),
            Self::NotReady(role, why) => write!(f, "the {} did not get ready: {why}", role.name()),
            Self::Weak(role, findings) => {
                write!(f, "the {} is confined less than it must be: {}", role.name(), findings.join("; "))
            }
            Self::System(what @ "start a role", e) if e.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "cannot {what} in namespaces of its own: {e}. As root in a container: grant CAP_SYS_ADMIN, or relax it by name: \
                 [jail] relax = [\"namespaces\"]. As an ordinary user: this system forbids user namespaces \
                 (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns); start as root"
            ),
            Self::System(what, e) => write!(f, "cannot {what}: {e}"),
            Self::Unproved => f.write_str(
                "the backend cannot be asked now whether it relays for strangers, see the message above: is it running, and \
                 does backend.connect say where?",
            ),
            Self::Stopped => f.write_str("told to stop while starting"),
        }
    }
}

impl std::error::Error for LauncherError {}
