//! `[limits]`.

use crate::facts::Limits;
use crate::fault::Page;
use crate::keys::Kind::{Duration, Number, Size};
use crate::keys::Unset::{Is, Said};
use crate::keys::{GIB, Table, keys, kib};
use crate::section::Section;

const TIB: u64 = 1024 * GIB;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "limits",
    repeated: false,
    text: "How much of everything there is. While more than three quarters of the sessions are taken, a new one has 10 seconds for \
           a command and one mistake.",
    keys: keys! {
        /// Memory of a session: its RLIMIT_DATA.
        // Less than this and TLS has no room for a large certificate chain.
        "data" = Size(kib(512), GIB), Is("\"1MiB\""), since "0.1", as "\"2MiB\"";
        /// Sessions at once. Each of them is a process.
        "sessions" = Number(1, 100_000), Is("1000"), since "0.1", as "3000";
        /// Sessions at once from one IPv4 address or IPv6 /64.
        "sessions_per_address" = Number(1, 100_000), Is("20"), since "0.1", as "50";
        /// Offences of one address before it is slowed down: abuse weighs 3, a failed handshake 1, and ten seconds forgive 1.
        /// 0: they are not counted.
        "offences" = Number(0, 1_000_000), Is("30"), since "0.1", as "60";
        /// The largest message, octets. No more than the backend takes.
        // RFC 5321 §4.5.3.1.7 wants room for 64 KiB at least.
        "message_size" = Size(kib(64), 16 * GIB), Is("\"50MiB\""), since "0.1", as "\"25MiB\"";
        /// Octets of all content files together; clients share them by network. At least `message_size`.
        "spool_size" = Size(kib(64), 1024 * TIB), Said("20 times `message_size`"), since "0.1", as "\"2GiB\"";
        /// Octets that content files leave free on the file system of the spool, for the others who write there.
        "spool_free" = Size(0, 1024 * TIB), Said("twice `message_size`"), since "0.1", as "\"1GiB\"";
        /// Recipients of one message.
        // RFC 5321 §4.5.3.1.8 wants room for 100 at least.
        "recipients" = Number(100, 65_535), Is("1000"), since "0.1", as "200";
        /// `Received` fields of a message. One with more is in a loop and is refused.
        // RFC 5321 §6.3 wants a large number, at least 100 as a rule; common servers have 25 to 100.
        "hops" = Number(25, 1000), Is("100"), since "0.1", as "50";
        /// The longest wait for a command.
        "command_timeout" = Duration(1, 3600), Is("\"5m\""), since "0.1", as "\"2m\"";
        /// The longest silence within content.
        "content_timeout" = Duration(1, 3600), Is("\"5m\""), since "0.1", as "\"10m\"";
        /// Octets a second that content must have, on the average of five minutes. 0: any.
        "minimum_rate" = Number(0, 1_000_000), Is("100"), since "0.1", as "500";
        /// The longest that a session lasts. Content that has begun may finish, as long as it keeps `minimum_rate`.
        "session_time" = Duration(1, 86_400), Is("\"1h\""), since "0.1", as "\"30m\"";
        /// The longest wait, at the end of gatepost, for transactions that are under way. Less than `TimeoutStopSec` of the unit,
        /// which kills what is left.
        "drain" = Duration(0, 3600), Is("\"60s\""), since "0.1", as "\"20s\"";
    },
};

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Limits {
    let section = root.one(page, "limits");
    let default = Limits::default();
    let sessions = section.number(page, "sessions", default.sessions);
    let message_size = section.size(page, "message_size", default.message_size);
    let spool_size = Limits::spool_size(message_size);
    let spool_free = Limits::spool_free(message_size);
    Limits {
        data: section.size(page, "data", default.data),
        sessions,
        sessions_per_address: section.number(page, "sessions_per_address", default.sessions_per_address),
        offences: section.number(page, "offences", default.offences),
        message_size,
        spool_size: section.size_within(page, "spool_size", message_size..=u64::MAX, spool_size),
        spool_free: section.size(page, "spool_free", spool_free),
        recipients: section.number(page, "recipients", default.recipients),
        hops: section.number(page, "hops", default.hops),
        command_timeout: section.duration(page, "command_timeout", default.command_timeout),
        content_timeout: section.duration(page, "content_timeout", default.content_timeout),
        minimum_rate: section.number(page, "minimum_rate", default.minimum_rate),
        session_time: section.duration(page, "session_time", default.session_time),
        drain: section.duration(page, "drain", default.drain),
    }
}
