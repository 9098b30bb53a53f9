//! Listener and the roles that serve sessions. Who the client is is said here and nowhere else (P4): no message that a
//! session can send carries an address.

use crate::codec::{Message, Reader, WireError, Writer};
use gatepost_smtp::envelope::CloseReason;
use std::fmt;
use std::net::SocketAddr;

/// Names a session in logs, replies and between processes. Unique while gatepost runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

/// Listener to nursery: begin a session. Descriptors: the client, the session's end towards handoff and, when `tls`,
/// its end towards the keyholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The new session.
    pub id: SessionId,
    /// Index of the `[[listen]]` it came in by.
    pub listener: u8,
    /// A keyholder end is among the descriptors.
    pub tls: bool,
    /// Slots are scarce: the session is to have little patience.
    pub stress: bool,
}

impl Message<'_> for Start {
    fn tag(&self) -> u8 {
        1
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.u64(self.id.0);
        w.u8(self.listener);
        w.bool(self.tls);
        w.bool(self.stress);
    }
    fn read(tag: u8, r: &mut Reader<'_>) -> Result<Self, WireError> {
        match tag {
            1 => Ok(Self { id: SessionId(r.u64()?), listener: r.u8()?, tls: r.bool()?, stress: r.bool()? }),
            _ => Err(WireError::Tag(tag)),
        }
    }
}

/// Nursery to listener: a session is over and its process reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Which session.
    pub id: SessionId,
    /// How its process ended.
    pub how: End,
}

/// How a session's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Exit status; see [`exit_status`].
    Exit(u8),
    /// Killed by this signal: a crash, which earns the peer a penalty.
    Signal(u8),
}

/// The exit status of a session that was closed for `reason`; what fails before it has a reason has that of
/// [`CloseReason::Internal`].
#[must_use]
pub const fn exit_status(reason: CloseReason) -> u8 {
    match reason {
        CloseReason::Internal => 111,
        other => other as u8,
    }
}

/// Why a session with this exit status was closed.
#[must_use]
pub fn close_reason(status: u8) -> Option<CloseReason> {
    CloseReason::ALL.iter().copied().find(|reason| exit_status(*reason) == status)
}

impl Message<'_> for Ended {
    fn tag(&self) -> u8 {
        1
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.u64(self.id.0);
        match self.how {
            End::Exit(status) => {
                w.u8(0);
                w.u8(status);
            }
            End::Signal(signal) => {
                w.u8(1);
                w.u8(signal);
            }
        }
    }
    fn read(tag: u8, r: &mut Reader<'_>) -> Result<Self, WireError> {
        if tag != 1 {
            return Err(WireError::Tag(tag));
        }
        let id = SessionId(r.u64()?);
        let how = match (r.u8()?, r.u8()?) {
            (0, status) => End::Exit(status),
            (1, signal) => End::Signal(signal),
            _ => return Err(WireError::Value("end")),
        };
        Ok(Self { id, how })
    }
}

/// Listener to handoff: a session begins; handoff's end of its channel is the descriptor. The channel is the identity:
/// whatever arrives on it is from this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// The new session.
    pub id: SessionId,
    /// The client, as accept(2) gave it; IPv4-mapped addresses already made IPv4.
    pub client: SocketAddr,
    /// The address it came to.
    pub local: SocketAddr,
    /// Index of the `[[listen]]` it came in by.
    pub listener: u8,
}

impl Message<'_> for Open {
    fn tag(&self) -> u8 {
        1
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.u64(self.id.0);
        w.socket_addr(self.client);
        w.socket_addr(self.local);
        w.u8(self.listener);
    }
    fn read(tag: u8, r: &mut Reader<'_>) -> Result<Self, WireError> {
        match tag {
            1 => Ok(Self {
                id: SessionId(r.u64()?),
                client: r.socket_addr()?,
                local: r.socket_addr()?,
                listener: r.u8()?,
            }),
            _ => Err(WireError::Tag(tag)),
        }
    }
}

/// Listener to keyholder: a session that may ask for signatures; the keyholder's end of its channel is the descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenKey {
    /// The new session.
    pub id: SessionId,
}

impl Message<'_> for OpenKey {
    fn tag(&self) -> u8 {
        1
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.u64(self.id.0);
    }
    fn read(tag: u8, r: &mut Reader<'_>) -> Result<Self, WireError> {
        match tag {
            1 => Ok(Self { id: SessionId(r.u64()?) }),
            _ => Err(WireError::Tag(tag)),
        }
    }
}
