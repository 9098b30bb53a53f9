//! Ids, capabilities and the root directory: what a process gives up.

use caps::CapSet;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, chdir, chroot, pivot_root, setgroups, setresgid, setresuid};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Becomes another user for good: supplementary groups, then group, then user.
///
/// # Errors
/// EPERM without CAP_SETUID and CAP_SETGID, EAGAIN at that user's process limit.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    let gid = Gid::from_raw(gid);
    setresgid(gid, gid, gid)?;
    let uid = Uid::from_raw(uid);
    setresuid(uid, uid, uid)?;
    Ok(())
}

/// Takes the ids that a set-user-id program has, for good: `effective` as effective and saved user id, `real` as real user id,
/// `groups` as supplementary groups.
///
/// # Errors
/// As [`become_user`].
pub fn become_users(real: u32, effective: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    let gid = Gid::from_raw(gid);
    setresgid(gid, gid, gid)?;
    let effective = Uid::from_raw(effective);
    setresuid(Uid::from_raw(real), effective, effective)?;
    Ok(())
}

/// Tries every way back to root. True: one of them worked, the process is not confined.
#[must_use]
pub fn can_regain_root() -> bool {
    let root = Uid::from_raw(0);
    let wheel = Gid::from_raw(0);
    setresuid(root, root, root).is_ok()
        || nix::unistd::setuid(root).is_ok()
        || nix::unistd::seteuid(root).is_ok()
        || setresgid(wheel, wheel, wheel).is_ok()
        || nix::unistd::setgid(wheel).is_ok()
        || nix::unistd::setegid(wheel).is_ok()
        || setgroups(&[wheel]).is_ok()
}

/// Whether real, effective and saved ids are all `uid` and `gid`.
#[must_use]
pub fn is_wholly(uid: u32, gid: u32) -> bool {
    is_both(uid, uid, gid)
}

/// Whether the real user is `real`, the effective and saved one `effective`, and all groups are `gid`.
#[must_use]
pub fn is_both(real: u32, effective: u32, gid: u32) -> bool {
    let uids = nix::unistd::getresuid().map(|r| [r.real, r.effective, r.saved]);
    let gids = nix::unistd::getresgid().map(|r| [r.real, r.effective, r.saved]);
    uids.is_ok_and(|all| all.map(Uid::as_raw) == [real, effective, effective])
        && gids.is_ok_and(|all| all.iter().all(|g| g.as_raw() == gid))
}

/// Empties the bounding and ambient sets. Needs CAP_SETPCAP, so before the change of user.
///
/// # Errors
/// EPERM without it.
pub fn drop_bounding() -> io::Result<()> {
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    // By number until the kernel knows no more capability. A library that reads /proc for that would be slower, and a session
    // without a launcher does this for each connection.
    for number in 0..CAPABILITIES_MAX {
        // SAFETY: this prctl takes integers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } == -1 {
            let e = io::Error::last_os_error();
            return if e.raw_os_error() == Some(libc::EINVAL) && number > 0 { Ok(()) } else { Err(e) };
        }
    }
    Ok(())
}

/// Bits of a capability set.
const CAPABILITIES_MAX: libc::c_ulong = 64;

/// A capability that the launcher may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Capability {
    SetUid,
    SetGid,
    SetPcap,
    SysChroot,
    SysAdmin,
    Kill,
    SysPtrace,
    DacReadSearch,
    NetBindService,
    NetAdmin,
    SysResource,
}

impl Capability {
    fn cap(self) -> caps::Capability {
        match self {
            Capability::SetUid => caps::Capability::CAP_SETUID,
            Capability::SetGid => caps::Capability::CAP_SETGID,
            Capability::SetPcap => caps::Capability::CAP_SETPCAP,
            Capability::SysChroot => caps::Capability::CAP_SYS_CHROOT,
            Capability::SysAdmin => caps::Capability::CAP_SYS_ADMIN,
            Capability::Kill => caps::Capability::CAP_KILL,
            Capability::SysPtrace => caps::Capability::CAP_SYS_PTRACE,
            Capability::DacReadSearch => caps::Capability::CAP_DAC_READ_SEARCH,
            Capability::NetBindService => caps::Capability::CAP_NET_BIND_SERVICE,
            Capability::NetAdmin => caps::Capability::CAP_NET_ADMIN,
            Capability::SysResource => caps::Capability::CAP_SYS_RESOURCE,
        }
    }
}

/// Whether this process may use it now.
#[must_use]
pub fn holds(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability.cap()).unwrap_or_default()
}

/// Empties the ambient set and cuts the bounding set down to `keep`.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn keep_bounding(keep: &[Capability]) -> io::Result<()> {
    let kept: caps::CapsHashSet = keep.iter().map(|c| c.cap()).collect();
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    for cap in caps::runtime::thread_all_supported() {
        if !kept.contains(&cap) {
            caps::drop(None, CapSet::Bounding, cap).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// Cuts the permitted and effective sets down to `keep`; what is not held already is not gained.
///
/// # Errors
/// None in practice: a process may always give capabilities up.
pub fn keep_permitted(keep: &[Capability]) -> io::Result<()> {
    let held = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let kept: caps::CapsHashSet = keep.iter().map(|c| c.cap()).filter(|c| held.contains(c)).collect();
    caps::clear(None, CapSet::Inheritable).map_err(io::Error::other)?;
    caps::set(None, CapSet::Effective, &kept).map_err(io::Error::other)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(io::Error::other)?;
    Ok(())
}

/// _LINUX_CAPABILITY_VERSION_3: two sets of 32 bits. Beside it the pid; 0: ourselves.
const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

/// Empties the permitted, effective and inheritable sets.
///
/// # Errors
/// None in practice.
pub fn drop_permitted() -> io::Result<()> {
    let none = [[0_u32; 3]; 2];
    // SAFETY: reads a header and two triples of 32 bits, both laid out as capset(2) says.
    let rc = unsafe { libc::syscall(libc::SYS_capset, CAPABILITY_HEADER.as_ptr(), none.as_ptr()) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// True when all five capability sets are empty. The ambient one holds nothing that isn't both permitted and inheritable:
/// capabilities(7).
#[must_use]
pub fn has_no_capability() -> bool {
    holds_no_capability() && bounding_is_empty()
}

/// True when all but the bounding set are empty.
#[must_use]
pub fn holds_no_capability() -> bool {
    let mut held = [[u32::MAX; 3]; 2];
    let mut header = CAPABILITY_HEADER;
    // SAFETY: reads a header, to which it may write a version, and writes two triples of 32 bits, all laid out as capget(2) says.
    let rc = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), held.as_mut_ptr()) };
    rc == 0 && held == [[0; 3]; 2]
}

/// Asked by number, as [`drop_bounding`] drops them.
fn bounding_is_empty() -> bool {
    for number in 0..CAPABILITIES_MAX {
        // SAFETY: this prctl takes integers only.
        match unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) } {
            0 => {}
            -1 => return number > 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL),
            _ => return false,
        }
    }
    true
}

/// Tries to take a capability back. True: it worked.
#[must_use]
pub fn can_regain_capability() -> bool {
    let wanted: caps::CapsHashSet = [caps::Capability::CAP_SETUID].into_iter().collect();
    caps::set(None, CapSet::Permitted, &wanted).is_ok()
}

/// A directory shown inside the new root.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    /// Where it is now.
    pub outside: &'a Path,
    /// Its name in the new root: one component.
    pub inside: &'a str,
    /// May be written to.
    pub writable: bool,
}

/// Replaces the whole file tree of this mount namespace by an empty, read-only, memory-backed root in which only the
/// `binds` appear. `anchor` is any directory that the new root can be mounted on; afterwards it can't be reached, like all others.
///
/// # Errors
/// EPERM outside a mount namespace of one's own, or the step that failed.
pub fn empty_root(anchor: &Path, binds: &[Bind<'_>]) -> io::Result<()> {
    let nothing: Option<&str> = None;
    let closed = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    let sources: Vec<OwnedFd> = binds.iter().map(|b| open_path(b.outside)).collect::<io::Result<_>>()?;
    mount(Some("none"), anchor, Some("tmpfs"), closed, Some("size=64k,nr_inodes=64,mode=0755"))?;
    for (bind, source) in binds.iter().zip(&sources) {
        let target = anchor.join(bind.inside);
        std::fs::create_dir(&target)?;
        let source = format!("/proc/self/fd/{}", source.as_raw_fd());
        mount(Some(source.as_str()), &target, nothing, MsFlags::MS_BIND, nothing)?;
        let mut flags = closed | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | locked_flags(&target)?;
        flags.set(MsFlags::MS_RDONLY, !bind.writable);
        mount(nothing, &target, nothing, flags, nothing)?;
    }
    mount(nothing, anchor, nothing, closed | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, nothing)?;
    chdir(anchor)?;
    // The old root is mounted over the new one and then unmounted: pivot_root(2), NOTES.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    // pivot_root(2) has made it the root directory of this process too: chroot(2), and CAP_SYS_CHROOT, is not needed.
    Ok(chdir("/")?)
}

/// Only changes the root directory: for systems where no mount namespace can be made.
///
/// # Errors
/// EPERM without CAP_SYS_CHROOT.
pub fn change_root(root: &Path) -> io::Result<()> {
    chdir(root)?;
    chroot(".")?;
    Ok(chdir("/")?)
}

/// Moves into a user namespace without any mapped user: our ids show as nobody's. The process holds all capabilities there, but
/// only over what is made from then on. [`change_root`] needs this when we are not root.
///
/// # Errors
/// EPERM or ENOSPC where users may not make them.
pub fn leave_all_users() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWUSER)?)
}

/// Moves into a mount namespace of one's own.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn own_mounts() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWNS)?)
}

/// True when the process can still change its root directory or mount something.
#[must_use]
pub fn can_change_root() -> bool {
    let nothing: Option<&str> = None;
    chroot(".").is_ok() || mount(nothing, "/", Some("tmpfs"), MsFlags::empty(), nothing).is_ok()
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let opened = crate::as_owner::open_directory_path(path);
    opened.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

/// Flags of the mount below `path` that a user namespace may not clear: mount_namespaces(7).
fn locked_flags(path: &Path) -> io::Result<MsFlags> {
    use nix::sys::statvfs::{FsFlags, statvfs};
    let seen = statvfs(path)?.flags();
    Ok([
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
    ]
    .into_iter()
    .filter_map(|(have, keep)| seen.contains(have).then_some(keep))
    .fold(MsFlags::empty(), |all, flag| all | flag))
}
