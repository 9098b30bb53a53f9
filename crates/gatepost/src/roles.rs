//! A role begins here, executed by the launcher as `gatepost role NAME`.

use gatepost_jail::{JailError, Newborn};
use gatepost_wire::control::Role;
use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;

/// Runs the role with that name to its end.
pub(crate) fn run(name: Option<OsString>) -> ExitCode {
    crate::log::begin();
    let role = name.and_then(|name| name.to_str().and_then(Role::named));
    let (Some(role), Ok(newborn)) = (role, Newborn::take()) else {
        return fail("role", &JailError::NotLaunched);
    };
    gatepost_sys::process::set_comm(match role {
        Role::Listener => c"gp-listener",
        Role::Nursery => c"gp-nursery",
        Role::Keyholder => c"gp-keyholder",
        Role::Handoff => c"gp-handoff",
        Role::Receiver => c"gp-receiver",
        Role::Queue => c"gp-queue",
    });
    match role {
        Role::Listener => end(role, gatepost_listener::run(newborn)),
        Role::Nursery => end(role, gatepost_session::run_nursery(newborn)),
        Role::Keyholder => end(role, gatepost_keyholder::run(newborn)),
        Role::Handoff => end(role, gatepost_handoff::run(newborn)),
        Role::Receiver => end(role, gatepost_receiver::run(newborn)),
        Role::Queue => end(role, gatepost_queue::run(newborn)),
    }
}

fn end<E: Display>(role: Role, result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(role.name(), &e),
    }
}

fn fail(role: &str, why: &dyn Display) -> ExitCode {
    tracing::error!(role, "{why}");
    ExitCode::FAILURE
}
