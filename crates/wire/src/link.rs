//! Listener and the roles that serve sessions. These messages, and no others, tell who the client is (P4): a session can send no
//! message with an address.

use crate::declare::{fields, foreign, tagged};
use gatepost_smtp::envelope::{CloseReason, Service};
use gatepost_smtp::keyword::Keywords;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

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
        /// Time before the greeting, milliseconds.
        pub pause: u16,
        /// Keywords that EHLO does not show.
        pub hidden: Keywords,
        /// What the client came for. With submission the descriptors include an auth end.
        pub service: Service,
    }
}

tagged! {
    /// Listener to nursery.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum NurseryOrder {
        /// Begin a session; with [`StartDescriptors`].
        1 => Start(start: Start),
        /// End this session's process, which was told to leave and has not. That is no crash.
        2 => Kill(id: SessionId),
        /// Another nursery has taken over: end with the last session.
        3 => Retire,
    }

    /// Listener to handoff.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum HandoffOrder {
        /// A session begins; with one descriptor.
        1 => Open(open: Open),
        /// Tell this session that its slot is needed for somebody else, unless the backend has its message. Answered by
        /// [`Left`].
        2 => Leave(id: SessionId),
    }
}

fields! {
    /// Handoff to listener: what came of [`HandoffOrder::Leave`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Left {
        /// Which session.
        pub id: SessionId,
        /// It is told, or gone, and no message of its will be delivered any more. False: one is being delivered.
        pub told: bool,
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
    /// The session's end towards auth, where mail is submitted.
    pub auth: Option<T>,
}

impl<T> StartDescriptors<T> {
    /// As they are sent.
    #[must_use]
    pub fn into_list(self) -> Vec<T> {
        [self.client, self.handoff].into_iter().chain(self.keyholder).chain(self.auth).collect()
    }

    /// As they were received with `start`; `None`: too many or too few.
    #[must_use]
    pub fn from_list(start: &Start, list: Vec<T>) -> Option<Self> {
        let mut list = list.into_iter();
        let (client, handoff) = (list.next()?, list.next()?);
        let submits = start.service == Service::Submission;
        let keyholder = if start.tls { Some(list.next()?) } else { None };
        let auth = if submits { Some(list.next()?) } else { None };
        list.next().is_none().then_some(Self { client, handoff, keyholder, auth })
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
        /// By this signal; see [`End::is_crash`].
        1 => Signal(signal: u8),
    }
}

/// Signals by which a session dies of what its client sent: faults, aborts, forbidden calls, spent limits. Not KILL and
/// TERM, which come from outside, and ALRM, by which a session ends that has lasted too long. Numbers of Linux on x86 and
/// ARM.
const CRASHES: [u8; 9] = [
    4,  // ILL
    5,  // TRAP
    6,  // ABRT: a panic
    7,  // BUS
    8,  // FPE
    11, // SEGV
    24, // XCPU
    25, // XFSZ
    31, // SYS: seccomp
];

impl End {
    /// What the client sent has ended the process: it may be an attempt to take it over, earns the client a penalty, and the
    /// nursery is replaced.
    #[must_use]
    pub fn is_crash(self) -> bool {
        matches!(self, Self::Signal(signal) if CRASHES.contains(&signal))
    }
}

/// In an exit status: the backend took a message of this session.
const DELIVERED: u8 = 0x80;

/// The exit status of a session that was closed for `reason`. A session that fails before it has begun exits with that of
/// [`CloseReason::Internal`].
#[must_use]
pub const fn exit_status(reason: CloseReason, delivered: bool) -> u8 {
    let status = match reason {
        CloseReason::Internal => 111,
        other => other as u8,
    };
    if delivered { status | DELIVERED } else { status }
}

/// Why a session with this exit status was closed.
#[must_use]
pub fn close_reason(status: u8) -> Option<CloseReason> {
    CloseReason::ALL.into_iter().find(|reason| exit_status(*reason, false) == status & !DELIVERED)
}

/// Whether the backend took a message of the session with this exit status.
#[must_use]
pub const fn has_delivered(status: u8) -> bool {
    status & DELIVERED != 0
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
        /// It may send to any domain, whatever its address.
        pub relay: bool,
        /// Octets of its largest message, below those of `message_size`; 0: those.
        pub message_size: u64,
        /// No rate of its is measured.
        pub exempt: bool,
        /// What it came for: for submission nothing is taken before auth says who it is.
        pub service: Service,
        /// Whose program it is, by the kernel's word: only with [`Service::Local`], where the addresses are of loopback.
        pub user: Option<u32>,
        /// What DNS lists have said of it before its greeting.
        pub listed: Weights,
    }

    /// The weights of DNS lists that list a client.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Weights {
        /// Of those that list whom to refuse.
        pub against: u32,
        /// Of those that speak for it.
        pub in_favour: u32,
    }
}

impl Open {
    /// The address by which shares count it: the client's, or that of its user.
    #[must_use]
    pub fn counted(&self) -> IpAddr {
        self.user.map_or(self.client.ip(), counted_user)
    }
}

/// An address by which shares tell a user of this machine from others: each has a network of its own, which nobody else can come
/// from (RFC 4193).
#[must_use]
pub fn counted_user(uid: u32) -> IpAddr {
    let (high, low) = (uid >> 24, uid & 0xff_ffff);
    let segment = |bits: u32| u16::try_from(bits & 0xffff).unwrap_or_default();
    Ipv6Addr::new(segment(0xfd00 | high), segment(low >> 8), segment((low & 0xff) << 8), 0, 0, 0, 0, 1).into()
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

fields! {
    /// Listener to auth: a session whose client may log in; auth's end of its channel is the descriptor.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct OpenAuth {
        /// The new session.
        pub id: SessionId,
        /// Its client.
        pub client: SocketAddr,
        /// It has auth's offer already, from the listener.
        pub offered: bool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_9_only_what_a_client_can_cause_is_a_crash() {
        for (name, signal, expected) in [
            ("HUP", 1, false),
            ("INT", 2, false),
            ("ILL", 4, true),
            ("TRAP", 5, true),
            ("ABRT", 6, true),
            ("BUS", 7, true),
            ("FPE", 8, true),
            ("KILL", 9, false),
            ("SEGV", 11, true),
            ("PIPE", 13, false),
            ("ALRM", 14, false),
            ("TERM", 15, false),
            ("XCPU", 24, true),
            ("XFSZ", 25, true),
            ("SYS", 31, true),
        ] {
            assert_eq!(End::Signal(signal).is_crash(), expected, "{name}");
            assert!(!End::Exit(signal).is_crash());
        }
    }

    #[test]
    fn every_exit_status_says_why_and_whether_a_message_was_delivered() {
        for reason in CloseReason::ALL {
            for delivered in [false, true] {
                let status = exit_status(reason, delivered);
                assert_eq!((close_reason(status), has_delivered(status)), (Some(reason), delivered));
            }
        }
    }

    #[test]
    fn issue_15_users_are_counted_in_networks_of_their_own() {
        let wide = |uid| match counted_user(uid) {
            IpAddr::V6(ip) => u128::from(ip) >> 88,
            IpAddr::V4(_) => panic!("an address that somebody else has"),
        };
        let users = [0, 1, 255, 256, 0xff_ffff, 0x100_0000, u32::MAX].map(wide);
        assert_eq!(std::collections::BTreeSet::from(users).len(), users.len());
        assert!(users.iter().all(|network| network >> 32 == 0xfd), "RFC 4193");
    }

    #[test]
    fn issue_8_the_descriptors_of_a_start_are_those_that_were_sent_and_no_others() {
        for (tls, service) in [false, true].into_iter().flat_map(|tls| Service::ALL.map(|service| (tls, service))) {
            let (id, hidden) = (SessionId(1), Keywords::default());
            let start = Start { id, listener: 0, tls, stress: false, pause: 0, hidden, service };
            let auth = (service == Service::Submission).then_some('a');
            let sent = || StartDescriptors { client: 'c', handoff: 'h', keyholder: tls.then_some('k'), auth };
            assert_eq!(StartDescriptors::from_list(&start, sent().into_list()), Some(sent()));
            let right = sent().into_list().len();
            for length in (0..6).filter(|length| *length != right) {
                assert_eq!(StartDescriptors::from_list(&start, vec!['x'; length]), None, "{length} with tls={tls}");
            }
        }
    }
}
