//! Handoff and the queue role: whole messages for a queue program, and what became of them. The queue role runs the program,
//! so it decides nothing: what it is told is complete, judged and of our own making.

use crate::codec::{Message, Reader, WireError, Writer};
use std::net::SocketAddr;

/// Handoff to queue. A message is a `Begin`, its recipients and a `Commit`, without anything else between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submit<'a> {
    /// A message begins.
    Begin {
        /// Names the message in [`Done`].
        ticket: u32,
        /// The client, for the program's environment.
        client: SocketAddr,
        /// The address it came to.
        local: SocketAddr,
        /// The sender as qmail's envelopes have it; 1002 octets at most, no NUL.
        sender: &'a [u8],
    },
    /// A recipient, likewise.
    Recipient(&'a [u8]),
    /// One descriptor: the content, lines ended by LF, read from where it stands. The envelope is complete: queue it. Whoever
    /// dies before this has queued nothing.
    Commit,
}

impl<'a> Message<'a> for Submit<'a> {
    fn tag(&self) -> u8 {
        match self {
            Submit::Begin { .. } => 1,
            Submit::Recipient(_) => 2,
            Submit::Commit => 3,
        }
    }
    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Submit::Begin { ticket, client, local, sender } => {
                w.u32(*ticket);
                w.socket_addr(*client);
                w.socket_addr(*local);
                w.bytes16(sender);
            }
            Submit::Recipient(recipient) => w.bytes16(recipient),
            Submit::Commit => {}
        }
    }
    fn read(tag: u8, r: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match tag {
            1 => Submit::Begin {
                ticket: r.u32()?,
                client: r.socket_addr()?,
                local: r.socket_addr()?,
                sender: r.bytes16()?,
            },
            2 => Submit::Recipient(r.bytes16()?),
            3 => Submit::Commit,
            _ => return Err(WireError::Tag(tag)),
        })
    }
}

/// Queue to handoff: what became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Which message.
    pub ticket: u32,
    /// What that means for it.
    pub class: Class,
    /// How the program ended, for the log.
    pub end: End,
    /// The program's process id, qmail's `qp`; 0: there was no process.
    pub pid: u32,
}

/// What a queue program's end means, by qmail's table of exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It has the message.
    Accepted,
    /// Not now.
    Temporary,
    /// Never.
    Permanent,
}

/// How a queue program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exit(u8),
    /// By this signal.
    Signal(u8),
    /// Not in time: it may or may not have the message.
    Late,
    /// Who waited for it died: likewise.
    Unknown,
    /// It could not be started.
    NotRun,
}

impl Message<'_> for Done {
    fn tag(&self) -> u8 {
        1
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.ticket);
        w.u8(match self.class {
            Class::Accepted => 0,
            Class::Temporary => 1,
            Class::Permanent => 2,
        });
        let (kind, number) = match self.end {
            End::Exit(status) => (0, status),
            End::Signal(signal) => (1, signal),
            End::Late => (2, 0),
            End::Unknown => (3, 0),
            End::NotRun => (4, 0),
        };
        w.u8(kind);
        w.u8(number);
        w.u32(self.pid);
    }
    fn read(tag: u8, r: &mut Reader<'_>) -> Result<Self, WireError> {
        if tag != 1 {
            return Err(WireError::Tag(tag));
        }
        Ok(Self {
            ticket: r.u32()?,
            class: match r.u8()? {
                0 => Class::Accepted,
                1 => Class::Temporary,
                2 => Class::Permanent,
                _ => return Err(WireError::Value("class")),
            },
            end: match (r.u8()?, r.u8()?) {
                (0, status) => End::Exit(status),
                (1, signal) => End::Signal(signal),
                (2, 0) => End::Late,
                (3, 0) => End::Unknown,
                (4, 0) => End::NotRun,
                _ => return Err(WireError::Value("end")),
            },
            pid: r.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Messages};

    #[test]
    fn what_is_told_is_heard() {
        let (client, local) = ("192.0.2.9:4713".parse().unwrap(), "[2001:db8::1]:25".parse().unwrap());
        for submit in
            [Submit::Begin { ticket: 7, client, local, sender: b"" }, Submit::Recipient(b"a b@ok.test"), Submit::Commit]
        {
            assert_eq!(Messages::<Submit<'_>>::one(Frame::of(&submit).bytes()), Ok(submit));
        }
        for class in [Class::Accepted, Class::Temporary, Class::Permanent] {
            for end in [End::Exit(31), End::Signal(9), End::Late, End::Unknown, End::NotRun] {
                let done = Done { ticket: u32::MAX, class, end, pid: 18_322 };
                assert_eq!(Messages::<Done>::one(Frame::of(&done).bytes()), Ok(done));
            }
        }
    }
}
