//! What `gatepost status` says. Pure: facts in, lines out.

use crate::admin::Answer;
use gatepost_sys::process::ProcessId;
use gatepost_wire::control::Role;

/// What the launcher knows of itself.
#[derive(Debug)]
pub(crate) struct State {
    /// No new sessions any more.
    pub(crate) draining: bool,
    /// The backend has passed its proof, or none has to.
    pub(crate) proved: bool,
    /// The roles that the configuration needs, with the process of each that serves.
    pub(crate) roles: Vec<(Role, Option<ProcessId>)>,
    /// Earlier configurations that sessions still have.
    pub(crate) earlier: usize,
}

/// Exit status 2: somebody should look.
const LOOK: u8 = 2;

/// The answer to `gatepost status`.
pub(crate) fn answer(state: &State) -> Answer {
    let whole = state.roles.iter().all(|(_, pid)| pid.is_some());
    let well = whole && state.proved && !state.draining;
    let service = match (state.draining, whole) {
        (true, _) => "ending: no new sessions, those under way may end",
        (false, true) => "serving",
        (false, false) => "serving, but a role is away",
    };
    let backend = if state.proved {
        "ready"
    } else {
        "cannot be asked yet whether it relays for strangers: clients are told to come again (451)"
    };
    let roles: Vec<String> = state
        .roles
        .iter()
        .map(|(role, pid)| match pid {
            Some(pid) => format!("{} {pid}", role.name()),
            None => format!("{} AWAY", role.name()),
        })
        .collect();
    let text = format!(
        "service  {service}\nbackend  {backend}\nroles    {}\nearlier configurations in use: {}\n",
        roles.join(", "),
        state.earlier
    );
    Answer { status: if well { 0 } else { LOOK }, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_13_status_says_what_somebody_should_look_at() {
        for (draining, proved, nursery, status, says) in [
            (false, true, Some(8), 0, "service  serving\n"),
            (true, true, Some(8), 2, "ending"),
            (false, false, Some(8), 2, "come again (451)"),
            (false, true, None, 2, "nursery AWAY"),
        ] {
            let roles = vec![(Role::Listener, Some(7)), (Role::Nursery, nursery)];
            let said = answer(&State { draining, proved, roles, earlier: 1 });
            assert_eq!(said.status, status, "{}", said.text);
            assert!(said.text.contains(says) && said.text.contains("listener 7"), "{}", said.text);
        }
    }
}
