//! A role seen from outside: what /proc says of it, held against its profile, before it may begin.

use crate::findings::Fitness;
use crate::plan::Plan;
use crate::{roles, setup};
use gatepost_config::Relax;
use gatepost_jail::audit::{self, Bound, Expectations, NetRule, RootRule};
use gatepost_sys::process::ProcessId;
use gatepost_wire::control::Role;

/// Looks at the role's process. Its root must hold no more than it was given. What the configuration relaxes by name is not
/// asked for; all else is.
///
/// # Errors
/// Everything that is weaker than the profile.
pub(crate) fn at(role: Role, pid: ProcessId, plan: &Plan, fitness: &Fitness) -> Result<(), Vec<String>> {
    let reach = (roles::of(role).reach)(plan, fitness);
    let given: Vec<&str> = reach.directories.iter().map(|directory| directory.inside.as_str()).collect();
    let open_files = setup::open_files(role, plan);
    let mut expected = Expectations::default().with_session_data(plan.config.limits.data);
    expected.adjust(role.into(), |expect| {
        expect.open_files = Bound::Exactly(open_files);
        if expect.root != RootRule::Any {
            expect.root = RootRule::Only(&given);
        }
        if plan.relaxes(Relax::Namespaces) {
            expect.own = &[];
            expect.network = NetRule::Host;
            expect.root = RootRule::Any;
        }
    });
    audit::verify(pid.unsigned_abs(), role, fitness.ground, &expected).map_err(|findings| {
        findings.iter().map(|f| format!("{} must be {}, is {}", f.what, f.expected, f.found)).collect()
    })
}
