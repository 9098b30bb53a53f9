//! Which processes are gatepost's, and which role each plays.

use super::facts::{is_ours, read_cmdline, read_comm, read_parent};
use gatepost_wire::control::Role;
use std::fmt;
use std::io;

/// A row of the table of processes: the roles that the launcher executes, and the two processes that it doesn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoleName {
    /// The launcher itself.
    Launcher,
    /// A session, which the nursery forks.
    Session,
    /// A role that the launcher executes.
    Role(Role),
}

impl RoleName {
    /// The word shown in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Launcher => "launcher",
            Self::Session => "session",
            Self::Role(role) => role.name(),
        }
    }

    /// The role that a command line and its parent's tell of. A session is a nursery's child that was not executed anew,
    /// so it shows its parent's command line; its name (`gp-session`) is its own choice and only the second sign.
    #[must_use]
    pub(super) fn guess(cmdline: &[String], comm: &str, parent: &[String]) -> Option<Self> {
        let role = Self::from_cmdline(cmdline)?;
        if role != Self::Role(Role::Nursery) {
            return Some(role);
        }
        let forked = comm == SESSION_COMM || Self::from_cmdline(parent) == Some(Self::Role(Role::Nursery));
        Some(if forked { Self::Session } else { Self::Role(Role::Nursery) })
    }

    fn from_cmdline(cmdline: &[String]) -> Option<Self> {
        let mut words = cmdline.iter().skip(1).map(String::as_str).filter(|word| !word.starts_with('-'));
        match words.next()? {
            "serve" | "try" => Some(Self::Launcher),
            "role" => Some(Role::named(words.next()?)?.into()),
            _ => None,
        }
    }
}

/// What a session calls itself.
const SESSION_COMM: &str = "gp-session";

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
/// caller, or whose argv says `gatepost role …`, `gatepost serve` or `gatepost try`.
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

/// The role of a process, if it is one of gatepost's.
pub(super) fn role_of(pid: u32) -> Option<RoleName> {
    let cmdline = read_cmdline(pid).ok()?;
    if !(named_gatepost(&cmdline) || is_ours(pid)) {
        return None;
    }
    let parent = read_parent(pid).and_then(|parent| read_cmdline(parent).ok()).unwrap_or_default();
    RoleName::guess(&cmdline, &read_comm(pid).unwrap_or_default(), &parent)
}

fn named_gatepost(cmdline: &[String]) -> bool {
    cmdline.first().and_then(|first| first.rsplit('/').next()) == Some("gatepost")
}
