//! What /proc/PID says of a process. What the reader may not see is None, never a guess.

use super::parse::{Descriptors, Limits, Mounts, Ns, Status, addresses, interfaces, start_time, writable_code};
use super::proc::{path, read_cmdline, read_parent, text};
use super::role::{RoleName, role_of};
use gatepost_wire::slice::Ground;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Names of the root directory that are read; all are counted. A jail's root has no room for more.
const NAMES_MAX: usize = 64;
/// How many ancestors are looked at to find a launcher: a session's is its grandparent.
const ANCESTORS: usize = 4;

/// One namespace of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace {
    /// Its kind.
    pub kind: Ns,
    /// Its inode number: the same number, the same namespace.
    pub inode: u64,
    /// Neither the reader's, nor process 1's, nor that of the launcher above the process.
    pub own: bool,
}

/// The root directory, seen through /proc/PID/root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Root {
    /// Names in it, sorted, the first few.
    pub names: Vec<String>,
    /// How many there are.
    pub count: usize,
}

/// What there is of a network in the process's network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// Names of its interfaces.
    pub interfaces: Vec<String>,
    /// Addresses of its own, loopback's included; counted only in a namespace of its own.
    pub addresses: Option<usize>,
}

/// All that is known of one process. None: the reader may not see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The process.
    pub pid: u32,
    /// Its arguments.
    pub cmdline: Vec<String>,
    /// The program file it runs, as the kernel names it.
    pub exe: Option<PathBuf>,
    /// The program file carries a set-id bit.
    pub set_id_file: Option<bool>,
    /// The role that it plays, if it is gatepost's.
    pub role: Option<RoleName>,
    /// Identity, capabilities, filters, memory.
    pub status: Status,
    /// Resource limits.
    pub limits: Limits,
    /// Its namespaces.
    pub namespaces: Option<Vec<Namespace>>,
    /// Its root directory.
    pub root: Option<Root>,
    /// What is mounted there.
    pub mounts: Option<Mounts>,
    /// Its open descriptors.
    pub descriptors: Option<Descriptors>,
    /// What network it can reach.
    pub network: Option<Network>,
    /// Others of its uid may look inside. Root's processes, and those of a user namespace that maps root to the
    /// process's own user, show the same owner either way: None.
    pub dumpable: Option<bool>,
    /// Mappings that are writable and executable at once.
    pub writable_code: Option<usize>,
}

impl Facts {
    /// Reads all of it. A process other than one's own shows most of it only to root (CAP_SYS_PTRACE).
    ///
    /// # Errors
    /// NotFound when there is no such process, or when it ended and its id went to another one meanwhile.
    pub fn read(pid: u32) -> io::Result<Self> {
        let born = start_time(&text(pid, "stat")?);
        let status = Status::parse(&text(pid, "status")?)?;
        let namespaces = namespaces(pid, &Baseline::of(pid));
        let own = |kind| owns(namespaces.as_deref(), kind);
        let facts = Self {
            pid,
            cmdline: read_cmdline(pid)?,
            exe: fs::read_link(path(pid, "exe")).ok(),
            set_id_file: fs::metadata(path(pid, "exe")).ok().map(|meta| meta.mode() & 0o6000 != 0),
            role: role_of(pid),
            limits: Limits::parse(&text(pid, "limits")?)?,
            root: root(pid),
            mounts: text(pid, "mountinfo").ok().map(|text| Mounts::parse(&text)),
            descriptors: descriptors(pid),
            network: network(pid, own(Ns::Net) == Some(true)),
            dumpable: dumpable(pid, status.uids.get(1).copied(), own(Ns::User) == Some(true)),
            writable_code: text(pid, "maps").ok().map(|text| writable_code(&text)),
            namespaces,
            status,
        };
        if start_time(&text(pid, "stat")?) == born { Ok(facts) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Effective uid.
    #[must_use]
    pub fn uid(&self) -> u32 {
        let [_, effective, _, _] = self.status.uids;
        effective
    }

    /// Its role, if a launcher has started it or it is one.
    pub(super) fn launched(&self) -> Option<RoleName> {
        self.role.filter(|role| role.is_launched())
    }

    /// Whether the process has that namespace to itself and to those forked from it.
    #[must_use]
    pub(crate) fn owns(&self, kind: Ns) -> Option<bool> {
        owns(self.namespaces.as_deref(), kind)
    }

    /// What the process was started on, as far as it shows: by an ordinary user, when it lives in a user namespace of its
    /// own or is a launcher that is not root.
    #[must_use]
    pub fn ground(&self) -> Ground {
        let user = match self.role {
            Some(RoleName::Launcher) => self.uid() != 0,
            // Root gives it two users.
            Some(RoleName::Beside | RoleName::BesideQueue) => self.status.uids.iter().all(|uid| *uid == self.uid()),
            _ => self.owns(Ns::User) == Some(true),
        };
        if user { Ground::User } else { Ground::Root }
    }

    /// True when it is in a network namespace of its own in which not even loopback is up.
    #[must_use]
    pub(crate) fn without_network(&self) -> Option<bool> {
        Some(self.owns(Ns::Net)? && self.network.as_ref()?.addresses == Some(0))
    }
}

fn owns(namespaces: Option<&[Namespace]>, kind: Ns) -> Option<bool> {
    Some(namespaces?.iter().find(|ns| ns.kind == kind)?.own)
}

fn inode(pid: u32, kind: Ns) -> Option<u64> {
    kind.inode(fs::read_link(path(pid, "ns").join(kind.name())).ok()?.to_str()?)
}

/// The processes whose namespaces a role must not be in. The launcher is among them because it may itself be in some
/// that are not the reader's, as under systemd's PrivateTmp: to share those is not to have one's own.
struct Baseline(Vec<u32>);

impl Baseline {
    fn of(pid: u32) -> Self {
        let mut all = vec![std::process::id(), 1];
        let mut ancestor = pid;
        for _ in 0..ANCESTORS {
            match read_parent(ancestor) {
                None | Some(0 | 1) => break,
                Some(parent) => ancestor = parent,
            }
            if role_of(ancestor) == Some(RoleName::Launcher) {
                all.push(ancestor);
            }
        }
        Self(all)
    }

    fn shares(&self, kind: Ns, found: u64) -> bool {
        self.0.iter().any(|pid| inode(*pid, kind) == Some(found))
    }
}

fn namespaces(pid: u32, baseline: &Baseline) -> Option<Vec<Namespace>> {
    let all: Vec<Namespace> = Ns::ALL
        .into_iter()
        .filter_map(|kind| inode(pid, kind).map(|inode| (kind, inode)))
        .map(|(kind, inode)| Namespace { kind, inode, own: !baseline.shares(kind, inode) })
        .collect();
    if all.is_empty() { None } else { Some(all) }
}

fn root(pid: u32) -> Option<Root> {
    let mut root = Root::default();
    for entry in fs::read_dir(path(pid, "root/")).ok()? {
        root.count = root.count.saturating_add(1);
        if root.names.len() < NAMES_MAX {
            root.names.push(entry.ok()?.file_name().to_string_lossy().into_owned());
        }
    }
    root.names.sort_unstable();
    Some(root)
}

fn descriptors(pid: u32) -> Option<Descriptors> {
    let mut links = Vec::new();
    for entry in fs::read_dir(path(pid, "fd")).ok()? {
        let entry = entry.ok()?;
        match fs::read_link(entry.path()) {
            Ok(link) => {
                links.push((entry.file_name().to_string_lossy().into_owned(), link.to_string_lossy().into_owned()))
            }
            // One that was closed meanwhile is not counted.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    Some(Descriptors::parse(links.iter().map(|(number, link)| (number.as_str(), link.as_str()))))
}

/// O_RDONLY, O_WRONLY or O_RDWR of a descriptor.
pub(super) fn access_mode(pid: u32, number: u32) -> Option<u32> {
    let text = text(pid, &format!("fdinfo/{number}")).ok()?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(flags.trim(), 8).ok().map(|flags| flags & 3)
}

fn network(pid: u32, own: bool) -> Option<Network> {
    let interfaces = interfaces(&text(pid, "net/dev").ok()?);
    // In the host's namespace the trie may hold a whole routing table, and addresses don't matter there.
    let addresses = own.then(|| {
        let file = |name| text(pid, name).unwrap_or_default();
        addresses(&file("net/fib_trie"), &file("net/if_inet6"))
    });
    Some(Network { interfaces, addresses })
}

/// The files of /proc/PID, not the directory itself, belong to root when the process is not dumpable (proc(5)).
fn dumpable(pid: u32, effective: Option<u32>, own_user_namespace: bool) -> Option<bool> {
    let owner = fs::metadata(path(pid, "status")).ok()?.uid();
    match effective? {
        uid if uid != owner => Some(false),
        0 => None,
        _ if own_user_namespace => None,
        _ => Some(true),
    }
}
