//! Programs that a mail admin names: started with the privileges, limits and environment that they expect.

use crate::limits::Inherited;
use crate::process::{self, End, Fork, ProcessId};
use crate::wait::{self, Want};
use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Instant;

/// How a program's file is found by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// As it stands: absolute, or relative to the program's working directory.
    Path,
    /// A name without a slash is looked for in the directories of its environment's PATH, as execvp(3) does.
    Search,
}

/// A program to start. Signals are at their defaults and none is blocked; set-id files have their effect.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its file.
    pub file: &'a CStr,
    /// How that is found.
    pub lookup: Lookup,
    /// Arguments, argv\[0\] first.
    pub args: &'a [&'a CStr],
    /// Its whole environment.
    pub env: &'a [CString],
    /// Its working directory; None: ours.
    pub directory: Option<&'a CStr>,
    /// Number in the program and what lies there. Descriptor 2 is ours if nothing else is planned; all others are closed.
    pub fds: &'a [(RawFd, BorrowedFd<'a>)],
    /// Its limits.
    pub limits: &'a Inherited,
    /// In a process group of its own, so that it can be ended together with all that it starts. It dies with whoever has started it.
    pub own_group: bool,
}

/// A program that has been started. When this is dropped the program goes on, and is not reaped while this process lives.
#[derive(Debug)]
pub struct Running {
    pid: ProcessId,
    life: OwnedFd,
    own_group: bool,
    refusal: io::PipeReader,
}

/// How a program ended.
#[derive(Debug)]
pub enum Outcome {
    /// It ran, and ended so.
    Ran(End),
    /// It never ran: no such file, not executable, no such working directory.
    NotExecuted(io::Error),
}

/// Exit status of a process that could not execute the program. [`Outcome`] reports that case in another way.
const NOT_EXECUTED: u8 = 120;
/// Where execvp(3) looks when there is no PATH.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Starts a program. The calling process must have one thread.
///
/// # Errors
/// EAGAIN, ENOMEM, EMFILE: no process could be made. That it cannot be executed shows as [`Outcome::NotExecuted`].
pub fn start(program: &Program<'_>) -> io::Result<Running> {
    let (refusal, refuse) = io::pipe()?;
    crate::fds::set_nonblocking(refusal.as_fd(), true)?;
    let pid = match process::fork()? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let failed = become_program(program, refuse.into());
            process::exit(failed)
        }
    };
    match open_life(pid) {
        Ok(life) => Ok(Running { pid, life, own_group: program.own_group, refusal }),
        Err(e) => {
            // Without a pidfd it can't be waited for with a time limit, so it must not run. Its pipes are still empty.
            let _ = process::kill(pid, process::Signal::Kill);
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
            Err(e)
        }
    }
}

fn open_life(pid: ProcessId) -> io::Result<OwnedFd> {
    // SAFETY: takes integers; an unreaped child's id cannot have gone to another process.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just made it for us, closed on exec.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Running {
    /// Its process id: qmail's `qp`.
    #[must_use]
    pub fn pid(&self) -> ProcessId {
        self.pid
    }

    /// Reaps it if it has ended.
    #[must_use]
    pub fn ended(&mut self) -> Option<Outcome> {
        let end = process::reap_one(self.pid)?;
        let mut code = [0; 4];
        // The pipe is closed by exec or by the end, so what can be read now is all there will be.
        match self.refusal.read(&mut code) {
            Ok(4) => Some(Outcome::NotExecuted(io::Error::from_raw_os_error(i32::from_ne_bytes(code)))),
            _ => Some(Outcome::Ran(end)),
        }
    }

    /// Waits for its end; None when `until` comes first.
    ///
    /// # Errors
    /// poll(2)'s: ENOMEM.
    pub fn wait(&mut self, until: Option<Instant>) -> io::Result<Option<Outcome>> {
        loop {
            let [over] = wait::ready(&[(self.life.as_fd(), Want::Read)], until)?[..] else { return Ok(None) };
            if let Some(outcome) = self.ended() {
                return Ok(Some(outcome));
            }
            if !over {
                return Ok(None);
            }
        }
    }

    /// Kills it, with its whole process group where it has one of its own, and reaps it.
    ///
    /// # Errors
    /// poll(2)'s: ENOMEM.
    pub fn kill(mut self) -> io::Result<Option<Outcome>> {
        let target = if self.own_group { self.pid.saturating_neg() } else { self.pid };
        // Both: the group does not exist before the new process has made it.
        let _ = process::kill(target, process::Signal::Kill);
        let _ = process::kill(self.pid, process::Signal::Kill);
        self.wait(None)
    }
}

/// Readable once the program has ended.
impl AsFd for Running {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.life.as_fd()
    }
}

/// In the new process: executes the program, or reports why it can't and returns the status to end with.
fn become_program(program: &Program<'_>, refuse: OwnedFd) -> u8 {
    let above = program.fds.iter().map(|(target, _)| *target).max().unwrap_or(2).max(2).saturating_add(1);
    let Ok(lifted) = lift(refuse.as_fd(), above) else { return NOT_EXECUTED };
    // Closed below, by its number.
    std::mem::forget(refuse);
    let refuse = lifted;
    let failed = match prepare(program, above, &refuse) {
        Err(e) => e,
        Ok(()) => execute(program),
    };
    let code = failed.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes();
    let _ = nix::unistd::write(&refuse, &code);
    NOT_EXECUTED
}

/// A copy with a number above all those in the plan.
fn lift(fd: BorrowedFd<'_>, above: RawFd) -> io::Result<OwnedFd> {
    crate::fds::inherited(nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(above))?)
}

fn prepare(program: &Program<'_>, above: RawFd, refuse: &OwnedFd) -> io::Result<()> {
    if program.own_group {
        nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(0))?;
        // Whoever would end it in time may be killed: it would go on, and keep descriptor 2 open.
        crate::process::die_with_parent()?;
    }
    let lifted: Vec<(RawFd, OwnedFd)> =
        program.fds.iter().map(|(target, fd)| Ok((*target, lift(*fd, above)?))).collect::<io::Result<_>>()?;
    for (target, fd) in &lifted {
        // SAFETY: takes no pointer; what it closes is a copy that no Rust value in this process uses again.
        if unsafe { libc::dup2(fd.as_raw_fd(), *target) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    std::mem::forget(lifted);
    let planned = program.fds.iter().map(|(target, _)| *target);
    let kept: Vec<RawFd> = planned.chain([2, refuse.as_raw_fd()]).collect();
    crate::fds::close_all_but(&kept)?;
    if let Some(directory) = program.directory {
        nix::unistd::chdir(directory)?;
    }
    program.limits.restore();
    crate::signal::reset_all()
}

/// Executes a program in the place of this one, which keeps its descriptors, limits, ids and directory. `args`, argv\[0\] first,
/// begin with its name, looked for in the directories of PATH if there is no slash in it.
#[must_use]
pub fn execute_here(args: &[CString], env: &[CString]) -> io::Error {
    let Some(name) = args.first() else { return io::ErrorKind::InvalidInput.into() };
    // The standard library ignores SIGPIPE; what was ignored besides stays so.
    if let Err(e) = crate::signal::heed_broken_pipe() {
        return e;
    }
    execute_first(&candidates(name, env), pathexec_goes_on, args.iter().map(CString::as_c_str), env)
}

fn execute(program: &Program<'_>) -> io::Error {
    let files = match program.lookup {
        Lookup::Path => vec![program.file.to_owned()],
        Lookup::Search => candidates(program.file, program.env),
    };
    execute_first(&files, execvp_goes_on, program.args.iter().copied(), program.env)
}

/// Whether the search for a program in the directories of PATH goes on after this error, as it does in qmail, ucspi-tcp and daemontools
/// (pathexec_run.c): another directory may have one that can be executed. If none has, an error other than ENOENT is reported.
pub(crate) const fn pathexec_goes_on(errno: i32) -> bool {
    matches!(errno, libc::ENOENT | libc::EACCES | libc::EPERM | libc::EISDIR)
}

/// The same for what has its program executed by execvp(3): glibc's posix/execvpe.c.
const fn execvp_goes_on(errno: i32) -> bool {
    matches!(errno, libc::ENOENT | libc::EACCES | libc::ESTALE | libc::ENOTDIR | libc::ENODEV | libc::ETIMEDOUT)
}

fn execute_first<'a>(
    files: &[CString],
    goes_on: fn(i32) -> bool,
    args: impl Iterator<Item = &'a CStr>,
    env: &[CString],
) -> io::Error {
    let list = |strings: &mut dyn Iterator<Item = *const libc::c_char>| -> Vec<*const libc::c_char> {
        strings.chain([std::ptr::null()]).collect()
    };
    let argv = list(&mut args.map(CStr::as_ptr));
    let envp = list(&mut env.iter().map(|e| e.as_ptr()));
    let mut failed = io::Error::from_raw_os_error(libc::ENOENT);
    for file in files {
        // SAFETY: file, and the null-terminated lists of NUL-terminated strings, outlive the call.
        unsafe { libc::execve(file.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        let e = io::Error::last_os_error();
        match e.raw_os_error() {
            Some(libc::ENOENT) => {}
            Some(number) if goes_on(number) => failed = e,
            _ => return e,
        }
    }
    failed
}

fn candidates(name: &CStr, env: &[CString]) -> Vec<CString> {
    let name = name.to_bytes();
    if name.contains(&b'/') {
        return CString::new(name).into_iter().collect();
    }
    let path = env.iter().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let directories = path.unwrap_or(DEFAULT_PATH).split(|octet| *octet == b':');
    let joined = directories.map(|directory| match directory {
        b"" => [b"./", name].concat(),
        _ => [directory, b"/", name].concat(),
    });
    joined.filter_map(|file| CString::new(file).ok()).collect()
}
