//! Why handoff cannot serve.

use gatepost_channel::ChannelError;
use gatepost_jail::JailError;
use gatepost_policy::net::NetworkFault;
use gatepost_policy::relay::DomainFault;
use std::fmt;
use std::io;

/// Why handoff did not start, or ended. Always a fault of ours or of the backend's, never a client's.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandoffError {
    /// Not confined as it must be.
    Jail(JailError),
    /// Not a relay domain; the launcher should have found it.
    Domain(DomainFault),
    /// Not a network; the launcher should have found it.
    Network(NetworkFault),
    /// The directory for content files cannot be used.
    Spool {
        /// As handoff sees it.
        directory: String,
        /// What the system said.
        cause: io::Error,
    },
    /// No runtime, or no channel on it.
    Runtime(io::Error),
    /// The launcher broke the rules of its channel.
    Control(ChannelError),
    /// The backend relays for a stranger, can't be told who the client is, or did not answer in time to prove otherwise.
    Backend(String),
}

impl fmt::Display for HandoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jail(e) => e.fmt(f),
            Self::Domain(e) => write!(f, "relay domain: {e}"),
            Self::Network(e) => write!(f, "relay client: {e}"),
            Self::Spool { directory, cause } => {
                write!(
                    f,
                    "cannot keep content files in {directory}: {cause}; it must be a directory of gatepost-handoff"
                )
            }
            Self::Runtime(e) => write!(f, "cannot make a runtime: {e}"),
            Self::Control(e) => write!(f, "orders: {e}"),
            Self::Backend(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for HandoffError {}

impl From<JailError> for HandoffError {
    fn from(e: JailError) -> Self {
        Self::Jail(e)
    }
}

impl From<DomainFault> for HandoffError {
    fn from(e: DomainFault) -> Self {
        Self::Domain(e)
    }
}

impl From<NetworkFault> for HandoffError {
    fn from(e: NetworkFault) -> Self {
        Self::Network(e)
    }
}

impl From<ChannelError> for HandoffError {
    fn from(e: ChannelError) -> Self {
        Self::Control(e)
    }
}
