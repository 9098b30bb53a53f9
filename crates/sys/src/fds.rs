//! Descriptors: flags, closing what was not planned, counting what is left.

use crate::as_owner;
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Sets or clears O_NONBLOCK.
///
/// # Errors
/// EBADF only.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// Reads once, in the place of what `octets` holds, at most `most` octets: how many. Memory for them is taken once, and no page of it is
/// touched that is not read into.
///
/// # Errors
/// The system's.
pub fn read_into(fd: BorrowedFd<'_>, octets: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    octets.clear();
    octets.reserve_exact(most);
    let room = octets.spare_capacity_mut().get_mut(..most).unwrap_or_default();
    // SAFETY: writes at most as many octets as there is room for.
    let read = unsafe { libc::read(fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: so many octets have been written, which lie within what was reserved.
    unsafe { octets.set_len(read) };
    Ok(read)
}

/// Closes every descriptor from `first` on.
///
/// # Errors
/// EINVAL only, on kernels before 5.9.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: takes no pointers. Descriptors that Rust values own must not lie in the range: callers run this first
    // thing in a fresh process, before any are made.
    let rc = unsafe { libc::close_range(first, u32::MAX, 0) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Open descriptors below `limit`.
#[must_use]
pub fn census(limit: RawFd) -> Vec<RawFd> {
    // poll(2) tells of a number that it is no open descriptor, of as many at once as may be open: one call for each number would
    // be the most of what a session without a launcher asks the system for.
    let at_once = crate::limits::get(crate::limits::Limit::OpenFiles).map_or(1, |(soft, _)| soft.clamp(1, 1024));
    let numbers: Vec<RawFd> = (0..limit).collect();
    let pieces = numbers.chunks(usize::try_from(at_once).unwrap_or(1));
    pieces.flat_map(|piece| open_ones(piece).unwrap_or_else(|| piece.to_vec())).collect()
}

/// Those of `numbers` that are open descriptors. None: the system does not say.
fn open_ones(numbers: &[RawFd]) -> Option<Vec<RawFd>> {
    let asked = |fd: &RawFd| libc::pollfd { fd: *fd, events: 0, revents: 0 };
    let mut polled: Vec<libc::pollfd> = numbers.iter().map(asked).collect();
    loop {
        // SAFETY: `polled` is as long as that, and poll(2) writes to its last fields only. It does not wait.
        let told = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 0) };
        match told {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return None,
            _ => return Some(polled.iter().filter(|p| p.revents & libc::POLLNVAL == 0).map(|p| p.fd).collect()),
        }
    }
}

/// Takes ownership of a descriptor that this process was started with, by its number.
///
/// # Errors
/// EBADF when it is not open.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD reads a flag and needs no pointer.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: open, as just checked; such numbers are planned by this program, and each is taken once. Others are for `claim`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes ownership of a descriptor that this process was started with, by a number that somebody else has chosen. It closes on exec from
/// then on.
///
/// # Errors
/// EBADF when it is not open, or closes on exec: exec has left none of those, so it was opened here or has been taken already.
pub fn claim(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD reads a flag and needs no pointer.
    match unsafe { libc::fcntl(fd, libc::F_GETFD) } {
        -1 => return Err(io::Error::last_os_error()),
        flags if flags & libc::FD_CLOEXEC != 0 => return Err(io::Error::from_raw_os_error(libc::EBADF)),
        _ => {}
    }
    // SAFETY: open, and not opened by this program, all of whose descriptors close on exec; nor claimed before, as the next line sees to.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    set_cloexec(&fd, true)?;
    Ok(fd)
}

/// Octets that can still be written to the file system that `file` is on, those for root alone not counted: fstatfs(2).
///
/// # Errors
/// EIO; ENOSYS where the file system does not know.
pub fn free_space(file: impl AsFd) -> io::Result<u64> {
    let seen = nix::sys::statvfs::fstatvfs(file)?;
    Ok(seen.blocks_available().saturating_mul(seen.fragment_size()))
}

/// Whether `fd` is the stream to the journal that the service manager gave this process: systemd.exec(5), `JOURNAL_STREAM`.
#[must_use]
pub fn is_journal(fd: impl AsFd) -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    nix::sys::stat::fstat(fd).is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Opens a file to read it; whatever else the name stands for is an error, and nothing is waited for. It is not the name that is looked
/// at before, which could stand for a FIFO by then: the open(2) of one waits for a writer, without O_NONBLOCK. With a file the flag
/// changes nothing. Root reads what its owner may read: [`as_owner`].
///
/// # Errors
/// The system's; `IsADirectory`; `InvalidInput` for what is neither file nor directory.
pub fn open_file(path: &Path) -> io::Result<std::fs::File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = as_owner::reach(path, |path| std::fs::File::options().read(true).custom_flags(flags).open(path))?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else if !kind.is_file() {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"))
    } else {
        Ok(file)
    }
}

/// Opens what `fd` writes to once more, non-blocking and appending: what is done with the one concerns the other no more.
///
/// # Errors
/// A socket that is not the journal's, a file that this user cannot open, a pipe that nobody reads.
pub fn open_anew(fd: impl AsFd) -> io::Result<OwnedFd> {
    let fd = fd.as_fd();
    if is_journal(fd) {
        let mut stream = UnixStream::connect("/run/systemd/journal/stdout")?;
        // Identifier, unit, priority, "prefixes count", and three times "forward nowhere else".
        stream.write_all(b"gatepost\n\n6\n1\n0\n0\n0\n")?;
        stream.set_nonblocking(true)?;
        return Ok(stream.into());
    }
    let flags = libc::O_APPEND | libc::O_NOCTTY | libc::O_NONBLOCK;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(std::fs::File::options().write(true).custom_flags(flags).open(path)?.into())
}

/// Makes descriptor 2 another name of `fd`.
///
/// # Errors
/// EMFILE where descriptor 2 is beyond the limit.
pub fn make_stderr(fd: impl AsFd) -> io::Result<()> {
    Ok(nix::unistd::dup2_stderr(fd)?)
}

/// Makes descriptors 0 and 1 other names of `fd`.
///
/// # Errors
/// EBADF only.
pub fn make_stdin_and_stdout(fd: impl AsFd) -> io::Result<()> {
    nix::unistd::dup2_stdin(&fd)?;
    Ok(nix::unistd::dup2_stdout(&fd)?)
}

/// Whether set-id files have no effect where `path` is, statvfs(3)'s ST_NOSUID. False where that can't be found out.
#[must_use]
pub fn on_nosuid_mount(path: &Path) -> bool {
    use nix::sys::statvfs::{FsFlags, statvfs};
    statvfs(path).is_ok_and(|system| system.flags().contains(FsFlags::ST_NOSUID))
}

/// Whether the descriptor leads to a regular file.
#[must_use]
pub fn is_file(fd: impl AsFd) -> bool {
    use nix::sys::stat::{SFlag, fstat};
    fstat(fd).is_ok_and(|seen| SFlag::from_bits_truncate(seen.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG)
}

/// Sets or clears close-on-exec.
///
/// # Errors
/// EBADF only.
pub fn set_cloexec(fd: impl AsFd, on: bool) -> io::Result<()> {
    let flag = if on { nix::fcntl::FdFlag::FD_CLOEXEC } else { nix::fcntl::FdFlag::empty() };
    fcntl(fd, FcntlArg::F_SETFD(flag))?;
    Ok(())
}

/// As [`set_cloexec`], for a descriptor by its number.
///
/// # Errors
/// EBADF only.
pub fn close_on_exec(number: u32, on: bool) -> io::Result<()> {
    let number = RawFd::try_from(number).map_err(io::Error::other)?;
    let flag = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: sets a flag and needs no pointer; a closed number gives EBADF.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flag) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Closes every descriptor but those in `kept`, in any order.
///
/// # Errors
/// EINVAL only, on kernels before 5.9.
pub fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.unsigned_abs()).collect();
    kept.sort_unstable();
    let mut first = 0;
    for fd in kept {
        if let Some(last) = fd.checked_sub(1).filter(|last| *last >= first) {
            // SAFETY: takes no pointers. For a forked process that gives up all it shares: no Rust value that owns one
            // of these is used there again, and it ends without running destructors.
            if unsafe { libc::close_range(first, last, 0) } == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        first = fd.saturating_add(1);
    }
    close_from(first)
}

/// Whether two descriptors lead to the same file, socket, pipe or terminal. Under inetd that tells that what is written
/// to descriptor 2 reaches the client.
#[must_use]
pub fn same_file(a: impl AsFd, b: impl AsFd) -> bool {
    use nix::sys::stat::fstat;
    match (fstat(a), fstat(b)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

/// A lock on a directory, flock(2)'s: held until it is dropped, or until the process ends.
#[derive(Debug)]
pub struct Lock {
    directory: Flock<std::fs::File>,
}

impl Lock {
    /// The shared lock that this descriptor has since before the program was executed.
    ///
    /// # Errors
    /// It has none, and another process holds one that excludes it.
    pub fn inherited(directory: OwnedFd) -> io::Result<Self> {
        let locked = Flock::lock(std::fs::File::from(directory), FlockArg::LockSharedNonblock);
        locked.map(|directory| Self { directory }).map_err(|(_, error)| error.into())
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Takes a lock on a directory: a shared one, or with `alone` an exclusive one. None: another process holds one that excludes it.
///
/// # Errors
/// No such directory, no permission to read it, not even its owner's, a file system without locks.
pub fn lock_directory(path: &Path, alone: bool) -> io::Result<Option<Lock>> {
    let open = |path: &Path, flags| std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    let opened = open(path, libc::O_DIRECTORY | libc::O_NOFOLLOW);
    let directory = match as_owner::is_refused(&opened) {
        true => as_owner::find_and(path, false, |found| open(found, libc::O_DIRECTORY))?,
        false => opened?,
    };
    let how = if alone { FlockArg::LockExclusiveNonblock } else { FlockArg::LockSharedNonblock };
    match Flock::lock(directory, how) {
        Ok(directory) => Ok(Some(Lock { directory })),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{self, End, Fork};

    #[test]
    fn p6_only_what_is_kept_stays_open() {
        let kept = [vec![], vec![0], vec![2, 5], vec![6, 5, 5], vec![0, 1, 2, 3, 4, 5, 6]];
        for mut kept in kept {
            let Fork::Parent(pid) = process::fork().unwrap() else {
                for number in 0..20 {
                    // SAFETY: opens copies of whatever is there, in a process that ends at once.
                    unsafe { libc::dup2(2, number) };
                }
                let closed = close_all_but(&kept).is_ok();
                let expected: std::collections::BTreeSet<RawFd> = kept.drain(..).collect();
                let as_planned = closed && census(1024).into_iter().eq(expected);
                process::exit(u8::from(as_planned))
            };
            let mut end = None;
            while end.is_none() {
                end = process::reap_one(pid);
            }
            assert_eq!(end, Some(End::Exit(1)));
        }
    }

    #[test]
    fn q4_two_descriptors_of_one_socket_are_the_same() {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(same_file(&a, a.try_clone().unwrap()));
        assert!(!same_file(&a, &b));
    }

    #[test]
    fn only_a_file_is_opened_and_nothing_is_waited_for() {
        use io::ErrorKind::{InvalidInput, IsADirectory, NotFound};
        let directory = std::env::temp_dir().join(format!("gatepost-open-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", directory.join("link")).unwrap();
        nix::unistd::mkfifo(&directory.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let names = ["file", "link", "", "none", "/dev/null", "fifo"].map(|name| directory.join(name));
        std::thread::spawn(move || tell.send(names.map(|name| open_file(&name).map(drop).map_err(|e| e.kind()))));
        let opened = told.recv_timeout(std::time::Duration::from_secs(5));
        std::fs::remove_dir_all(&directory).unwrap();
        let wrong = [IsADirectory, NotFound, InvalidInput, InvalidInput].map(Err);
        assert_eq!(opened.unwrap().to_vec(), [&[Ok(()), Ok(())], wrong.as_slice()].concat());
    }
}
