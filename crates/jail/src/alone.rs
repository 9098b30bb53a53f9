//! The jail of a session without a launcher: forked by the process that serves one connection under tcpserver or inetd, often
//! without an account of its own and without root.
//!
//! The same steps in the same order as for a role, and a proof; but a step that this uid does not permit is left out and
//! reported. Landlock is left out only where the user relaxes it, the system call filter never: no file, no socket, no process,
//! no program, no signal, whatever the uid is.
//!
//! This is done for each connection, so the namespaces are chosen by what they cost. Processor time to make one and have
//! the kernel remove it again, beyond a fork (Linux 6.18, two cores): uts 0 µs, user 10, ipc 40, mount 60 and with an
//! empty root 120 to 300, net 550. Only the user namespace forbids something that the filter permits: without
//! socket(2), shmget(2) or mount(2) the others make no difference. chroot(2) into an empty directory costs 2 µs, so an empty root
//! is mounted only where there is no such directory. Entering costs 240 µs in all: 95 for the kernel to install the filter, 70 for
//! the proof.

use crate::JailError;
use crate::calls::Call;
use crate::enter::{JailedSession, SESSION_ADDRESS_SPACE, SESSION_CPU_SECONDS, SESSION_STACK};
use crate::profile::{ALONE_CALLS, allowed};
use crate::prove;
use crate::step::{Unmet, limit_to, restrict_by_landlock, step};
use gatepost_sys::filter::Filter;
use gatepost_sys::landlock;
use gatepost_sys::limits::Limit;
use gatepost_sys::process::{self, ProcessId};
use gatepost_sys::{confine, fds, signal};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;

/// Directories that are always empty: one by convention, one of the kernel's, which holds nothing since the interface that it
/// was made for is gone.
const EMPTY: &[&str] = &["/var/empty", "/proc/tty/ldisc"];
/// Where an empty root is mounted when there is none of those: any directory, which can't be reached afterwards.
const ANCHOR: &str = "/dev";
/// Descriptors looked at for the proof: one call closes all from some number on, so what it has done to these it has done to all.
const CENSUS: RawFd = 64;

/// A session to be jailed, right after the fork: what it keeps and what it may use.
#[derive(Debug, Clone, Copy)]
pub struct Alone<'a> {
    /// The process that forked it. The session ends with it.
    pub parent: ProcessId,
    /// The descriptors that it keeps, by the numbers they have. All others are closed, also those that Rust values
    /// own: the session ends by [`process::exit`] and never returns into the code that it was forked from.
    pub keep: &'a [BorrowedFd<'a>],
    /// Uid and gid to become. Needed when started as root, unused otherwise.
    pub account: Option<(u32, u32)>,
    /// RLIMIT_DATA, octets; a lower inherited limit stays.
    pub data: u64,
    /// RLIMIT_FSIZE, octets: 0 unless one of the descriptors is a file to be written.
    pub file_size: u64,
    /// The longest that the session may last; the kernel ends it then.
    pub life: Duration,
    /// Refuse to go on without all of landlock. False only where the user relaxes it.
    pub landlock: bool,
}

/// What differs between the kinds of processes that enter by these steps.
pub(crate) struct Kind<'a> {
    /// Its system calls.
    pub(crate) calls: &'a [&'static [Call]],
    /// RLIMIT_NOFILE.
    pub(crate) open_files: u64,
    /// RLIMIT_CPU, seconds; u64::MAX: as it is.
    pub(crate) processor_time: u64,
    /// TCP ports that it may connect to.
    pub(crate) connect_ports: &'a [u16],
    /// Ends after [`Alone::life`].
    pub(crate) ends: bool,
}

const SESSION: Kind<'static> = Kind {
    calls: ALONE_CALLS,
    // What is kept, and what the parent may send.
    open_files: 16,
    processor_time: SESSION_CPU_SECONDS,
    connect_ports: &[],
    ends: true,
};

/// Inside the jail, all but the system call filter.
#[derive(Debug)]
pub(crate) struct Unsealed(Filter);

impl Unsealed {
    /// Puts the filter in force.
    pub(crate) fn seal(self) -> Result<JailedSession, JailError> {
        step("apply the system call filter", self.0.apply())?;
        Ok(JailedSession(()))
    }
}

/// What the proof compares with.
struct Facts {
    account: Option<(u32, u32)>,
    kept: Vec<RawFd>,
    limits: Vec<(Limit, u64)>,
    /// Started as root, so the bounding set was emptied. Otherwise it is left as it is, which saves eighty calls: it bounds what a program
    /// gains that is executed, and neither no_new_privs nor the filter lets any gain anything.
    is_root: bool,
}

impl Alone<'_> {
    /// Enters the jail and proves it. The calling process must be the forked one, have one thread, and hold nothing secret
    /// that the session should not know: its memory is a copy of its parent's.
    ///
    /// # Errors
    /// The step that failed, or the proof that did not hold: the session must not serve.
    pub fn enter(&self) -> Result<(JailedSession, Vec<Unmet>), JailError> {
        let (unsealed, unmet) = self.enter_as(&SESSION)?;
        Ok((unsealed.seal()?, unmet))
    }

    /// All but the system call filter, for a process of this kind.
    pub(crate) fn enter_as(&self, kind: &Kind<'_>) -> Result<(Unsealed, Vec<Unmet>), JailError> {
        let is_root = process::effective_ids().0 == 0;
        let mut unmet = Vec::new();
        let kept = self.keep_only()?;
        process::forget_environment();
        process::set_umask(0o077);
        step("set signals to their defaults", signal::reset_fatal())?;
        step("ignore SIGPIPE and SIGXFSZ", signal::ignore_broken_pipe().and_then(|()| signal::ignore_file_size()))?;
        let limits = self.set_limits(kind)?;
        leave(is_root, &mut unmet);
        if is_root {
            step("empty the bounding and ambient sets", confine::drop_bounding())?;
            let (uid, gid) =
                self.account.ok_or(io::ErrorKind::InvalidInput.into()).or_else(|e| step("find a user", Err(e)))?;
            step("become the user that owns nothing", confine::become_user(uid, gid, &[]))?;
        } else {
            unmet.push(Unmet { what: "a user of its own", why: "not started as root".to_owned(), usual: true });
        }
        step("give up all capabilities", confine::drop_permitted())?;
        step("set no_new_privs", process::set_no_new_privs())?;
        step("become undumpable", process::set_undumpable())?;
        process::refuse_exec_gain();
        step("ask to be killed with the parent", process::die_with_parent())?;
        if process::parent() != self.parent {
            return Err(JailError::ParentGone);
        }
        restrict_by_landlock(landlock::restrict, &[], kind.connect_ports, self.landlock, &mut unmet)?;
        if kind.ends {
            step("limit a session's life", process::end_after(self.life))?;
        }
        prove(&Facts { account: self.account.filter(|_| is_root), kept, limits, is_root })?;
        let calls = kind.calls.iter().flat_map(|table| table.iter()).map(allowed);
        Ok((Unsealed(step("prepare the system call filter", Filter::allow(calls))?), unmet))
    }

    fn keep_only(&self) -> Result<Vec<RawFd>, JailError> {
        let mut kept: Vec<RawFd> = self.keep.iter().map(AsRawFd::as_raw_fd).collect();
        kept.sort_unstable();
        kept.dedup();
        step("close the descriptors that are not in the plan", fds::close_all_but(&kept))?;
        Ok(kept)
    }

    fn set_limits(&self, kind: &Kind<'_>) -> Result<Vec<(Limit, u64)>, JailError> {
        let wanted = [
            (Limit::Data, self.data),
            (Limit::AddressSpace, self.data.saturating_add(SESSION_ADDRESS_SPACE)),
            (Limit::Stack, SESSION_STACK),
            (Limit::CpuTime, kind.processor_time),
            (Limit::OpenFiles, kind.open_files),
            (Limit::Processes, 0),
            (Limit::FileSize, self.file_size),
            (Limit::Core, 0),
            (Limit::LockedMemory, 0),
        ];
        wanted.into_iter().map(limit_to).collect()
    }
}

/// Leaves the file tree, by way of a user namespace where we are not root.
fn leave(is_root: bool, unmet: &mut Vec<Unmet>) {
    const TREE: &str = "an empty root directory";
    if !is_root && let Err(e) = confine::leave_all_users() {
        unmet.push(Unmet { what: "a user namespace", why: e.to_string(), usual: true });
        let why = "not started as root, and without a user namespace".to_owned();
        unmet.push(Unmet { what: TREE, why, usual: true });
    } else if let Err(e) = leave_the_file_tree(EMPTY) {
        unmet.push(Unmet { what: TREE, why: e.to_string(), usual: !is_root });
    }
}

fn leave_the_file_tree(empty: &[&str]) -> io::Result<()> {
    let is_empty = |path: &Path| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if let Some(directory) = empty.iter().map(Path::new).find(|path| is_empty(path)) {
        return confine::change_root(directory);
    }
    confine::own_mounts()?;
    confine::empty_root(Path::new(ANCHOR), &[])
}

/// A claim about the jail, tried by undoing it.
type Proof = (&'static str, fn(&Facts) -> bool);

const PROOFS: &[Proof] = &[
    ("all user and group ids are the session's own", ids_are_own),
    ("there is no way back to root", |_| !confine::can_regain_root()),
    ("the capability sets are empty", |facts| match facts.is_root {
        true => confine::has_no_capability(),
        false => confine::holds_no_capability(),
    }),
    ("no capability can be taken back", |_| !confine::can_regain_capability()),
    ("no_new_privs is set", |_| process::no_new_privs()),
    ("the process cannot be dumped or traced", |_| !process::dumpable()),
    ("nothing can be written to the root", |_| std::fs::write("/proof", b"").is_err()),
    ("root directory and mounts cannot be changed", |_| !confine::can_change_root()),
    ("resource limits are set and cannot be raised", limits_hold),
    ("no process can be made", |_| prove::fork_fails()),
    ("only the planned descriptors are open", |facts| {
        fds::census(CENSUS).into_iter().eq(facts.kept.iter().copied().filter(|fd| *fd < CENSUS))
    }),
    ("the environment is empty", |_| std::env::vars_os().next().is_none()),
];

fn prove(facts: &Facts) -> Result<(), JailError> {
    match PROOFS.iter().find(|(_, holds)| !holds(facts)) {
        None => Ok(()),
        Some((claim, _)) => Err(JailError::NotProved { claim }),
    }
}

fn ids_are_own(facts: &Facts) -> bool {
    match facts.account {
        Some((uid, gid)) => uid != 0 && gid != 0 && confine::is_wholly(uid, gid),
        None => process::effective_ids().0 != 0,
    }
}

fn limits_hold(facts: &Facts) -> bool {
    prove::limits_stay(&facts.limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_the_file_tree_is_left_with_and_without_an_empty_directory() {
        assert_eq!(process::effective_ids().0, 0, "needs root");
        for empty in [EMPTY, &["/nonexistent", "/usr"]] {
            let seen = process::apart(|| match leave_the_file_tree(empty) {
                Err(e) => e.to_string().into_bytes(),
                Ok(()) => format!("{}", std::fs::read_dir("/").map_or(99, Iterator::count)).into_bytes(),
            });
            assert_eq!(String::from_utf8(seen.unwrap()).unwrap(), "0", "{empty:?}");
        }
    }
}
