//! Entering a jail, step by step, each step checked; then [`crate::prove`] checks all of it again.

use crate::profile::{self, Profile};
use crate::step::{self, step};
use crate::{ControlEnd, JailError, prove};
use gatepost_sys::confine::{self, Bind};
use gatepost_sys::filter::Filter;
use gatepost_sys::landlock::{self, Use};
use gatepost_sys::limits::{self, Limit};
use gatepost_sys::{fds, huge, process, signal, wait};
use gatepost_wire::control::{Report, Role};
use gatepost_wire::slice::{Access, Ground, Setup, Slice};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// The descriptor number of the channel to the launcher in a role that was just started.
pub const CONTROL_FD: i32 = 3;
/// The descriptor number of its [`Setup`].
pub const SETUP_FD: i32 = 4;

/// A role process that was just started: it has given up nothing yet but what the launcher took.
#[derive(Debug)]
pub struct Unjailed {
    pub(crate) control: ControlEnd,
    pub(crate) setup: Setup,
}

impl Unjailed {
    /// Must be the first thing that a role does: closes every descriptor that is not planned, and reads the role's [`Setup`].
    ///
    /// # Errors
    /// When not started by the launcher.
    pub fn take() -> Result<Self, JailError> {
        let failed = |step| move |e| JailError::Step { step, cause: e };
        fds::close_from(SETUP_FD.unsigned_abs() + 1)
            .map_err(failed("close the descriptors that are not in the plan"))?;
        let mut bytes = Vec::new();
        let memory = fds::inherited(SETUP_FD).map_err(|_| JailError::NotLaunched)?;
        std::fs::File::from(memory).read_to_end(&mut bytes).map_err(|_| JailError::NotLaunched)?;
        let control = fds::inherited(CONTROL_FD).map_err(|_| JailError::NotLaunched)?;
        let setup = Setup::from_bytes(&bytes).map_err(|_| JailError::NotLaunched)?;
        process::set_umask(0o077);
        Ok(Self { control: ControlEnd::from_fd(control), setup })
    }

    /// The role's slice of the configuration.
    ///
    /// # Errors
    /// [`JailError::NotLaunched`]: it was made for another role.
    pub fn slice<S: Slice>(&self) -> Result<S, JailError> {
        S::from_bytes(&self.setup.slice).map_err(|_| JailError::NotLaunched)
    }

    /// Enters the jail of `role` and proves it: all but the system call filter, so that a runtime can still be made.
    ///
    /// # Errors
    /// The step that failed, or the proof that did not hold.
    pub fn enter(self, role: Role) -> Result<Entered, JailError> {
        let profile = profile::of(role);
        let setup = &self.setup;
        // Here nothing of a client's is read yet, and the calls that it takes are in no filter.
        if profile.huge_pages
            && let Err(e) = huge::settle()
        {
            tracing::info!("the code stays on small pages, which costs processor time and nothing else: {e}");
        }
        set_limits(setup)?;
        leave_the_file_tree(setup)?;
        prove::root(setup)?;
        step("empty the bounding and ambient sets", confine::drop_bounding())?;
        if setup.ground == Ground::Root {
            let user = confine::become_user(setup.uid, setup.gid, &setup.groups);
            step("become the role's user", user)?;
        }
        step("give up all capabilities", confine::drop_permitted())?;
        step("set no_new_privs", process::set_no_new_privs())?;
        step("become undumpable", process::set_undumpable())?;
        process::refuse_exec_gain();
        step("ask to die with the parent", process::die_with_parent())?;
        check_parent(&self.control)?;
        restrict_by_landlock(setup)?;
        prove::all(profile, setup)?;
        Ok(Entered { control: self.control, profile, data: setup.data })
    }
}

/// A role without a jail, by design: the queue role or the checker, which run a program that needs the system and would inherit the jail.
/// It has given up, and proved, what such a role can give up: root and every way back to it, every capability, every
/// descriptor that is not planned, set-id bits for itself and all that it runs.
#[derive(Debug)]
pub struct Outside {
    /// The launcher's orders come here.
    pub control: ControlEnd,
}

impl Unjailed {
    /// Gives up what such a role can, proves it, and asks the launcher to check it from outside. Only when root started it. `real`
    /// is its real user; the effective one and the group are those of its setup.
    ///
    /// # Errors
    /// The step that failed, or the proof that did not hold.
    pub fn stay_outside(self, real: u32) -> Result<Outside, JailError> {
        let setup = &self.setup;
        for (limit, value) in
            [(Limit::OpenFiles, setup.open_files), (Limit::FileSize, setup.file_size), (Limit::Core, 0)]
        {
            step("set resource limits", limits::set(limit, value))?;
        }
        step("empty the bounding and ambient sets", confine::drop_bounding())?;
        step("become the program's users", confine::become_users(real, setup.uid, setup.gid, &[]))?;
        step("give up all capabilities", confine::drop_permitted())?;
        step("set no_new_privs", process::set_no_new_privs())?;
        step("become undumpable", process::set_undumpable())?;
        step("ask to die with the parent", process::die_with_parent())?;
        check_parent(&self.control)?;
        prove::outside(setup, real)?;
        self.control.tell(&Report::Jailed).map_err(|_| JailError::ParentGone)?;
        Ok(Outside { control: self.control })
    }
}

fn set_limits(setup: &Setup) -> Result<(), JailError> {
    step("ignore SIGXFSZ", signal::ignore_file_size())?;
    for (limit, value) in [
        (Limit::Data, setup.data),
        (Limit::OpenFiles, setup.open_files),
        (Limit::Processes, setup.processes),
        (Limit::FileSize, setup.file_size),
        (Limit::Core, 0),
    ] {
        step("set resource limits", limits::set(limit, value))?;
    }
    Ok(())
}

fn leave_the_file_tree(setup: &Setup) -> Result<(), JailError> {
    if !setup.namespaces {
        return step("change the root directory", confine::change_root(&setup.anchor));
    }
    let binds = setup.directories.iter().map(|directory| Bind {
        outside: &directory.outside,
        inside: &directory.inside,
        writable: directory.access != Access::Sockets,
    });
    let binds: Vec<Bind<'_>> = binds.collect();
    step("replace the file tree by an empty root", confine::empty_root(&setup.anchor, &binds))
}

/// The signal for a parent's end is sent only for an end after it was asked for. A closed channel tells of an earlier one.
fn check_parent(control: &ControlEnd) -> Result<(), JailError> {
    match wait::readable(&[control.as_fd()], Some(Duration::ZERO)) {
        Ok(ready) if !ready.contains(&true) => Ok(()),
        _ => Err(JailError::ParentGone),
    }
}

/// Where the configuration relaxes landlock nobody is told what is missing: the launcher has said so.
fn restrict_by_landlock(setup: &Setup) -> Result<(), JailError> {
    let inside = setup.directories.iter().map(|d| (Path::new("/").join(&d.inside), purpose(d.access)));
    // Where the configuration relaxes namespaces the root is the spool, and holds no more than that has.
    let present: Vec<_> = inside.filter(|(path, _)| path.is_dir()).collect();
    step::restrict_by_landlock(landlock::restrict, &present, &setup.connect_ports, setup.landlock, &mut Vec::new())
}

fn purpose(access: Access) -> Use {
    match access {
        Access::Files => Use::Files,
        Access::Sockets => Use::Sockets,
        Access::FilesAndSockets => Use::FilesAndSockets,
    }
}

/// Inside the jail, all but the system call filter. Make the runtime now.
#[derive(Debug)]
pub struct Entered {
    control: ControlEnd,
    profile: &'static Profile,
    data: u64,
}

impl Entered {
    /// Puts the system call filter in force, which is the last step, and asks the launcher to check from outside.
    ///
    /// # Errors
    /// The kernel refuses the filter, or the launcher is gone.
    pub fn seal(self) -> Result<Jailed, JailError> {
        let sealing = |cause| JailError::Step { step: "apply the system call filter", cause };
        let session = match self.profile.forks {
            true => Some(SessionSeal::prepare(self.data).map_err(sealing)?),
            false => None,
        };
        self.profile.filter().and_then(|filter| filter.apply()).map_err(sealing)?;
        self.control.tell(&Report::Jailed).map_err(|_| JailError::ParentGone)?;
        Ok(Jailed { control: self.control, session })
    }
}

/// Proof of being jailed. Serving takes it by value, and it has no public constructor: serving unjailed does not compile.
#[derive(Debug)]
pub struct Jailed {
    /// The launcher's orders come here.
    pub control: ControlEnd,
    session: Option<SessionSeal>,
}

impl Jailed {
    /// What a forked session applies to itself. Only the nursery has one; it is cloned for each session.
    #[must_use]
    pub fn session_seal(&self) -> Option<SessionSeal> {
        self.session.clone()
    }
}

/// The rest of a session's jail: what the nursery may do and a session may not.
#[derive(Debug, Clone)]
pub struct SessionSeal {
    filter: Filter,
}

impl SessionSeal {
    /// Compiles the filter. Limits that the nursery can live with are set here already, for all of its sessions.
    fn prepare(data: u64) -> std::io::Result<Self> {
        // RLIMIT_DATA counts neither the stack nor the page tables of memory that is only looked at.
        limits::set_at_most(Limit::Stack, SESSION_STACK)?;
        limits::set_at_most(Limit::AddressSpace, data.saturating_add(SESSION_ADDRESS_SPACE))?;
        // The first use makes a buffer, in pages of which each session would have its own.
        let _ = io::stdin();
        // Whatever the nursery may do by these calls: a session may make none of them.
        Ok(Self { filter: Filter::withdraw(crate::calls::FORK.iter().map(|call| call.name))? })
    }

    /// Confines the session, right after the fork: it ends with the nursery, and after `life` at the
    /// latest, can't fork, and loses every system call that only the nursery needs, those that made this jail among them.
    ///
    /// # Errors
    /// The step that failed: the session must end at once.
    pub fn close(&self, life: Duration) -> Result<JailedSession, JailError> {
        step("ask to die with the nursery", process::die_with_parent())?;
        step("limit a session's processes", limits::set(Limit::Processes, 0))?;
        step("limit a session's processor time", limits::set(Limit::CpuTime, SESSION_CPU_SECONDS))?;
        // After that no permitted call can block the signal or stop the timer: an owned session can't stay for ever.
        step("limit a session's life", process::end_after(life))?;
        // What an owned session writes must reach no log: descriptor 2 is nothing, as 0 is.
        step("take the nursery's log away", fds::make_stderr(io::stdin()))?;
        step("apply the session's system call filter", self.filter.apply())?;
        Ok(JailedSession(()))
    }
}

/// RLIMIT_CPU of a session: an hour of full-speed content takes far less.
pub(crate) const SESSION_CPU_SECONDS: u64 = 600;

/// RLIMIT_STACK of a session, octets.
pub(crate) const SESSION_STACK: u64 = 1024 * 1024;
/// RLIMIT_AS of a session, octets, beyond its RLIMIT_DATA: the program file, its stack and room to spare.
pub(crate) const SESSION_ADDRESS_SPACE: u64 = 64 * 1024 * 1024;

/// Proof that this process is a jailed session.
#[derive(Debug)]
pub struct JailedSession(pub(crate) ());
