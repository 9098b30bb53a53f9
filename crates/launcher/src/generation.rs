//! One generation of roles: started together, linked to each other, restarted one by one when they end, drained together.
//!
//! Decisions alone. What is done to processes is done by [`Processes`], what happens to them comes in as an [`Event`], and
//! the time is handed in: tests need neither root nor a clock. In what order follows from the table in `roles.rs`.

mod child;
mod end;
mod phases;

use crate::error::LauncherError;
use crate::roles::{self, Stage};
use child::{ANSWER_DEADLINE, Child, Ping};
use gatepost_sys::process::{End, ProcessId};
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::event;
use gatepost_wire::resume::{self, Course, Phase};
use phases::{deadline, permits};
use std::time::{Duration, Instant};

/// How often roles that serve are asked whether they are alive.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(5);
/// First delay before a role that never got ready is started again; doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// Longest such delay.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Nurseries that have been replaced and are left to their sessions. The sessions of those before are told to leave, as in a drain.
const RETIRED: usize = 8;
/// Of so many the first is ended with its sessions: crashes on purpose must not fill the machine with processes.
const RETIRED_MAX: usize = 2 * RETIRED;

/// What a generation does to processes. None of it waits for a role, and what fails shows in events.
pub(crate) trait Processes {
    /// Executes a role.
    ///
    /// # Errors
    /// It could not be set up or started.
    fn start(&mut self, role: Role) -> Result<ProcessId, LauncherError>;
    /// Looks at a role from outside.
    fn look(&mut self, role: Role, pid: ProcessId) -> Seen;
    /// Makes a link between two roles.
    fn link(&mut self, one: (Role, ProcessId), other: (Role, ProcessId));
    /// Makes listening sockets listen that were ended by somebody who has them. True when there were any.
    fn mend_sockets(&mut self) -> bool;
    /// Gives a role the listening sockets.
    fn give_sockets(&mut self, pid: ProcessId);
    /// Gives an order that brings no descriptor.
    fn order(&mut self, pid: ProcessId, order: Order);
    /// Ends a process at once, and hears it no more.
    fn kill(&mut self, pid: ProcessId);
    /// Closes the listening sockets. The roles that were given them have them still.
    fn close_sockets(&mut self);
}

/// How a role looks from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// As its profile says.
    Confined,
    /// Less: each a sentence.
    Weak(Vec<String>),
    /// It has ended meanwhile.
    Gone,
}

/// What has happened to a process.
#[derive(Debug)]
pub(crate) enum Event {
    /// It reports.
    Report(Report),
    /// What it sent is no report.
    Broken(String),
    /// It has ended, and is reaped.
    Ended(End),
}

/// `[backend]` in [`Report::Unproved`].
pub(crate) const MAIN: u64 = 1;

/// What becomes of a start whose backend cannot be asked yet whether it relays for strangers. That of a `[[route]]` is waited for by
/// nobody: its recipients alone hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It serves, by temporary refusals until the backend has passed.
    Later,
    /// It fails when the backend has not passed so long after handoff gave up waiting for it.
    Within(Duration),
}

/// Of which program in this process the roles are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Of this one.
    This,
    /// Of an earlier one: they are not started anew.
    Earlier,
    /// The same, and one of them has ended.
    EarlierBroken,
}

/// Whether the backends have passed their proof since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proved {
    NotYet,
    /// All have, once.
    Passed,
    /// None has, and one has failed it: how handoff ended.
    Failed(End),
}

#[derive(Debug)]
struct Restart {
    role: Role,
    due: Instant,
}

/// One generation.
#[derive(Debug)]
pub(crate) struct Generation<P> {
    pub(crate) processes: P,
    needed: Vec<Role>,
    proof: Proof,
    /// Stages whose roles have been started.
    started: usize,
    children: Vec<Child>,
    restarts: Vec<Restart>,
    /// Roles that failed to get ready, and how often in a row.
    failures: Vec<(Role, u32)>,
    /// When roles are asked next whether they are alive.
    next_ping: Option<Instant>,
    /// None until it takes clients.
    course: Option<Course>,
    proved: Proved,
    /// Those that have not, while handoff waits for some: see [`Report::Unproved`].
    unproved: u64,
    /// A name server answers, as far as is known.
    names: bool,
    /// Every DNS list answered as one does when the resolver began.
    lists: bool,
    /// The backend is not known to refuse mail of who has logged in.
    logins: bool,
    /// The stage that was told last to drain.
    drained: Option<Stage>,
    origin: Origin,
}

impl<P: Processes> Generation<P> {
    /// Of these roles, none of which is started yet.
    pub(crate) fn new(processes: P, needed: Vec<Role>, proof: Proof) -> Self {
        Self {
            processes,
            needed,
            proof,
            started: 0,
            children: Vec::new(),
            restarts: Vec::new(),
            failures: Vec::new(),
            next_ping: None,
            course: None,
            proved: Proved::NotYet,
            unproved: MAIN,
            names: true,
            lists: true,
            logins: true,
            drained: None,
            origin: Origin::This,
        }
    }

    /// As an earlier program in this process has left it.
    pub(crate) fn adopt(processes: P, left: &resume::Generation, now: Instant) -> Self {
        let children = left.children.iter().map(|child| Child {
            phase: child.phase,
            ping: if child.asked { Ping::Asked(now) } else { Ping::Answered },
            retired: child.retired.then_some(now),
            ..Child::new(child.role, ProcessId::try_from(child.pid).unwrap_or(ProcessId::MAX), now)
        });
        let children: Vec<Child> = children.collect();
        let mut needed: Vec<Role> = children.iter().map(|child| child.role).collect();
        needed.dedup();
        let proved = children.iter().any(|child| child.role == Role::Handoff && child.phase == Phase::Ready);
        Self {
            started: Stage::ALL.len(),
            children,
            course: Some(left.course),
            proved: if proved { Proved::Passed } else { Proved::NotYet },
            names: left.names,
            origin: Origin::Earlier,
            ..Self::new(processes, needed, Proof::Later)
        }
    }

    /// True for one that an earlier program has begun.
    pub(crate) fn is_adopted(&self) -> bool {
        self.origin != Origin::This
    }

    /// A role of it has ended for good.
    pub(crate) fn is_broken(&self) -> bool {
        self.origin == Origin::EarlierBroken
    }

    /// What is to become of it. One that takes no clients yet is to.
    pub(crate) fn course(&self) -> Course {
        self.course.unwrap_or(Course::Serving)
    }

    /// What is known of its processes. `control`: the descriptor of the channel with one.
    pub(crate) fn known(&self, control: impl Fn(&P, ProcessId) -> Option<u32>) -> Vec<resume::Child> {
        let known = self.children.iter().map(|child| resume::Child {
            role: child.role,
            pid: child.pid.unsigned_abs(),
            phase: child.phase,
            control: control(&self.processes, child.pid),
            asked: child.is_asked(),
            retired: child.retired.is_some(),
        });
        known.collect()
    }

    /// Goes on with the start: a stage when all roles of those before it are ready. True when all roles can serve.
    ///
    /// # Errors
    /// A role that does not get ready in time, or cannot be started.
    pub(crate) fn advance(&mut self, now: Instant) -> Result<bool, LauncherError> {
        loop {
            if let Some(slow) = self.children.iter().find(|child| !self.can_serve(child.phase)) {
                let waited = now.saturating_duration_since(slow.since);
                return match (deadline(slow.phase), self.proof) {
                    (Some(limit), _) if waited > limit => {
                        Err(LauncherError::NotReady(slow.role, format!("nothing heard for {limit:?}")))
                    }
                    (None, Proof::Within(limit)) if waited >= limit => Err(LauncherError::Unproved),
                    _ => Ok(false),
                };
            }
            let Some(stage) = Stage::ALL.get(self.started) else { return Ok(true) };
            self.started = self.started.saturating_add(1);
            for role in self.needed.clone().into_iter().filter(|role| roles::of(*role).stage == *stage) {
                self.start(role, now)?;
            }
        }
    }

    fn can_serve(&self, phase: Phase) -> bool {
        let suffices = self.proof == Proof::Later || self.unproved & MAIN == 0;
        phase == Phase::Ready || (phase == Phase::Waiting && suffices)
    }

    /// Hands the listener its sockets: from here on clients are served, and roles that end are started anew.
    pub(crate) fn serve(&mut self) {
        self.course = Some(Course::Serving);
        for listener in self.children.iter().filter(|child| child.role == Role::Listener) {
            self.processes.give_sockets(listener.pid);
        }
    }

    /// A listener has no right to shut its sockets down: one whose sockets are dead is owned, and the next one gets them.
    fn watch_sockets(&mut self) {
        if self.course.is_none() || !self.processes.mend_sockets() {
            return;
        }
        tracing::error!("listening sockets were shut down: they listen again, and the listener is replaced");
        for listener in self.children.iter().filter(|child| child.role == Role::Listener) {
            self.processes.kill(listener.pid);
        }
    }

    /// Takes what has happened to a process.
    ///
    /// # Errors
    /// A role is confined less than it must be: it was ended, and did not get to serve. At the start, that a role has ended.
    pub(crate) fn take(&mut self, pid: ProcessId, event: Event, now: Instant) -> Result<(), LauncherError> {
        let Some(child) = self.children.iter().find(|child| child.pid == pid) else { return Ok(()) };
        let (role, phase) = (child.role, child.phase);
        match event {
            Event::Ended(end) => return self.ended(pid, end, now),
            Event::Broken(why) => {
                tracing::error!(role = role.name(), "{why}; ending it");
                self.processes.kill(pid);
            }
            Event::Report(report)
                if !permits(role, phase, report) || (report == Report::Alive && !child.is_asked()) =>
            {
                tracing::error!(role = role.name(), ?report, ?phase, "not to be reported now; ending it");
                self.processes.kill(pid);
            }
            Event::Report(Report::Alive) => {
                self.children.iter_mut().filter(|c| c.pid == pid && !c.hangs()).for_each(|c| c.ping = Ping::Answered)
            }
            // It is told to end when its stage is.
            Event::Report(_) if self.is_ending() => {}
            Event::Report(Report::Jailed) => return self.go(role, pid, now),
            Event::Report(Report::Waiting) => self.set_phase(pid, Phase::Waiting, now),
            Event::Report(Report::Ready) => self.ready(role, pid, now),
            Event::Report(Report::Unproved(backends)) => self.unproved = backends,
            Event::Report(Report::NoLists) => self.lists = false,
            Event::Report(Report::NoLogins) => self.logins = false,
            Event::Report(report @ (Report::NoNames | Report::Names)) => self.names = report == Report::Names,
            Event::Report(Report::SessionCrashed) => self.replace_nursery(pid, now),
        }
        Ok(())
    }

    /// Does what is due by the time, or by what has ended.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.is_ending() {
            return self.drain_next();
        }
        self.watch_sockets();
        self.ping(now);
        let due: Vec<Restart> = self.restarts.extract_if(.., |restart| restart.due <= now).collect();
        for Restart { role, .. } in due {
            if let Err(e) = self.start(role, now) {
                self.fail(role);
                let delay = self.restart(role, now);
                tracing::error!(role = role.name(), ?delay, "{e}; it is tried again");
            }
        }
        let stuck = self.children.iter().filter_map(|child| {
            let limit = deadline(child.phase)?;
            (now.saturating_duration_since(child.since) > limit).then_some((child.role, child.pid, limit))
        });
        for (role, pid, limit) in stuck.collect::<Vec<_>>() {
            tracing::error!(role = role.name(), "not ready after {limit:?}; ending it");
            self.processes.kill(pid);
        }
    }

    /// When the next restart is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.restarts.iter().map(|restart| restart.due).min()
    }

    /// False while a role hangs. It is ended then, so that this does not last unless even that fails.
    pub(crate) fn is_alive(&self) -> bool {
        !self.children.iter().any(Child::hangs)
    }

    /// Asks roles whether they are alive, and ends those that do not answer.
    fn ping(&mut self, now: Instant) {
        for child in self.children.iter_mut().filter(|child| child.is_silent(now)) {
            child.ping = Ping::Unanswered;
            tracing::error!(role = child.role.name(), "no answer for {ANSWER_DEADLINE:?}: it hangs; ending it");
            self.processes.kill(child.pid);
        }
        if self.course.is_none() || now < *self.next_ping.get_or_insert(now + PING_EVERY) {
            return;
        }
        self.next_ping = Some(now + PING_EVERY);
        for child in self.children.iter_mut().filter(|child| !child.is_asked() && deadline(child.phase).is_none()) {
            child.ping = Ping::Asked(now);
            self.processes.order(child.pid, Order::Ping);
        }
    }

    /// The backends that have not passed their proof: see [`Report::Unproved`].
    pub(crate) fn unproved(&self) -> u64 {
        if self.children.iter().any(|child| child.phase == Phase::Waiting) { self.unproved } else { 0 }
    }

    /// False when no name server answers. Mail is taken all the same.
    pub(crate) fn has_names(&self) -> bool {
        self.names
    }

    /// Whether every DNS list answered as one does when the resolver began.
    pub(crate) fn has_lists(&self) -> bool {
        self.lists
    }

    /// False when the backend refuses to relay for who has logged in.
    pub(crate) fn has_logins(&self) -> bool {
        self.logins
    }

    /// The backend could not be asked at the start, and has failed its proof since.
    pub(crate) fn refusal(&self) -> Option<LauncherError> {
        match self.proved {
            Proved::Failed(end) => Some(not_ready(Role::Handoff, end)),
            Proved::NotYet | Proved::Passed => None,
        }
    }

    /// True while clients come here.
    pub(crate) fn is_serving(&self) -> bool {
        self.course == Some(Course::Serving)
    }

    /// True when it has been told to end, sooner or later.
    fn is_ending(&self) -> bool {
        matches!(self.course, Some(Course::Retiring | Course::Draining))
    }

    /// The roles that are needed, with the process of each that serves.
    pub(crate) fn roles(&self) -> Vec<(Role, Option<ProcessId>)> {
        let serves = |role: Role| {
            let serving = self.children.iter().filter(|child| deadline(child.phase).is_none() && !child.hangs());
            serving.filter(|child| child.role == role).map(|child| child.pid).next_back()
        };
        self.needed.iter().map(|role| (*role, serves(*role))).collect()
    }

    fn start(&mut self, role: Role, now: Instant) -> Result<(), LauncherError> {
        let pid = self.processes.start(role)?;
        self.children.push(Child::new(role, pid, now));
        Ok(())
    }

    /// The role says that it is jailed: look at it from outside, then link it to the others and let it go.
    fn go(&mut self, role: Role, pid: ProcessId, now: Instant) -> Result<(), LauncherError> {
        match self.processes.look(role, pid) {
            Seen::Confined => {}
            Seen::Gone => {
                self.processes.kill(pid);
                return Ok(());
            }
            Seen::Weak(findings) => {
                self.processes.kill(pid);
                return Err(LauncherError::Weak(role, findings));
            }
        }
        for peer in gatepost_role::peers(role) {
            let up = |child: &&Child| child.role == peer && child.phase != Phase::Started && child.retired.is_none();
            if let Some(up) = self.children.iter().find(up) {
                self.processes.link((role, pid), (peer, up.pid));
            }
        }
        // A new one says so again.
        self.names |= role == Role::Resolver;
        if role == Role::Handoff {
            self.unproved = MAIN;
        }
        if role == Role::Listener && self.course.is_some() {
            // The one before may have ended them.
            self.processes.mend_sockets();
            self.processes.give_sockets(pid);
        }
        self.processes.order(pid, Order::Go);
        self.set_phase(pid, Phase::Going, now);
        Ok(())
    }

    fn set_phase(&mut self, pid: ProcessId, phase: Phase, now: Instant) {
        for child in self.children.iter_mut().filter(|child| child.pid == pid) {
            (child.phase, child.since) = (phase, now);
        }
    }

    fn ready(&mut self, role: Role, pid: ProcessId, now: Instant) {
        self.set_phase(pid, Phase::Ready, now);
        if role == Role::Handoff && self.proved == Proved::NotYet {
            self.proved = Proved::Passed;
        }
        self.failures.retain(|(failed, _)| *failed != role);
        if self.course.is_some() {
            gatepost_log::tell(event::RoleServes { role });
        }
    }

    /// A session crashed: an attacker may know its memory layout now, and all sessions of that nursery have the same. It
    /// goes on until a new one is there, which is at once however many crash: it would fork more of them in any pause.
    fn replace_nursery(&mut self, pid: ProcessId, now: Instant) {
        let old = self.children.iter_mut().find(|child| child.pid == pid && child.retired.is_none());
        let Some(old) = old else { return };
        old.retired = Some(now);
        tracing::warn!("a session ended by a signal: the nursery is replaced by a freshly executed one");
        if let Err(e) = self.start(Role::Nursery, now) {
            self.fail(Role::Nursery);
            let delay = self.restart(Role::Nursery, now);
            tracing::error!(?delay, "the nursery stays as it is until another is tried: {e}");
        }
        self.bound_retired();
    }

    /// Sees to it that there are not too many nurseries that have been replaced.
    fn bound_retired(&mut self) {
        let retired = self.children.iter().filter_map(|child| Some((child.retired?, child.pid)));
        let mut retired: Vec<(Instant, ProcessId)> = retired.collect();
        retired.sort_unstable_by(|one, other| other.cmp(one));
        for (place, (_, pid)) in retired.into_iter().enumerate().skip(RETIRED) {
            if place < RETIRED_MAX {
                self.processes.order(pid, Order::Drain);
            } else {
                tracing::warn!("{RETIRED_MAX} nurseries have been replaced and have sessions: the first is ended");
                self.processes.kill(pid);
            }
        }
    }

    fn ended(&mut self, pid: ProcessId, end: End, now: Instant) -> Result<(), LauncherError> {
        let Some(at) = self.children.iter().position(|child| child.pid == pid) else { return Ok(()) };
        let Child { role, phase, retired, .. } = self.children.swap_remove(at);
        if self.is_ending() || retired.is_some() {
            return Ok(());
        }
        if self.course.is_none() {
            return Err(not_ready(role, end));
        }
        if self.origin != Origin::This {
            self.origin = Origin::EarlierBroken;
            tracing::warn!(
                role = role.name(),
                how = how(end),
                "a role of the earlier program ended; all roles are started anew"
            );
            return Ok(());
        }
        // It could not be asked at the start, and when it could it did not pass: what would have kept us from starting then.
        if phase == Phase::Waiting && self.proved == Proved::NotYet && matches!(end, End::Exit(_)) {
            self.proved = Proved::Failed(end);
        }
        if phase != Phase::Ready {
            self.fail(role);
        }
        let delay = self.restart(role, now);
        let delay_ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        gatepost_log::tell(event::RoleEnded { role, how: how(end).as_bytes(), delay_ms });
        Ok(())
    }

    fn fail(&mut self, role: Role) {
        match self.failures.iter_mut().find(|(failed, _)| *failed == role) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.failures.push((role, 1)),
        }
    }

    /// Plans the start of a role that ended: at once when it had served, later and later when it fails to start.
    fn restart(&mut self, role: Role, now: Instant) -> Duration {
        let failures = self.failures.iter().find(|(failed, _)| *failed == role).map_or(0, |(_, count)| *count);
        let delay = match failures {
            0 => Duration::ZERO,
            n => BACKOFF_FIRST.saturating_mul(1 << n.saturating_sub(1).min(16)).min(BACKOFF_MAX),
        };
        self.restarts.push(Restart { role, due: now + delay });
        delay
    }
}

fn not_ready(role: Role, end: End) -> LauncherError {
    LauncherError::NotReady(role, format!("{}; see its message above", how(end)))
}

/// How a process ended, as a sentence.
pub(crate) fn how(end: End) -> String {
    match end {
        End::Exit(status) => format!("it ended with status {status}"),
        End::Signal(31) => {
            "it was killed by SIGSYS: it panicked, or made a system call that its profile does not list".into()
        }
        End::Signal(signal) => format!("it was killed by signal {signal}"),
        End::Unknown => "it has ended, and how is not known".to_owned(),
    }
}

#[cfg(test)]
mod tests;
