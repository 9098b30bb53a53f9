//! A role begins here, executed by the launcher as `gatepost role NAME`.

use gatepost_jail::Unjailed;
use gatepost_role::RoleError;
use gatepost_wire::control::Role;
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

/// A role's whole life.
fn life(role: Role) -> fn(Unjailed) -> Result<(), RoleError> {
    match role {
        Role::Listener => gatepost_listener::run,
        Role::Nursery => gatepost_session::run_nursery,
        Role::Keyholder => gatepost_keyholder::run,
        Role::Handoff => gatepost_handoff::run,
        Role::Dialer => gatepost_dialer::run,
        Role::Auth => gatepost_auth::run,
        Role::Resolver => gatepost_resolver::run,
        Role::Receiver => gatepost_receiver::run,
        Role::Queue => gatepost_queue::run,
        Role::Checker => gatepost_checker::run,
        Role::Observer => gatepost_observer::run,
    }
}

/// Runs the role with that name to its end.
pub(crate) fn run(name: Option<OsString>) -> ExitCode {
    // Sessions and programs are children of roles.
    let _ = gatepost_sys::signal::heed_children();
    match name.as_deref().and_then(OsStr::to_str) {
        // Its descriptor 2 is the log itself.
        Some(name) if name == Role::Observer.name() => gatepost_log::begin(Role::Observer.name()),
        _ => gatepost_log::begin_role(),
    }
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
