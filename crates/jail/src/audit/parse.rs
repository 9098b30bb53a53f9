//! The texts of /proc, as proc(5) describes them, made into values. Nothing here opens a file.

use std::fmt;
use std::io;

/// A line that /proc should have and has not, or a value that is not of its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unparsed(pub &'static str);

impl fmt::Display for Unparsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/proc shows no usable {}", self.0)
    }
}

impl std::error::Error for Unparsed {}

impl From<Unparsed> for io::Error {
    fn from(e: Unparsed) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, e)
    }
}

/// The five capability sets, a bit a capability (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Capabilities {
    pub inheritable: u64,
    pub permitted: u64,
    pub effective: u64,
    pub bounding: u64,
    pub ambient: u64,
}

impl Capabilities {
    /// Each set with its name.
    #[must_use]
    pub fn sets(&self) -> [(&'static str, u64); 5] {
        [
            ("inheritable", self.inheritable),
            ("permitted", self.permitted),
            ("effective", self.effective),
            ("bounding", self.bounding),
            ("ambient", self.ambient),
        ]
    }

    /// All capabilities that are in any set.
    #[must_use]
    pub(crate) fn union(&self) -> u64 {
        self.sets().into_iter().fold(0, |all, (_, set)| all | set)
    }
}

/// Names of the capabilities by bit number, without `cap_` (capabilities(7)).
pub(crate) const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// System call filtering (seccomp(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seccomp {
    /// 0 none, 1 strict, 2 filter.
    pub mode: u8,
    /// Filters in force; kernels before 5.9 do not say.
    pub filters: Option<u32>,
}

/// What /proc/PID/status tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The process's name for itself.
    pub name: String,
    /// Its parent.
    pub parent: u32,
    /// Who traces it; 0: nobody.
    pub tracer: u32,
    /// Real, effective, saved and file system uid.
    pub uids: [u32; 4],
    /// Real, effective, saved and file system gid.
    pub gids: [u32; 4],
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// exec can gain nothing any more.
    pub no_new_privs: bool,
    /// System call filtering.
    pub seccomp: Seccomp,
    /// Threads.
    pub threads: u32,
    /// VmData, octets: what RLIMIT_DATA counts. None for a zombie.
    pub data: Option<u64>,
    /// VmRSS, octets.
    pub resident: Option<u64>,
}

impl Status {
    /// Reads the text of /proc/PID/status.
    ///
    /// # Errors
    /// [`Unparsed`] names the line that is missing: better no facts than guessed ones.
    pub fn parse(text: &str) -> Result<Self, Unparsed> {
        let line = |key: &'static str| {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim).ok_or(Unparsed(key))
        };
        let number = |key| line(key)?.parse::<u32>().map_err(|_| Unparsed(key));
        let mask = |key| u64::from_str_radix(line(key)?, 16).map_err(|_| Unparsed(key));
        let octets = |key| -> Option<u64> {
            let kib: u64 = line(key).ok()?.strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        Ok(Self {
            name: line("Name")?.to_owned(),
            parent: number("PPid")?,
            tracer: number("TracerPid")?,
            uids: four(line("Uid")?).ok_or(Unparsed("Uid"))?,
            gids: four(line("Gid")?).ok_or(Unparsed("Gid"))?,
            groups: numbers(line("Groups")?).ok_or(Unparsed("Groups"))?,
            capabilities: Capabilities {
                inheritable: mask("CapInh")?,
                permitted: mask("CapPrm")?,
                effective: mask("CapEff")?,
                bounding: mask("CapBnd")?,
                ambient: mask("CapAmb")?,
            },
            no_new_privs: number("NoNewPrivs")? == 1,
            seccomp: Seccomp {
                mode: u8::try_from(number("Seccomp")?).map_err(|_| Unparsed("Seccomp"))?,
                filters: number("Seccomp_filters").ok(),
            },
            threads: number("Threads")?,
            data: octets("VmData"),
            resident: octets("VmRSS"),
        })
    }
}

fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split_whitespace().map(|word| word.parse().ok()).collect()
}

fn four(text: &str) -> Option<[u32; 4]> {
    numbers(text)?.try_into().ok()
}

/// A resource limit that a profile may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Resource {
    Data,
    OpenFiles,
    Processes,
    FileSize,
    Core,
    Cpu,
    AddressSpace,
    Stack,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Data,
        Self::OpenFiles,
        Self::Processes,
        Self::FileSize,
        Self::Core,
        Self::Cpu,
        Self::AddressSpace,
        Self::Stack,
    ];

    /// As getrlimit(2) names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "RLIMIT_DATA",
            Self::OpenFiles => "RLIMIT_NOFILE",
            Self::Processes => "RLIMIT_NPROC",
            Self::FileSize => "RLIMIT_FSIZE",
            Self::Core => "RLIMIT_CORE",
            Self::Cpu => "RLIMIT_CPU",
            Self::AddressSpace => "RLIMIT_AS",
            Self::Stack => "RLIMIT_STACK",
        }
    }

    /// As /proc/PID/limits names it.
    fn line(self) -> &'static str {
        match self {
            Self::Data => "Max data size",
            Self::OpenFiles => "Max open files",
            Self::Processes => "Max processes",
            Self::FileSize => "Max file size",
            Self::Core => "Max core file size",
            Self::Cpu => "Max cpu time",
            Self::AddressSpace => "Max address space",
            Self::Stack => "Max stack size",
        }
    }
}

/// A resource limit; None: unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Limit {
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

/// The limits of [`Resource::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits(Vec<(Resource, Limit)>);

impl Limits {
    /// Reads the text of /proc/PID/limits.
    ///
    /// # Errors
    /// [`Unparsed`] names the limit that is missing.
    pub fn parse(text: &str) -> Result<Self, Unparsed> {
        let one = |resource: Resource| {
            let mut words = text.lines().find_map(|line| line.strip_prefix(resource.line()))?.split_whitespace();
            Some((resource, Limit { soft: amount(words.next()?)?, hard: amount(words.next()?)? }))
        };
        Resource::ALL.into_iter().map(|r| one(r).ok_or(Unparsed(r.line()))).collect::<Result<_, _>>().map(Self)
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, resource: Resource) -> Limit {
        self.0.iter().find(|(r, _)| *r == resource).map(|(_, limit)| *limit).unwrap_or_default()
    }
}

fn amount(word: &str) -> Option<Option<u64>> {
    if word == "unlimited" { Some(None) } else { word.parse().ok().map(Some) }
}

/// A kind of namespace (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Ns {
    Mount,
    Pid,
    Net,
    Ipc,
    Uts,
    User,
    Cgroup,
}

impl Ns {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Mount, Self::Pid, Self::Net, Self::Ipc, Self::Uts, Self::User, Self::Cgroup];

    /// Its name in /proc/PID/ns.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
            Self::Cgroup => "cgroup",
        }
    }

    /// The inode number in a link like `net:[4026531840]`.
    #[must_use]
    pub fn inode(self, link: &str) -> Option<u64> {
        link.strip_prefix(self.name())?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
    }
}

/// What /proc/PID/mountinfo tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mounts {
    /// Mounts that the process can reach.
    pub count: usize,
    /// Whether the root directory is mounted read-only; None when it is not a mount of its own.
    pub root_read_only: Option<bool>,
}

impl Mounts {
    /// Reads the text of /proc/PID/mountinfo.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut mounts = Self::default();
        for line in text.lines() {
            mounts.count = mounts.count.saturating_add(1);
            let mut fields = line.split(' ').skip(4);
            // The last mount on "/" lies on top of the others.
            if let (Some("/"), Some(options)) = (fields.next(), fields.next()) {
                mounts.root_read_only = Some(options.split(',').any(|option| option == "ro"));
            }
        }
        mounts
    }
}

/// What an open descriptor leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Socket,
    Pipe,
    /// A file, directory or device that has a name somewhere.
    File,
    /// A file whose name was taken away: content on its way.
    Unlinked,
    /// A file in memory (memfd_create(2)).
    Memory,
    Epoll,
    Eventfd,
    /// Timers, signalfd, pidfd, io_uring and what else has no name.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Socket, Self::Pipe, Self::File, Self::Unlinked, Self::Memory, Self::Epoll, Self::Eventfd, Self::Other];

    /// The word shown in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Pipe => "pipe",
            Self::File => "file",
            Self::Unlinked => "unlinked file",
            Self::Memory => "memfd",
            Self::Epoll => "epoll",
            Self::Eventfd => "eventfd",
            Self::Other => "other",
        }
    }

    /// The kind behind a link in /proc/PID/fd.
    #[must_use]
    pub fn of_link(link: &str) -> Self {
        match link {
            _ if link.starts_with("socket:[") => Self::Socket,
            _ if link.starts_with("pipe:[") => Self::Pipe,
            _ if link.starts_with("/memfd:") => Self::Memory,
            "anon_inode:[eventpoll]" => Self::Epoll,
            "anon_inode:[eventfd]" => Self::Eventfd,
            // /dev/null stands for descriptors 0 to 2 that a daemon doesn't use; it holds nothing.
            "/dev/null" => Self::Other,
            _ if link.starts_with('/') && link.ends_with(" (deleted)") => Self::Unlinked,
            _ if link.starts_with('/') => Self::File,
            _ => Self::Other,
        }
    }
}

/// Open descriptors: number, kind, and where it leads as /proc names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Descriptors(Vec<(u32, Kind, String)>);

impl Descriptors {
    /// Reads the names and links of /proc/PID/fd.
    #[must_use]
    pub fn parse<'a>(links: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let one = |(number, link): (&str, &str)| Some((number.parse().ok()?, Kind::of_link(link), link.to_owned()));
        Self(links.filter_map(one).collect())
    }

    /// Number and link of each.
    pub fn links(&self) -> impl Iterator<Item = (u32, &str)> {
        self.0.iter().map(|(number, _, link)| (*number, link.as_str()))
    }

    /// How many are open.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.len()
    }

    /// How many of one kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.0.iter().filter(|(_, k, _)| *k == kind).count()
    }

    /// How many lead to named files, 0 to 2 not counted: the log may go to a file or a terminal.
    #[must_use]
    pub(crate) fn named_files(&self) -> usize {
        self.0.iter().filter(|(number, kind, _)| *number > 2 && *kind == Kind::File).count()
    }
}

/// Interface names in the text of /proc/PID/net/dev, after its two lines of headings.
pub(super) fn interfaces(text: &str) -> Vec<String> {
    text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

/// Addresses of its own in a network namespace, from the texts of net/fib_trie and net/if_inet6. None at all means that
/// not even loopback is up, and nothing can be reached.
pub(super) fn addresses(fib_trie: &str, if_inet6: &str) -> usize {
    // The trie shows each address twice: in the main table and in the local one.
    let v4 = fib_trie.lines().filter(|line| line.trim() == "/32 host LOCAL").count().div_ceil(2);
    v4.saturating_add(if_inet6.lines().count())
}

/// Mappings in the text of /proc/PID/maps that are writable and executable at once.
pub(super) fn writable_code(maps: &str) -> usize {
    let permissions = |line: &str| line.split(' ').nth(1).map(|p| p.contains('w') && p.contains('x'));
    maps.lines().filter(|line| permissions(line) == Some(true)).count()
}

/// The words of /proc/PID/cmdline.
pub(super) fn cmdline(octets: &[u8]) -> Vec<String> {
    let octets = octets.strip_suffix(b"\0").unwrap_or(octets);
    if octets.is_empty() {
        return Vec::new();
    }
    octets.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The start time of a process, in ticks since boot, from the text of /proc/PID/stat: with the pid it names a process
/// for good. The name in parentheses may hold anything, parentheses too.
pub(super) fn start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
