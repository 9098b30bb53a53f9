//! Every message between processes, in both directions: bounded, typed, versioned.
//!
//! A frame is one datagram of a `SOCK_SEQPACKET` pair: a version octet, then messages, each behind its length. Messages,
//! slices and codes are declared by the macros in `declare.rs`, from which their writing, reading and largest size follow.
//! Descriptors are sent beside a frame, never inside it. A frame that cannot be read to its last octet is hostile: the
//! receiver closes the channel, which ends the sender's session and nothing else.
//!
//! | channel | direction | messages | descriptors |
//! |---|---|---|---|
//! | [`LauncherToRole`] | launcher → any role | [`control::Order`] | 1 with each but `Go`, `Drain`, `Ping`, `Cut` |
//! | [`RoleToLauncher`] | any role → launcher | [`control::Report`], fixed size | – |
//! | [`ListenerToNursery`] | listener → nursery | [`link::NurseryOrder`] | `Start`: client, handoff end, keyholder end if TLS, auth end if submission |
//! | [`NurseryToListener`] | nursery → listener | [`link::Ended`] | – |
//! | [`ListenerToHandoff`] | listener → handoff | [`link::HandoffOrder`] | `Open`: handoff's end |
//! | [`HandoffToListener`] | handoff → listener | [`link::Left`] | – |
//! | [`ListenerToKeyholder`] | listener → keyholder | [`link::OpenKey`] | keyholder's end |
//! | [`SessionToHandoff`] | session → handoff | [`session::Ask`] | – |
//! | [`HandoffToSession`] | handoff → session | [`session::Answer`] | `Spool`: 1 |
//! | [`HandoffToQueue`] | handoff → queue | [`queue::Submit`] | `Commit`: 1 |
//! | [`QueueToHandoff`] | queue → handoff | [`queue::Done`] | – |
//! | [`ToDialer`] | handoff, auth → dialer | [`dial::Dial`] | – |
//! | [`FromDialer`] | dialer → handoff, auth | [`dial::Dialed`] | `Connected`: 1 |
//! | [`HandoffToResolver`] | handoff → resolver | [`names::Ask`] | – |
//! | [`ResolverToHandoff`] | resolver → handoff | [`names::NamesNews`] | – |
//! | [`ListenerToAuth`] | listener → auth | [`link::OpenAuth`] | auth's end |
//! | [`AuthToListener`] | auth → listener | [`auth::Offers`] | – |
//! | [`SessionToAuth`] | session → auth | [`auth::Asked`] | – |
//! | [`AuthToSession`] | auth → session | [`auth::Answered`] | – |
//! | [`AuthToHandoff`] | auth → handoff | [`auth::LoggedIn`] | – |
//! | [`HandoffToAuth`] | handoff → auth | [`auth::Noted`] | – |
//! | [`AuthToChecker`] | auth → checker | [`check::Check`] | – |
//! | [`CheckerToAuth`] | checker → auth | [`check::Checked`] | – |
//! | [`ListenerToResolver`] | listener → resolver | [`names::AskList`] | – |
//! | [`ResolverToListener`] | resolver → listener | [`names::Listed`] | – |
//! | [`SessionToKeyholder`] | session → keyholder | [`sign::Sign`] | – |
//! | [`KeyholderToSession`] | keyholder → session | [`sign::Signature`] | – |
//! | [`RoleToObserver`] | any role, launcher → observer | [`observe::Tell`] | – |
//! | [`SessionToParent`] | session → parent | [`parent::Ask`] | – |
//! | [`ParentToSession`] | parent → session | [`parent::Answer`] | `Sign`: 1 |
//! | [`ListenerToRunner`] | tcpserver's listener → its runner | [`ucspi::Ask`] | `Start`: 1 |
//! | [`RunnerToListener`] | runner → listener | [`ucspi::Answer`] | `Rules`: 1 |
#![forbid(unsafe_code)]

pub mod auth;
pub mod check;
pub mod codec;
pub mod control;
mod declare;
pub mod dial;
pub mod event;
pub mod gauge;
pub mod known;
pub mod line;
pub mod link;
pub mod names;
pub mod network;
pub mod observe;
pub mod parent;
pub mod queue;
pub mod rate;
pub mod resume;
pub mod session;
pub mod sign;
pub mod slice;
pub mod tables;
pub mod terms;
pub mod ucspi;

pub use codec::{Frame, Messages, Value, WireError};

/// One direction of a channel: the set of messages that may be sent along it.
pub trait Direction {
    /// The messages of this direction, borrowed from the frame.
    type Message<'a>: Value<'a>;
    /// Octets of the largest frame with one message. A receiver needs a larger buffer only if frames may hold several.
    const FRAME_MAX: usize = codec::frame_max::<Self::Message<'static>>();
}

/// Largest frame, octets, version octet included. A receive buffer of this size is enough for any channel.
pub const FRAME_MAX: usize = 32 * 1024;

/// First octet of each frame. Both ends are the same binary, so a mismatch is a bug or an attack.
pub const VERSION: u8 = 1;

macro_rules! directions {
    ($($(#[$doc:meta])* $name:ident => $message:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub enum $name {}
        impl Direction for $name {
            type Message<'a> = $message;
        }
        const _: () = assert!(<$name as Direction>::FRAME_MAX <= FRAME_MAX, "a field has no bound, or one that is too large");
    )*};
}

directions! {
    /// Launcher to any role.
    LauncherToRole => control::Order;
    /// Any role to the launcher: fixed-size values only (P2).
    RoleToLauncher => control::Report;
    /// Listener to nursery.
    ListenerToNursery => link::NurseryOrder;
    /// Nursery to listener.
    NurseryToListener => link::Ended;
    /// Listener to handoff.
    ListenerToHandoff => link::HandoffOrder;
    /// Handoff to listener.
    HandoffToListener => link::Left;
    /// Listener to keyholder.
    ListenerToKeyholder => link::OpenKey;
    /// Session to handoff.
    SessionToHandoff => session::Ask<'a>;
    /// Handoff to session.
    HandoffToSession => session::Answer;
    /// Handoff to the queue role.
    HandoffToQueue => queue::Submit<'a>;
    /// Queue role to handoff.
    QueueToHandoff => queue::Done;
    /// Auth to the checker.
    AuthToChecker => check::Check<'a>;
    /// Checker to auth.
    CheckerToAuth => check::Checked;
    /// Handoff or auth to dialer.
    ToDialer => dial::Dial;
    /// Dialer to handoff or auth.
    FromDialer => dial::Dialed;
    /// Handoff to resolver.
    HandoffToResolver => names::Ask;
    /// Resolver to handoff.
    ResolverToHandoff => names::NamesNews;
    /// Listener to auth.
    ListenerToAuth => link::OpenAuth;
    /// Auth to listener.
    AuthToListener => auth::Offers;
    /// Session to auth.
    SessionToAuth => auth::Asked<'a>;
    /// Auth to session.
    AuthToSession => auth::Answered<'a>;
    /// Auth to handoff.
    AuthToHandoff => auth::LoggedIn<'a>;
    /// Handoff to auth.
    HandoffToAuth => auth::Noted;
    /// Listener to resolver.
    ListenerToResolver => names::AskList;
    /// Resolver to listener.
    ResolverToListener => names::Listed;
    /// Session to keyholder.
    SessionToKeyholder => sign::Sign<'a>;
    /// Keyholder to session.
    KeyholderToSession => sign::Signature<'a>;
    /// Session to parent: one connection, no launcher.
    SessionToParent => parent::Ask<'a>;
    /// Parent to session.
    ParentToSession => parent::Answer<'a>;
    /// Any role, and the launcher, to the observer.
    RoleToObserver => observe::Tell<'a>;
    /// tcpserver's listener to its runner.
    ListenerToRunner => ucspi::Ask<'a>;
    /// The runner to the listener.
    RunnerToListener => ucspi::Answer;
    /// A direction in which nothing may be sent.
    Nothing => control::Never;
}
