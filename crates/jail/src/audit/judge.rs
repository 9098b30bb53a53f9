//! Facts held against what is expected of them.

use super::expect::{self, Bound, Expect, Expectations, NetRule, RootRule, UserRule, Wanted};
use super::facts::Facts;
use super::parse::{CAPABILITIES, Limit, Resource};
use super::role::RoleName;
use super::shared::Shared;
use gatepost_wire::control::Role;
use gatepost_wire::slice::Ground;
use std::fmt;
use std::io;

/// One thing that is weaker than it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, as /proc names it where it does.
    pub what: &'static str,
    /// What it must be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.what, self.expected, self.found)
    }
}

/// Findings as they gather.
#[derive(Default)]
struct Verdict(Vec<Finding>);

impl Verdict {
    fn add(&mut self, what: &'static str, expected: impl fmt::Display, found: impl fmt::Display) {
        self.0.push(Finding { what, expected: expected.to_string(), found: found.to_string() });
    }

    /// Holds what is known against a test; what is not known is a finding too (P7: fail closed).
    fn known<T>(
        &mut self,
        what: &'static str,
        expected: impl fmt::Display,
        fact: Option<T>,
        test: impl FnOnce(T) -> Option<String>,
    ) {
        match fact.map(test) {
            None => self.add(what, expected, "nothing: /proc does not show it to this user"),
            Some(Some(found)) => self.add(what, expected, found),
            Some(None) => {}
        }
    }
}

/// Everything about a process that is weaker than expected; empty: it is confined as it must be.
#[must_use]
pub fn judge(facts: &Facts, expect: &Expect<'_>) -> Vec<Finding> {
    let mut verdict = Verdict::default();
    judge_identity(facts, expect, &mut verdict);
    judge_privilege(facts, expect, &mut verdict);
    judge_surroundings(facts, expect, &mut verdict);
    judge_limits(facts, expect, &mut verdict);
    judge_memory(facts, expect, &mut verdict);
    verdict.0
}

fn judge_identity(facts: &Facts, expect: &Expect<'_>, verdict: &mut Verdict) {
    let status = &facts.status;
    for (what, ids) in [("Uid", status.uids), ("Gid", status.gids)] {
        let root = ids.contains(&0);
        let (right, expected) = match (expect.user, facts.ground()) {
            (UserRule::Given(given), _) => match if what == "Uid" { given.uid } else { given.gid } {
                Wanted::Any => continue,
                Wanted::NotRoot => (!root, "not 0, the same four times"),
                Wanted::This(id) => (ids == [id; 4], "what the command line says"),
            },
            (UserRule::Own { .. }, _) => (!root, "not 0, the same four times"),
            (UserRule::Pair { .. }, _) => (!root, "not 0"),
            (UserRule::Root, Ground::Root) => (root, "0, four times"),
            (UserRule::Root, Ground::User) => (true, "the same four times"),
        };
        let two = matches!(expect.user, UserRule::Pair { .. }) && what == "Uid";
        if !right || (!two && ids.iter().min() != ids.iter().max()) {
            verdict.add(what, expected, format_args!("{ids:?}"));
        }
    }
    let groups = match expect.user {
        UserRule::Own { groups } | UserRule::Pair { groups } => groups,
        UserRule::Root | UserRule::Given(_) => usize::MAX,
    };
    if status.groups.len() > groups {
        verdict.add("Groups", format_args!("{groups} at most"), format_args!("{:?}", status.groups));
    }
    verdict.known("exe", "no set-id bit", facts.set_id_file, |set| set.then(|| "one".into()));
}

fn judge_privilege(facts: &Facts, expect: &Expect<'_>, verdict: &mut Verdict) {
    let status = &facts.status;
    for ((_, set), what) in
        status.capabilities.sets().into_iter().zip(["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
    {
        // Bits above the last known capability are a newer kernel's; they count like the others.
        let permitted = if what == "CapBnd" { expect.bounding } else { expect.capabilities };
        let excess = set & !permitted;
        // A launcher without root can't use its bounding set, and may not empty it (capabilities(7)).
        let idle = what == "CapBnd" && expect.user == UserRule::Root && facts.ground() == Ground::User;
        if excess != 0 && !idle {
            verdict.add(what, capability_names(permitted), capability_names(set));
        }
    }
    if expect.no_new_privs && !status.no_new_privs {
        verdict.add("NoNewPrivs", 1, 0);
    }
    if expect.filtered && (status.seccomp.mode != 2 || status.seccomp.filters == Some(0)) {
        verdict.add("Seccomp", 2, status.seccomp.mode);
    }
    if expect.threads > 0 && status.threads > expect.threads {
        verdict.add("Threads", expect.threads, status.threads);
    }
    if status.tracer != 0 {
        verdict.add("TracerPid", 0, status.tracer);
    }
}

/// Capabilities as words; "none" for the empty set, "all but" for one that is nearly full.
pub(super) fn capability_names(set: u64) -> String {
    let full = (1 << CAPABILITIES.len()) - 1;
    let missing = full & !set;
    if set == 0 {
        "none".into()
    } else if missing == 0 {
        "all".into()
    } else if missing.count_ones() < 10 {
        format!("all but {}", words(missing))
    } else {
        words(set)
    }
}

fn words(set: u64) -> String {
    let name = |bit: u32| match usize::try_from(bit).ok().and_then(|bit| CAPABILITIES.get(bit)) {
        Some(name) => (*name).to_owned(),
        None => format!("number {bit}"),
    };
    (0..u64::BITS).filter(|bit| set & (1 << bit) != 0).map(name).collect::<Vec<_>>().join(" ")
}

fn judge_surroundings(facts: &Facts, expect: &Expect<'_>, verdict: &mut Verdict) {
    for kind in expect.own {
        verdict.known(namespace_label(*kind), "of its own", facts.owns(*kind), |own| {
            (!own).then(|| "shared with the host or the launcher".into())
        });
    }
    let expected = match expect.root {
        RootRule::Any => None,
        RootRule::Empty | RootRule::Bare | RootRule::Only([]) => Some("empty".to_owned()),
        RootRule::Only(names) => Some(format!("only {}", names.join(", "))),
    };
    if let Some(expected) = expected {
        verdict.known("root directory", expected, facts.root.as_ref(), |root| {
            let planned = root.count == root.names.len() && root.names.iter().all(|name| expect.root.permits(name));
            (!planned).then(|| format!("{} names: {}", root.count, root.names.join(", ")))
        });
    }
    if !matches!(expect.root, RootRule::Any | RootRule::Bare) {
        verdict.known("mount of the root directory", "read-only", facts.mounts, |mounts| match mounts.root_read_only {
            Some(true) => None,
            Some(false) => Some("writable".into()),
            None => Some("not a mount of its own".into()),
        });
        // The root itself, and each name in it at most.
        let most = facts.root.as_ref().map_or(0, |root| root.count).saturating_add(1);
        verdict.known("mounts", format_args!("{most} at most"), facts.mounts, |mounts| {
            (mounts.count > most).then(|| mounts.count.to_string())
        });
    }
    if expect.network == NetRule::Empty {
        verdict.known("network", "none", facts.without_network(), |none| {
            let seen = facts.network.as_ref().map(|network| network.interfaces.join(", ")).unwrap_or_default();
            (!none).then(|| format!("one with {seen}"))
        });
    }
    if let Some(most) = expect.named_files {
        verdict.known("open named files", most, facts.descriptors.as_ref(), |descriptors| {
            let found = descriptors.named_files();
            (found > most).then(|| found.to_string())
        });
    }
}

fn namespace_label(kind: super::parse::Ns) -> &'static str {
    use super::parse::Ns;
    match kind {
        Ns::Mount => "mount namespace",
        Ns::Pid => "pid namespace",
        Ns::Net => "net namespace",
        Ns::Ipc => "ipc namespace",
        Ns::Uts => "uts namespace",
        Ns::User => "user namespace",
        Ns::Cgroup => "cgroup namespace",
    }
}

fn judge_limits(facts: &Facts, expect: &Expect<'_>, verdict: &mut Verdict) {
    for resource in Resource::ALL {
        let limit = facts.limits.get(resource);
        let bound = expect.bound(resource);
        let (holds, expected) = match bound {
            Bound::Any => continue,
            Bound::Exactly(n) => (limit == Limit { soft: Some(n), hard: Some(n) }, n.to_string()),
            // A soft limit that the process may raise is no limit.
            Bound::AtMost(n) => (limit.hard.is_some_and(|hard| hard <= n), format!("{n} at most")),
        };
        if !holds {
            verdict.add(resource.name(), expected, show_limit(limit));
        }
    }
}

/// A limit as one word where soft and hard are the same, else both.
pub(super) fn show_limit(limit: Limit) -> String {
    let show = |amount: Option<u64>| amount.map_or("unlimited".to_owned(), |n| n.to_string());
    if limit.soft == limit.hard {
        show(limit.soft)
    } else {
        format!("{} (hard {})", show(limit.soft), show(limit.hard))
    }
}

fn judge_memory(facts: &Facts, expect: &Expect<'_>, verdict: &mut Verdict) {
    // In a user namespace the owner is the same either way; the role proves it from inside.
    let undecidable = facts.dumpable.is_none() && facts.ground() == Ground::User;
    if expect.undumpable && !undecidable {
        verdict.known("dumpable", "no", facts.dumpable, |dumpable| dumpable.then(|| "yes".into()));
    }
    if expect.no_writable_code {
        verdict.known("writable and executable mappings", 0, facts.writable_code, |n| (n > 0).then(|| n.to_string()));
    }
}

/// How a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Confined as its role must be.
    Passes,
    /// Something is weaker than its profile.
    Weak,
    /// Not gatepost's: it has no profile of its own and is compared with the session's.
    Beside,
    /// An admin's program, which gatepost has executed for him: not judged.
    Program,
}

/// One process and what was found about it.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is known.
    pub facts: Facts,
    /// What is weaker than expected.
    pub findings: Vec<Finding>,
}

impl Row {
    /// Compares a process with its role's profile; one without a role with the session's.
    #[must_use]
    pub fn of(facts: Facts, expectations: &Expectations<'_>) -> Self {
        let expect = match facts.role {
            Some(RoleName::Program) => return Self { findings: Vec::new(), facts },
            Some(RoleName::Runner) => expect::runner(&facts.cmdline),
            role => expectations.of(role.unwrap_or(RoleName::Session)).on(facts.ground()),
        };
        Self { findings: judge(&facts, &expect), facts }
    }

    /// How the process stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (self.facts.role, self.findings.is_empty()) {
            (None, _) => Standing::Beside,
            (Some(RoleName::Program), _) => Standing::Program,
            (Some(_), true) => Standing::Passes,
            (Some(_), false) => Standing::Weak,
        }
    }
}

/// Judges processes together: each by its profile, and all of them for users that two roles have, and for what they
/// have open together.
#[must_use]
pub fn rows(all: Vec<Facts>, shared: &[Shared], expectations: &Expectations<'_>) -> Vec<Row> {
    let users: Vec<(RoleName, u32)> =
        all.iter().filter_map(|f| (f.ground() == Ground::Root).then_some((f.launched()?, f.uid()))).collect();
    let mut rows: Vec<Row> = all.into_iter().map(|facts| Row::of(facts, expectations)).collect();
    for row in &mut rows {
        let (Some(role), Ground::Root, uid) = (row.facts.launched(), row.facts.ground(), row.facts.uid()) else {
            continue;
        };
        if let Some((other, _)) =
            users.iter().find(|(other, user)| *user == uid && account_role(*other) != account_role(role))
        {
            let found = format!("{uid}, the {other}'s too");
            row.findings.push(Finding { what: "Uid", expected: "a user of its own".into(), found });
        }
    }
    for Shared { pids: [one, other], numbers: [number, its_number], link } in shared {
        for (pid, number, other) in [(one, number, other), (other, its_number, one)] {
            let found = format!("{number} is {link}, shared with process {other}");
            let row = rows.iter_mut().find(|row| row.facts.pid == *pid);
            row.into_iter().for_each(|row| {
                row.findings.push(Finding {
                    what: "open file description",
                    expected: "none of another role's".into(),
                    found: found.clone(),
                });
            });
        }
    }
    rows
}

/// Sessions are their nursery's children and have its user.
fn account_role(role: RoleName) -> RoleName {
    if role == RoleName::Session { RoleName::Role(Role::Nursery) } else { role }
}

/// Looks at one process from outside: what the launcher does with a role before it lets it serve.
///
/// # Errors
/// All that is weaker than its role's profile on that ground; that it could not be looked at is a finding too.
pub fn verify(
    pid: u32,
    role: impl Into<RoleName>,
    ground: Ground,
    expectations: &Expectations<'_>,
) -> Result<(), Vec<Finding>> {
    let facts = Facts::read(pid).map_err(|e| vec![unreadable(&e)])?;
    let findings = judge(&facts, &expectations.of(role.into()).on(ground));
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

fn unreadable(e: &io::Error) -> Finding {
    Finding { what: "/proc", expected: "the facts of the process".into(), found: e.to_string() }
}
