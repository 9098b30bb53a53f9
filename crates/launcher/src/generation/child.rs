//! A process of a generation.

use gatepost_sys::process::ProcessId;
use gatepost_wire::control::Role;
use gatepost_wire::resume::Phase;
use std::time::{Duration, Instant};

/// Longest wait for the answer to the question whether a role is alive. A role that hangs is ended then, as if it had died. Longer than a busy disk or machine makes a role wait.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// What has become of the question whether a role is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ping {
    /// It was never asked, or has answered.
    Answered,
    /// Asked then, and not again before it has answered.
    Asked(Instant),
    /// It has not answered for too long, and was ended.
    Unanswered,
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) role: Role,
    pub(super) pid: ProcessId,
    pub(super) phase: Phase,
    pub(super) since: Instant,
    pub(super) ping: Ping,
    /// When this nursery was replaced: it ends when its last session does.
    pub(super) retired: Option<Instant>,
}

impl Child {
    pub(super) fn new(role: Role, pid: ProcessId, now: Instant) -> Self {
        Self { role, pid, phase: Phase::Started, since: now, ping: Ping::Answered, retired: None }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.ping != Ping::Answered
    }

    pub(super) fn hangs(&self) -> bool {
        self.ping == Ping::Unanswered
    }

    pub(super) fn is_silent(&self, now: Instant) -> bool {
        matches!(self.ping, Ping::Asked(asked) if now.saturating_duration_since(asked) >= ANSWER_DEADLINE)
    }
}
