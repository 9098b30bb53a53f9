//! What each role's process must look like from outside: the table of processes of the design, as data.

use super::parse::{Ns, Resource};
use super::role::RoleName;
use crate::enter::SESSION_CPU_SECONDS;
use gatepost_ucspi::tcpserver::options::Id;
use gatepost_ucspi::tcpserver::{Options, Parsed};
use gatepost_wire::control::Role;
use gatepost_wire::slice::Ground;

/// Who the process must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserRule {
    /// Root in all four ids; started without root: whoever started it.
    Root,
    /// Neither root nor another role's user, the same in all four ids, without supplementary groups beyond so many.
    /// Started without root, all roles share the one user there is.
    Own {
        /// Supplementary groups it may have.
        groups: usize,
    },
    /// As a set-user-id program has it: a real user and another effective one, neither of them root, without supplementary groups
    /// beyond so many.
    Pair {
        /// Supplementary groups it may have.
        groups: usize,
    },
    /// As a command line says.
    Given(Given),
}

/// The ids of [`UserRule::Given`], in all four places each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Given {
    pub uid: Wanted,
    pub gid: Wanted,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever it is.
    Any,
    /// Some user's, not root's.
    NotRoot,
    /// Just this.
    This(u32),
}

/// What the root directory may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootRule<'a> {
    /// Whatever the host has.
    Any,
    /// Nothing, and read-only.
    Empty,
    /// Nothing; it need not be a mount of its own.
    Bare,
    /// At most these names, and read-only itself. A `#` at the end of one stands for any number.
    Only(&'a [&'a str]),
}

impl RootRule<'_> {
    /// Whether that name may be there.
    #[must_use]
    pub fn permits(&self, name: &str) -> bool {
        let number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        match self {
            Self::Any => true,
            Self::Empty | Self::Bare => false,
            Self::Only(names) => names.iter().any(|only| match only.strip_suffix('#') {
                Some(stem) => name.strip_prefix(stem).is_some_and(number),
                None => *only == name,
            }),
        }
    }
}

/// What network the process may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetRule {
    /// The host's.
    Host,
    /// None: a namespace without any address, loopback's included.
    Empty,
}

/// What a limit must be, soft and hard alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Whatever it is.
    Any,
    /// Just this.
    Exactly(u64),
    /// This or less.
    AtMost(u64),
}

/// What a process must look like. A `bool` says that the thing is demanded; false asks nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect<'a> {
    /// Who it is.
    pub user: UserRule,
    /// Capabilities that may be in its sets, a bit each (capabilities(7)).
    pub capabilities: u64,
    /// The same for its bounding set.
    pub bounding: u64,
    /// no_new_privs is set.
    pub no_new_privs: bool,
    /// A system call filter is in force.
    pub filtered: bool,
    /// Threads at most; 0: any number.
    pub threads: u32,
    /// Its root directory.
    pub root: RootRule<'a>,
    /// Namespaces that must be its own.
    pub own: &'static [Ns],
    /// Its network.
    pub network: NetRule,
    /// RLIMIT_DATA.
    pub data: Bound,
    /// RLIMIT_NOFILE.
    pub open_files: Bound,
    /// RLIMIT_NPROC.
    pub processes: Bound,
    /// RLIMIT_FSIZE.
    pub file_size: Bound,
    /// RLIMIT_CORE.
    pub core: Bound,
    /// RLIMIT_CPU.
    pub cpu: Bound,
    /// RLIMIT_AS.
    pub address_space: Bound,
    /// RLIMIT_STACK.
    pub stack: Bound,
    /// Others of its uid may not look inside.
    pub undumpable: bool,
    /// No mapping is writable and executable at once.
    pub no_writable_code: bool,
    /// Descriptors beyond 0 to 2 that lead to files with names, at most; None: any number. Descriptors as such are
    /// bounded by [`Expect::open_files`].
    pub named_files: Option<usize>,
}

impl Expect<'_> {
    /// The limit on one resource.
    #[must_use]
    pub fn bound(&self, resource: Resource) -> Bound {
        match resource {
            Resource::Data => self.data,
            Resource::OpenFiles => self.open_files,
            Resource::Processes => self.processes,
            Resource::FileSize => self.file_size,
            Resource::Core => self.core,
            Resource::Cpu => self.cpu,
            Resource::AddressSpace => self.address_space,
            Resource::Stack => self.stack,
        }
    }

    /// The same for that [`Ground`]. Without root all roles have one user, whose groups can't be given up
    /// (user_namespaces(7)); everything else is demanded all the same.
    #[must_use]
    pub fn on(mut self, ground: Ground) -> Self {
        if ground == Ground::User {
            // Without root it can't be emptied, or it is left for what that costs (`crate::alone`): who has no_new_privs can't use it.
            if self.root == RootRule::Bare || matches!(self.user, UserRule::Pair { .. }) {
                self.bounding = u64::MAX;
            }
            self.user = match self.user {
                UserRule::Root => UserRule::Root,
                UserRule::Pair { .. } => UserRule::Pair { groups: usize::MAX },
                UserRule::Given(given) => UserRule::Given(given),
                UserRule::Own { .. } => UserRule::Own { groups: usize::MAX },
            };
        }
        self
    }
}

const MIB: u64 = 1 << 20;
/// A number that was set on purpose: far below what the host could bear.
const SOME: u64 = 1 << 16;
/// `limits.message_size` is the administrator's; that there is a bound at all is ours.
const LARGEST_MESSAGE: Bound = Bound::AtMost(1 << 40);

/// RLIMIT_DATA counts neither the stack nor memory that is only looked at, which costs page tables.
const STACK: Bound = Bound::AtMost(MIB);

const fn address_space(data: u64) -> Bound {
    Bound::AtMost(data.saturating_add(64 * MIB))
}

/// What the confined roles have in common; each line of [`EXPECT`] says where it differs.
const CONFINED: Expect<'static> = Expect {
    user: UserRule::Own { groups: 0 },
    capabilities: 0,
    bounding: 0,
    no_new_privs: true,
    filtered: true,
    threads: 1,
    root: RootRule::Empty,
    own: &[Ns::Mount, Ns::Pid, Ns::Ipc, Ns::Uts, Ns::Net],
    network: NetRule::Empty,
    data: Bound::AtMost(16 * MIB),
    open_files: Bound::AtMost(SOME),
    processes: Bound::Exactly(0),
    file_size: Bound::Exactly(0),
    core: Bound::Exactly(0),
    cpu: Bound::Any,
    address_space: Bound::Any,
    stack: Bound::Any,
    undumpable: true,
    no_writable_code: true,
    named_files: Some(0),
};

/// The launcher's capabilities, by bit: what starting a role anew takes, `gatepost_launcher::KEPT`. dac_read_search, kill,
/// setgid, setuid, setpcap, net_bind_service, sys_chroot, sys_ptrace (to look at roles from outside), sys_admin
/// (namespaces, mounts). The unit gives no more than six of them.
const LAUNCHER: u64 =
    (1 << 2) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 8) | (1 << 10) | (1 << 18) | (1 << 19) | (1 << 21);

/// What each role's process must look like when root started gatepost.
pub(crate) const EXPECT: [(RoleName, Expect<'static>); Role::ALL.len() + 6] = [
    (
        RoleName::Launcher,
        Expect {
            user: UserRule::Root,
            capabilities: LAUNCHER,
            bounding: LAUNCHER,
            filtered: false,
            root: RootRule::Any,
            own: &[],
            network: NetRule::Host,
            data: Bound::Any,
            processes: Bound::Any,
            file_size: Bound::Any,
            open_files: Bound::Any,
            // It is undumpable, but that can't be seen: the owner in /proc is root either way.
            undumpable: false,
            named_files: None,
            ..CONFINED
        },
    ),
    (RoleName::Role(Role::Listener), Expect { data: Bound::AtMost(128 * MIB), ..CONFINED }),
    (
        RoleName::Role(Role::Nursery),
        // The one that forks, so it has a number of processes; the largest message is its sessions' file size.
        Expect {
            data: Bound::Exactly(MIB),
            processes: Bound::AtMost(SOME),
            file_size: LARGEST_MESSAGE,
            address_space: address_space(MIB),
            stack: STACK,
            ..CONFINED
        },
    ),
    (
        RoleName::Session,
        Expect {
            data: Bound::Exactly(MIB),
            open_files: Bound::AtMost(32),
            file_size: LARGEST_MESSAGE,
            cpu: Bound::AtMost(SESSION_CPU_SECONDS),
            address_space: address_space(MIB),
            stack: STACK,
            ..CONFINED
        },
    ),
    (RoleName::Role(Role::Keyholder), CONFINED),
    // Memory for one hash that is hard to compute by design.
    (RoleName::Role(Role::Auth), Expect { data: Bound::AtMost(160 * MIB), ..CONFINED }),
    // The log may be a file of any length.
    (RoleName::Role(Role::Observer), Expect { file_size: Bound::Any, ..CONFINED }),
    (
        RoleName::Role(Role::Handoff),
        // Its connections come from the dialer.
        Expect {
            root: RootRule::Only(&["content"]),
            data: Bound::AtMost(256 * MIB),
            file_size: LARGEST_MESSAGE,
            ..CONFINED
        },
    ),
    (
        RoleName::Role(Role::Dialer),
        // A group may open the backend's socket directory to it.
        Expect {
            user: UserRule::Own { groups: 8 },
            root: RootRule::Only(&["backend#", "logins"]),
            own: &[Ns::Mount, Ns::Pid, Ns::Ipc, Ns::Uts],
            network: NetRule::Host,
            ..CONFINED
        },
    ),
    (
        RoleName::Role(Role::Resolver),
        // Name servers are on the host's network; no file tells it which.
        Expect { own: &[Ns::Mount, Ns::Pid, Ns::Ipc, Ns::Uts], network: NetRule::Host, ..CONFINED },
    ),
    (
        RoleName::Role(Role::Receiver),
        // Has message files and its Maildir open.
        Expect {
            root: RootRule::Only(&["mail", "lmtp"]),
            data: Bound::AtMost(64 * MIB),
            file_size: LARGEST_MESSAGE,
            named_files: None,
            ..CONFINED
        },
    ),
    (
        RoleName::Role(Role::Queue),
        // It runs the queue program. What is left is asked for all the same.
        Expect { open_files: Bound::AtMost(SOME), file_size: LARGEST_MESSAGE, ..UNCONFINED },
    ),
    (
        RoleName::Role(Role::Checker),
        // It runs the checkpassword program: likewise.
        Expect { open_files: Bound::AtMost(SOME), file_size: LARGEST_MESSAGE, ..UNCONFINED },
    ),
    (
        RoleName::Alone,
        Expect {
            data: Bound::AtMost(MIB),
            open_files: Bound::AtMost(16),
            file_size: LARGEST_MESSAGE,
            cpu: Bound::AtMost(SESSION_CPU_SECONDS),
            address_space: address_space(MIB),
            ..ALONE
        },
    ),
    (
        RoleName::Accepting,
        // The load of the machine, random numbers, and the rules.
        Expect { data: Bound::AtMost(64 * MIB), address_space: address_space(64 * MIB), named_files: Some(3), ..ALONE },
    ),
    (
        RoleName::Beside,
        // Landlock, which can't be seen from outside, says what it reaches of files and network.
        Expect {
            user: UserRule::Pair { groups: 8 },
            root: RootRule::Any,
            own: &[],
            network: NetRule::Host,
            data: Bound::AtMost(32 * MIB),
            open_files: Bound::AtMost(64),
            file_size: LARGEST_MESSAGE,
            named_files: None,
            ..CONFINED
        },
    ),
    // It runs the queue program.
    (RoleName::BesideQueue, UNCONFINED),
];

/// A process that was forked from the one that was started, and has no more than that could give it: its system call filter forbids
/// what a namespace would.
const ALONE: Expect<'static> =
    Expect { root: RootRule::Bare, own: &[], network: NetRule::Host, file_size: Bound::Any, stack: STACK, ..CONFINED };

/// One without a jail, because it runs programs that need the system.
const UNCONFINED: Expect<'static> = Expect {
    user: UserRule::Pair { groups: 0 },
    filtered: false,
    root: RootRule::Any,
    own: &[],
    network: NetRule::Host,
    data: Bound::Any,
    open_files: Bound::Any,
    processes: Bound::Any,
    file_size: Bound::Any,
    named_files: None,
    ..CONFINED
};

/// What tcpserver keeps where each program needs it to become what it must be: kill, setgid, setuid, sys_chroot, sys_admin.
const FOR_PROGRAMS: u64 = (1 << 5) | (1 << 6) | (1 << 7) | (1 << 18) | (1 << 21);

/// What tcpserver's process that executes programs must be, by its command line: what `-u` and `-g`, or `--user`, leave of it. Its bounding
/// set and no_new_privs are its programs', of which some are set-id.
#[must_use]
pub fn runner(cmdline: &[String]) -> Expect<'static> {
    let given = |uid, gid| UserRule::Given(Given { uid, gid });
    let as_started = Expect {
        user: given(Wanted::Any, Wanted::Any),
        capabilities: u64::MAX,
        bounding: u64::MAX,
        no_new_privs: false,
        core: Bound::Any,
        // Of root's processes that can't be seen.
        undumpable: false,
        ..UNCONFINED
    };
    let Some(options) = options(cmdline) else { return as_started };
    let account = &options.account;
    // Whom that is, only the program knows.
    let wanted = |id| match id {
        Id::Number(id) if account.user.is_none() => Wanted::This(id),
        Id::Number(_) | Id::OfEnvironment => Wanted::NotRoot,
    };
    let stays = |id| account.user.is_none() && id == Id::default();
    if stays(account.uid) {
        return as_started;
    }
    if options.restrictions.root.is_some() || !options.restrictions.namespaces.is_empty() {
        // Root without anything else.
        return Expect { user: UserRule::Root, capabilities: FOR_PROGRAMS, ..as_started };
    }
    let gid = if stays(account.gid) { Wanted::Any } else { wanted(account.gid) };
    Expect { user: given(wanted(account.uid), gid), capabilities: 0, undumpable: true, ..as_started }
}

fn options(cmdline: &[String]) -> Option<Options> {
    let named = |word: &String| word.rsplit('/').next() == Some("tcpserver");
    let at = cmdline.iter().position(named)?;
    let words: Vec<Vec<u8>> = cmdline.iter().skip(at).skip(1).map(|word| word.clone().into_bytes()).collect();
    match gatepost_ucspi::tcpserver::options::parse(&words) {
        Ok(Parsed::Serve(options)) => Some(*options),
        _ => None,
    }
}

/// `EXPECT`, adjusted to the configuration that is in force.
#[derive(Debug, Clone)]
pub struct Expectations<'a>([(RoleName, Expect<'a>); Role::ALL.len() + 6]);

impl Default for Expectations<'_> {
    fn default() -> Self {
        Self(EXPECT)
    }
}

impl<'a> Expectations<'a> {
    /// What is expected of a role.
    #[must_use]
    pub fn of(&self, role: RoleName) -> Expect<'a> {
        self.0.iter().find(|(name, _)| *name == role).map_or(CONFINED, |(_, expect)| *expect)
    }

    /// Changes what is expected of a role: `[limits] data`, the names in its root.
    pub fn adjust(&mut self, role: RoleName, change: impl FnOnce(&mut Expect<'a>)) {
        if let Some((_, expect)) = self.0.iter_mut().find(|(name, _)| *name == role) {
            change(expect);
        }
    }

    /// Expects `octets` as RLIMIT_DATA of sessions and of the nursery they are forked from.
    #[must_use]
    pub fn with_session_data(mut self, octets: u64) -> Self {
        for role in [RoleName::Role(Role::Nursery), RoleName::Session] {
            self.adjust(role, |expect| {
                expect.data = Bound::Exactly(octets);
                expect.address_space = address_space(octets);
            });
        }
        self
    }
}
