//! One generation of roles: started together, linked to each other, restarted one by one when they die, drained together.

use crate::error::LauncherError;
use crate::fitness::Fitness;
use crate::plan::Plan;
use crate::roles::{self, Stage};
use crate::setup;
use crate::sockets::Socket;
use crate::spool::InUse;
use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_config::Relax;
use gatepost_jail::{CONTROL_FD, SETUP_FD, profile};
use gatepost_sys::process::{self, Namespaces, ProcessId, Signal, Spawn};
use gatepost_sys::seq::Seq;
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::slice::Ground;
use gatepost_wire::{LauncherToRole, RoleToLauncher};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

type RoleEnd = End<LauncherToRole, RoleToLauncher>;

/// Longest wait for a role to enter its jail.
const JAIL_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for a role's own tests.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// First delay before a role that never got ready is started again; doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest such delay.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Longest wait for a role to take an order.
const ORDER_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Started; nothing heard yet.
    Born,
    /// Jailed, seen from outside, linked, told to go.
    Going,
    /// Serving, by temporary refusals alone: the backend has not passed its proof.
    Waiting,
    /// Serving.
    Ready,
}

/// What becomes of a start whose backend cannot be asked yet whether it relays for strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It serves, by temporary refusals until the backend has passed.
    Later,
    /// It fails when the backend has not passed so long after handoff gave up waiting for it.
    Within(Duration),
}

#[derive(Debug)]
struct Child {
    role: Role,
    pid: ProcessId,
    /// None once it has hung up or broken the rules: it is ending, and the reaping tells how.
    control: Option<RoleEnd>,
    phase: Phase,
    since: Instant,
}

/// What a role may report in which phase; a nursery's crash reports besides. Anything else ends it (P2).
const PERMITTED: [(Phase, Report); 4] = [
    (Phase::Born, Report::Jailed),
    (Phase::Going, Report::Ready),
    (Phase::Going, Report::Waiting),
    (Phase::Waiting, Report::Ready),
];

fn permits(role: Role, phase: Phase, report: Report) -> bool {
    match report {
        Report::SessionCrashed => role == Role::Nursery && phase != Phase::Born,
        Report::Waiting if role != Role::Handoff => false,
        _ => PERMITTED.contains(&(phase, report)),
    }
}

/// Longest wait for a role to leave a phase.
fn deadline(phase: Phase) -> Duration {
    if phase == Phase::Born { JAIL_DEADLINE } else { READY_DEADLINE }
}

#[derive(Debug)]
struct Restart {
    role: Role,
    due: Instant,
    failures: u32,
}

/// One generation.
#[derive(Debug)]
pub(crate) struct Generation {
    plan: Plan,
    fitness: Fitness,
    program: Rc<OwnedFd>,
    sockets: Vec<Socket>,
    children: Vec<Child>,
    /// Nurseries that have been replaced and end when their last session does.
    retired: Vec<Child>,
    restarts: Vec<Restart>,
    failures: Vec<(Role, u32)>,
    serving: bool,
    /// The spool is ours as long as this generation serves or drains.
    in_use: Option<InUse>,
    /// A backend has passed its proof since the start.
    proved: bool,
    /// None has, and one has failed it: how handoff ended.
    refused: Option<process::End>,
    draining: bool,
    inbox: Inbox,
}

impl Generation {
    /// Starts every role and waits until all are ready to serve, the backend's proof as `proof` says. The listener does not
    /// have its sockets yet.
    ///
    /// # Errors
    /// The first role that fails, or `told_to_stop` meanwhile; everything that was started is ended again.
    pub(crate) fn start(
        plan: Plan,
        fitness: Fitness,
        program: Rc<OwnedFd>,
        sockets: Vec<Socket>,
        proof: Proof,
        told_to_stop: &dyn Fn() -> bool,
    ) -> Result<Self, LauncherError> {
        let mut generation = Self {
            plan,
            fitness,
            program,
            sockets,
            children: Vec::new(),
            retired: Vec::new(),
            restarts: Vec::new(),
            failures: Vec::new(),
            serving: false,
            in_use: None,
            proved: false,
            refused: None,
            draining: false,
            inbox: Inbox::new(64),
        };
        let started = generation.start_all(proof, told_to_stop);
        if started.is_err() {
            generation.end_now();
        }
        started.map(|()| generation)
    }

    fn start_all(&mut self, proof: Proof, told_to_stop: &dyn Fn() -> bool) -> Result<(), LauncherError> {
        let serves = |phase| phase == Phase::Ready || (phase == Phase::Waiting && proof == Proof::Later);
        for stage in Stage::ALL {
            for row in roles::needed(&self.plan).filter(|row| row.stage == stage).collect::<Vec<_>>() {
                self.spawn(row.role)?;
            }
            while let Some(slow) = self.children.iter().find(|c| !serves(c.phase)) {
                match (slow.phase, proof, slow.since.elapsed()) {
                    (Phase::Waiting, Proof::Within(limit), waited) if waited >= limit => {
                        return Err(LauncherError::Unproved);
                    }
                    (Phase::Waiting, _, _) => {}
                    (phase, _, waited) if waited > deadline(phase) => {
                        let why = format!("nothing heard for {:?}", deadline(phase));
                        return Err(LauncherError::NotReady(slow.role, why));
                    }
                    _ => {}
                }
                if told_to_stop() {
                    return Err(LauncherError::Stopped);
                }
                self.wait_and_hear(Duration::from_millis(50))?;
                if let Some((role, end)) = self.reap().into_iter().next() {
                    return Err(LauncherError::NotReady(role, format!("{}; see its message above", ended(end))));
                }
            }
        }
        Ok(())
    }

    /// Hands the listener its sockets: from here on clients are served.
    pub(crate) fn serve(&mut self, in_use: InUse) {
        self.in_use = Some(in_use);
        self.serving = true;
        self.give_sockets();
    }

    fn give_sockets(&self) {
        for (index, socket) in self.sockets.iter().enumerate() {
            let order = Order::Socket(u8::try_from(index).unwrap_or(u8::MAX));
            self.tell(Role::Listener, order, &[socket.fd.as_fd()]);
        }
    }

    /// Descriptors to wait for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.children.iter().filter_map(|c| c.control.as_ref()).map(AsFd::as_fd)
    }

    /// When the next restart is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.restarts.iter().map(|r| r.due).min()
    }

    /// Hears every report that has come.
    ///
    /// # Errors
    /// [`LauncherError::Weak`]: a role's jail is not as it must be. That role is ended; it does not get to serve.
    pub(crate) fn hear(&mut self) -> Result<(), LauncherError> {
        let speaking: Vec<(ProcessId, BorrowedFd<'_>)> =
            self.children.iter().filter_map(|c| Some((c.pid, c.control.as_ref()?.as_fd()))).collect();
        let fds: Vec<BorrowedFd<'_>> = speaking.iter().map(|(_, fd)| *fd).collect();
        let ready = gatepost_sys::wait::readable(&fds, Some(Duration::ZERO)).unwrap_or_default();
        let ready = speaking.iter().zip(ready).filter_map(|((pid, _), ready)| ready.then_some(*pid));
        for pid in ready.collect::<Vec<_>>() {
            self.hear_one(pid)?;
        }
        Ok(())
    }

    fn hear_one(&mut self, pid: ProcessId) -> Result<(), LauncherError> {
        let Some(child) = self.children.iter_mut().find(|c| c.pid == pid) else { return Ok(()) };
        let (role, phase) = (child.role, child.phase);
        let Some(control) = &child.control else { return Ok(()) };
        match control.recv(&mut self.inbox) {
            Ok(report) if !permits(role, phase, report) => {
                tracing::error!(role = role.name(), ?report, ?phase, "not to be reported now; ending it");
                self.end_one(pid);
            }
            Ok(Report::Jailed) => return self.go(role, pid),
            Ok(Report::Waiting) => self.set_phase(role, Phase::Waiting),
            Ok(Report::Ready) => self.ready(role),
            Ok(Report::SessionCrashed) => self.replace_nursery(),
            Err(ChannelError::Closed) => child.control = None,
            Err(e) => {
                tracing::error!(role = role.name(), "{e}; ending it");
                self.end_one(pid);
            }
        }
        Ok(())
    }

    /// Ends a role that cannot be believed; it is started anew when it has been reaped.
    fn end_one(&mut self, pid: ProcessId) {
        let _ = process::kill(pid, Signal::Kill);
        if let Some(child) = self.children.iter_mut().find(|c| c.pid == pid) {
            child.control = None;
        }
    }

    fn wait_and_hear(&mut self, wait: Duration) -> Result<(), LauncherError> {
        let fds: Vec<BorrowedFd<'_>> = self.descriptors().collect();
        gatepost_sys::wait::readable(&fds, Some(wait)).map_err(|e| LauncherError::System("wait", e))?;
        self.hear()
    }

    /// The role says it is jailed: look at it from outside, then link it to the others and let it go.
    fn go(&mut self, role: Role, pid: ProcessId) -> Result<(), LauncherError> {
        if let Err(findings) = crate::look::at(role, pid, &self.plan, &self.fitness) {
            // One that was killed meanwhile looks weak too: that is an ordinary death.
            let control = self.children.iter().find(|c| c.pid == pid).and_then(|c| c.control.as_ref());
            let gone = control.is_none_or(|control| gatepost_sys::wait::hung_up(control.as_fd()));
            self.end_one(pid);
            return if gone { Ok(()) } else { Err(LauncherError::Weak(role, findings)) };
        }
        for peer in gatepost_role::peers(role).filter(|peer| self.up(*peer)) {
            self.link(role, peer);
        }
        if role == Role::Listener && self.serving {
            self.give_sockets();
        }
        self.tell(role, Order::Go, &[]);
        self.set_phase(role, Phase::Going);
        Ok(())
    }

    fn up(&self, role: Role) -> bool {
        self.children.iter().any(|c| c.role == role && c.phase != Phase::Born)
    }

    fn link(&self, one: Role, other: Role) {
        let Ok((a, b)) = Seq::pair() else {
            tracing::error!("no descriptors left to link {} and {}", one.name(), other.name());
            return;
        };
        self.tell(one, Order::Peer(other), &[a.as_fd()]);
        self.tell(other, Order::Peer(one), &[b.as_fd()]);
    }

    fn tell(&self, role: Role, order: Order, fds: &[BorrowedFd<'_>]) {
        for child in self.children.iter().filter(|c| c.role == role) {
            let Some(control) = &child.control else { continue };
            if let Err(e) = control.tell_with(&order, fds) {
                tracing::warn!(role = role.name(), ?order, "order not taken: {e}");
            }
        }
    }

    fn set_phase(&mut self, role: Role, phase: Phase) {
        for child in self.children.iter_mut().filter(|c| c.role == role) {
            child.phase = phase;
            child.since = Instant::now();
        }
    }

    fn ready(&mut self, role: Role) {
        self.set_phase(role, Phase::Ready);
        self.proved |= role == Role::Handoff;
        self.failures.retain(|(r, _)| *r != role);
        if self.serving {
            tracing::info!(role = role.name(), "serves again");
        }
    }

    /// A session crashed: its layout may be known to the attacker now, and all its sisters share it. The old nursery goes
    /// on until a new one is there.
    fn replace_nursery(&mut self) {
        if self.draining {
            return;
        }
        tracing::warn!("a session ended by a signal: the nursery is replaced by a freshly executed one");
        match self.birth(Role::Nursery) {
            Ok(fresh) => {
                if let Some(at) = self.children.iter().position(|c| c.role == Role::Nursery) {
                    self.retired.push(self.children.swap_remove(at));
                }
                self.children.push(fresh);
            }
            Err(e) => tracing::error!("the nursery stays as it is: {e}"),
        }
    }

    fn spawn(&mut self, role: Role) -> Result<(), LauncherError> {
        let child = self.birth(role)?;
        self.children.push(child);
        Ok(())
    }

    fn birth(&self, role: Role) -> Result<Child, LauncherError> {
        let memory = setup::memory(role, &self.plan, &self.fitness);
        let memory = memory.map_err(|why| LauncherError::NotReady(role, why))?;
        let system = |e| LauncherError::System("start a role", e);
        let (control, theirs) = RoleEnd::pair().map_err(system)?;
        control.seq().set_timeout(ORDER_DEADLINE).map_err(system)?;
        let data = setup::data(role, &self.plan);
        let pid = spawn_program(&self.program, role, self.namespaces(role), data, &theirs, &memory).map_err(system)?;
        Ok(Child { role, pid, control: Some(control), phase: Phase::Born, since: Instant::now() })
    }

    fn namespaces(&self, role: Role) -> Namespaces {
        if self.plan.relaxes(Relax::Namespaces) {
            return Namespaces::default();
        }
        Namespaces { user: self.fitness.ground == Ground::User, ..profile::of(role).namespaces }
    }

    /// Reaps every child of this generation that has ended; gives those whose end was not wanted. By pid: another
    /// generation's dead are its own to bury.
    pub(crate) fn reap(&mut self) -> Vec<(Role, process::End)> {
        self.retired.retain(|c| process::reap_one(c.pid).is_none());
        let pids: Vec<ProcessId> = self.children.iter().map(|c| c.pid).collect();
        let dead = pids.into_iter().filter_map(|pid| Some((pid, process::reap_one(pid)?)));
        dead.collect::<Vec<_>>().into_iter().filter_map(|(pid, end)| self.bury(pid, end)).collect()
    }

    fn bury(&mut self, pid: ProcessId, end: process::End) -> Option<(Role, process::End)> {
        let at = self.children.iter().position(|c| c.pid == pid)?;
        let child = self.children.swap_remove(at);
        if self.draining {
            return None;
        }
        // It could not be asked at the start, and when it could it did not pass: what would have kept us from starting then.
        if child.phase == Phase::Waiting && !self.proved && matches!(end, process::End::Exit(_)) {
            self.refused = Some(end);
        }
        if child.phase == Phase::Ready {
            self.failures.retain(|(role, _)| *role != child.role);
        } else {
            self.count_failure(child.role);
        }
        Some((child.role, end))
    }

    fn count_failure(&mut self, role: Role) -> u32 {
        match self.failures.iter_mut().find(|(r, _)| *r == role) {
            Some((_, count)) => {
                *count = count.saturating_add(1);
                *count
            }
            None => {
                self.failures.push((role, 1));
                1
            }
        }
    }

    /// Plans the restart of a role that ended: at once when it had served, later and later when it fails to start.
    pub(crate) fn restart(&mut self, role: Role, end: process::End) {
        let failures = self.failures.iter().find(|(r, _)| *r == role).map_or(0, |(_, count)| *count);
        let delay = match failures {
            0 => Duration::ZERO,
            n => BACKOFF_FIRST.saturating_mul(1 << n.min(16)).min(BACKOFF_MAX),
        };
        tracing::warn!(role = role.name(), how = ended(end), ?delay, "a role ended and is started anew");
        self.restarts.push(Restart { role, due: Instant::now() + delay, failures });
    }

    /// Starts the roles whose restart is due.
    pub(crate) fn restart_due(&mut self) {
        if self.draining {
            return;
        }
        let now = Instant::now();
        let due: Vec<Restart> = self.restarts.extract_if(.., |r| r.due <= now).collect();
        for restart in due {
            if let Err(e) = self.spawn(restart.role) {
                tracing::error!(role = restart.role.name(), failures = restart.failures, "{e}");
                self.count_failure(restart.role);
                self.restart(restart.role, process::End::Exit(u8::MAX));
            }
        }
        self.end_stuck();
    }

    /// A role that never gets ready is ended, to be tried again.
    fn end_stuck(&self) {
        for child in &self.children {
            if matches!(child.phase, Phase::Waiting | Phase::Ready) {
                continue;
            }
            let limit = deadline(child.phase);
            if child.since.elapsed() > limit && self.serving {
                tracing::error!(role = child.role.name(), "not ready after {limit:?}; ending it");
                let _ = process::kill(child.pid, Signal::Kill);
            }
        }
    }

    /// No new sessions; those under way are told to end at the next safe point.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.restarts.clear();
        // An address that the next generation has no more is refused from now on, instead of left to wait for nobody.
        self.sockets.clear();
        self.tell(Role::Listener, Order::Drain, &[]);
        self.tell(Role::Nursery, Order::Drain, &[]);
        for nursery in &self.retired {
            let _ = nursery.control.as_ref().map(|control| control.tell(&Order::Drain));
        }
    }

    /// Once no session is left, the roles that served them may go too.
    pub(crate) fn drain_helpers_if_draining(&self) {
        if !self.draining {
            return;
        }
        let sessions = self.children.iter().any(|c| matches!(c.role, Role::Listener | Role::Nursery));
        if !sessions && self.retired.is_empty() {
            for role in [Role::Keyholder, Role::Handoff, Role::Receiver, Role::Queue] {
                self.tell(role, Order::Drain, &[]);
            }
        }
    }

    /// True when a backend has passed its proof, or none has to.
    pub(crate) fn is_proved(&self) -> bool {
        !self.children.iter().any(|c| c.phase == Phase::Waiting)
    }

    /// The backend could not be asked at the start, and has failed its proof since.
    pub(crate) fn refusal(&self) -> Option<LauncherError> {
        let why = |end| LauncherError::NotReady(Role::Handoff, format!("{}; see its message above", ended(end)));
        self.refused.map(why)
    }

    /// True while clients come here.
    pub(crate) fn is_serving(&self) -> bool {
        self.serving && !self.draining
    }

    /// Copies of the listening sockets, for the next generation.
    ///
    /// # Errors
    /// No descriptors left.
    pub(crate) fn copy_sockets(&self) -> io::Result<Vec<Socket>> {
        self.sockets.iter().map(Socket::try_clone).collect()
    }

    /// True when every process has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.children.is_empty() && self.retired.is_empty()
    }

    /// Ends every process now and reaps it.
    pub(crate) fn end_now(&mut self) {
        self.draining = true;
        self.restarts.clear();
        for child in self.children.iter().chain(&self.retired) {
            let _ = process::kill(child.pid, Signal::Kill);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.is_over() && Instant::now() < deadline {
            self.reap();
            let _ = gatepost_sys::wait::readable(&[], Some(Duration::from_millis(5)));
        }
    }
}

fn spawn_program(
    program: &OwnedFd,
    role: Role,
    namespaces: Namespaces,
    data: u64,
    control: &End<RoleToLauncher, LauncherToRole>,
    setup: &OwnedFd,
) -> io::Result<ProcessId> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    let stderr = io::stderr();
    // Sessions are forked from the nursery, and what an owned session writes must reach no log: it has no stderr.
    let log = if role == Role::Nursery { null.as_fd() } else { stderr.as_fd() };
    let name = CString::new(role.name()).unwrap_or_default();
    process::spawn(&Spawn {
        program,
        args: &[c"gatepost", c"role", &name],
        fds: &[
            (0, null.as_fd()),
            (1, null.as_fd()),
            (2, log),
            (CONTROL_FD, control.as_fd()),
            (SETUP_FD, setup.as_fd()),
        ],
        namespaces,
        data,
    })
}

fn ended(end: process::End) -> String {
    match end {
        process::End::Exit(status) => format!("it ended with status {status}"),
        process::End::Signal(31) => {
            "it was killed by SIGSYS: it panicked, or made a system call that its profile does not list".into()
        }
        process::End::Signal(signal) => format!("it was killed by signal {signal}"),
    }
}
