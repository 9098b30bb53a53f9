//! Launcher and roles. What goes up to root is a fixed-size value from a small set (P2).

use crate::codec::{Message, Reader, WireError, Writer};

/// A role: a process that the launcher executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Role {
    Listener,
    Nursery,
    Keyholder,
    Handoff,
    Receiver,
    /// Runs the queue program: only where that is the backend.
    Queue,
}

impl Role {
    /// All of them, in the order in which the launcher starts them.
    pub const ALL: [Role; 6] =
        [Role::Receiver, Role::Queue, Role::Keyholder, Role::Handoff, Role::Nursery, Role::Listener];

    /// The word used in arguments, logs and account names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Listener => "listener",
            Role::Nursery => "nursery",
            Role::Keyholder => "keyholder",
            Role::Handoff => "handoff",
            Role::Receiver => "receiver",
            Role::Queue => "queue",
        }
    }

    /// The role with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Role> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let index = usize::from(r.u8()?);
        Self::ALL.get(index).copied().ok_or(WireError::Value("role"))
    }

    fn write(self, w: &mut Writer<'_>) {
        let index = Self::ALL.iter().position(|r| *r == self).unwrap_or(usize::MAX);
        w.u8(u8::try_from(index).unwrap_or(u8::MAX));
    }
}

/// What the launcher tells a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One descriptor: this role's end of a fresh link with `Role`. Replaces an earlier link with it; the earlier one
    /// is finished, not cut: a nursery that is being replaced ends when its last session has.
    Peer(Role),
    /// One descriptor: a listening socket, the `index`-th `[[listen]]` of the configuration. To the listener only.
    Socket(u8),
    /// The jail was found as it should be and all links are there: begin.
    Go,
    /// Take no new work, finish what is under way, then exit 0.
    Drain,
}

impl Message<'_> for Order {
    fn tag(&self) -> u8 {
        match self {
            Order::Peer(_) => 1,
            Order::Socket(_) => 2,
            Order::Go => 3,
            Order::Drain => 4,
        }
    }
    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Order::Peer(role) => role.write(w),
            Order::Socket(index) => w.u8(*index),
            Order::Go | Order::Drain => {}
        }
    }
    fn read(tag: u8, r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match tag {
            1 => Order::Peer(Role::read(r)?),
            2 => Order::Socket(r.u8()?),
            3 => Order::Go,
            4 => Order::Drain,
            _ => return Err(WireError::Tag(tag)),
        })
    }
}

/// What a role tells the launcher: a tag, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The jail is entered and proved from inside; look at me from outside.
    Jailed,
    /// Self-tests after `Go` passed: the role can serve.
    Ready,
    /// A session died by a signal (from the nursery): replace me by a freshly executed one.
    SessionCrashed,
}

impl Message<'_> for Report {
    fn tag(&self) -> u8 {
        match self {
            Report::Jailed => 1,
            Report::Ready => 2,
            Report::SessionCrashed => 3,
        }
    }
    fn write(&self, _: &mut Writer<'_>) {}
    fn read(tag: u8, _: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match tag {
            1 => Report::Jailed,
            2 => Report::Ready,
            3 => Report::SessionCrashed,
            _ => return Err(WireError::Tag(tag)),
        })
    }
}

/// The message of a direction in which nothing may be sent.
#[derive(Debug, Clone, Copy)]
pub enum Never {}

impl Message<'_> for Never {
    fn tag(&self) -> u8 {
        match *self {}
    }
    fn write(&self, _: &mut Writer<'_>) {
        match *self {}
    }
    fn read(tag: u8, _: &mut Reader<'_>) -> Result<Self, WireError> {
        Err(WireError::Tag(tag))
    }
}
