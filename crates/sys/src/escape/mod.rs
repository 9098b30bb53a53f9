//! What an owned process would try. Attempts for the escape room; used by tests only.
//!
//! Every function here is meant to fail, or to end the process that calls it. None of them can damage this process's own
//! memory: where a call succeeds, it has read or written nothing but a buffer that was made for it.

mod memory;
mod table;

pub use memory::{Mapping, make_executable, map, raise_break, scan};

use crate::filter::{Filter, When};
use crate::net::{self, Connecting};
use crate::process::{self, End, Fork};
use nix::sys::socket::{AddressFamily, UnixAddr};
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// An argument of a system call.
#[derive(Debug, Clone, Copy)]
enum Arg {
    /// A number.
    N(i64),
    /// The address of these octets.
    Data(&'static [u8]),
    /// The address of a page that the kernel may read and write; its first octets are zero.
    Room,
}

/// A system call that a session has no use for.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// What it is for, in words.
    pub name: &'static str,
    number: libc::c_long,
    args: &'static [Arg],
}

/// All of them.
pub fn attempts() -> impl Iterator<Item = &'static Attempt> {
    table::ATTEMPTS.iter().chain(table::OLD)
}

impl Attempt {
    /// Makes the call. Does not return where the filter forbids it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn make(&self) -> io::Result<i64> {
        let mut room = Box::new([0_u64; 512]);
        let mut args = [0; 6];
        for (place, arg) in args.iter_mut().zip(self.args) {
            *place = match arg {
                Arg::N(number) => *number,
                Arg::Data(octets) => octets.as_ptr().expose_provenance() as i64,
                Arg::Room => room.as_mut_ptr().expose_provenance() as i64,
            };
        }
        // SAFETY: the table holds calls that write to no memory but the page behind `Room`, which outlives them, and
        // that leave this process's mappings and descriptors in use as they are.
        let result = unsafe { raw(self.number, args) };
        // A fork that succeeded is a hole. The parent reports it; the child must not do so too.
        if result == 0 && [libc::SYS_clone, libc::SYS_clone3].contains(&self.number) {
            process::exit(99);
        }
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }
}

/// # Safety
/// As for the system call itself.
unsafe fn raw(number: libc::c_long, [a, b, c, d, e, f]: [i64; 6]) -> i64 {
    // SAFETY: the caller's.
    unsafe { libc::syscall(number, a, b, c, d, e, f) }
}

/// Asks for signals of `signal` to `pid` whenever something happens on `socket`: F_SETOWN, F_SETSIG, O_ASYNC.
///
/// # Errors
/// The kernel's.
pub fn send_signals_by(socket: BorrowedFd<'_>, pid: i32, signal: i32) -> io::Result<()> {
    const F_SETSIG: libc::c_int = 10;
    let steps = [(libc::F_SETOWN, pid), (F_SETSIG, signal), (libc::F_SETFL, libc::O_ASYNC | libc::O_RDWR)];
    for (command, value) in steps {
        // SAFETY: these take integers.
        if unsafe { libc::fcntl(socket.as_raw_fd(), command, value) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The same open file as descriptor `fd` of another process, as if that process itself used it.
///
/// # Errors
/// EPERM without the right to trace it, EBADF.
pub fn descriptor_of(pid: u32, fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes integers and gives a fresh descriptor.
    let process = unsafe { raw(libc::SYS_pidfd_open, [i64::from(pid), 0, 0, 0, 0, 0]) };
    let process = owned(process)?;
    // SAFETY: the same.
    owned(unsafe { raw(libc::SYS_pidfd_getfd, [i64::from(process.as_raw_fd()), i64::from(fd), 0, 0, 0, 0]) })
}

fn owned(fd: i64) -> io::Result<OwnedFd> {
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just made it for us; nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Writes to a descriptor by its number, whatever it is.
///
/// # Errors
/// The kernel's; EBADF when it is closed.
pub fn write_to(fd: RawFd, octets: &[u8]) -> io::Result<usize> {
    // SAFETY: reads `octets` only; writing to a descriptor that somebody else owns is what this is for.
    let length = unsafe { libc::write(fd, octets.as_ptr().cast(), octets.len()) };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

/// Reads from a descriptor by its number, whatever it is.
///
/// # Errors
/// The kernel's; EBADF when it is closed or write-only.
pub fn read_from(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: writes to `buffer` only.
    let length = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

/// Sends an octet on a connected socket to somebody else, connecting to them on the way: MSG_FASTOPEN.
///
/// # Errors
/// The kernel's.
pub fn send_elsewhere(socket: BorrowedFd<'_>, to: SocketAddrV4) -> io::Result<usize> {
    let to = nix::sys::socket::SockaddrStorage::from(SocketAddr::V4(to));
    let flags = nix::sys::socket::MsgFlags::from_bits_retain(libc::MSG_NOSIGNAL | libc::MSG_FASTOPEN);
    Ok(nix::sys::socket::sendto(socket.as_raw_fd(), b"x", &to, flags)?)
}

/// Blocks all signals that can be blocked.
///
/// # Errors
/// None in practice.
pub fn block_signals() -> io::Result<()> {
    Ok(nix::sys::signal::SigSet::all().thread_block()?)
}

/// Begins to connect to an abstract unix socket with the kind of socket that a dialer may make.
///
/// # Errors
/// The kernel's; ECONNREFUSED when nobody listens.
pub fn begin_abstract(name: &str) -> io::Result<Connecting> {
    net::begin(AddressFamily::Unix, &UnixAddr::new_abstract(name.as_bytes())?)
}

/// Makes a system call as 32-bit programs do (`int 0x80`), where the numbers are others: asks for the pid.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn call_as_32_bit_program() -> i64 {
    let mut result: i64 = 20;
    // SAFETY: getpid of the i386 table takes no arguments and touches no memory; r8 to r11 may be clobbered.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inout("rax") result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result
}

/// Calls by the numbers of the x32 table: asks for the pid.
///
/// # Errors
/// ENOSYS where the kernel has no x32.
#[cfg(target_arch = "x86_64")]
pub fn call_by_x32_number() -> io::Result<i64> {
    // SAFETY: getpid takes no arguments and touches no memory.
    let result = unsafe { raw(libc::SYS_getpid | 0x4000_0000, [0; 6]) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Number of SIGSYS, by which the filter ends a process.
pub const SIGSYS: u8 = 31;

/// What becomes of a process that makes system call `number` with `args` after `filters` are in force, innermost last.
/// The call is made in a process of its own, which is thrown away.
///
/// # Errors
/// No process could be made.
pub fn fate(filters: &[&Filter], number: i64, args: [i64; 6]) -> io::Result<End> {
    let pid = match process::fork()? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let _ = process::set_no_new_privs();
            let _ = crate::limits::set(crate::limits::Limit::Core, 0);
            if filters.iter().any(|filter| filter.apply().is_err()) {
                process::exit(98);
            }
            // SAFETY: whatever it does, it does to this process, which ends now.
            unsafe { raw(number, args) };
            process::exit(0)
        }
    };
    loop {
        match nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None) {
            Ok(nix::sys::wait::WaitStatus::Exited(_, status)) => {
                return Ok(End::Exit(u8::try_from(status & 0xff).unwrap_or(u8::MAX)));
            }
            Ok(nix::sys::wait::WaitStatus::Signaled(_, signal, _)) => {
                return Ok(End::Signal(u8::try_from(signal as i32).unwrap_or(u8::MAX)));
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// The number of a system call here, by its name; None where this architecture does not have it.
///
/// # Errors
/// No architecture has one of that name.
pub fn number(name: &str) -> io::Result<Option<i64>> {
    crate::filter::number(name).ok_or_else(|| io::Error::other(format!("no system call is named {name}")))
}

/// Arguments with which a permitted call does nothing: it fails at once or changes nothing. They satisfy `when`.
#[must_use]
pub fn harmless(name: &str, when: When) -> [i64; 6] {
    let mut args = match name {
        // A null timeout would wait for ever; 1 is no valid address.
        "ppoll" => [0, 0, 1, 0, 0, 0],
        // Standard input may be a terminal.
        "read" => [-1, 0, 0, 0, 0, 0],
        // 0 would be the whole process group; no process has so high an id.
        "kill" => [0x7fff_ffff, 0, 0, 0, 0, 0],
        _ => [0; 6],
    };
    if let When::Args(values) = when {
        for (index, value) in values {
            if let Some(arg) = args.get_mut(usize::from(*index)) {
                *arg = i64::try_from(*value).unwrap_or_default();
            }
        }
    }
    args
}
