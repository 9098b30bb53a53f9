//! As [`crate::vfork`], but we go on meanwhile: several new processes at once borrow our memory until they execute. Each has a stack
//! of its own, and what it reads belongs to it until it is done. The C library is not for them: it would write to the calling
//! thread's own variables, which are ours, so they make their few system calls themselves.

use crate::process::ProcessId;
use crate::program::pathexec_goes_on;
use crate::vfork::{Stack, Strings};
use std::cell::{Cell, UnsafeCell};
use std::ffi::{CString, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// New processes that may be under way at once. More wait for the first of them.
const SLOTS: usize = 8;
/// Octets of the stack of each.
const STACK: usize = 32 * 1024;
/// Exit status of one that can't execute the program.
const FAILED: usize = 111;

/// Whether there are such processes on this architecture.
pub const POSSIBLE: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// What is executed, the same each time.
#[derive(Debug)]
pub struct Program {
    /// Files, tried in this order as execvp(3) does it.
    pub files: Vec<CString>,
    /// Arguments, argv\[0\] first.
    pub args: Strings,
    /// In a process group of its own.
    pub own_group: bool,
}

/// One start.
#[derive(Debug)]
pub struct Start {
    /// Its whole environment.
    pub env: Strings,
    /// Written to descriptor 2 by the new process, with its id in decimal between each two of these.
    pub said: Option<[Vec<u8>; 3]>,
}

/// A new process, and what it reads.
struct Slot {
    stack: Stack,
    /// 0: what is in `task` is ours. Else the new process's, which has not executed yet.
    busy: AtomicU32,
    /// errno(3) of a program that could not be executed; 0: it could.
    errno: AtomicI32,
    pid: Cell<ProcessId>,
    task: UnsafeCell<Option<Task>>,
}

struct Task {
    program: Rc<Program>,
    start: Start,
    connection: RawFd,
}

/// Makes such processes.
pub struct Starts {
    program: Rc<Program>,
    // Never moved: the new processes and the kernel have their addresses.
    slots: Box<[Slot]>,
    /// Those that could not execute, until they are asked for.
    failed: Vec<(ProcessId, i32)>,
}

impl std::fmt::Debug for Starts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Starts").field("program", &self.program).finish_non_exhaustive()
    }
}

impl Starts {
    /// Maps the stacks.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(program: Program) -> io::Result<Self> {
        let slot = || {
            Ok(Slot {
                stack: Stack::new(STACK)?,
                busy: AtomicU32::new(0),
                errno: AtomicI32::new(0),
                pid: Cell::new(0),
                task: UnsafeCell::new(None),
            })
        };
        let slots = (0..SLOTS).map(|_| slot()).collect::<io::Result<_>>()?;
        Ok(Self { program: Rc::new(program), slots, failed: Vec::new() })
    }

    /// Executes the program in a new process, with `connection` as descriptors 0 and 1 and no other but 2. Returns before that has
    /// happened. Signals are at their defaults and none is blocked, provided that this process ignores SIGPIPE at most. The
    /// calling process must have one thread and no signal handler.
    ///
    /// # Errors
    /// EAGAIN at RLIMIT_NPROC or the machine's limit, ENOMEM. That it can't be executed is told by [`Starts::failure`].
    pub fn start(&mut self, start: Start, connection: BorrowedFd<'_>) -> io::Result<ProcessId> {
        let Some(slot) = free(&self.slots) else { return Err(io::ErrorKind::OutOfMemory.into()) };
        self.failed.extend(slot.take_failure());
        let task = Task { program: Rc::clone(&self.program), start, connection: connection.as_raw_fd() };
        // SAFETY: it is not busy, so no other process reads it, and we have one thread and no reference to it.
        unsafe { *slot.task.get() = Some(task) };
        slot.busy.store(1, Ordering::Release);
        let flags = libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
        let argument = std::ptr::from_ref(slot).cast_mut().cast::<c_void>();
        let nothing = std::ptr::null_mut::<c_void>();
        // SAFETY: the new process runs `enter` on its own stack, in our memory, beside us. It reads `slot`, which stays where it is and is
        // not touched by us while `busy` isn't 0, writes its atomics and its own stack, and never returns: `enter` ends by
        // exit(2). It calls nothing of the C library or of std, so the thread's variables, which it shares with us, are ours
        // alone. The kernel writes 0 to `busy` when it has left this memory, by execve(2) or its end. No handler of ours can run
        // in it.
        let pid =
            unsafe { libc::clone(enter, slot.stack.top(), flags, argument, nothing, nothing, slot.busy.as_ptr()) };
        if pid == -1 {
            let e = io::Error::last_os_error();
            slot.busy.store(0, Ordering::Release);
            return Err(e);
        }
        slot.pid.set(pid);
        Ok(pid)
    }

    /// Why that process, which has ended, could not execute the program. Told once.
    pub fn failure(&mut self, pid: ProcessId) -> Option<io::Error> {
        let Self { slots, failed, .. } = self;
        failed.extend(slots.iter().filter_map(Slot::take_failure));
        let at = failed.iter().position(|(ended, _)| *ended == pid)?;
        Some(io::Error::from_raw_os_error(failed.swap_remove(at).1))
    }
}

/// A slot that no new process uses; when all are in use, the first of them as soon as it is done, which is soon: all of them are
/// about to execute.
fn free(slots: &[Slot]) -> Option<&Slot> {
    let free = slots.iter().find(|slot| slot.is_done());
    free.or_else(|| slots.first().inspect(|slot| slot.wait()))
}

impl Drop for Starts {
    fn drop(&mut self) {
        // Who still uses its slot must find it there.
        self.slots.iter().for_each(Slot::wait);
    }
}

impl Slot {
    fn is_done(&self) -> bool {
        self.busy.load(Ordering::Acquire) == 0
    }

    /// Waits until it is done.
    fn wait(&self) {
        while !self.is_done() {
            // SAFETY: waits while `busy` is 1, which lives as long as the slot; without a time, so there is no other pointer.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.busy.as_ptr(),
                    libc::FUTEX_WAIT,
                    1,
                    std::ptr::null::<libc::timespec>(),
                )
            };
        }
    }

    /// What the process that used it last has failed with, when it is done. Told once.
    fn take_failure(&self) -> Option<(ProcessId, i32)> {
        let errno = if self.is_done() { self.errno.swap(0, Ordering::AcqRel) } else { 0 };
        (errno != 0).then(|| (self.pid.get(), errno))
    }
}

extern "C" fn enter(slot: *mut c_void) -> c_int {
    // SAFETY: `start` passes its slot, which is not changed while `busy` isn't 0, that is, as long as this process runs here.
    let slot = unsafe { &*slot.cast::<Slot>() };
    // SAFETY: as above.
    let errno = unsafe { &*slot.task.get() }.as_ref().map_or(libc::EINVAL, Task::execute);
    slot.errno.store(errno, Ordering::Release);
    loop {
        call(libc::SYS_exit_group, [FAILED, 0, 0, 0]);
    }
}

impl Task {
    /// Executes the program, or gives errno(3). Must not call anything but what is in this file and [`pathexec_goes_on`], nor panic.
    fn execute(&self) -> c_int {
        self.say();
        for number in [0, 1] {
            let done = call(libc::SYS_dup3, [self.connection as usize, number, 0, 0]);
            if done < 0 {
                return errno(done);
            }
        }
        if self.program.own_group {
            call(libc::SYS_setpgid, [0; 4]);
        }
        // The kernel's own form of an action: handler, flags, restorer, mask.
        let default = [0_u64; 4];
        for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
            call(libc::SYS_rt_sigaction, [signal as usize, default.as_ptr() as usize, 0, size_of::<u64>()]);
        }
        let none = 0_u64;
        let none = (&raw const none) as usize;
        call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, none, 0, size_of::<u64>()]);
        let (args, env) = (self.program.args.pointers().as_ptr() as usize, self.start.env.pointers().as_ptr() as usize);
        let mut failed = libc::ENOENT;
        for file in &self.program.files {
            match errno(call(libc::SYS_execve, [file.as_ptr() as usize, args, env, 0])) {
                libc::ENOENT => {}
                e if pathexec_goes_on(e) => failed = e,
                e => return e,
            }
        }
        failed
    }

    /// Writes what is to be said, in one call: no process's lines get between those of another.
    fn say(&self) {
        let Some([first, middle, last]) = &self.start.said else { return };
        let mut digits = [0; 10];
        let pid = decimal(call(libc::SYS_getpid, [0; 4]), &mut digits);
        let piece = |octets: &[u8]| libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() };
        let pieces = [piece(first), piece(pid), piece(middle), piece(pid), piece(last)];
        call(libc::SYS_writev, [2, pieces.as_ptr() as usize, pieces.len(), 0]);
    }
}

/// A number from 0 on in decimal, in memory of the caller's: this is for a process that should not allocate any.
pub fn decimal(number: isize, digits: &mut [u8; 10]) -> &[u8] {
    let mut rest = number.unsigned_abs();
    let mut count: usize = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add((rest % 10) as u8);
        count = count.wrapping_add(1);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    digits.split_at_checked(10_usize.wrapping_sub(count)).map_or(&[], |(_, end)| end)
}

/// errno(3) of what a system call has given.
fn errno(given: isize) -> c_int {
    given.wrapping_neg() as c_int
}

/// A system call without the C library; negative: an error.
#[cfg(target_arch = "x86_64")]
fn call(number: libc::c_long, [one, two, three, four]: [usize; 4]) -> isize {
    let given: isize;
    // SAFETY: the kernel's convention: number in rax, arguments in rdi, rsi, rdx, r10; rcx and r11 are lost. The callers in this file pass
    // pointers to what lives until the call has returned, or, for execve(2), in the slot.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => given,
            in("rdi") one,
            in("rsi") two,
            in("rdx") three,
            in("r10") four,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    given
}

/// A system call without the C library; negative: an error.
#[cfg(target_arch = "aarch64")]
fn call(number: libc::c_long, [one, two, three, four]: [usize; 4]) -> isize {
    let given: isize;
    // SAFETY: the kernel's convention: number in x8, arguments in x0 to x3. As to pointers, see above.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") one => given,
            in("x1") two,
            in("x2") three,
            in("x3") four,
            options(nostack),
        );
    }
    given
}

/// Never called: see [`POSSIBLE`].
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn call(_: libc::c_long, _: [usize; 4]) -> isize {
    (libc::ENOSYS as isize).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{End, apart, await_end};
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn strings(all: &[&str]) -> Vec<CString> {
        all.iter().map(|one| CString::new(*one).unwrap()).collect()
    }

    fn starts(files: &[&str], args: &[&str]) -> Starts {
        let args = Strings::new(strings(args).iter().map(CString::as_c_str));
        Starts::new(Program { files: strings(files), args, own_group: true }).unwrap()
    }

    #[test]
    fn issue_11_many_programs_are_started_at_once_each_with_its_own() {
        let answer = apart(|| {
            let mut starts = starts(&["/nonexistent/sh", "/bin/sh"], &["sh", "-c", "echo \"$$ $A\"; exit 3"]);
            let all: Vec<_> = (0..40)
                .map(|number| {
                    let (near, far) = UnixStream::pair().unwrap();
                    let env = Strings::new([CString::new(format!("A={number}")).unwrap().as_c_str()]);
                    let pid = starts.start(Start { env, said: None }, far.as_fd()).unwrap();
                    (near, pid, number)
                })
                .collect();
            for (mut near, pid, number) in all {
                let mut heard = String::new();
                near.read_to_string(&mut heard).unwrap();
                assert_eq!(heard, format!("{pid} {number}\n"));
                assert_eq!((await_end(pid), starts.failure(pid).is_none()), (End::Exit(3), true));
            }
            b"all".to_vec()
        });
        assert_eq!(answer.unwrap(), b"all");
    }

    #[test]
    fn issue_11_what_cannot_be_executed_is_told_once_for_its_own_process() {
        let answer = apart(|| {
            for (files, errno) in
                [(&["/nonexistent"][..], libc::ENOENT), (&["/etc", "/nonexistent"], libc::EACCES), (&[], libc::ENOENT)]
            {
                let mut starts = starts(files, &["x"]);
                let (_near, far) = UnixStream::pair().unwrap();
                let one = |starts: &mut Starts| {
                    starts.start(Start { env: Strings::new([]), said: None }, far.as_fd()).unwrap()
                };
                let all: Vec<ProcessId> = (0..20).map(|_| one(&mut starts)).collect();
                for pid in all {
                    assert_eq!(await_end(pid), End::Exit(111));
                    assert_eq!(starts.failure(pid).and_then(|e| e.raw_os_error()), Some(errno));
                    assert!(starts.failure(pid).is_none());
                }
            }
            b"all".to_vec()
        });
        assert_eq!(answer.unwrap(), b"all");
    }

    #[test]
    fn issue_11_process_ids_are_decimal() {
        for number in [0, 7, 10, 4_194_304, i32::MAX] {
            assert_eq!(decimal(number as isize, &mut [0; 10]), number.to_string().as_bytes());
        }
    }
}
