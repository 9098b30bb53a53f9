//! Processes: making them in namespaces of their own, forking, reaping, ending.

use crate::signal::death;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

/// A process id in our own namespace.
pub type ProcessId = i32;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By exit(2) with this status.
    Exit(u8),
    /// By this signal.
    Signal(u8),
    /// waitpid(2) does not tell: it is no child of ours any more. Never a success, and never a program's own answer.
    Unknown,
}

impl End {
    /// By the kernel's timer: see [`end_after`]. Nobody has done anything to it.
    #[must_use]
    pub fn is_timer(self) -> bool {
        u8::try_from(libc::SIGALRM).is_ok_and(|signal| self == Self::Signal(signal))
    }
}

/// Which side of a fork one is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one, with the new one's id.
    Parent(ProcessId),
}

/// Forks the calling process. If it has several threads, as a test has, the child has the one that called.
///
/// # Errors
/// EAGAIN at RLIMIT_NPROC, ENOMEM.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: gatepost's processes have one thread, so no lock can be held by a thread that the child lacks. In tests the child only
    // does what is allowed after a fork: the C library sees to its own locks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// As [`fork`] for a process that forks many others: it must have one thread, and never have had another. Of the new one's end it
/// hears by [`Deaths`](crate::signal::Deaths).
///
/// # Errors
/// As [`fork`].
pub fn fork_alone() -> io::Result<Fork> {
    // Not the C library's: it prepares for threads that there are none of, in pages of which each child would then have its own.
    // SAFETY: without CLONE_VM and without a new stack this is a fork. The nursery alone calls it, which has one thread, so no lock can
    // be held by a thread that the child lacks; what the C library keeps of the thread's id is used for locks between threads only.
    match unsafe { libc::syscall(libc::SYS_clone, death(), 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(ProcessId::try_from(pid).unwrap_or(ProcessId::MAX))),
    }
}

/// Reaps one dead child, if there is one. The kernel looks at all children for it, one after the other.
///
/// # Errors
/// None in practice; no children at all is `Ok(None)`.
pub fn reap() -> io::Result<Option<(ProcessId, End)>> {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Exited(pid, status)) => {
                return Ok(Some((pid.as_raw(), End::Exit(u8::try_from(status & 0xff).unwrap_or(u8::MAX)))));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                return Ok(Some((pid.as_raw(), End::Signal(u8::try_from(signal as i32).unwrap_or(u8::MAX)))));
            }
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Reaps one dead child, if there is one: its id, and its wait status as wait(2) gives it.
#[must_use]
pub fn reap_raw() -> Option<(ProcessId, i32)> {
    loop {
        let mut status = 0;
        // SAFETY: writes the status, and nothing else.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            pid => return (pid > 0).then_some((pid, status)),
        }
    }
}

/// Reaps one child of ours by its id, if it has ended; no other child is looked at. One that is no child of ours any more has ended too; how is not known.
#[must_use]
pub fn reap_one(pid: ProcessId) -> Option<End> {
    let status = |code: i32| u8::try_from(code & 0xff).unwrap_or(u8::MAX);
    loop {
        return match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Exited(_, code)) => Some(End::Exit(status(code))),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(End::Signal(status(signal as i32))),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => Some(End::Unknown),
            Ok(_) => None,
        };
    }
}

/// Waits for the end of one child of ours and reaps it. One that is no child of ours any more has ended too; how is not known.
#[must_use]
pub fn await_end(pid: ProcessId) -> End {
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, code)) => return End::Exit(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return End::Signal(u8::try_from(signal as i32).unwrap_or(u8::MAX));
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return End::Unknown,
        }
    }
}

/// Ends the calling process at once: no destructors, no buffers flushed.
pub fn exit(status: u8) -> ! {
    // SAFETY: _exit takes no pointer and does not return.
    unsafe { libc::_exit(i32::from(status)) }
}

/// Sets the name that `ps` and /proc/PID/comm show; 15 octets at most.
pub fn set_comm(name: &CStr) {
    let _ = nix::sys::prctl::set_name(name);
}

/// Sends a signal to a process that we started. Root without CAP_KILL sends it as the user that the process belongs to.
///
/// # Errors
/// ESRCH when it is gone, EPERM when it is not ours to signal.
pub fn kill(pid: ProcessId, signal: Signal) -> io::Result<()> {
    let signal = match signal {
        Signal::Kill => nix::sys::signal::Signal::SIGKILL,
        Signal::Terminate => nix::sys::signal::Signal::SIGTERM,
    };
    let send = || nix::sys::signal::kill(Pid::from_raw(pid), signal).map_err(io::Error::from);
    match send() {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => match real_user(pid) {
            // The kernel holds the sender's effective user against the real and the saved one of the other.
            Some(uid) => crate::as_owner::with_user(uid, send),
            None => Err(e),
        },
        sent => sent,
    }
}

/// The real user of a process that has not been reaped.
fn real_user(pid: ProcessId) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().next()?.parse().ok()
}

/// The signals that gatepost sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Signal {
    Kill,
    Terminate,
}

/// Whether two descriptors, each with its process, are of one open file description: kcmp(2).
///
/// # Errors
/// EPERM without the right to trace both, ENOSYS, EBADF, ESRCH.
pub fn same_file(one: (u32, u32), other: (u32, u32)) -> io::Result<bool> {
    const KCMP_FILE: libc::c_int = 0;
    // SAFETY: takes integers only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            one.0,
            other.0,
            KCMP_FILE,
            libc::c_ulong::from(one.1),
            libc::c_ulong::from(other.1),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result == 0) }
}

/// Asks to be killed when the parent ends. An id change or exec of a set-id file undoes it: call after those.
///
/// # Errors
/// None in practice.
pub fn die_with_parent() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?)
}

/// Has SIGALRM sent to this process after `time`, for which it ends unless it can block, ignore or handle that signal, or
/// set the timer anew.
///
/// # Errors
/// None in practice.
pub fn end_after(time: std::time::Duration) -> io::Result<()> {
    let seconds = libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX);
    let micros = libc::suseconds_t::from(time.subsec_micros());
    let timer = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
        it_value: libc::timeval { tv_sec: seconds, tv_usec: micros },
    };
    // SAFETY: reads `timer`; the old one is not asked for.
    let rc = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets no_new_privs: from now on exec gains no privilege.
///
/// # Errors
/// None in practice.
pub fn set_no_new_privs() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

/// Whether no_new_privs is set.
#[must_use]
pub fn no_new_privs() -> bool {
    nix::sys::prctl::get_no_new_privs().unwrap_or(false)
}

/// Makes the process unreadable to others of its uid: no ptrace, no core, /proc/PID owned by root.
///
/// # Errors
/// None in practice.
pub fn set_undumpable() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// Whether others of this uid may look inside.
#[must_use]
pub fn dumpable() -> bool {
    nix::sys::prctl::get_dumpable().unwrap_or(true)
}

/// Refuses memory that is or becomes both writable and executable, where the kernel can (Linux 6.3). The system call
/// filter refuses the same on all kernels.
pub fn refuse_exec_gain() {
    const PR_SET_MDWE: i32 = 65;
    const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;
    // SAFETY: this prctl takes integers only; an old kernel answers EINVAL, which changes nothing.
    let _ = unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) };
}

/// File mode creation mask.
pub fn set_umask(mask: u32) {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
}

/// The parent's process id: of who started this process, or adopted it later; 0: outside of our pid namespace.
#[must_use]
pub fn parent() -> ProcessId {
    nix::unistd::getppid().as_raw()
}

/// Empties the environment and overwrites what stood there. Nothing may hold a pointer into it.
pub fn forget_environment() {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: one thread; the standard library copies what it reads from here, so nobody holds a pointer. Each entry is a
    // writable string up to its NUL, as environ(7) has it, and the list ends with a null pointer.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            (*entry).write_bytes(0, libc::strlen(*entry));
            entry = entry.add(1);
        }
        libc::clearenv();
    }
}

/// Effective uid and gid.
#[must_use]
pub fn effective_ids() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

/// Namespaces that a new process gets for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Namespaces {
    pub mount: bool,
    pub pid: bool,
    pub ipc: bool,
    pub uts: bool,
    pub net: bool,
    /// A user namespace in which the caller is root: without root the others can be made only inside of one.
    pub user: bool,
}

impl Namespaces {
    fn flags(self) -> libc::c_int {
        [
            (self.mount, libc::CLONE_NEWNS),
            (self.pid, libc::CLONE_NEWPID),
            (self.ipc, libc::CLONE_NEWIPC),
            (self.uts, libc::CLONE_NEWUTS),
            (self.net, libc::CLONE_NEWNET),
            (self.user, libc::CLONE_NEWUSER),
        ]
        .into_iter()
        .filter_map(|(wanted, flag)| wanted.then_some(flag))
        .fold(0, |all, flag| all | flag)
    }

    /// Moves the calling process into these; into none of them, nothing is done.
    pub(crate) fn unshare(self) -> io::Result<()> {
        let flags = self.flags();
        // SAFETY: takes no pointer.
        if flags != 0 && unsafe { libc::unshare(flags) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A program to start.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The program file, opened beforehand.
    pub program: &'a OwnedFd,
    /// Arguments, argv\[0\] first.
    pub args: &'a [&'a CStr],
    /// The whole descriptor plan: number in the new process and what lies there. Everything else is closed.
    pub fds: &'a [(RawFd, BorrowedFd<'a>)],
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// RLIMIT_DATA, set before exec so that no allocation predates it; [`u64::MAX`]: as it is.
    pub data: u64,
}

/// Starts a program with an empty environment, default signals and just the planned descriptors, in a session of its own: it
/// has no controlling terminal, so what is typed at ours (Ctrl-C) is not sent to it or to what it forks.
///
/// # Errors
/// The process could not be made. A failure in the child before exec shows as exit status 127.
pub fn spawn(spawn: &Spawn<'_>) -> io::Result<ProcessId> {
    let outer = effective_ids();
    let flags = spawn.namespaces.flags() | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and without a new stack this is a fork into namespaces; one thread, see `fork`.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let failed = become_program(spawn, outer);
            eprintln!("gatepost: cannot start {:?}: {failed}", spawn.args);
            exit(127)
        }
        pid => Ok(ProcessId::try_from(pid).unwrap_or(ProcessId::MAX)),
    }
}

fn become_program(spawn: &Spawn<'_>, outer: (u32, u32)) -> io::Error {
    match prepare_program(spawn, outer) {
        Err(e) => e,
        Ok(program) => {
            let mut argv: Vec<*const libc::c_char> = spawn.args.iter().map(|a| a.as_ptr()).collect();
            argv.push(std::ptr::null());
            let envp: [*const libc::c_char; 1] = [std::ptr::null()];
            // SAFETY: argv and envp are null-terminated arrays of NUL-terminated strings that outlive the call.
            unsafe {
                libc::execveat(
                    program.as_raw_fd(),
                    c"".as_ptr(),
                    argv.as_ptr().cast(),
                    envp.as_ptr().cast(),
                    libc::AT_EMPTY_PATH,
                )
            };
            io::Error::last_os_error()
        }
    }
}

fn prepare_program(spawn: &Spawn<'_>, (uid, gid): (u32, u32)) -> io::Result<OwnedFd> {
    if spawn.namespaces.user {
        // setgroups must be denied before an unprivileged process may map its group: user_namespaces(7).
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    crate::signal::reset()?;
    nix::unistd::setsid()?;
    // First to numbers above all targets, then to the targets: no copy may overwrite one that is still needed.
    let above = spawn.fds.iter().map(|(target, _)| *target).max().unwrap_or(2).saturating_add(1);
    let lift = |fd: BorrowedFd<'_>| -> io::Result<OwnedFd> {
        let raw = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(above))?;
        crate::fds::inherited(raw)
    };
    let program = lift(spawn.program.as_fd())?;
    let lifted: Vec<(RawFd, OwnedFd)> =
        spawn.fds.iter().map(|(target, fd)| Ok((*target, lift(*fd)?))).collect::<io::Result<_>>()?;
    for (target, fd) in &lifted {
        // SAFETY: dup2 takes no pointer; what it closes is either an inherited copy that no Rust value in this process
        // uses again, or closed already.
        if unsafe { libc::dup2(fd.as_raw_fd(), *target) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    for number in 0..above {
        if !spawn.fds.iter().any(|(target, _)| *target == number) {
            // SAFETY: as above.
            unsafe { libc::close(number) };
        }
    }
    // Descriptors above the plan close on exec. This program opens all of its own so; this call makes sure.
    // SAFETY: takes no pointers; sets a flag only.
    unsafe { libc::close_range(above.unsigned_abs(), u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
    if spawn.data != u64::MAX {
        crate::limits::set(crate::limits::Limit::Data, spawn.data)?;
    }
    std::mem::forget(lifted);
    Ok(program)
}

/// Executes `program` in this process, with the environment that it has. Blocked signals stay blocked, and those that wait go on
/// waiting; descriptors that close on exec are closed. The caller must have one thread. Returns only what kept it from that.
#[must_use]
pub fn execute(program: &OwnedFd, args: &[&CStr]) -> io::Error {
    let pair = |(name, value): (OsString, OsString)| {
        CString::new([name.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat()).ok()
    };
    let environment: Vec<CString> = std::env::vars_os().filter_map(pair).collect();
    match nix::unistd::execveat(program, c"", args, &environment, nix::fcntl::AtFlags::AT_EMPTY_PATH) {
        Ok(never) => match never {},
        Err(e) => e.into(),
    }
}

/// A program's file, to be executed.
///
/// # Errors
/// The file's.
pub fn program(path: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    Ok(std::fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?.into())
}

/// Leads to the running program's file, also when that has no name any more.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// The running program's file, to be executed anew for each role.
///
/// # Errors
/// When /proc is not mounted.
pub fn own_program() -> io::Result<OwnedFd> {
    program(Path::new(OWN_PROGRAM))
}

/// An empty file in memory, to be written and then sealed.
///
/// # Errors
/// No memory or descriptors left.
pub fn memory() -> io::Result<std::fs::File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    Ok(memfd_create(c"gatepost", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?.into())
}

/// Seals a file made by [`memory`] and goes back to its start.
///
/// # Errors
/// EBUSY while somebody has it mapped for writing.
pub fn seal(mut file: std::fs::File) -> io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use std::io::Seek;
    file.rewind()?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
    Ok(file.into())
}

/// Does `work` in a process of its own and returns its result; all else that it has read ends with that process. The caller must
/// have one thread, and reap no children meanwhile.
///
/// # Errors
/// No process or descriptors left; Interrupted when that process was killed.
pub fn apart(work: impl FnOnce() -> Vec<u8>) -> io::Result<Vec<u8>> {
    use std::io::{Read, Write};
    let (mut hear, mut tell) = io::pipe()?;
    let pid = match fork()? {
        Fork::Child => {
            drop(hear);
            let told = tell.write_all(&work());
            exit(u8::from(told.is_err()))
        }
        Fork::Parent(pid) => Pid::from_raw(pid),
    };
    drop(tell);
    let mut heard = Vec::new();
    let read = hear.read_to_end(&mut heard);
    let end = loop {
        match waitpid(pid, None) {
            Err(nix::errno::Errno::EINTR) => {}
            end => break end?,
        }
    };
    match (read, end) {
        (Ok(_), WaitStatus::Exited(_, 0)) => Ok(heard),
        (Err(e), _) => Err(e),
        _ => Err(io::ErrorKind::Interrupted.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_when_its_time_is_over() {
        let ended = apart(|| {
            let set = end_after(std::time::Duration::from_millis(1));
            while set.is_ok() {
                std::hint::spin_loop();
            }
            Vec::new()
        });
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn work_done_apart_leaves_its_result_only() {
        let mut here = 1;
        let result = apart(|| {
            here = 2;
            vec![7; 100_000]
        });
        assert_eq!(result.unwrap(), vec![7; 100_000]);
        assert_eq!(here, 1);
        assert_eq!(apart(|| exit(3)).unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
