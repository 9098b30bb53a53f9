//! The jail of the process beside a session without a launcher: handoff, dialer and keyholder of one connection, under inetd
//! or tcpserver. Often it has no account of its own and was not started by root.
//!
//! As for the session ([`crate::Alone`]), a step that this uid does not permit is left out and reported, landlock is left out only
//! where the configuration relaxes it, and the system call filter never. There is no root directory of its own: landlock says which
//! files and ports it reaches.

use crate::JailError;
use crate::profile::{BESIDE_CALLS, allowed};
use crate::prove;
use crate::step::{Unmet, limit_to, restrict_by_landlock, step};
use gatepost_sys::filter::Filter;
use gatepost_sys::landlock::{self, Use};
use gatepost_sys::limits::{self, Limit};
use gatepost_sys::{confine, process, signal};
use std::path::PathBuf;

/// RLIMIT_DATA, octets: one transaction, one delivery, the runtime and the authorities of a backend.
const DATA: u64 = 32 * 1024 * 1024;
/// RLIMIT_NOFILE.
const OPEN_FILES: u64 = 64;

/// The process, when it has read all that it has to read.
#[derive(Debug, Clone)]
pub struct Beside {
    /// Uid, gid and supplementary groups to become. Needed when started as root, unused otherwise.
    pub account: (u32, u32, Vec<u32>),
    /// The session's uid, which becomes the real one.
    pub session: u32,
    /// What it reaches of the file tree.
    pub directories: Vec<(PathBuf, Use)>,
    /// TCP ports that it may connect to.
    pub connect_ports: Vec<u16>,
    /// RLIMIT_FSIZE, octets: of the content file.
    pub file_size: u64,
    /// Refuse to go on without all of landlock. False only where the configuration relaxes it.
    pub landlock: bool,
}

/// Inside the jail, all but the system call filter. Make the runtime now.
#[derive(Debug)]
pub struct EnteredBeside(());

impl Beside {
    /// Enters the jail and proves it. The calling process must have one thread.
    ///
    /// # Errors
    /// The step that failed, or the proof that did not hold: nobody must be served.
    pub fn enter(&self) -> Result<(EnteredBeside, Vec<Unmet>), JailError> {
        let is_root = process::effective_ids().0 == 0;
        let mut unmet = Vec::new();
        process::forget_environment();
        process::set_umask(0o077);
        step("ignore SIGPIPE and SIGXFSZ", signal::ignore_broken_pipe().and_then(|()| signal::ignore_file_size()))?;
        let limits = self.set_limits()?;
        let (uid, gid, groups) = &self.account;
        if is_root {
            step("empty the bounding and ambient sets", confine::drop_bounding())?;
            // The kernel ends the session with this process only if a user of ours is the session's.
            let users = confine::become_users(self.session, *uid, *gid, groups);
            step("become handoff's user", users)?;
        } else {
            unmet.push(Unmet { what: "users of their own", why: "not started as root".to_owned(), usual: true });
        }
        step("give up all capabilities", confine::drop_permitted())?;
        step("set no_new_privs", process::set_no_new_privs())?;
        step("become undumpable", process::set_undumpable())?;
        process::refuse_exec_gain();
        let restrict = landlock::restrict_but_signals;
        restrict_by_landlock(restrict, &self.directories, &self.connect_ports, self.landlock, &mut unmet)?;
        self.prove(is_root, &limits)?;
        Ok((EnteredBeside(()), unmet))
    }

    /// As [`Beside::enter`], for a process that runs the queue program, which needs the system and would inherit a jail: only what
    /// the queue role gives up is given up. `real` is its real user when root started it; when not, the program's own set-id
    /// bit must work.
    ///
    /// # Errors
    /// As [`Beside::enter`].
    pub fn stay_outside(&self, real: u32) -> Result<Vec<Unmet>, JailError> {
        let lacking = |what, why: &str| Unmet { what, why: why.to_owned(), usual: true };
        let mut unmet = vec![lacking("a jail", "it runs the queue program")];
        process::forget_environment();
        process::set_umask(0o077);
        step("ignore SIGPIPE and SIGXFSZ", signal::ignore_broken_pipe().and_then(|()| signal::ignore_file_size()))?;
        if process::effective_ids().0 != 0 {
            unmet.push(lacking("users of their own", "not started as root"));
            return Ok(unmet);
        }
        let (uid, gid, _) = self.account;
        step("set resource limits", limits::set(Limit::Core, 0))?;
        step("empty the bounding and ambient sets", confine::drop_bounding())?;
        step("become the queue's users", confine::become_users(real, uid, gid, &[]))?;
        step("give up all capabilities", confine::drop_permitted())?;
        step("set no_new_privs", process::set_no_new_privs())?;
        step("become undumpable", process::set_undumpable())?;
        first_false(&[
            ("no user or group id is root's", ![real, uid, gid].contains(&0)),
            ("there is no way back to root", !confine::can_regain_root()),
            ("all five capability sets are empty", confine::has_no_capability()),
            ("no capability can be taken back", !confine::can_regain_capability()),
            ("no_new_privs is set, and the process cannot be traced", process::no_new_privs() && !process::dumpable()),
        ])?;
        Ok(unmet)
    }

    fn set_limits(&self) -> Result<Vec<(Limit, u64)>, JailError> {
        let wanted = [
            (Limit::Data, DATA),
            (Limit::OpenFiles, OPEN_FILES),
            (Limit::Processes, 0),
            (Limit::FileSize, self.file_size),
            (Limit::Core, 0),
        ];
        wanted.into_iter().map(limit_to).collect()
    }

    fn prove(&self, is_root: bool, limits: &[(Limit, u64)]) -> Result<(), JailError> {
        let (uid, gid, _) = self.account;
        let own = if is_root {
            ![self.session, uid, gid].contains(&0) && confine::is_both(self.session, uid, gid)
        } else {
            process::effective_ids().0 != 0
        };
        first_false(&[
            ("all user and group ids are handoff's own", own),
            ("there is no way back to root", !confine::can_regain_root()),
            (
                "the capability sets are empty",
                match is_root {
                    true => confine::has_no_capability(),
                    // The bounding set can't be emptied then, and bounds nothing that no_new_privs does not forbid.
                    false => confine::holds_no_capability(),
                },
            ),
            ("no capability can be taken back", !confine::can_regain_capability()),
            ("no_new_privs is set, and the process cannot be traced", process::no_new_privs() && !process::dumpable()),
            ("root directory and mounts cannot be changed", !confine::can_change_root()),
            ("resource limits are set and cannot be raised", prove::limits_stay(limits)),
            ("no process can be made", prove::fork_fails()),
        ])
    }
}

fn first_false(claims: &[(&'static str, bool)]) -> Result<(), JailError> {
    match claims.iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((claim, _)) => Err(JailError::NotProved { claim }),
    }
}

impl EnteredBeside {
    /// Puts the system call filter in force, which is the last step.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn seal(self) -> Result<(), JailError> {
        let filter = Filter::allow(BESIDE_CALLS.iter().flat_map(|table| table.iter()).map(allowed));
        step("apply the system call filter", filter.and_then(|filter| filter.apply()))
    }
}
