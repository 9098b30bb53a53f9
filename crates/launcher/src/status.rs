//! What `gatepost status` says. Pure: facts in, lines out.

use crate::admin::Answer;
use gatepost_sys::process::ProcessId;
use gatepost_wire::control::Role;
use std::fmt::Write;
use std::time::Duration;

/// What the launcher knows of itself.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// No new sessions any more.
    pub(crate) draining: bool,
    /// The backends, that of `[backend]` first, and whether each has passed its proof or needs not.
    pub(crate) backends: Vec<(String, bool)>,
    /// A name server answers.
    pub(crate) names: bool,
    /// How long this program has run in this process.
    pub(crate) since: Duration,
    /// An earlier program's roles serve, because ours could not begin.
    pub(crate) retry: bool,
    /// Why the last reload was refused.
    pub(crate) refused: Option<String>,
    /// The version of the program that runs.
    pub(crate) version: &'static str,
    /// Another program lies where ours did.
    pub(crate) outdated: bool,
    /// The roles that the configuration needs, with the process of each that serves.
    pub(crate) roles: Vec<(Role, Option<ProcessId>)>,
    /// Earlier configurations that sessions still have.
    pub(crate) earlier: usize,
}

/// What is said of the backend of a route that has not passed its proof.
pub(crate) const LATER: &str =
    "cannot be asked yet whether it relays for strangers: mail for it has to come again (4yz)";

/// Exit status 2: somebody should look.
const LOOK: u8 = 2;

/// The answer to `gatepost status`.
pub(crate) fn answer(state: &State) -> Answer {
    let whole = state.roles.iter().all(|(_, pid)| pid.is_some());
    let proved = state.backends.iter().all(|(_, proved)| *proved);
    let well = whole && proved && state.names && !state.draining && !state.retry && state.refused.is_none();
    let service = match (state.draining, whole) {
        (true, _) => "ending: no new sessions, those under way may end",
        (false, true) => "serving",
        (false, false) => "serving, but a role is away",
    };
    let several = state.backends.len() > 1;
    let away = !state.backends.iter().any(|(_, proved)| *proved);
    let backend = |(name, proved): &(String, bool)| {
        let said = match (proved, several && !away) {
            (true, _) => "ready",
            (false, true) => LATER,
            (false, false) => {
                "cannot be asked yet whether it relays for strangers: clients are told to come again (421)"
            }
        };
        if several { format!("backend  {name}: {said}\n") } else { format!("backend  {said}\n") }
    };
    let backends: String = state.backends.iter().map(backend).collect();
    let names = if state.names { "a name server answers" } else { "no name server answers: clients have no names" };
    let program = match (state.retry, state.outdated) {
        (true, _) => "could not begin its roles, those of the earlier one serve; it is tried again",
        (false, true) => "another one lies there: gatepost reload takes it",
        (false, false) => "the one that lies there",
    };
    let reload = state
        .refused
        .as_deref()
        .map_or("the last one was taken, if there was one", |why| why.lines().next().unwrap_or(why));
    let roles: Vec<String> = state
        .roles
        .iter()
        .map(|(role, pid)| match pid {
            Some(pid) => format!("{} {pid}", role.name()),
            None => format!("{} AWAY", role.name()),
        })
        .collect();
    let minutes = state.since.as_secs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let text = format!(
        "service  {service}\n{backends}names    {names}\nprogram  {}, {program}; runs for {hours} h {minutes} min\n\
         reload   {reload}\nroles    {}\nearlier configurations in use: {}\n",
        state.version,
        roles.join(", "),
        state.earlier
    );
    Answer { status: if well { 0 } else { LOOK }, text }
}

/// A line for each role that `gatepost top` shows: `role NAME PID`; 0: it is away.
pub(crate) fn roles(state: &State) -> String {
    let mut text = String::new();
    for (role, pid) in &state.roles {
        // Writing to memory cannot fail.
        let _ = writeln!(text, "role {} {}", role.name(), pid.unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_13_status_says_what_somebody_should_look_at() {
        let state = |nursery| State {
            draining: false,
            backends: vec![("the backend".to_owned(), true)],
            names: true,
            since: Duration::from_secs(7260),
            retry: false,
            refused: None,
            version: "1.2.3",
            outdated: false,
            roles: vec![(Role::Listener, Some(7)), (Role::Nursery, nursery)],
            earlier: 1,
        };
        let well = state(Some(8));
        let two = |proved| vec![("the backend".to_owned(), true), ("the route of lists.test".to_owned(), proved)];
        for (state, status, says) in [
            (well.clone(), 0, "service  serving\n"),
            (well.clone(), 0, "program  1.2.3, the one that lies there; runs for 2 h 1 min"),
            (State { outdated: true, ..well.clone() }, 0, "gatepost reload takes it"),
            (State { draining: true, ..well.clone() }, 2, "ending"),
            (State { backends: vec![("the backend".to_owned(), false)], ..well.clone() }, 2, "come again (421)"),
            (State { backends: two(true), ..well.clone() }, 0, "backend  the route of lists.test: ready\n"),
            (
                State { backends: two(false), ..well.clone() },
                2,
                "backend  the route of lists.test: cannot be asked yet whether it relays for strangers: mail for it",
            ),
            (State { names: false, ..well.clone() }, 2, "no name server answers"),
            (State { retry: true, ..well.clone() }, 2, "those of the earlier one serve"),
            (State { refused: Some("no\nmore".into()), ..well }, 2, "reload   no\n"),
            (state(None), 2, "nursery AWAY"),
        ] {
            let said = answer(&state);
            assert_eq!(said.status, status, "{}", said.text);
            assert!(said.text.contains(says) && said.text.contains("listener 7"), "{}", said.text);
            assert!(said.text.lines().count() <= 10, "{}", said.text);
        }
        assert_eq!(roles(&state(None)), "role listener 7\nrole nursery 0\n");
    }
}
