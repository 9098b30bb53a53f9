//! What root may do to other users' processes and files by CAP_KILL and CAP_DAC_READ_SEARCH, done without them: as the user whose they
//! are, for the time of one call. Only where root was refused, so that nothing changes for a root that has all capabilities.
//!
//! Another user's right to a file is no more than these capabilities give. Whose effective or file system id is taken gains nothing by
//! it: the kernel holds the real and the saved one against whoever would signal or trace this process, and those stay root's.

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Symbolic links that a path may lead over, as in the kernel.
const LINKS_MAX: usize = 40;

const ROOT: u32 = 0;
/// "Leave this one as it is", of setresuid(2); of setfsuid(2), no user at all.
const NONE: u32 = u32::MAX;

/// Which of this thread's ids is another user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// What kill(2) asks for. It takes the effective capabilities with it, and brings them back.
    Effective,
    /// What the permissions of files are held against.
    File,
}

/// As long as this lives, one id of this thread is another user's.
struct Borrowed(Which);

impl Borrowed {
    /// None without CAP_SETUID.
    fn take(which: Which, uid: u32) -> Option<Self> {
        // Dropped, and so given back, even where it was not had.
        let borrowed = Self(which);
        (which.set(uid) && which.get() == uid).then_some(borrowed)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if !(self.0.set(ROOT) && self.0.get() == ROOT) {
            // What comes next counts on being root, and its checks on what only root may do.
            std::process::abort();
        }
    }
}

impl Which {
    /// By system calls of this thread alone: the C library would change all threads. False: refused.
    fn set(self, uid: u32) -> bool {
        match self {
            // SAFETY: takes integers only.
            Self::Effective => unsafe { libc::syscall(libc::SYS_setresuid, NONE, uid, NONE) == 0 },
            Self::File => {
                // SAFETY: takes an integer only. It gives the id that was, whether or not it was changed.
                unsafe { libc::syscall(libc::SYS_setfsuid, uid) };
                true
            }
        }
    }

    fn get(self) -> u32 {
        match self {
            Self::Effective => nix::unistd::geteuid().as_raw(),
            // SAFETY: takes an integer only, which is nobody's id and so changes nothing.
            Self::File => u32::try_from(unsafe { libc::syscall(libc::SYS_setfsuid, NONE) }).unwrap_or(NONE),
        }
    }
}

/// By all three ids: one that is another user's would be a way to us for that user, or no way back.
fn is_root() -> bool {
    nix::unistd::getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved].iter().all(|id| id.is_root()))
}

/// Does something with this effective user id, if we are root.
///
/// # Errors
/// EPERM where that cannot be, or that of `act`.
pub(crate) fn with_user<T>(uid: u32, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let borrowed = if is_root() { Borrowed::take(Which::Effective, uid) } else { None };
    let _borrowed = borrowed.ok_or(Errno::EPERM)?;
    act()
}

/// Does something with this file system user id. Where that cannot be, it is refused as without.
fn with_files_of<T>(uid: u32, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let _borrowed = Borrowed::take(Which::File, uid).ok_or(Errno::EACCES)?;
    act()
}

/// True: root lacks CAP_DAC_READ_SEARCH, or it would not have helped.
pub(crate) fn is_refused<T>(done: &io::Result<T>) -> bool {
    done.as_ref().is_err_and(|e| e.raw_os_error() == Some(libc::EACCES)) && is_root()
}

/// Does something with what `path` leads to, for which it takes no more than the right to read it. `act` is called with the path, and
/// where root is refused once more, with another name of what was found there.
///
/// # Errors
/// That of `act`; or whose right did not suffice either.
pub fn reach<T>(path: &Path, act: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let done = act(path);
    if is_refused(&done) { find_and(path, true, act) } else { done }
}

/// The second half of [`reach`]. That other name is a link in /proc, which `act` must follow. Without `follow` a link in the last place
/// of `path` is not followed on the way there.
pub(crate) fn find_and<T>(path: &Path, follow: bool, act: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let (found, about) = find(path, follow)?;
    let name = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let done = act(&name);
    if !is_refused(&done) {
        return done;
    }
    let done = with_files_of(about.st_uid, || act(&name));
    if is_refused(&done) { Err(refusal(path, about.st_uid)) } else { done }
}

/// As [`std::fs::metadata`], with [`reach`].
///
/// # Errors
/// As there.
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    look(path, std::fs::metadata(path), true)
}

/// As [`std::fs::symlink_metadata`], with [`reach`].
///
/// # Errors
/// As there.
pub fn symlink_metadata(path: &Path) -> io::Result<Metadata> {
    look(path, std::fs::symlink_metadata(path), false)
}

fn look(path: &Path, seen: io::Result<Metadata>, follow: bool) -> io::Result<Metadata> {
    // What the directories above say decides: to look at something takes no right to itself.
    if is_refused(&seen) { File::from(find(path, follow)?.0).metadata() } else { seen }
}

/// As [`std::fs::canonicalize`], with [`reach`].
///
/// # Errors
/// As there.
pub fn canonicalize(path: &Path) -> io::Result<PathBuf> {
    let real = std::fs::canonicalize(path);
    if !is_refused(&real) {
        return real;
    }
    let (found, _) = find(path, true)?;
    std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

/// As [`std::fs::read`], with [`reach`].
///
/// # Errors
/// As there.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    reach(path, |path| std::fs::read(path))
}

/// As [`File::open`], with [`reach`].
///
/// # Errors
/// As there.
pub fn open(path: &Path) -> io::Result<File> {
    reach(path, |path| File::open(path))
}

/// As [`open`], for its path alone: to say where it is, by a descriptor that can be neither read nor written.
///
/// # Errors
/// As there.
pub(crate) fn open_directory_path(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = nix::fcntl::open(path, flags, Mode::empty()).map_err(io::Error::from);
    if !is_refused(&opened) {
        return opened;
    }
    let (found, about) = find(path, true)?;
    if is(&about, SFlag::S_IFDIR) { Ok(found) } else { Err(Errno::ENOTDIR.into()) }
}

fn refusal(path: &Path, uid: u32) -> io::Error {
    let text = format!(
        "Permission denied: neither root nor its owner, uid {uid}, may use {}; chmod u+rX it, or let root have CAP_DAC_READ_SEARCH",
        path.display()
    );
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

fn is(about: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT == kind
}

/// What `path` leads to, and what there is to know of it. Each directory on the way is searched as root, and where that is refused as its
/// owner. Only with `follow` a link in the last place is followed.
fn find(path: &Path, follow: bool) -> io::Result<(OwnedFd, FileStat)> {
    let start = |at: &str| at_in(None, OsStr::new(at));
    let mut here = start(if path.is_absolute() { "/" } else { "." })?;
    // For what is said where the way ends.
    let mut way = PathBuf::new();
    let mut rest: VecDeque<OsString> = parts(path);
    let mut links = 0;
    let mut about = fstat(&here)?;
    while let Some(part) = rest.pop_front() {
        if part == "/" {
            (here, way) = (start("/")?, PathBuf::from("/"));
            about = fstat(&here)?;
            continue;
        }
        let next = at_in(Some(&here), &part);
        let next = if is_refused(&next) { with_files_of(about.st_uid, || at_in(Some(&here), &part)) } else { next };
        if is_refused(&next) {
            return Err(refusal(&way, about.st_uid));
        }
        let next = next?;
        let seen = fstat(&next)?;
        if is(&seen, SFlag::S_IFLNK) && (follow || !rest.is_empty()) {
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::ELOOP.into());
            }
            // fs.protected_symlinks: in a directory such as /tmp nobody leads others astray.
            if about.st_mode & 0o1002 == 0o1002 && ![ROOT, about.st_uid].contains(&seen.st_uid) {
                return Err(Errno::EACCES.into());
            }
            let target = readlinkat(&next, "")?;
            for part in parts(Path::new(&target)).into_iter().rev() {
                rest.push_front(part);
            }
            continue;
        }
        way.push(&part);
        (here, about) = (next, seen);
    }
    Ok((here, about))
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components().filter(|part| *part != Component::CurDir).map(|part| part.as_os_str().to_owned()).collect()
}

/// One step, along no link.
fn at_in(directory: Option<&OwnedFd>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(match directory {
        Some(directory) => openat(directory.as_fd(), name, flags, Mode::empty())?,
        None => nix::fcntl::open(name, flags, Mode::empty())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confine::{self, Capability};
    use crate::process::{self, Fork, Signal};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
    use std::time::Duration;

    const ACME: u32 = 61_071;
    const OTHER: u32 = 61_072;

    /// What `work` says in a process of root's that has no capability but those to become others.
    fn poor_root(work: impl FnMut() -> String) -> Option<String> {
        let mut work = work;
        if !is_root() {
            return None;
        }
        let said = process::apart(|| {
            let kept = [Capability::SetUid, Capability::SetGid, Capability::SetPcap];
            let poor = confine::keep_bounding(&kept).and_then(|()| confine::keep_permitted(&kept));
            poor.map_or_else(|e| e.to_string(), |()| work()).into_bytes()
        });
        Some(String::from_utf8(said.unwrap()).unwrap())
    }

    fn kind<T>(done: &io::Result<T>) -> String {
        done.as_ref().map_or_else(|e| format!("{:?}", e.kind()), |_| "had".to_owned())
    }

    fn make(path: &Path, mode: u32, uid: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        lchown(path, Some(uid), Some(uid)).unwrap();
    }

    #[test]
    fn p7_root_without_cap_kill_ends_another_user_s_process() {
        for (real, effective) in [(ACME, ACME), (ACME, OTHER)] {
            let said = poor_root(|| {
                let Fork::Parent(pid) = process::fork().unwrap() else {
                    let became = confine::become_users(real, effective, OTHER, &[]);
                    let _ = became.and_then(|()| process::end_after(Duration::from_secs(20)));
                    loop {
                        std::thread::park();
                    }
                };
                while process_user(pid) == ROOT {}
                let plain = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
                let sent = process::kill(pid, Signal::Kill);
                let ended = if sent.is_ok() { format!("{:?}", process::await_end(pid)) } else { String::new() };
                let capable = fs::read_to_string("/proc/self/status").unwrap_or_default();
                let sets: Vec<_> =
                    capable.lines().filter(|l| l.starts_with("CapEff") || l.starts_with("CapPrm")).collect();
                let same = sets.iter().all(|set| set.ends_with("00000000000001c0"));
                format!("{plain:?} {} {ended} {} {same}", kind(&sent), is_root())
            });
            if let Some(said) = said {
                assert_eq!(said, "Err(EPERM) had Signal(9) true true");
            }
        }
    }

    fn process_user(pid: i32) -> u32 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|uid| uid.parse().ok()).unwrap_or(NONE)
    }

    #[test]
    fn p7_root_without_cap_dac_read_search_reads_what_its_owner_may_read() {
        if !is_root() {
            return;
        }
        let top = std::env::temp_dir().join(format!("gatepost-owner-{}", std::process::id()));
        let (closed, inner, open) = (top.join("acme"), top.join("acme/inner"), top.join("open"));
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir(&open).unwrap();
        for (name, mode, uid) in [
            ("acme/key", 0o600, ACME),
            ("acme/roots", 0o600, ROOT),
            ("acme/nobodys", 0o000, ACME),
            ("acme/inner/deep", 0o400, OTHER),
            ("bare", 0o600, ACME),
        ] {
            fs::write(top.join(name), name).unwrap();
            make(&top.join(name), mode, uid);
        }
        for (target, name) in
            [("../acme/inner/deep", "open/link"), ("loop", "acme/loop"), ("key", "acme/link"), ("../bare", "open/trap")]
        {
            symlink(target, top.join(name)).unwrap();
        }
        nix::unistd::mkfifo(&closed.join("fifo"), Mode::S_IRWXU).unwrap();
        lchown(open.join("trap"), Some(ACME), Some(ACME)).unwrap();
        make(&top, 0o755, ROOT);
        make(&open, 0o1777, ROOT);
        make(&inner, 0o700, OTHER);
        make(&closed, 0o700, ACME);
        for (name, expected) in [
            ("acme/key", "had"),
            ("acme/roots", "had"),
            ("acme/inner/deep", "had"),
            ("bare", "had"),
            ("open/link", "had"),
            ("acme/link", "had"),
            ("acme/../acme/./key", "had"),
            ("acme/nobodys", "PermissionDenied"),
            ("acme/none", "NotFound"),
            ("acme/key/none", "NotADirectory"),
            ("acme/loop", "FilesystemLoop"),
            ("acme/inner", "IsADirectory"),
            // Nobody waits for who writes to it.
            ("acme/fifo", "InvalidInput"),
            // A link of somebody's in a directory that is everybody's.
            ("open/trap", "PermissionDenied"),
        ] {
            let path = top.join(name);
            let said = poor_root(|| {
                let opened = kind(&crate::fds::open_file(&path));
                format!("{opened} {} {}", Which::File.get(), is_root())
            });
            assert_eq!(said.unwrap(), format!("{expected} 0 true"), "{name}");
        }
        let found = poor_root(|| {
            let directory = fs::metadata(&inner).is_err();
            let uids = [metadata(&closed.join("link")), symlink_metadata(&closed.join("link"))].map(|seen| {
                seen.map_or_else(|e| e.to_string(), |seen| format!("{} {}", seen.uid(), seen.file_type().is_symlink()))
            });
            let real = canonicalize(&open.join("link")).unwrap_or_default();
            let entered = reach(&inner, |path| std::env::set_current_dir(path));
            let locked = crate::fds::lock_directory(&inner, false).map(|lock| lock.is_some());
            let linked = crate::fds::lock_directory(&closed.join("link"), false);
            let bound = open_directory_path(&inner).is_ok() && open_directory_path(&closed.join("key")).is_err();
            let refused = crate::fds::open_file(&closed.join("nobodys")).unwrap_err();
            format!(
                "{directory} {uids:?} {} {} {locked:?} {} {bound}\n{refused}",
                real.ends_with("acme/inner/deep"),
                kind(&entered),
                kind(&linked)
            )
        });
        fs::remove_dir_all(&top).unwrap();
        let found = found.unwrap();
        let (first, refused) = found.split_once('\n').unwrap();
        assert_eq!(first, r#"true ["61071 false", "0 true"] true had Ok(true) NotADirectory true"#);
        assert!(
            refused.contains("neither root nor its owner, uid 61071, may use") && refused.contains("nobodys"),
            "{refused}"
        );
    }
}
