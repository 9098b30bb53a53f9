//! Why a role ended. Never a client's doing.

use crate::Unordered;
use gatepost_channel::ChannelError;
use gatepost_jail::JailError;
use gatepost_wire::control::Role;
use std::error::Error;
use std::fmt;
use std::io;

/// Why a role did not start, or must not go on.
#[derive(Debug)]
pub enum RoleError {
    /// It could not be confined.
    Jail(JailError),
    /// The launcher is gone: see the top of this crate's `lib.rs`.
    LauncherGone,
    /// What came from the launcher is no order, or it takes no report.
    Launcher(ChannelError),
    /// The launcher gave an order that has no place here.
    Order(Unordered),
    /// What the launcher gave it to work with can't be used.
    Given {
        /// What it is: keys, certificates, a domain.
        what: &'static str,
        /// What is wrong with it.
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A role that it is linked with broke the rules of their channel, so that neither can go on.
    Peer(Role, String),
    /// The backend is not safe to send mail to, or did not answer in time to prove otherwise.
    Backend(String),
    /// The system refused something that it must not.
    System {
        /// What was to be done.
        step: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

impl RoleError {
    /// For `map_err`: the system refused to `step`.
    pub fn system(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |cause| Self::System { step, cause }
    }

    /// For `map_err`: `what` the launcher gave can't be used.
    pub fn given<E: Into<Box<dyn Error + Send + Sync>>>(what: &'static str) -> impl Fn(E) -> Self {
        move |cause| Self::Given { what, cause: cause.into() }
    }
}

impl fmt::Display for RoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jail(e) => e.fmt(f),
            Self::LauncherGone => f.write_str("the launcher is gone"),
            Self::Launcher(e) => write!(f, "launcher: {e}"),
            Self::Order(Unordered { order, descriptors, phase }) => {
                write!(f, "launcher: cannot follow the order {order:?} with {descriptors} descriptors while {phase:?}")
            }
            Self::Given { what, cause } => write!(f, "{what}: {cause}"),
            Self::Peer(role, why) => write!(f, "{}: {why}", role.name()),
            Self::Backend(why) => f.write_str(why),
            Self::System { step, cause } => write!(f, "cannot {step}: {cause}"),
        }
    }
}

impl Error for RoleError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Jail(e) => Some(e),
            Self::Launcher(e) => Some(e),
            Self::Given { cause, .. } => Some(cause.as_ref()),
            Self::System { cause, .. } => Some(cause),
            Self::LauncherGone | Self::Order(_) | Self::Peer(..) | Self::Backend(_) => None,
        }
    }
}

impl From<JailError> for RoleError {
    fn from(e: JailError) -> Self {
        Self::Jail(e)
    }
}

/// Of the channel to the launcher; other channels' errors are their owner's to judge.
impl From<ChannelError> for RoleError {
    fn from(e: ChannelError) -> Self {
        match e {
            ChannelError::Closed => Self::LauncherGone,
            e => Self::Launcher(e),
        }
    }
}

impl From<Unordered> for RoleError {
    fn from(e: Unordered) -> Self {
        Self::Order(e)
    }
}
