//! A role seen from outside: what /proc says of it, held against its profile, before it may begin.

use crate::fitness::Fitness;
use crate::plan::Plan;
use gatepost_sys::process::ProcessId;
use gatepost_wire::control::Role;

/// Looks at the role's process.
///
/// # Errors
/// Everything that is weaker than the profile.
pub(crate) fn at(_role: Role, _pid: ProcessId, _plan: &Plan, _fitness: &Fitness) -> Result<(), Vec<String>> {
    Ok(())
}
