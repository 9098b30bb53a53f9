//! What is done before roles start: what the system must have, and the capabilities that are kept.

use crate::LauncherError;
use crate::findings::Fitness;
use crate::plan::Plan;
use crate::processes::Files;
use crate::{setup, spool};
use gatepost_config::Relax;
use gatepost_sys::confine::{self, Capability};
use gatepost_sys::limits::{self, Limit};
use gatepost_sys::process;
use gatepost_wire::control::Role;
use gatepost_wire::slice::Ground;
use std::os::fd::AsFd;
use std::rc::Rc;

/// Capabilities that the launcher keeps, each for starting a role anew. Those of the last lines are not in the bounding set of the unit:
/// `gatepost_sys::as_owner` does without two of them, and namespaces without the third.
pub const KEPT: &[Capability] = &[
    Capability::SetUid,         // a role becomes its user
    Capability::SetGid,         // and group
    Capability::SetPcap,        // and empties its bounding set
    Capability::SysAdmin,       // in namespaces of its own
    Capability::SysPtrace,      // seen from outside through /proc
    Capability::NetBindService, // a new address at reload
    Capability::SysChroot,      // leaves the file tree, where namespaces are relaxed
    Capability::Kill,           // ended when stuck
    Capability::DacReadSearch,  // keys and backend directories, at restart and reload
];

/// Our own program, and the log as its observers get it: opened anew, so that what one of them does to it does not concern us
/// or whoever started us. Where that cannot be, they get the one there is.
pub(crate) fn files() -> Result<Files, LauncherError> {
    let program = process::own_program().map_err(|e| LauncherError::System("open my own program file", e))?;
    let stderr = std::io::stderr();
    let copy =
        || stderr.as_fd().try_clone_to_owned().map_err(|e| LauncherError::System("copy the log's descriptor", e));
    let spare_log = gatepost_sys::fds::open_anew(&stderr).or_else(|why| {
        tracing::warn!("the log cannot be opened anew, and is shared with whoever started this: {why}");
        copy()
    })?;
    Ok(Files { program: Rc::new(program), log: Rc::new(copy()?), spare_log: Rc::new(spare_log) })
}

pub(crate) fn fit(plan: &Plan) -> Result<Fitness, LauncherError> {
    let fitness = Fitness::of(plan);
    match fitness.faults() {
        faults if faults.is_empty() => Ok(fitness),
        faults => Err(LauncherError::Unfit(faults)),
    }
}

/// What has to be there before roles start, each time they start with another plan. This changes the system.
pub(crate) fn prepare(plan: &Plan, fitness: &Fitness) -> Result<spool::InUse, LauncherError> {
    raise_open_files(plan)?;
    let in_use = spool::prepare(plan, fitness)?;
    log_relaxed(plan, fitness);
    fitness.looks().iter().for_each(|look| tracing::warn!("{look}"));
    Ok(in_use)
}

/// Roles need as many descriptors as their profiles say; hard limits cannot be raised once capabilities are gone.
pub(crate) fn raise_open_files(plan: &Plan) -> Result<(), LauncherError> {
    let most = Role::ALL.into_iter().map(|role| setup::open_files(role, plan)).max().unwrap_or(0);
    let system = |e| LauncherError::System("set RLIMIT_NOFILE", e);
    let (_, hard) = limits::get(Limit::OpenFiles).map_err(system)?;
    if hard >= most {
        return Ok(());
    }
    let got = limits::set_at_most(Limit::OpenFiles, most).map_err(system)?;
    if got >= most {
        return Ok(());
    }
    Err(LauncherError::Unfit(vec![format!(
        "limits.sessions = {} needs {most} descriptors, but the hard limit is {got}; raise it (ulimit -Hn, LimitNOFILE=) or lower limits.sessions",
        plan.config.limits.sessions
    )]))
}

pub(crate) fn log_relaxed(plan: &Plan, fitness: &Fitness) {
    let relaxed = [
        (plan.relaxes(Relax::Namespaces), "namespaces: roles are only chrooted"),
        (plan.relaxes(Relax::Landlock), "landlock: may be missing, or an older part of it"),
        (plan.relaxes(Relax::DistinctUsers), "distinct-users: roles may share a uid"),
        (
            plan.config.backends().any(|backend| !backend.relay_proof) && plan.receiver.is_none(),
            "relay_proof: a backend is not tested for open relaying",
        ),
        (plan.config.backend.queue.is_some(), "queue: it runs the queue program, so it has no jail"),
        (plan.config.login_program().is_some(), "checker: it runs the checkpassword program, so it has no jail"),
        (fitness.ground == Ground::User, "not started by root: all roles run under one uid, in user namespaces"),
    ];
    for (_, what) in relaxed.iter().filter(|(is, _)| *is) {
        tracing::warn!("relaxed: {what}");
    }
}

pub(crate) fn give_up(ground: Ground) -> Result<(), LauncherError> {
    let failed = |e| LauncherError::System("give up capabilities", e);
    if ground == Ground::Root {
        confine::keep_bounding(KEPT).map_err(failed)?;
        confine::keep_permitted(KEPT).map_err(failed)?;
        process::set_undumpable().map_err(failed)?;
    }
    limits::set(Limit::Core, 0).map_err(failed)?;
    process::set_no_new_privs().map_err(failed)
}
