//! `[limits]`.

use crate::facts::Limits;
use crate::fault::Page;
use crate::section::Section;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The keys of the section.
pub(super) const KEYS: &[&str] = &[
    "data",
    "sessions",
    "sessions_per_address",
    "offences",
    "message_size",
    "spool_size",
    "spool_free",
    "recipients",
    "hops",
    "command_timeout",
    "content_timeout",
    "minimum_rate",
    "session_time",
    "drain",
];

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// RLIMIT_DATA of a session. Less than this and TLS has no room for a large certificate chain.
const DATA: RangeInclusive<u64> = 512 * KIB..=GIB;
/// A message: RFC 5321 §4.5.3.1.7 wants room for 64 KiB at least.
const MESSAGE_SIZE: RangeInclusive<u64> = 64 * KIB..=16 * GIB;
/// Content files together: from the largest message on.
const SPOOL_MAX: u64 = 1024 * TIB;
/// Recipients: RFC 5321 §4.5.3.1.8 wants room for 100 at least.
const RECIPIENTS: RangeInclusive<u16> = 100..=u16::MAX;
/// Hops of a loop: RFC 5321 §6.3 wants a large number, at least 100 as a rule; common servers have 25 to 100.
const HOPS: RangeInclusive<u32> = 25..=1000;
/// Octets a second.
const MINIMUM_RATE: RangeInclusive<u32> = 0..=1_000_000;
/// Each session is a process.
const SESSIONS: RangeInclusive<u32> = 1..=100_000;
const OFFENCES: RangeInclusive<u32> = 0..=1_000_000;
/// A wait for the client.
const CLIENT_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const SESSION_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// The unit kills what is left after its TimeoutStopSec.
const DRAIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Limits {
    let section = root.one(page, "limits");
    let default = Limits::default();
    let sessions = section.number(page, "sessions", SESSIONS, default.sessions);
    let message_size = section.size(page, "message_size", MESSAGE_SIZE, default.message_size);
    let spool_size = Limits::spool_size(message_size);
    let spool_free = Limits::spool_free(message_size);
    Limits {
        data: section.size(page, "data", DATA, default.data),
        sessions,
        sessions_per_address: section.number(page, "sessions_per_address", SESSIONS, default.sessions_per_address),
        offences: section.number(page, "offences", OFFENCES, default.offences),
        message_size,
        spool_size: section.size(page, "spool_size", message_size..=SPOOL_MAX, spool_size),
        spool_free: section.size(page, "spool_free", 0..=SPOOL_MAX, spool_free),
        recipients: section.number(page, "recipients", RECIPIENTS, default.recipients),
        hops: section.number(page, "hops", HOPS, default.hops),
        command_timeout: section.duration(page, "command_timeout", CLIENT_TIMEOUT, default.command_timeout),
        content_timeout: section.duration(page, "content_timeout", CLIENT_TIMEOUT, default.content_timeout),
        minimum_rate: section.number(page, "minimum_rate", MINIMUM_RATE, default.minimum_rate),
        session_time: section.duration(page, "session_time", SESSION_TIME, default.session_time),
        drain: section.duration(page, "drain", DRAIN, default.drain),
    }
}
