//! Launcher and roles. What a role sends to the launcher, which is root, is a fixed-size value from a small set (P2).

use crate::codec::{Reader, Value, WireError};
use crate::declare::{codes, tagged};
use crate::link::SessionId;
use gatepost_smtp::enumeration;
use std::net::IpAddr;

enumeration! {
    /// A role: a process that the launcher executes. In the order in which it starts them.
    #[allow(missing_docs)]
    pub enum Role {
        /// Holds the log.
        Observer,
        Receiver,
        /// Runs the queue program: only where that is the backend.
        Queue,
        /// Runs the checkpassword program: only where that knows the logins.
        Checker,
        /// Connects to the backends: only where there is one to connect to.
        Dialer,
        /// Asks name servers.
        Resolver,
        Keyholder,
        /// Checks passwords: only where mail is submitted.
        Auth,
        Handoff,
        Nursery,
        Listener,
    }
}

codes! { Role }

tagged! {
    /// What a role tells the launcher.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Report {
        /// The jail is entered and proved from inside; check it from outside.
        0 => Jailed,
        /// Self-tests after `Go` passed: the role can serve.
        1 => Ready,
        /// A session died by a signal (from the nursery): replace the nursery by a freshly executed one.
        2 => SessionCrashed,
        /// From handoff, before `Ready`: sessions may come, but the backend has not passed its proof, and until it has they get
        /// nothing but temporary refusals.
        3 => Waiting,
        /// The answer to `Ping`.
        4 => Alive,
        /// From the resolver, when it is so from now on: no name server answers, so that no client's name is known.
        5 => NoNames,
        /// From the resolver, the opposite of [`Report::NoNames`].
        6 => Names,
        /// From the resolver, before `Ready`: a DNS list of the configuration does not answer as one does.
        7 => NoLists,
        /// From handoff, before `Ready`, and again whenever it has changed: which backends have not passed their proof, a bit for
        /// each: the lowest for `[backend]`, the next for the first `[[route]]`.
        8 => Unproved(backends: u64),
        /// From handoff, before `Ready`: the backend refuses to relay for who has logged in.
        9 => NoLogins,
    }
}

impl Role {
    /// The name in arguments, logs and account names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Listener => "listener",
            Role::Nursery => "nursery",
            Role::Keyholder => "keyholder",
            Role::Auth => "auth",
            Role::Handoff => "handoff",
            Role::Dialer => "dialer",
            Role::Resolver => "resolver",
            Role::Receiver => "receiver",
            Role::Queue => "queue",
            Role::Checker => "checker",
            Role::Observer => "observer",
        }
    }

    /// The role with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Role> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

tagged! {
    /// What the launcher tells a role.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Order {
        /// One descriptor: this role's end of a new channel with that role. It replaces an earlier channel with that role,
        /// which is closed for sending only: a nursery that is being replaced ends when its last session has ended.
        1 => Peer(role: Role),
        /// One descriptor: a listening socket. To the listener: that of the `[[listen]]` with this index in the configuration. To
        /// the observer: one of those where the counters are read.
        2 => Socket(index: u8),
        /// The jail was checked from outside and all channels have been sent: begin.
        3 => Go,
        /// Take no new work, finish what is under way, then exit 0.
        4 => Drain,
        /// One descriptor: the observer's end of a new channel by which the launcher logs. To the observer only.
        5 => Lines,
        /// Answer `Alive` at once. To a role that serves; not sent again before the answer.
        6 => Ping,
        /// The time of a drain is over: log whose sessions are cut off, and end. To the listener only, which drains.
        7 => Cut,
        /// One descriptor: sealed memory with the compiled file of `rules` in `[admission]`, which is in force from now on. To the
        /// listener only.
        8 => Rules,
        /// One descriptor: sealed memory with another [`crate::slice::ResolverSlice`], which is in force from now on. To the
        /// resolver only.
        9 => Names,
        /// One descriptor: sealed memory with a [`crate::terms::NetworksSlice`], which is in force from now on. To the listener only.
        10 => Networks,
        /// One descriptor: sealed memory with another [`crate::tables::TablesSlice`], which is in force from now on. To handoff only.
        11 => Tables,
        /// One descriptor: a socket that is connected with syslog's, in the place of an earlier one. To the observer only, where lines go
        /// to syslog.
        12 => Syslog,
        /// One descriptor: the connection of an admin who looks on. All that is counted is written to it, and it is closed. To the
        /// observer only.
        20 => Look,
        /// One descriptor: the connection of an admin, who is told what comes of it. Tell these sessions to end. To the listener
        /// only.
        21 => Kick(whom: Whom),
        /// One descriptor: as above. Forget what this address has done. To the listener, which says so, and to handoff.
        22 => Forgive(address: IpAddr),
        /// One descriptor: as above. Say of each name server and DNS list whether it answers. To the resolver only.
        23 => Servers,
    }

    /// Whose sessions are meant.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Whom {
        /// All of this address.
        1 => Address(address: IpAddr),
        /// This one.
        2 => Session(id: SessionId),
    }
}

/// The message of a direction in which nothing may be sent.
#[derive(Debug, Clone, Copy)]
pub enum Never {}

impl Value<'_> for Never {
    const MAX: usize = 0;
    fn write(&self, _: &mut Vec<u8>, _: &'static str) -> Result<(), WireError> {
        match *self {}
    }
    fn read(_: &mut Reader<'_>, _: &'static str) -> Result<Self, WireError> {
        Err(WireError::Count)
    }
}
