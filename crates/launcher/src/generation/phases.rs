//! How long a role may stay in each phase of its start, and what it may report in which.

use gatepost_wire::control::{Report, Role};
use gatepost_wire::resume::Phase;
use std::time::Duration;

/// Longest wait for a role to enter its jail.
pub(super) const JAIL_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for a role's own tests.
pub(super) const READY_DEADLINE: Duration = Duration::from_secs(60);

/// Longest stay in a phase.
pub(super) fn deadline(phase: Phase) -> Option<Duration> {
    match phase {
        Phase::Started => Some(JAIL_DEADLINE),
        Phase::Going => Some(READY_DEADLINE),
        Phase::Waiting | Phase::Ready => None,
    }
}

/// What a role may report in which phase; a nursery's crash reports and what becomes of names besides. Anything else ends it (P2).
const PERMITTED: [(Phase, Report); 6] = [
    (Phase::Started, Report::Jailed),
    (Phase::Going, Report::Ready),
    (Phase::Going, Report::Waiting),
    (Phase::Waiting, Report::Ready),
    (Phase::Waiting, Report::Alive),
    (Phase::Ready, Report::Alive),
];

pub(super) fn permits(role: Role, phase: Phase, report: Report) -> bool {
    match report {
        Report::SessionCrashed => role == Role::Nursery && phase != Phase::Started,
        Report::Waiting if role != Role::Handoff => false,
        Report::Unproved(_) | Report::NoLogins => {
            role == Role::Handoff && matches!(phase, Phase::Going | Phase::Waiting)
        }
        Report::NoLists => role == Role::Resolver && phase == Phase::Going,
        Report::NoNames | Report::Names => role == Role::Resolver && matches!(phase, Phase::Going | Phase::Ready),
        _ => PERMITTED.contains(&(phase, report)),
    }
}
