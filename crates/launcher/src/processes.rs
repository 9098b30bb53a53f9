//! What a generation's decisions are done with: real processes, their channels, the listening sockets.

mod files;
mod generation;

use crate::error::LauncherError;
use crate::findings::Fitness;
use crate::generation::{Event, Processes, Seen};
use crate::plan::Plan;
use crate::sockets::Socket;
use crate::spool::InUse;
use crate::views::ViewSocket;
use crate::{descriptors, look, rules, setup, slices, syslog};
use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_config::Relax;
use gatepost_jail::{CONTROL_FD, SETUP_FD, profile};
use gatepost_sys::fds::Lock;
use gatepost_sys::process::{self, Namespaces, ProcessId, Signal, Spawn};
use gatepost_sys::seq::Seq;
use gatepost_sys::{fds, wait};
use gatepost_wire::control::{Order, Role};
use gatepost_wire::resume;
use gatepost_wire::slice::Ground;
use gatepost_wire::{LauncherToRole, RoleToLauncher};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

type RoleEnd = End<LauncherToRole, RoleToLauncher>;

/// RLIMIT_DATA of a role until it enters its jail, octets, at least: what is relocated when a program starts counts until it is made
/// read-only, and a build for debugging has nearly 1 MiB of it.
const START_DATA: u64 = 4 << 20;
/// Longest wait for a role to take an order.
const ORDER_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Child {
    role: Role,
    pid: ProcessId,
    /// None once it has hung up or broken the rules: it is ending, and the reaping tells how.
    control: Option<RoleEnd>,
}

/// Open files that every generation needs.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// Our own program.
    pub(crate) program: Rc<OwnedFd>,
    /// The log as whoever started us gave it, which is opened anew for each observer.
    pub(crate) log: Rc<OwnedFd>,
    /// The same opened anew while we had all privilege, for where an observer can't have one of its own.
    pub(crate) spare_log: Rc<OwnedFd>,
}

impl Files {
    /// What one observer writes to: nothing that it does to its description concerns us or the next observer.
    fn log_of_an_observer(&self) -> io::Result<OwnedFd> {
        fds::open_anew(&*self.log).or_else(|_| self.spare_log.try_clone())
    }
}

/// The processes of one generation.
#[derive(Debug)]
pub(crate) struct Children {
    given: Given,
    files: Files,
    sockets: Vec<Socket>,
    /// Where the observer is asked for its counters.
    views: Vec<ViewSocket>,
    /// The spool is ours as long as this generation serves or drains.
    in_use: Option<InUse>,
    rules: rules::Watch,
    /// Of each file of networks that the configuration names.
    networks: Vec<rules::Watch>,
    /// Of each file of a table.
    tables: Vec<rules::Watch>,
    /// Of the accounts of this machine, where they submit mail.
    accounts: Option<rules::Watch>,
    /// Where lines go there.
    syslog: Option<syslog::Watch>,
    children: Vec<Child>,
    inbox: Inbox,
}

/// By what roles are started.
#[derive(Debug)]
enum Given {
    /// This configuration, on this system.
    Plan(Box<(Plan, Fitness)>),
    /// By an earlier program's, of which is left how long a drain may take.
    Earlier(Duration),
}

impl Given {
    fn plan(&self) -> Option<&(Plan, Fitness)> {
        match self {
            Self::Plan(given) => Some(given),
            Self::Earlier(_) => None,
        }
    }
}

impl Children {
    pub(crate) fn new(
        plan: Plan,
        fitness: Fitness,
        files: Files,
        sockets: Vec<Socket>,
        views: Vec<ViewSocket>,
    ) -> Self {
        let rules = rules::Watch::new(plan.config.admission.rules.as_deref());
        let networks = plan.config.network_files().map(|_| rules::Watch::unseen()).collect();
        let tables = plan.config.table_files().map(|_| rules::Watch::unseen()).collect();
        let accounts = plan.submit_socket().map(|_| rules::Watch::new(Some(Path::new(slices::ACCOUNTS))));
        let syslog = plan.config.log.syslog.then(syslog::Watch::new);
        let given = Given::Plan(Box::new((plan, fitness)));
        let (in_use, children) = (None, Vec::new());
        Self {
            given,
            files,
            sockets,
            views,
            in_use,
            rules,
            networks,
            tables,
            accounts,
            syslog,
            children,
            inbox: Inbox::new(64),
        }
    }

    /// Those of a generation that an earlier program in this process has begun.
    ///
    /// # Errors
    /// A descriptor that is not open.
    pub(crate) fn adopt(left: &resume::Generation, files: Files, views: Vec<ViewSocket>) -> io::Result<Self> {
        let one = |child: &resume::Child| {
            let control = child.control.map(descriptors::kept).transpose()?.map(RoleEnd::from_fd);
            let pid = ProcessId::try_from(child.pid).map_err(io::Error::other)?;
            Ok(Child { role: child.role, pid, control })
        };
        let lock = left.lock.map(descriptors::kept).transpose()?.map(Lock::inherited).transpose()?;
        Ok(Self {
            given: Given::Earlier(Duration::from_secs(left.drain.into())),
            files,
            sockets: left.sockets.iter().map(Socket::adopt).collect::<io::Result<_>>()?,
            views,
            in_use: Some(InUse { lock }),
            rules: rules::Watch::new(None),
            networks: Vec::new(),
            tables: Vec::new(),
            accounts: None,
            syslog: None,
            children: left.children.iter().map(one).collect::<io::Result<_>>()?,
            inbox: Inbox::new(64),
        })
    }

    /// The plan that its roles are started by; None: an earlier program's.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.given.plan().map(|(plan, _)| plan)
    }

    /// Descriptors to wait for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.children.iter().filter_map(|child| child.control.as_ref()).map(AsFd::as_fd)
    }

    /// Longest wait for sessions to end by themselves when all is to end.
    pub(crate) fn drain_time(&self) -> Duration {
        match &self.given {
            Given::Plan(given) => given.0.config.limits.drain,
            Given::Earlier(drain) => *drain,
        }
    }

    /// Copies of the listening sockets, for the next generation.
    ///
    /// # Errors
    /// No descriptors left.
    pub(crate) fn copy_sockets(&self) -> io::Result<Vec<Socket>> {
        self.sockets.iter().map(Socket::try_clone).collect()
    }

    /// The sockets of the counters.
    pub(crate) fn views(&self) -> &[ViewSocket] {
        &self.views
    }

    /// Everything that has happened. Who has ended is not heard any more. Reaped by pid: another generation's are its own to reap.
    fn events(&mut self) -> Vec<(ProcessId, Event)> {
        let ended = self.children.iter().filter_map(|child| Some((child.pid, process::reap_one(child.pid)?)));
        let ended: Vec<_> = ended.collect();
        self.children.retain(|child| !ended.iter().any(|(pid, _)| *pid == child.pid));
        let mut events: Vec<_> = ended.into_iter().map(|(pid, end)| (pid, Event::Ended(end))).collect();
        let fds: Vec<BorrowedFd<'_>> = self.descriptors().collect();
        let ready = wait::readable(&fds, Some(Duration::ZERO)).unwrap_or_default();
        let speaking = self.children.iter_mut().filter(|child| child.control.is_some()).zip(ready);
        for (child, _) in speaking.filter(|(_, ready)| *ready) {
            let Some(control) = &child.control else { continue };
            match control.recv(&mut self.inbox) {
                Ok(report) => events.push((child.pid, Event::Report(report))),
                Err(ChannelError::Closed) => child.control = None,
                Err(e) => events.push((child.pid, Event::Broken(e.to_string()))),
            }
        }
        events
    }

    fn control(&self, pid: ProcessId) -> Option<(Role, &RoleEnd)> {
        let child = self.children.iter().find(|child| child.pid == pid)?;
        Some((child.role, child.control.as_ref()?))
    }

    fn tell(&self, pid: ProcessId, order: Order, fds: &[BorrowedFd<'_>]) {
        if let Some((role, control)) = self.control(pid)
            && let Err(e) = control.tell_with(&order, fds)
        {
            tracing::warn!(role = role.name(), ?order, "order not taken: {e}");
            // One that says that it is alive and follows no order would make us wait again with each.
            if matches!(e, ChannelError::WouldBlock) {
                let _ = process::kill(pid, Signal::Kill);
            }
        }
    }

    fn spawn(
        &self,
        role: Role,
        (plan, fitness): &(Plan, Fitness),
        descriptors: &[(RawFd, BorrowedFd<'_>)],
    ) -> io::Result<ProcessId> {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        let name = CString::new(role.name()).unwrap_or_default();
        process::spawn(&Spawn {
            program: &self.files.program,
            args: &[c"gatepost", c"role", &name],
            fds: &[&[(0, null.as_fd()), (1, null.as_fd())], descriptors].concat(),
            namespaces: namespaces(role, plan, fitness),
            data: setup::data(role, plan).max(START_DATA),
        })
    }

    /// Our own lines go to this generation's observer again: the next one has failed to start.
    pub(crate) fn log_here(&self) {
        if let Some(observer) = self.observer() {
            self.log_to(observer);
        }
    }

    /// Our own lines go to this observer from now on.
    fn log_to(&self, observer: ProcessId) {
        match quiet_pair() {
            Ok((ours, theirs)) => {
                self.tell(observer, Order::Lines, &[theirs.as_fd()]);
                gatepost_log::connect(ours);
            }
            Err(e) => tracing::error!("no descriptors left for the log: {e}; raise LimitNOFILE= of the unit"),
        }
    }

    /// Has a role do what an admin wishes, who hears of it by this connection. False: it is not there.
    pub(crate) fn wish(&self, order: Order, admin: BorrowedFd<'_>) -> bool {
        let roles: &[Role] = match order {
            Order::Look => &[Role::Observer],
            Order::Servers => &[Role::Resolver],
            // The listener answers, last.
            Order::Forgive(_) => &[Role::Handoff, Role::Listener],
            _ => &[Role::Listener],
        };
        let mut there = false;
        for role in roles {
            let child = self.children.iter().find(|child| child.role == *role);
            child.into_iter().for_each(|child| self.tell(child.pid, order, &[admin]));
            there = child.is_some();
        }
        there
    }

    fn observer(&self) -> Option<ProcessId> {
        self.children.iter().find(|child| child.role == Role::Observer).map(|child| child.pid)
    }
}

fn namespaces(role: Role, plan: &Plan, fitness: &Fitness) -> Namespaces {
    if plan.relaxes(Relax::Namespaces) {
        return Namespaces::default();
    }
    Namespaces { user: fitness.ground == Ground::User, ..profile::of(role).namespaces }
}

/// Both ends of a channel to an observer: neither end ever waits for the other (P14).
fn quiet_pair() -> io::Result<(Seq, Seq)> {
    let (a, b) = Seq::pair()?;
    a.set_nonblocking(true)?;
    b.set_nonblocking(true)?;
    Ok((a, b))
}

impl Processes for Children {
    fn start(&mut self, role: Role) -> Result<ProcessId, LauncherError> {
        let Some(given) = self.given.plan() else {
            return Err(LauncherError::NotReady(
                role,
                "an earlier program began it, and the next configuration has another".into(),
            ));
        };
        let setup = setup::memory(role, &given.0, &given.1);
        let setup = setup.map_err(|why| LauncherError::NotReady(role, why))?;
        let system = |e| LauncherError::System("start a role", e);
        let (control, theirs) = RoleEnd::pair().map_err(system)?;
        control.seq().set_timeout(ORDER_DEADLINE).map_err(system)?;
        // What it says before it is linked, for example why it cannot enter its jail, is to be heard too.
        let (lines, heard) = quiet_pair().map_err(system)?;
        let log = if role == Role::Observer { Some(self.files.log_of_an_observer().map_err(system)?) } else { None };
        let stderr = log.as_ref().map_or(lines.as_fd(), AsFd::as_fd);
        let descriptors = [(2, stderr), (CONTROL_FD, theirs.as_fd()), (SETUP_FD, setup.as_fd())];
        let pid = self.spawn(role, given, &descriptors).map_err(system)?;
        if let (Some(observer), true) = (self.observer(), role != Role::Observer) {
            self.tell(observer, Order::Peer(role), &[heard.as_fd()]);
        }
        self.children.push(Child { role, pid, control: Some(control) });
        Ok(pid)
    }

    fn look(&mut self, role: Role, pid: ProcessId) -> Seen {
        // One that an earlier program has started is replaced before it is let go.
        let Some((plan, fitness)) = self.given.plan() else { return Seen::Gone };
        match look::at(role, pid, plan, fitness) {
            Ok(()) => Seen::Confined,
            // One that was killed meanwhile looks weak too.
            Err(_) if self.control(pid).is_none_or(|(_, control)| wait::hung_up(control.as_fd())) => Seen::Gone,
            Err(findings) => Seen::Weak(findings),
        }
    }

    fn link(&mut self, one: (Role, ProcessId), other: (Role, ProcessId)) {
        let pair = if [one.0, other.0].contains(&Role::Observer) { quiet_pair() } else { Seq::pair() };
        let Ok((a, b)) = pair else {
            tracing::error!(
                "no descriptors left to link {} and {}; raise LimitNOFILE= of the unit",
                one.0.name(),
                other.0.name()
            );
            return;
        };
        self.tell(one.1, Order::Peer(other.0), &[a.as_fd()]);
        self.tell(other.1, Order::Peer(one.0), &[b.as_fd()]);
    }

    fn mend_sockets(&mut self) -> bool {
        let mended = self.sockets.iter_mut().map(|socket| match socket.mend() {
            Ok(mended) => mended,
            Err(e) => {
                tracing::error!("a listening socket is dead: {e}; it is tried again");
                false
            }
        });
        mended.fold(false, |any, mended| any | mended)
    }

    fn give_sockets(&mut self, pid: ProcessId) {
        // Before the first client.
        self.give_rules(pid, true);
        self.give_networks(pid);
        for (index, socket) in self.sockets.iter().enumerate() {
            self.tell(pid, Order::Socket(u8::try_from(index).unwrap_or(u8::MAX)), &[socket.fd.as_fd()]);
        }
        // Behind the others, as in the slice.
        let index = u8::try_from(self.sockets.len()).unwrap_or(u8::MAX);
        for view in self.views.iter().filter(|view| view.role == Role::Listener) {
            self.tell(pid, Order::Socket(index), &[view.fd.as_fd()]);
        }
    }

    fn order(&mut self, pid: ProcessId, order: Order) {
        if order == Order::Go && self.observer() == Some(pid) {
            self.log_to(pid);
            self.syslog.iter_mut().for_each(syslog::Watch::forget);
            self.renew_syslog(Instant::now());
            for (index, view) in self.views.iter().filter(|view| view.role == Role::Observer).enumerate() {
                self.tell(pid, Order::Socket(u8::try_from(index).unwrap_or(u8::MAX)), &[view.fd.as_fd()]);
            }
        }
        self.tell(pid, order, &[]);
    }

    fn kill(&mut self, pid: ProcessId) {
        let _ = process::kill(pid, Signal::Kill);
        for child in self.children.iter_mut().filter(|child| child.pid == pid) {
            child.control = None;
        }
    }

    fn close_sockets(&mut self) {
        self.sockets.clear();
    }
}
