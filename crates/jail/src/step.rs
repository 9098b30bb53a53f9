//! Steps of entering that several jails have, and what is told of one that cannot be done here.

use crate::{JailError, prove};
use gatepost_sys::landlock::{Enforced, Trial, Use};
use gatepost_sys::limits::{self, Limit};
use std::path::PathBuf;
use std::{fmt, io};

/// What a step came to, as the jail's error.
pub(crate) fn step<T>(step: &'static str, result: std::io::Result<T>) -> Result<T, JailError> {
    result.map_err(|cause| JailError::Step { step, cause })
}

/// Sets a limit, unless what a wrapper like softlimit has set is lower; gives what holds.
pub(crate) fn limit_to((limit, most): (Limit, u64)) -> Result<(Limit, u64), JailError> {
    let (inherited, _) = step("read resource limits", limits::get(limit))?;
    let value = inherited.min(most);
    step("set resource limits", limits::set(limit, value))?;
    Ok((limit, value))
}

/// A confinement that is not possible here.
#[derive(Debug)]
pub struct Unmet {
    /// What it is, in plain words.
    pub what: &'static str,
    /// Why not.
    pub why: String,
    /// So it is wherever root has not started it, or the kernel is an older one: nothing that is new to its admin.
    pub usual: bool,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the session is without {}: {}", self.what, self.why)
    }
}

/// Landlock, with signals or without.
type Restrict = fn(&[(PathBuf, Use)], &[u16]) -> io::Result<Enforced>;

/// Landlock, complete and proved; or what the kernel has of it, where the user relaxes it.
pub(crate) fn restrict_by_landlock(
    restrict: Restrict,
    directories: &[(PathBuf, Use)],
    connect_ports: &[u16],
    required: bool,
    unmet: &mut Vec<Unmet>,
) -> Result<(), JailError> {
    let trial = step("make a socket to try landlock with", Trial::prepare())?;
    let enforced = step("restrict files and network by landlock", restrict(directories, connect_ports))?;
    let why = match enforced {
        Enforced::Fully => return prove::landlock(&trial, connect_ports),
        Enforced::Partly | Enforced::Not if required => return Err(JailError::Landlock(enforced)),
        Enforced::Partly => "this kernel's is older and has part of it",
        Enforced::Not => "this kernel has none, or it was not switched on at boot",
    };
    let usual = enforced == Enforced::Partly;
    unmet.push(Unmet { what: "all of landlock", why: why.to_owned(), usual });
    Ok(())
}
