//! Signals as readable descriptors; no handler ever runs.

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
