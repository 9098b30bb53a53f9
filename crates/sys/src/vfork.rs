//! A new process that borrows our memory until it executes a program or ends, as vfork(2) and posix_spawn(3) make one: no page
//! table is copied, which is most of what a fork costs a server that starts a program for each connection.

use crate::filter::Filter;
use crate::limits::Limit;
use crate::process::ProcessId;
use crate::program::pathexec_goes_on;
use nix::sched::CloneFlags;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, mprotect, munmap};
use nix::unistd::{Gid, Pid, Uid};
use std::ffi::{CStr, CString, c_int, c_void};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// Octets of the stack on which the new process runs until it executes.
const STACK: usize = 256 * 1024;
/// Octets below a stack that can't be touched.
const GUARD: usize = 64 * 1024;

/// Memory for the stack of a new process.
#[derive(Debug)]
pub(crate) struct Stack {
    memory: NonNull<c_void>,
    length: usize,
}

impl Stack {
    /// Maps so many octets, and what can't be touched below them.
    pub(crate) fn new(octets: usize) -> io::Result<Self> {
        let length = octets.checked_add(GUARD).ok_or(io::ErrorKind::InvalidInput)?;
        let size = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: new memory, wherever the kernel has room.
        let memory = unsafe { mmap_anonymous(None, size, protection, MapFlags::MAP_PRIVATE | MapFlags::MAP_STACK) }?;
        // SAFETY: the lowest pages of what was just mapped, which nobody uses yet.
        unsafe { mprotect(memory, GUARD, ProtFlags::PROT_NONE) }?;
        // SAFETY: as above; no page of a stack this small should become a huge one.
        let _ = unsafe { madvise(memory, length, MmapAdvise::MADV_NOHUGEPAGE) };
        Ok(Self { memory, length })
    }

    /// Where a stack that grows down begins; page-aligned.
    pub(crate) fn top(&self) -> *mut c_void {
        // SAFETY: the end of the mapping.
        unsafe { self.memory.as_ptr().byte_add(self.length) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; whoever has it sees to it that no process runs on it any more.
        let _ = unsafe { munmap(self.memory, self.length) };
    }
}

/// Makes such processes, one after the other, on a stack of their own.
#[derive(Debug)]
pub struct Starter(Stack);

impl Starter {
    /// Maps the stack.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new() -> io::Result<Self> {
        Stack::new(STACK).map(Self)
    }

    /// Runs `work` in a new process, with its own process id, and returns when that has executed a program or has ended with the
    /// status that `work` gives. It has copies of our descriptors. What `work` writes to memory is written to ours. The calling
    /// process must have one thread and no signal handler.
    ///
    /// # Errors
    /// EAGAIN at RLIMIT_NPROC or the machine's limit, ENOMEM.
    pub fn run(&mut self, work: &mut dyn FnMut(ProcessId) -> u8) -> io::Result<ProcessId> {
        let mut given = work;
        let top = self.0.top();
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
        // SAFETY: CLONE_VFORK suspends us, the only thread, until the new process has executed or ended, so that it is
        // the only one that uses this memory meanwhile: it runs like a function that we call on another stack. `given`
        // outlives it. It never returns into our frames: `enter` ends by _exit. No handler of ours can run in it.
        let pid = unsafe { libc::clone(enter, top, flags.bits() | libc::SIGCHLD, (&raw mut given).cast::<c_void>()) };
        if pid == -1 { Err(io::Error::last_os_error()) } else { Ok(pid) }
    }
}

extern "C" fn enter(work: *mut c_void) -> c_int {
    // SAFETY: `run` passes a pointer to its `given`, which lives until this process has executed or ended.
    let work = unsafe { &mut *work.cast::<&mut dyn FnMut(ProcessId) -> u8>() };
    let status = work(nix::unistd::getpid().as_raw());
    crate::process::exit(status)
}

/// A null-terminated list of strings that it has itself.
#[derive(Debug)]
pub struct Strings {
    /// What the pointers lead to: never changed, only kept.
    _octets: Vec<u8>,
    pointers: Vec<*const libc::c_char>,
}

impl Strings {
    /// The list of these.
    #[must_use]
    pub fn new<'a>(all: impl IntoIterator<Item = &'a CStr>) -> Self {
        let (mut octets, mut starts) = (Vec::with_capacity(2048), Vec::with_capacity(64));
        for string in all {
            starts.push(octets.len());
            octets.extend_from_slice(string.to_bytes_with_nul());
        }
        // The octets lie on the heap, so that moving the vector doesn't move them; nothing is added any more.
        let first: *const u8 = octets.as_ptr();
        let pointers =
            starts.into_iter().map(|start| first.wrapping_add(start).cast()).chain([std::ptr::null()]).collect();
        Self { _octets: octets, pointers }
    }

    /// Its pointers, which end with a null pointer.
    pub(crate) fn pointers(&self) -> &[*const libc::c_char] {
        &self.pointers
    }
}

/// A list of strings that live elsewhere: an environment that differs from one execution to the next.
#[derive(Debug)]
pub struct Borrowed<'a> {
    pointers: Vec<*const libc::c_char>,
    strings: std::marker::PhantomData<&'a CStr>,
}

impl<'a> Borrowed<'a> {
    /// The list of these.
    pub fn new(strings: impl IntoIterator<Item = &'a CStr>) -> Self {
        let pointers = strings.into_iter().map(CStr::as_ptr).chain([std::ptr::null()]).collect();
        Self { pointers, strings: std::marker::PhantomData }
    }
}

/// What a program may not do that its starter may.
#[derive(Debug, Default)]
pub struct Confinement {
    /// A process group of its own, so that it can be ended together with what it starts.
    pub own_group: bool,
    /// Resource limits, soft and hard alike; where a hard limit is lower already, that.
    pub limits: Vec<(Limit, u64)>,
    /// Namespaces of its own.
    pub namespaces: crate::process::Namespaces,
    /// Its root directory, where its file is looked for then. It starts in that directory.
    pub root: Option<CString>,
    /// Group, which becomes the only one of its supplementary groups.
    pub gid: Option<u32>,
    /// User.
    pub uid: Option<u32>,
    /// Gains no privilege by executing anything.
    pub no_new_privs: bool,
    /// Its system call filter, which must permit execve(2), write(2) and exit_group(2); no_new_privs comes with it.
    pub filter: Option<Filter>,
}

/// A program to be executed by a process that [`Starter::run`] has made.
#[derive(Debug)]
pub struct Image<'a> {
    /// Files, tried in this order as execvp(3) does it.
    pub files: &'a [CString],
    /// Arguments, argv\[0\] first.
    pub args: &'a Strings,
    /// Its whole environment.
    pub env: &'a Borrowed<'a>,
    /// What becomes its descriptors 0 and 1.
    pub connection: BorrowedFd<'a>,
    /// Its confinement.
    pub confinement: &'a Confinement,
}

impl Image<'_> {
    /// Executes it in the place of the calling process, which has all its descriptors but 0, 1 and 2 closed by that. Signals are at
    /// their defaults and none is blocked, provided that this process ignores SIGPIPE at most.
    #[must_use]
    pub fn execute(&self) -> io::Error {
        match self.prepare() {
            Err(e) => e,
            Ok(()) => self.execute_first(),
        }
    }

    fn prepare(&self) -> io::Result<()> {
        for number in [0, 1] {
            // SAFETY: takes no pointer; in this process no Rust value uses what was 0 and 1 any more.
            if unsafe { libc::dup2(self.connection.as_raw_fd(), number) } == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        self.confinement.apply()?;
        crate::signal::reset()
    }

    fn execute_first(&self) -> io::Error {
        let mut failed = io::Error::from_raw_os_error(libc::ENOENT);
        for file in self.files {
            // SAFETY: file, and the null-terminated lists of NUL-terminated strings, outlive the call.
            unsafe { libc::execve(file.as_ptr(), self.args.pointers.as_ptr(), self.env.pointers.as_ptr()) };
            let e = io::Error::last_os_error();
            match e.raw_os_error() {
                Some(libc::ENOENT) => {}
                Some(number) if pathexec_goes_on(number) => failed = e,
                _ => return e,
            }
        }
        failed
    }
}

impl Confinement {
    /// There is nothing in it, but perhaps the process group.
    #[must_use]
    pub fn is_none_but_group(&self) -> bool {
        let Self { own_group: _, limits, namespaces, root, gid, uid, no_new_privs, filter } = self;
        limits.is_empty()
            && *namespaces == crate::process::Namespaces::default()
            && root.is_none()
            && gid.is_none()
            && uid.is_none()
            && !no_new_privs
            && filter.is_none()
    }

    fn apply(&self) -> io::Result<()> {
        if self.own_group {
            nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        }
        for (limit, value) in &self.limits {
            crate::limits::set_at_most(*limit, *value)?;
        }
        self.namespaces.unshare()?;
        if let Some(root) = &self.root {
            nix::unistd::chdir(root.as_c_str())?;
            nix::unistd::chroot(root.as_c_str())?;
        }
        if let Some(gid) = self.gid {
            set_gid(gid)?;
        }
        if let Some(uid) = self.uid {
            nix::unistd::setuid(Uid::from_raw(uid))?;
        }
        if self.no_new_privs || self.filter.is_some() {
            crate::process::set_no_new_privs()?;
        }
        self.filter.as_ref().map_or(Ok(()), Filter::apply)
    }
}

/// Takes a group for good, and no other supplementary group beside it.
///
/// # Errors
/// EPERM without CAP_SETGID.
pub fn set_gid(gid: u32) -> io::Result<()> {
    let gid = Gid::from_raw(gid);
    nix::unistd::setgroups(&[gid])?;
    Ok(nix::unistd::setgid(gid)?)
}

/// Takes a user for good. Groups stay.
///
/// # Errors
/// EPERM without CAP_SETUID, EAGAIN at that user's process limit.
pub fn set_uid(uid: u32) -> io::Result<()> {
    Ok(nix::unistd::setuid(Uid::from_raw(uid))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{End, await_end};
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn strings(all: &[&str]) -> Vec<CString> {
        all.iter().map(|one| CString::new(*one).unwrap()).collect()
    }

    #[test]
    fn issue_11_a_program_is_executed_with_what_it_was_given() {
        let answer = crate::process::apart(|| {
            let (mut near, far) = UnixStream::pair().unwrap();
            let args = Strings::new([c"sh", c"-c", c"read x; echo \"$x $A\"; exit 3"]);
            let env = strings(&["A=b"]);
            let env = Borrowed::new(env.iter().map(CString::as_c_str));
            let confinement = Confinement { own_group: true, ..Confinement::default() };
            let files = strings(&["/nonexistent/sh", "/bin/sh"]);
            let image =
                Image { files: &files, args: &args, env: &env, connection: far.as_fd(), confinement: &confinement };
            let mut starter = Starter::new().unwrap();
            let mut seen = 0;
            let pid = starter.run(&mut |own| {
                seen = own;
                let _ = image.execute();
                111
            });
            let pid = pid.unwrap();
            assert_eq!(seen, pid);
            drop(far);
            near.write_all(b"word\n").unwrap();
            let mut heard = Vec::new();
            near.read_to_end(&mut heard).unwrap();
            assert_eq!(await_end(pid), End::Exit(3));
            heard
        });
        assert_eq!(String::from_utf8(answer.unwrap()).unwrap(), "word b\n");
    }

    #[test]
    fn issue_11_what_cannot_be_executed_says_why_and_memory_does_not_grow() {
        let answer = crate::process::apart(|| {
            let args = Strings::new([c"x"]);
            let env = Borrowed::new([]);
            let (_near, far) = UnixStream::pair().unwrap();
            let confinement = Confinement::default();
            let mut starter = Starter::new().unwrap();
            let mut why = Vec::new();
            for (files, errno) in
                [(&["/nonexistent"][..], libc::ENOENT), (&["/etc", "/nonexistent"], libc::EACCES), (&[], libc::ENOENT)]
            {
                let files = strings(files);
                let image =
                    Image { files: &files, args: &args, env: &env, connection: far.as_fd(), confinement: &confinement };
                let mut code = None;
                let pid = starter.run(&mut |_| {
                    code = image.execute().raw_os_error();
                    111
                });
                assert_eq!((code, await_end(pid.unwrap())), (Some(errno), End::Exit(111)));
                why.push(b'.');
            }
            why
        });
        assert_eq!(answer.unwrap(), b"...");
    }
}
