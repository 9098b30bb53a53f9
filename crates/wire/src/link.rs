//! Listener and the roles that serve sessions. These messages, and no others, tell who the client is (P4): a session can send no
//! message with an address.

use crate::declare::{fields, foreign, tagged};
use gatepost_smtp::envelope::CloseReason;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Identifies a session in logs, in replies and between processes. Unique while gatepost runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub u64);

foreign! { SessionId { 0: u64, } }

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

fields! {
    /// Listener to nursery: begin a session, with [`StartDescriptors`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Start {
        /// The new session.
        pub id: SessionId,
        /// Index of the `[[listen]]` through which the client came.
        pub listener: u8,
        /// The descriptors include a keyholder end.
        pub tls: bool,
        /// Slots are scarce: the session has lower limits and shorter timeouts.
        pub stress: bool,
    }
}

/// The descriptors that come with a [`Start`]. `T` is a descriptor, owned or borrowed.
#[derive(Debug, PartialEq, Eq)]
pub struct StartDescriptors<T> {
    /// The client.
    pub client: T,
    /// The session's end towards handoff.
    pub handoff: T,
    /// The session's end towards the keyholder, where TLS is spoken.
    pub keyholder: Option<T>,
}

impl<T> StartDescriptors<T> {
    /// As they are sent.
    #[must_use]
    pub fn into_list(self) -> Vec<T> {
        [self.client, self.handoff].into_iter().chain(self.keyholder).collect()
    }

    /// As they were received with `start`; `None`: too many or too few.
    #[must_use]
    pub fn from_list(start: &Start, list: Vec<T>) -> Option<Self> {
        let mut list = list.into_iter();
        let (client, handoff) = (list.next()?, list.next()?);
        let descriptors = Self { client, handoff, keyholder: list.next() };
        (descriptors.keyholder.is_some() == start.tls && list.next().is_none()).then_some(descriptors)
    }
}

fields! {
    /// Nursery to listener: a session is over and its process reaped.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Ended {
        /// Which session.
        pub id: SessionId,
        /// How its process ended.
        pub how: End,
    }
}

tagged! {
    /// How a session's process ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum End {
        /// With this exit status; see [`exit_status`].
        0 => Exit(status: u8),
        /// By this signal: a crash, which earns the peer a penalty.
        1 => Signal(signal: u8),
    }
}

/// The exit status of a session that was closed for `reason`. A session that fails before it has begun exits with that of
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
    CloseReason::ALL.into_iter().find(|reason| exit_status(*reason) == status)
}

fields! {
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
        /// Index of the `[[listen]]` through which the client came.
        pub listener: u8,
    }
}

fields! {
    /// Listener to keyholder: a session that may ask for signatures; the keyholder's end of its channel is the descriptor.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct OpenKey {
        /// The new session.
        pub id: SessionId,
        /// Its client, among whose network's sessions it waits for its turn.
        pub client: IpAddr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_8_the_descriptors_of_a_start_are_those_that_were_sent_and_no_others() {
        for tls in [false, true] {
            let start = Start { id: SessionId(1), listener: 0, tls, stress: false };
            let sent = || StartDescriptors { client: 'c', handoff: 'h', keyholder: tls.then_some('k') };
            assert_eq!(StartDescriptors::from_list(&start, sent().into_list()), Some(sent()));
            let right = sent().into_list().len();
            for length in (0..5).filter(|length| *length != right) {
                assert_eq!(StartDescriptors::from_list(&start, vec!['x'; length]), None, "{length} with tls={tls}");
            }
        }
    }
}
