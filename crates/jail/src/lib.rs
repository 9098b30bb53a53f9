//! What each role may do, as data; doing it; proving it; auditing a running one.
//!
//! The steps of a role: [`Unjailed::take`] → read what must be read → [`Unjailed::enter`] → make the runtime →
//! [`Entered::seal`] → serve with [`Jailed`]. The launcher looks from outside (`audit`) before it says `Go`.
//! A session that serves the only connection of its parent has no launcher and enters by [`Alone::enter`], its parent by
//! [`Beside::enter`].
#![forbid(unsafe_code)]

use gatepost_channel::End;
use gatepost_sys::landlock::Enforced;
use gatepost_wire::{LauncherToRole, RoleToLauncher};
use std::fmt;
use std::io;

/// Uid and gid of nobody, who owns nothing.
pub const NOBODY: (u32, u32) = (65_534, 65_534);

mod alone;
mod alone_listener;
pub mod audit;
mod beside;
pub mod calls;
mod enter;
pub mod profile;
mod prove;
mod step;

pub use alone::Alone;
pub use alone_listener::{AloneListener, EnteredListener, JailedListener};
pub use beside::{Beside, EnteredBeside};
pub use enter::{CONTROL_FD, Entered, Jailed, JailedSession, Outside, SETUP_FD, SessionSeal, Unjailed};
pub use step::Unmet;

/// A role's end towards the launcher.
pub type ControlEnd = End<RoleToLauncher, LauncherToRole>;

/// Why a role is not confined as it must be. Never a peer's fault.
#[derive(Debug)]
pub enum JailError {
    /// The process was not started by the launcher.
    NotLaunched,
    /// Who has started the process is gone: there is nobody to end with, nor to serve.
    ParentGone,
    /// A step of entering the jail failed.
    Step {
        /// What was to be done.
        step: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// A step could be undone, or had no effect.
    NotProved {
        /// What should have been true.
        claim: &'static str,
    },
    /// The kernel has no landlock, or not all that is asked of it, and the configuration does not relax it.
    Landlock(Enforced),
}

impl fmt::Display for JailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLaunched => f.write_str("this is a role of gatepost and is started by it, not by hand"),
            Self::ParentGone => f.write_str("jail: the process that has started this one has ended"),
            Self::Step { step, cause } => write!(f, "jail: cannot {step}: {cause}"),
            Self::NotProved { claim } => write!(f, "jail: not proved that {claim}"),
            Self::Landlock(enforced) => {
                let lack = match enforced {
                    Enforced::Not => "has no landlock (boot it with lsm=...,landlock)",
                    Enforced::Partly | Enforced::Fully => {
                        "has only a part of landlock (all of it is in Linux 6.12 and newer)"
                    }
                };
                write!(
                    f,
                    "jail: this kernel {lack}; to do without what is missing, say [jail] relax = [\"landlock\"], or \
                     GATEPOST_RELAX=landlock in the place of qmail-smtpd"
                )
            }
        }
    }
}

impl std::error::Error for JailError {}
