//! Which processes are gatepost's, and which role each plays.

use super::proc::{is_ours, read_cmdline, read_status};
use gatepost_wire::control::Role;
use std::fmt;
use std::io;

/// A row of the table of processes: the roles that the launcher executes, the two processes that it doesn't, and those that serve
/// without a launcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoleName {
    /// The launcher itself.
    Launcher,
    /// A session, which the nursery forks.
    Session,
    /// A role that the launcher executes.
    Role(Role),
    /// A session without a launcher, of `gatepost inetd` or in qmail-smtpd's place.
    Alone,
    /// The process beside a session of `gatepost inetd`.
    Beside,
    /// The same where it runs the queue program.
    BesideQueue,
    /// Tcpserver's process that executes programs.
    Runner,
    /// Tcpserver's process that accepts.
    Accepting,
    /// What a runner has executed, and whatever that has started: an admin's programs, which are not judged.
    Program,
}

impl RoleName {
    /// The word shown in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Launcher => "launcher",
            Self::Session => "session",
            Self::Role(role) => role.name(),
            Self::Alone => "single-session",
            Self::Beside => "inetd",
            Self::BesideQueue => "inetd-queue",
            Self::Runner => "tcpserver",
            Self::Accepting => "tcpserver-listener",
            Self::Program => "program",
        }
    }

    /// A process of the daemon's, or of `try`: those have users of their own and share nothing but what was made for two of them.
    #[must_use]
    pub(crate) fn is_launched(self) -> bool {
        matches!(self, Self::Launcher | Self::Session | Self::Role(_))
    }

    /// The role that a command line and its parent's tell of. A session is a nursery's child that was not executed anew,
    /// so it shows its parent's command line; its name (`gp-session`) is its own choice and only the second sign. So it is with the
    /// processes that serve without a launcher; but a program that one of them is just starting shows its command line too, until it has
    /// executed: it has no filter, which a session or listener can't lose.
    #[must_use]
    pub(super) fn guess(cmdline: &[String], (comm, filtered): (&str, bool), parent: &[String]) -> Option<Self> {
        let role = Self::from_cmdline(cmdline)?;
        let forked = Self::from_cmdline(parent) == Some(role);
        Some(match role {
            Self::Role(Role::Nursery) if comm == SESSION_COMM || forked => Self::Session,
            Self::Runner if comm == LISTENER_COMM || (forked && filtered) => Self::Accepting,
            // In qmail-smtpd's place the parent is what was started: an admin's program.
            Self::Beside | Self::Program if comm == SESSION_COMM || (forked && filtered) => Self::Alone,
            Self::Runner | Self::Beside if forked => Self::Program,
            Self::Beside if comm == QUEUE_COMM && !filtered => Self::BesideQueue,
            role => role,
        })
    }

    /// What was started by that command line: for qmail-smtpd a program.
    pub(super) fn from_cmdline(cmdline: &[String]) -> Option<Self> {
        let name = cmdline.first()?.rsplit('/').next()?;
        let mut words = cmdline.iter().skip(1).map(String::as_str).filter(|word| !word.starts_with('-'));
        match name {
            "tcpserver" => return Some(Self::Runner),
            name if name.starts_with("qmail-smtpd") || name == "gatepost-qmail-smtpd" => return Some(Self::Program),
            _ => {}
        }
        match words.next()? {
            "serve" | "try" => Some(Self::Launcher),
            "role" => Some(Role::named(words.next()?)?.into()),
            "inetd" => Some(Self::Beside),
            "tcpserver" => Some(Self::Runner),
            "qmail-smtpd" => Some(Self::Program),
            _ => None,
        }
    }
}

/// What a session calls itself.
const SESSION_COMM: &str = "gp-session";
/// What tcpserver's listener calls itself.
const LISTENER_COMM: &str = "listener";
/// What the process beside a session of `gatepost inetd` calls itself when it runs the queue program.
const QUEUE_COMM: &str = "gp-queue";
/// How many ancestors are looked at to find the runner that has started a program.
const ANCESTORS: usize = 16;

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        Self::Role(role)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Process ids of every gatepost process that plays a role, in ascending order: those that run the same file as the
/// caller, or whose argv says `gatepost role …`, `gatepost serve` or the like; and of what tcpserver has executed.
///
/// # Errors
/// /proc cannot be listed.
pub fn find_gatepost() -> io::Result<Vec<u32>> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid != own && role_of(pid).is_some() {
            found.push(pid);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The role of a process, if it is one of gatepost's, or was executed by one.
pub(super) fn role_of(pid: u32) -> Option<RoleName> {
    let status = read_status(pid)?;
    let cmdline = read_cmdline(pid).ok()?;
    let role = is_gatepost(pid, &cmdline).then(|| {
        let parent = read_cmdline(status.parent).unwrap_or_default();
        RoleName::guess(&cmdline, (&status.name, status.seccomp.mode == 2), &parent)
    });
    role.flatten().or_else(|| is_below_a_runner(status.parent).then_some(RoleName::Program))
}

fn is_gatepost(pid: u32, cmdline: &[String]) -> bool {
    let name = cmdline.first().and_then(|first| first.rsplit('/').next());
    matches!(name, Some("gatepost" | "gatepost-qmail-smtpd")) || is_ours(pid)
}

fn is_below_a_runner(mut pid: u32) -> bool {
    for _ in 0..ANCESTORS {
        if pid <= 1 {
            return false;
        }
        let Ok(cmdline) = read_cmdline(pid) else { return false };
        if RoleName::from_cmdline(&cmdline) == Some(RoleName::Runner) && is_gatepost(pid, &cmdline) {
            return true;
        }
        pid = read_status(pid).map_or(0, |status| status.parent);
    }
    false
}
