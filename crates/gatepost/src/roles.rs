//! A role begins here, executed by the launcher as `gatepost role NAME`.

use gatepost_jail::Unjailed;
use gatepost_role::RoleError;
use gatepost_wire::control::Role;
use std::ffi::OsString;
use std::process::ExitCode;

/// A role's whole life.
fn life(role: Role) -> fn(Unjailed) -> Result<(), RoleError> {
    match role {
        Role::Listener => gatepost_listener::run,
        Role::Nursery => gatepost_session::run_nursery,
        Role::Keyholder => gatepost_keyholder::run,
        Role::Handoff => gatepost_handoff::run,
        Role::Receiver => gatepost_receiver::run,
        Role::Queue => gatepost_queue::run,
    }
}

/// Runs the role with that name to its end.
pub(crate) fn run(name: Option<OsString>) -> ExitCode {
    crate::log::begin();
    match gatepost_role::begin(name.as_deref()) {
        Ok((role, unjailed)) => match life(role)(unjailed) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => fail(role.name(), &why),
        },
        Err(why) => fail("role", &why),
    }
}

fn fail(role: &str, why: &RoleError) -> ExitCode {
    tracing::error!(role, "{why}");
    ExitCode::FAILURE
}
