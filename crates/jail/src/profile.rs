//! The profiles: what each role may do, as one table.

use crate::calls::{
    ACCEPT, ADMIT, ASK, BACKEND, BASE, Call, DIAL, EPOLL, FORK, LOGINS, MAILDIR, REAP, RELINK, SPOOL, TALK, VIEW, WAIT,
};
use gatepost_sys::filter::{Allowed, Filter};
use gatepost_sys::process::Namespaces;
use gatepost_wire::control::Role;
use std::io;

const MIB: u64 = 1024 * 1024;

/// What one role may do.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// Whose profile.
    pub role: Role,
    /// The end of its account's name: `gatepost-` and this.
    pub account: &'static str,
    /// Place among the numeric ids that are used where there are no accounts.
    pub number: u32,
    /// Namespaces of its own.
    pub namespaces: Namespaces,
    /// RLIMIT_DATA, octets; the nursery's comes from `limits.data`.
    pub data: u64,
    /// RLIMIT_NOFILE: this many, and this many more for each session.
    pub open_files: (u64, u64),
    /// RLIMIT_FSIZE.
    pub file_size: FileSize,
    /// May fork: RLIMIT_NPROC is the number of sessions instead of 0.
    pub forks: bool,
    /// Its code lies on huge pages, where the system gives them: it serves each client, or forks who does.
    pub huge_pages: bool,
    /// Its system calls.
    pub calls: &'static [&'static [Call]],
}

const OWN: Namespaces = Namespaces { mount: true, pid: true, ipc: true, uts: true, net: false, user: false };
const NONE: Namespaces = Namespaces { mount: false, pid: false, ipc: false, uts: false, net: false, user: false };
const OWN_AND_NO_NET: Namespaces = Namespaces { net: true, ..OWN };

/// RLIMIT_FSIZE of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSize {
    /// It writes no file.
    Nothing,
    /// The largest message, and a little that is added to it.
    Message,
    /// The log, which whoever keeps it bounds.
    Unlimited,
}

macro_rules! profiles {
    ($($role:ident { $($fields:tt)* })*) => {
        /// The profile of `role`. The session's is the nursery's less [`FORK`], see [`crate::SessionSeal`].
        #[must_use]
        pub const fn of(role: Role) -> &'static Profile {
            match role {
                $(Role::$role => const { &Profile { role: Role::$role, $($fields)* } },)*
            }
        }
    };
}

profiles! {
    Observer {
        account: "log",
        number: 7,
        namespaces: OWN_AND_NO_NET,
        data: 16 * MIB,
        open_files: (64, 0),
        file_size: FileSize::Unlimited,
        forks: false,
        huge_pages: false,
        calls: &[BASE, WAIT, EPOLL, VIEW],
    }
    Listener {
        account: "listen",
        number: 0,
        // Listening sockets come from the launcher, so it needs no network of its own either.
        namespaces: OWN_AND_NO_NET,
        // For as many connections as may wait for the greeting, at 8 KiB each, see the launcher's slice.
        data: 128 * MIB,
        // Of each session it may hold the keyholder's end of a channel.
        open_files: (1024, 1),
        file_size: FileSize::Nothing,
        forks: false,
        huge_pages: false,
        calls: &[BASE, RELINK, EPOLL, ACCEPT],
    }
    Nursery {
        account: "session",
        number: 1,
        namespaces: OWN_AND_NO_NET,
        data: MIB,
        open_files: (32, 0),
        file_size: FileSize::Message,
        forks: true,
        huge_pages: true,
        calls: &[BASE, WAIT, TALK, FORK],
    }
    Keyholder {
        account: "key",
        number: 2,
        namespaces: OWN_AND_NO_NET,
        data: 16 * MIB,
        open_files: (64, 1),
        file_size: FileSize::Nothing,
        forks: false,
        huge_pages: true,
        calls: &[BASE, RELINK, WAIT, EPOLL],
    }
    Auth {
        account: "auth",
        number: 9,
        namespaces: OWN_AND_NO_NET,
        // One password is hashed at a time, in at most half of it.
        data: 160 * MIB,
        // As many connections with Dovecot as it has permits, and as many under way from the dialer.
        open_files: (192, 1),
        file_size: FileSize::Nothing,
        forks: false,
        huge_pages: false,
        calls: &[BASE, RELINK, EPOLL, LOGINS],
    }
    Handoff {
        account: "handoff",
        number: 4,
        // Its connections are the dialer's work.
        namespaces: OWN_AND_NO_NET,
        data: 256 * MIB,
        open_files: (128, 4),
        file_size: FileSize::Message,
        forks: false,
        huge_pages: true,
        calls: &[BASE, RELINK, EPOLL, BACKEND, SPOOL],
    }
    Dialer {
        account: "dial",
        number: 8,
        // On the host's network.
        namespaces: OWN,
        data: 16 * MIB,
        open_files: (64, 1),
        file_size: FileSize::Nothing,
        forks: false,
        huge_pages: false,
        calls: &[BASE, RELINK, EPOLL, DIAL],
    }
    Resolver {
        account: "dns",
        number: 3,
        // On the host's network, as the dialer: name servers are anywhere.
        namespaces: OWN,
        data: 16 * MIB,
        // A socket for each question under way.
        open_files: (512, 0),
        file_size: FileSize::Nothing,
        forks: false,
        huge_pages: false,
        calls: &[BASE, RELINK, EPOLL, ASK],
    }
    Receiver {
        account: "receiver",
        number: 5,
        namespaces: OWN_AND_NO_NET,
        data: 64 * MIB,
        open_files: (64, 2),
        file_size: FileSize::Message,
        forks: false,
        huge_pages: false,
        calls: &[BASE, RELINK, WAIT, EPOLL, SPOOL, MAILDIR],
    }
    Queue {
        account: "queue",
        number: 6,
        // What it runs needs the system as it is, and would inherit all of these: see `Unjailed::stay_outside`.
        namespaces: NONE,
        data: u64::MAX,
        open_files: (64, 2),
        file_size: FileSize::Message,
        forks: true,
        huge_pages: false,
        calls: &[],
    }
    Checker {
        account: "check",
        number: 10,
        // As for the queue role: what it runs asks the system's accounts, a directory server, a database.
        namespaces: NONE,
        data: u64::MAX,
        open_files: (64, 0),
        file_size: FileSize::Message,
        forks: true,
        huge_pages: false,
        calls: &[],
    }
}

/// The system calls of a session without a launcher, see [`crate::Alone`].
pub const ALONE_CALLS: &[&[Call]] = &[BASE, WAIT, TALK];

/// The system calls of the process beside such a session, see [`crate::Beside`].
pub(crate) const BESIDE_CALLS: &[&[Call]] = &[BASE, WAIT, EPOLL, DIAL, BACKEND, SPOOL, REAP];

/// The system calls of tcpserver's listener, see [`crate::AloneListener`].
pub(crate) const ALONE_LISTENER_CALLS: &[&[Call]] = &[BASE, EPOLL, ADMIT];

/// The same where names are looked up.
pub(crate) const ALONE_NAMES_CALLS: &[&[Call]] = &[BASE, EPOLL, ADMIT, ASK];

/// All profiles.
pub fn all() -> impl Iterator<Item = &'static Profile> {
    Role::ALL.into_iter().map(of)
}

impl Profile {
    /// Every permitted call, for reading and for tests.
    pub fn all_calls(&self) -> impl Iterator<Item = &'static Call> {
        self.calls.iter().flat_map(|table| table.iter())
    }

    /// The system call filter.
    ///
    /// # Errors
    /// A name in a table that no architecture has: a mistake there.
    pub fn filter(&self) -> io::Result<Filter> {
        Filter::allow(self.all_calls().map(allowed))
    }

    /// RLIMIT_NOFILE when `sessions` may be open at once.
    #[must_use]
    pub fn open_files(&self, sessions: u32) -> u64 {
        self.open_files.0.saturating_add(self.open_files.1.saturating_mul(u64::from(sessions)))
    }
}

pub(crate) fn allowed(call: &'static Call) -> Allowed<'static> {
    (call.name, call.when)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_its_own_profile_and_a_filter() {
        for role in Role::ALL {
            assert_eq!(of(role).role, role);
            assert!(of(role).filter().is_ok());
        }
    }

    #[test]
    fn issue_14_a_session_has_no_use_for_a_call_that_is_withdrawn_from_it() {
        let withdrawn = |call: &&Call| FORK.iter().any(|withdrawn| withdrawn.name == call.name);
        assert_eq!(of(Role::Nursery).all_calls().filter(withdrawn).count(), FORK.len(), "in FORK and in another table");
    }

    #[test]
    fn every_call_has_a_reason() {
        for call in all().flat_map(Profile::all_calls) {
            assert!(!call.reason.is_empty(), "{}", call.name);
        }
    }

    #[test]
    fn p3_no_network_facing_role_can_execute_a_program() {
        for profile in all() {
            assert!(profile.all_calls().all(|c| !c.name.starts_with("execve")), "{:?}", profile.role);
        }
    }
}
