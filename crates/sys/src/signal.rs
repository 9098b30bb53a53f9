//! Signals as readable descriptors; no handler ever runs.

use crate::process::ProcessId;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// What signals tell the launcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// SIGTERM or SIGINT: drain.
    Terminate,
    /// SIGHUP: reload.
    Reload,
    /// SIGCHLD: a child may be reaped.
    Child,
}

/// The signals of one process as a descriptor. Made before the jail: it needs no path.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// All notices.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn all() -> io::Result<Self> {
        Self::of(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD])
    }

    /// Deaths of children only.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn children() -> io::Result<Self> {
        Self::of(&[Signal::SIGCHLD])
    }

    fn of(signals: &[Signal]) -> io::Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        set.thread_block()?;
        Ok(Self { fd: SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)? })
    }

    /// The next notice, if one is waiting. Several deaths may give one notice: reap until nothing is left.
    ///
    /// # Errors
    /// None in practice.
    pub fn next(&self) -> io::Result<Option<Notice>> {
        loop {
            let Some(info) = self.fd.read_signal()? else { return Ok(None) };
            return Ok(Some(match i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok()) {
                Some(Signal::SIGTERM | Signal::SIGINT) => Notice::Terminate,
                Some(Signal::SIGHUP) => Notice::Reload,
                Some(Signal::SIGCHLD) => Notice::Child,
                _ => continue,
            }));
        }
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The ends of those that [`process::fork_alone`](crate::process::fork_alone) has made, each with the id of its process; as a
/// descriptor, that one waits.
///
/// One SIGCHLD may stand for any number of ends, and wait4(2) finds out whose by looking at all children: with thousands of them that
/// is a sixteenth of all that a short session costs. A real-time signal comes once for each, signal(7).
#[derive(Debug)]
pub struct Deaths {
    set: SigSet,
    fd: SignalFd,
}

/// The signal that tells of an end: the first that is for programs.
pub(crate) fn death() -> libc::c_int {
    libc::SIGRTMIN()
}

impl Deaths {
    /// Blocks the signal.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: all zeros is a valid set, which sigemptyset makes anew.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: both write into that set alone; the signal's number is valid.
        unsafe {
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, death());
        }
        // SAFETY: sigemptyset has made it.
        let set = unsafe { SigSet::from_sigset_t_unchecked(set) };
        set.thread_block()?;
        Ok(Self { set, fd: SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)? })
    }

    /// The process of the next end, if one waits: [`process::reap_one`](crate::process::reap_one) says how it was. Where
    /// RLIMIT_SIGPENDING or the kernel's memory has no room for it, an end is not told.
    ///
    /// # Errors
    /// None in practice.
    pub fn next(&self) -> io::Result<Option<ProcessId>> {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: all zeros is a valid siginfo, which the kernel overwrites.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // Not by the descriptor: for a signal that is not SIGCHLD it puts the process's id elsewhere.
        // SAFETY: reads the set and the time, writes a whole siginfo.
        let rc = unsafe { libc::sigtimedwait(self.set.as_ref(), &raw mut info, &raw const now) };
        if rc >= 0 {
            // SAFETY: the kernel fills this in for all ends of processes.
            return Ok(Some(unsafe { info.si_pid() }));
        }
        let e = io::Error::last_os_error();
        match e.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(e),
        }
    }
}

impl AsFd for Deaths {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// SIGTERM.
pub const TERM: i32 = libc::SIGTERM;
/// SIGHUP.
pub const HUP: i32 = libc::SIGHUP;
/// SIGCHLD.
pub const CHLD: i32 = libc::SIGCHLD;

/// The signals that a server of programs takes note of, as a descriptor: those of [`TERM`], [`HUP`] and [`CHLD`], and those of which
/// it dies. One that is ignored since before we were started stays so.
#[derive(Debug)]
pub struct ServerSignals {
    fd: SignalFd,
}

impl ServerSignals {
    /// Blocks them, and takes the default action back for SIGCHLD, without which no child's end is told.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new() -> io::Result<Self> {
        heed_children()?;
        let all = [
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGCHLD,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGALRM,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ];
        let set: SigSet = all.into_iter().filter(|signal| !is_ignored(*signal)).collect();
        set.thread_block()?;
        Ok(Self { fd: SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)? })
    }

    /// The next signal's number, if one is waiting.
    ///
    /// # Errors
    /// None in practice.
    pub fn next(&self) -> io::Result<Option<i32>> {
        Ok(self.fd.read_signal()?.and_then(|info| i32::try_from(info.ssi_signo).ok()))
    }
}

impl AsFd for ServerSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn is_ignored(signal: Signal) -> bool {
    // SAFETY: all zeros is a valid sigaction, which the kernel overwrites; none is set.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: as above; the pointer is to a whole sigaction.
    let rc = unsafe { libc::sigaction(signal as i32, std::ptr::null(), &raw mut action) };
    rc == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Ends the process by this signal, as if it had never been blocked.
pub fn die_of(number: i32) -> ! {
    if let Ok(signal) = Signal::try_from(number) {
        // SAFETY: installs a default disposition, no function of ours.
        let _ = unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) };
        let _ = nix::sys::signal::raise(signal);
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    }
    crate::process::exit(111)
}

/// Unblocks all signals and gives them their default actions: what a program expects when it starts.
///
/// # Errors
/// None in practice.
pub fn reset() -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    for signal in [Signal::SIGPIPE, Signal::SIGXFSZ] {
        // SAFETY: installs a default disposition, no function of ours.
        unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }?;
    }
    Ok(())
}

/// As [`reset`], for all signals: some may be ignored since before we were started, and a program that an admin names must
/// start with none ignored.
///
/// # Errors
/// None in practice.
pub(crate) fn reset_all() -> io::Result<()> {
    for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: installs a default disposition, no function of ours.
        unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }?;
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// For a process that executes nothing: what may end it by force does so, whatever was ignored since before we were started, and no
/// handler is left. The signals that it can't ignore or that others send it are as they were.
///
/// # Errors
/// None in practice.
pub fn reset_fatal() -> io::Result<()> {
    // The timer that ends it, and the standard library's two handlers.
    for signal in [Signal::SIGALRM, Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: installs a default disposition, no function of ours.
        unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }?;
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Leaves the stack for handlers, which the standard library has made for its own, out of all processes that are forked from now on: a
/// mapping less to copy for each. One whose own stack is at its end is ended by the kernel without the handler's words.
pub fn keep_handler_stack() {
    // SAFETY: all zeros is a valid stack_t, which the kernel overwrites; none is set.
    let mut stack: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: as above; the pointer is to a whole stack_t.
    let rc = unsafe { libc::sigaltstack(std::ptr::null(), &raw mut stack) };
    if rc == 0 && stack.ss_flags & libc::SS_DISABLE == 0 {
        // SAFETY: changes nothing in this process. In a forked one only the kernel uses that address, for a handler, and ends the process
        // where nothing lies there. Where the kernel refuses the advice, it is copied as before.
        let _ = unsafe { libc::madvise(stack.ss_sp, stack.ss_size, libc::MADV_DONTFORK) };
    }
}

/// Makes a write that nobody will read fail with EPIPE instead of killing the process. The standard library does so only in a
/// process whose `main` it calls.
///
/// # Errors
/// None in practice.
pub fn ignore_broken_pipe() -> io::Result<()> {
    // SAFETY: ignores a signal; no function of ours is installed.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, nix::sys::signal::SigHandler::SigIgn) }?;
    Ok(())
}

/// Undoes [`ignore_broken_pipe`], and what the standard library does before `main`.
///
/// # Errors
/// None in practice.
pub(crate) fn heed_broken_pipe() -> io::Result<()> {
    // SAFETY: installs a default disposition, no function of ours.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl) }?;
    Ok(())
}

/// Takes the default action back for SIGCHLD. Who has started us may have ignored it, which is passed on by exec: the kernel then
/// tells of no child how it has ended, and sends nothing when it has.
///
/// # Errors
/// None in practice.
pub fn heed_children() -> io::Result<()> {
    // SAFETY: installs a default disposition, no function of ours.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, nix::sys::signal::SigHandler::SigDfl) }?;
    Ok(())
}

/// Makes a write beyond RLIMIT_FSIZE fail with EFBIG instead of killing the process: a large message must not look like a crash.
///
/// # Errors
/// None in practice.
pub fn ignore_file_size() -> io::Result<()> {
    // SAFETY: ignores a signal; no function of ours is installed.
    unsafe { nix::sys::signal::signal(Signal::SIGXFSZ, nix::sys::signal::SigHandler::SigIgn) }?;
    Ok(())
}
