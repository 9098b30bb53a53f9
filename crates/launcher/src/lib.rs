//! The root parent: binds, reads config and keys, starts and restarts the roles, reloads, stops.
//!
//! May do: everything, less each day: after the start it keeps the capabilities in [`KEPT`] only. Holds: listening
//! sockets and one channel to each role; private keys only while it hands them to a keyholder. Believes: its
//! configuration, and fixed-size reports of its roles (P2). No runtime: one loop over descriptors.
#![forbid(unsafe_code)]

pub mod admin;
mod error;
pub mod fitness;
mod generation;
mod look;
mod names;
mod pairs;
pub mod plan;
mod processes;
pub mod renew;
mod roles;
mod rules;
mod setup;
pub mod single;
mod slices;
mod sockets;
mod spool;
mod status;
mod syslog;
mod views;
mod watchdog;

pub use error::LauncherError;

use admin::{Answer, Door, Request};
use fitness::Fitness;
use gatepost_config::Relax;
use gatepost_sys::confine::{self, Capability};
use gatepost_sys::limits::{self, Limit};
use gatepost_sys::process;
use gatepost_sys::signal::{Notice, Signals};
use gatepost_wire::control::Order;
use gatepost_wire::gauge::Gauges;
use gatepost_wire::slice::{self, Ground};
use generation::{Generation, Proof};
use plan::Plan;
use processes::{Children, Files};
use renew::{Left, Program, Retry};
use sockets::Socket;
use std::cell::Cell;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};
use watchdog::Watchdog;

/// Capabilities that the launcher keeps, each for starting a role anew.
pub const KEPT: &[Capability] = &[
    Capability::SetUid,         // a role becomes its user
    Capability::SetGid,         // and group
    Capability::SetPcap,        // and empties its bounding set
    Capability::SysChroot,      // and leaves the file tree
    Capability::SysAdmin,       // in namespaces of its own
    Capability::SysPtrace,      // seen from outside through /proc
    Capability::Kill,           // ended when stuck
    Capability::DacReadSearch,  // keys and backend directories, at restart and reload
    Capability::NetBindService, // a new address at reload
];

/// Generations that may go on beside the one that serves: each keeps all its roles.
const RETIRING_MAX: usize = 3;

/// Longest wait of a reload, and of a rehearsal, for a backend that cannot be asked at once whether it relays.
const RELOAD_PROOF: Duration = Duration::from_secs(10);
const REHEARSAL_PROOF: Duration = Duration::from_secs(3);

/// Before the reason.
const NOT_RELOADED: &str = "not reloaded, the old configuration stays in force";
const NOT_RENEWED: &str =
    "other certificates lie there, and are not taken; the old ones stay in use, and it is tried again";

/// What the service manager shows of us.
const PROVED: &str = "Serving.";
const ROUTELESS: &str = "Serving, but the backend of a route cannot be asked yet whether it relays for strangers: mail for it has \
                         to come again (4yz).";
/// Added to it.
const NAMELESS: &str = " No name server answers: clients have no names until one does.";
const UNPROVED: &str = "Serving, but the backend cannot be asked yet whether it relays for strangers: clients are told to \
                        come again (421).";

/// Reads the configuration again. The sentence says what is wrong with it.
pub type Reload<'a> = &'a dyn Fn() -> Result<Plan, String>;

/// Called once, when clients are served: `try` prints what to paste.
pub type Started<'a> = &'a dyn Fn(&Fitness);

/// Runs gatepost until it is told to stop. With a `program`, a reload looks whether another one lies there and has it take our place.
///
/// # Errors
/// Everything that kept it from starting, after whatever was started has ended again.
pub fn run(
    plan: Plan,
    program: Option<Program>,
    reload: Reload<'_>,
    started: Started<'_>,
) -> Result<(), LauncherError> {
    let signals = Signals::all().map_err(|e| LauncherError::System("receive signals", e))?;
    let inherited = sockets::inherited()?;
    let stop = Cell::new(false);
    let door = plan.admin.as_deref().and_then(|path| {
        let unheard = |e| tracing::warn!("gatepost reload and gatepost status cannot ask by {}: {e}", path.display());
        Door::open(path).map_err(unheard).ok()
    });
    let watchdog = Watchdog::new(sd_notify::watchdog_enabled(), Instant::now());
    let mut launcher = Launcher {
        signals,
        stop,
        files: files()?,
        generations: Vec::new(),
        status: String::new(),
        names: names::Watch::new(),
        watchdog,
        door,
        program,
        retry: Retry::new(Instant::now()),
        pairs: None,
        next_gauges: Instant::now(),
        born: Instant::now(),
        refused: None,
    };
    let ended = match launcher.begin(plan, inherited, started) {
        // Nothing has been served, so nothing is to be drained.
        Err(LauncherError::Stopped) => Ok(()),
        begun => begun.and_then(|()| launcher.serve(reload)),
    };
    gatepost_log::disconnect();
    ended
}

/// Takes the place of an earlier program in this process, which has left what it had in the memory behind this descriptor: goes on
/// with its sockets and sessions, begins a generation of its own for those who come, and runs until it is told to stop.
///
/// # Errors
/// What was left cannot be used. That its own generation cannot begin is none: that of the earlier program goes on meanwhile.
pub fn resume(memory: i32, program: Option<Program>, reload: Reload<'_>) -> Result<(), LauncherError> {
    let signals = Signals::all().map_err(|e| LauncherError::System("receive signals", e))?;
    process::set_comm(c"gatepost");
    let state = renew::read(memory).map_err(|why| LauncherError::Unfit(vec![why]))?;
    let Left { files, generations, door, asked } = renew::take(&state)?;
    give_up(if process::effective_ids().0 == 0 { Ground::Root } else { Ground::User })?;
    let mut launcher = Launcher {
        signals,
        stop: Cell::new(false),
        files,
        generations,
        status: String::new(),
        names: names::Watch::new(),
        watchdog: Watchdog::new(sd_notify::watchdog_enabled(), Instant::now()),
        door,
        program,
        retry: Retry::new(Instant::now()),
        pairs: None,
        next_gauges: Instant::now(),
        born: Instant::now(),
        refused: None,
    };
    launcher.reload_for(asked, reload);
    let ended = launcher.serve(reload);
    gatepost_log::disconnect();
    ended
}

/// Whether this program could [`resume`] from the memory behind this descriptor.
///
/// # Errors
/// Why not, as a sentence.
pub fn can_resume(memory: i32) -> Result<(), String> {
    renew::read(memory).map(drop)
}

/// What a rehearsal showed.
#[derive(Debug, Clone, Copy)]
pub struct Rehearsed {
    /// A name server answered the resolver in its jail.
    pub names: bool,
    /// So did every DNS list, as one does: it lists 127.0.0.2 (or `test`) and not 127.0.0.1 (or `invalid`).
    pub lists: bool,
    /// Backends that could not be asked whether they relay for strangers: see
    /// [`Report::Unproved`](gatepost_wire::control::Report::Unproved).
    pub unproved: u64,
    /// False: the backend refuses to relay for who has logged in, as a warning in the log says.
    pub logins: bool,
}

/// Starts everything as [`run`] does, in its jails and with its proofs, but takes no client; then ends it again. For
/// `gatepost check`: chroots that copied nothing and backends that relay for strangers are found before they serve.
/// Nothing of the system is changed: the spool, which a running gatepost may be using, is not even seen by the roles.
///
/// # Errors
/// As [`run`].
pub fn rehearse(plan: Plan) -> Result<Rehearsed, LauncherError> {
    let plan = Plan { rehearsal: true, ..plan };
    let fitness = fit(&plan)?;
    raise_open_files(&plan)?;
    log_relaxed(&plan, &fitness);
    let files = files()?;
    give_up(fitness.ground)?;
    // Told to stop, it dies of the signal and its roles with it.
    let never = &mut || false;
    let children = Children::new(plan, fitness, files, Vec::new(), Vec::new());
    let begun = Generation::begin(children, Proof::Within(REHEARSAL_PROOF), never);
    let ended = begun.map(|mut generation| {
        let seen = Rehearsed {
            names: generation.has_names(),
            lists: generation.has_lists(),
            unproved: generation.unproved(),
            logins: generation.has_logins(),
        };
        generation.end_now();
        seen
    });
    gatepost_log::disconnect();
    ended
}

#[derive(Debug)]
struct Launcher {
    signals: Signals,
    /// TERM came while roles were starting, which may take as long as a backend does.
    stop: Cell<bool>,
    files: Files,
    /// The last one serves; those before it are draining.
    generations: Vec<Generation<Children>>,
    /// What the service manager was told last.
    status: String,
    names: names::Watch,
    watchdog: Watchdog,
    /// Where admins ask.
    door: Option<Door>,
    /// Our own file, where it may be replaced.
    program: Option<Program>,
    /// When to begin a generation of our own, while an earlier program's serves.
    retry: Retry,
    /// The files of certificates that are in use; None: an earlier program has read them.
    pairs: Option<pairs::Watch>,
    /// When the observer is told next what there is.
    next_gauges: Instant,
    born: Instant,
    /// Why the last reload was refused.
    refused: Option<String>,
}

impl Launcher {
    fn begin(&mut self, plan: Plan, inherited: Vec<Socket>, started: Started<'_>) -> Result<(), LauncherError> {
        let pairs = pairs::Watch::new(&plan, Instant::now());
        let fitness = fit(&plan)?;
        let sockets = sockets::open(&plan.config.listen, inherited)?;
        let views = views::open(&plan, &[])?;
        let in_use = prepare(&plan, &fitness)?;
        give_up(fitness.ground)?;
        let children = Children::new(plan, fitness.clone(), self.files.clone(), sockets, views);
        let mut generation = Generation::begin(children, Proof::Later, &mut || self.told_to_stop())?;
        generation.open(in_use);
        self.generations.push(generation);
        self.pairs = Some(pairs);
        started(&fitness);
        tracing::info!("ready");
        self.tell_status(true);
        Ok(())
    }

    /// Tells the service manager what clients get, and whether that makes us ready.
    fn tell_status(&mut self, ready: bool) {
        let last = self.generations.last();
        let proved = match last.map_or(0, Generation::unproved) {
            0 => PROVED,
            unproved if unproved & generation::MAIN == 0 => ROUTELESS,
            _ => UNPROVED,
        };
        let names = if last.is_none_or(Generation::has_names) { "" } else { NAMELESS };
        let now = format!("{proved}{names}");
        let status = sd_notify::NotifyState::Status(&now);
        if ready {
            notify(&[sd_notify::NotifyState::Ready, status]);
        } else if self.status != now {
            notify(&[status]);
        }
        self.status = now;
    }

    /// # Errors
    /// The backend could not be asked at the start, and failed its proof when it could. Nothing has been handed to it.
    fn serve(&mut self, reload: Reload<'_>) -> Result<(), LauncherError> {
        let mut drain_until: Option<Instant> = None;
        loop {
            self.wait(drain_until);
            while let Ok(Some(notice)) = self.signals.next() {
                match notice {
                    Notice::Child => {}
                    // What is draining is not to begin anew.
                    Notice::Reload if drain_until.is_some() => {}
                    Notice::Reload => drop(self.reload(reload, &[])),
                    // The second time, or at the deadline, without more ado.
                    Notice::Terminate if drain_until.is_some() => drain_until = Some(Instant::now()),
                    Notice::Terminate => drain_until = Some(self.drain()),
                }
            }
            self.answer(reload, drain_until.is_some());
            if drain_until.is_none() && self.retry_due().is_some_and(|due| due <= Instant::now()) {
                let _ = self.reload(reload, &[]);
            }
            if drain_until.is_none() {
                self.renew_pairs();
            }
            if self.stop.take() && drain_until.is_none() {
                drain_until = Some(self.drain());
            }
            self.tend();
            if let Some(refusal) = self.generations.iter().find_map(Generation::refusal) {
                self.generations.iter_mut().for_each(Generation::end_now);
                return Err(refusal);
            }
            if let Some(deadline) = drain_until {
                if Instant::now() >= deadline {
                    self.generations.iter_mut().for_each(Generation::cut);
                }
                if self.generations.iter().all(Generation::is_over) {
                    return Ok(());
                }
            }
        }
    }

    fn wait(&self, deadline: Option<Instant>) {
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.signals.as_fd()];
        fds.extend(self.generations.iter().flat_map(|generation| generation.processes.descriptors()));
        fds.extend(self.door.iter().flat_map(Door::descriptors));
        let due = self
            .generations
            .iter()
            .filter_map(Generation::next_due)
            .chain(deadline)
            .chain(self.generations.iter().filter_map(|generation| generation.processes.looks_due()))
            .chain(self.watchdog.next_due())
            .chain(self.retry_due())
            .chain(self.pairs.as_ref().and_then(pairs::Watch::next_due))
            .min();
        // Sockets and roles are looked at now and then, whether or not anything happens.
        let longest = generation::PING_EVERY;
        let wait = due.map_or(longest, |due| due.saturating_duration_since(Instant::now()).min(longest));
        if let Err(e) = gatepost_sys::wait::readable(&fds, Some(wait)) {
            tracing::error!("cannot wait: {e}");
        }
    }

    /// Hears what has happened to the roles, and does what is due.
    fn tend(&mut self) {
        for generation in &mut self.generations {
            if let Err(e) = generation.hear() {
                tracing::error!("{e}; it was ended and is started anew");
            }
            generation.processes.renew_rules(Instant::now());
            generation.processes.renew_networks(Instant::now());
            generation.processes.renew_tables(Instant::now());
            generation.processes.renew_syslog(Instant::now());
            generation.tick(Instant::now());
        }
        if self.generations.last().is_some_and(Generation::is_broken) {
            self.retry.hurry(Instant::now());
        }
        if self.names.has_changed(Instant::now()) {
            self.generations.iter().for_each(|generation| generation.processes.renew_names());
        }
        self.generations.retain(|g| !g.is_over() || g.is_serving());
        self.tell_gauges();
        if self.watchdog.is_due(self.generations.iter().all(Generation::is_alive), Instant::now()) {
            notify(&[sd_notify::NotifyState::Watchdog]);
        }
        self.tell_status(false);
    }

    /// Tells the observer now and then what there is.
    fn tell_gauges(&mut self) {
        let (now, state) = (Instant::now(), self.state(false));
        if now < self.next_gauges {
            return;
        }
        self.next_gauges = now + generation::PING_EVERY;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        gatepost_log::gauge(Gauges::Launcher {
            roles_up: number(state.roles.iter().filter(|(_, pid)| pid.is_some()).count()),
            roles: number(state.roles.len()),
            generations: number(self.generations.len()),
            proved: state.backends.iter().all(|(_, proved)| *proved),
            names: state.names,
        });
    }

    fn drain(&mut self) -> Instant {
        tracing::info!("draining: no new sessions, those under way may end");
        notify(&[sd_notify::NotifyState::Stopping]);
        self.generations.iter_mut().for_each(Generation::drain);
        Instant::now() + self.generations.last().map_or(Duration::ZERO, |last| last.processes.drain_time())
    }

    /// Answers what admins ask.
    fn answer(&mut self, reload: Reload<'_>, draining: bool) {
        let mut reloads = Vec::new();
        for (request, stream) in self.door.as_mut().map(Door::requests).unwrap_or_default() {
            match request {
                Request::Status => {
                    admin::begin_answer(&stream, &status::answer(&self.state(draining)));
                    let serving = self.generations.last();
                    let _ = serving.is_some_and(|last| last.processes.wish(Order::Servers, stream.as_fd()));
                }
                Request::Reload if draining => {
                    let text = "not reloaded: gatepost is ending\n".into();
                    admin::answer(stream, &Answer { status: 1, text });
                }
                Request::Reload => reloads.push(stream),
                Request::Look => {
                    let text = status::roles(&self.state(draining));
                    admin::begin_answer(&stream, &Answer { status: 0, text });
                    let serving = self.generations.last();
                    let _ = serving.is_some_and(|last| last.processes.wish(Order::Look, stream.as_fd()));
                }
                Request::Kick(whom) => self.wish(Order::Kick(whom), &stream),
                Request::Forgive(address) => self.wish(Order::Forgive(address), &stream),
            }
        }
        if !reloads.is_empty() {
            self.reload_for(reloads, reload);
        }
    }

    /// Has the listeners of all generations do what an admin wishes; each answers him by itself.
    fn wish(&self, order: Order, stream: &UnixStream) {
        admin::begin_answer(stream, &Answer { status: 0, text: String::new() });
        let told =
            self.generations.iter().filter(|generation| generation.processes.wish(order, stream.as_fd())).count();
        if told == 0 {
            let _ = (&mut &*stream).write_all(b"no listener is there now; ask again\n");
        }
    }

    /// Reloads, and tells those who `asked` what came of it.
    fn reload_for(&mut self, asked: Vec<UnixStream>, reload: Reload<'_>) {
        let answer = match self.reload(reload, &asked) {
            Ok(()) => Answer { status: 0, text: format!("reloaded\n{}", self.unproved_routes()) },
            Err(why) => Answer { status: 1, text: format!("{NOT_RELOADED}: {why}\n") },
        };
        asked.into_iter().for_each(|stream| admin::answer(stream, &answer));
    }

    /// A line for each route whose backend has not passed its proof.
    fn unproved_routes(&self) -> String {
        let routes = self.generations.last().map(backends).unwrap_or_default().into_iter().skip(1);
        let lines =
            routes.filter(|(_, proved)| !proved).map(|(name, _)| format!("warning: {name} {}\n", status::LATER));
        lines.collect()
    }

    /// When to begin a generation in the place of an earlier program's; None: ours serves.
    fn retry_due(&self) -> Option<Instant> {
        let last = self.generations.last().filter(|last| last.is_adopted() && last.is_serving());
        last.map(|_| self.retry.due())
    }

    fn state(&self, draining: bool) -> status::State {
        let serving = self.generations.last();
        status::State {
            draining,
            backends: serving.map(backends).unwrap_or_default(),
            names: serving.is_none_or(Generation::has_names),
            since: self.born.elapsed(),
            retry: self.retry_due().is_some(),
            refused: self.refused.clone(),
            outdated: self.is_outdated(),
            roles: serving.map(Generation::roles).unwrap_or_default(),
            earlier: self.generations.len().saturating_sub(1),
        }
    }

    /// If another program lies where ours did, it takes our place, and then does this; those who `asked` hear it from that one.
    /// A whole new generation on the same sockets; the old one goes on for its sessions, with its configuration. Any fault leaves the old one serving.
    ///
    /// # Errors
    /// That fault, as a sentence.
    fn reload(&mut self, reload: Reload<'_>, asked: &[UnixStream]) -> Result<(), String> {
        let _ =
            sd_notify::NotifyState::monotonic_usec_now().map(|now| notify(&[sd_notify::NotifyState::Reloading, now]));
        let taken = match self.is_outdated() {
            true => self.renew(asked).map(|never| match never {}),
            false => reload().and_then(|plan| self.next_generation(plan)),
        };
        let reloaded = self.put(taken, NOT_RELOADED);
        self.refused = reloaded.clone().err();
        match &reloaded {
            Ok(()) => tracing::info!("reloaded"),
            Err(_) => self.retry.later(Instant::now()),
        }
        self.tell_status(true);
        reloaded
    }

    /// A generation with the same configuration, when other certificates or keys lie in their files.
    fn renew_pairs(&mut self) {
        let now = Instant::now();
        let Some(plan) = self.generations.last().and_then(|last| last.processes.plan()) else { return };
        let Some(pairs) = &mut self.pairs else { return };
        pairs.tell_ends(plan, now);
        if !pairs.is_due(now) {
            return;
        }
        let plan = plan.clone();
        let taken = self.next_generation(plan);
        match self.put(taken, NOT_RENEWED) {
            Ok(()) => tracing::info!("other certificates are used from now on"),
            Err(_) => self.pairs.iter_mut().for_each(|pairs| pairs.refused(Instant::now())),
        }
    }

    /// Puts a generation in the place of the one that serves, or says why there is none.
    fn put(&mut self, taken: Result<Generation<Children>, String>, not: &str) -> Result<(), String> {
        match taken {
            Ok(next) => {
                self.generations.iter_mut().for_each(Generation::retire);
                let retiring = self.generations.iter().filter(|generation| generation.is_retiring()).count();
                let too_many = retiring.saturating_sub(RETIRING_MAX);
                for oldest in self.generations.iter_mut().filter(|g| g.is_retiring()).take(too_many) {
                    tracing::warn!(
                        "{RETIRING_MAX} earlier configurations are in use: sessions with the oldest are told to end"
                    );
                    oldest.drain();
                }
                self.generations.push(next);
                Ok(())
            }
            Err(why) => {
                self.generations.iter().for_each(|generation| generation.processes.log_here());
                tracing::error!("{not}: {why}");
                Err(why)
            }
        }
    }

    fn next_generation(&mut self, plan: Plan) -> Result<Generation<Children>, String> {
        let pairs = pairs::Watch::new(&plan, Instant::now());
        let fitness = fit(&plan).map_err(|e| e.to_string())?;
        let in_use = prepare(&plan, &fitness).map_err(|e| format!("{e}; this change needs a restart"))?;
        let kept = self.generations.last().map_or_else(|| Ok(Vec::new()), |last| last.processes.copy_sockets());
        let kept = kept.map_err(|e| LauncherError::System("copy the listening sockets", e).to_string())?;
        let sockets = sockets::open(&plan.config.listen, kept).map_err(|e| e.to_string())?;
        let views = self.generations.last().map(|last| last.processes.views()).unwrap_or_default();
        let views = views::open(&plan, views).map_err(|e| e.to_string())?;
        let children = Children::new(plan, fitness, self.files.clone(), sockets, views);
        // What serves is not to be replaced by what may never serve.
        let whole = self.generations.last().is_some_and(|last| !last.is_broken());
        let proof = if whole { Proof::Within(RELOAD_PROOF) } else { Proof::Later };
        let next = Generation::begin(children, proof, &mut || {
            self.tend();
            self.told_to_stop()
        });
        let mut next = next.map_err(|e| e.to_string())?;
        next.open(in_use);
        self.pairs = Some(pairs);
        Ok(next)
    }

    /// Whether TERM has come. What else comes while roles are starting is out of date when they have.
    fn told_to_stop(&self) -> bool {
        while let Ok(Some(notice)) = self.signals.next() {
            if notice == Notice::Terminate {
                self.stop.set(true);
            }
        }
        self.stop.get()
    }
}

/// Our own program, and the log as its observers get it: opened anew, so that what one of them does to it does not concern us
/// or whoever started us. Where that cannot be, they get the one there is.
fn files() -> Result<Files, LauncherError> {
    let program = process::own_program().map_err(|e| LauncherError::System("open my own program file", e))?;
    let stderr = std::io::stderr();
    let copy =
        || stderr.as_fd().try_clone_to_owned().map_err(|e| LauncherError::System("copy the log's descriptor", e));
    let spare_log = gatepost_sys::fds::open_anew(&stderr).or_else(|why| {
        tracing::warn!("the log cannot be opened anew, and is shared with whoever started this: {why}");
        copy()
    })?;
    Ok(Files { program: Rc::new(program), log: Rc::new(copy()?), spare_log: Rc::new(spare_log) })
}

/// The backends of a generation, `[backend]` first, and whether each has passed its proof.
fn backends(generation: &Generation<Children>) -> Vec<(String, bool)> {
    let unproved = generation.unproved();
    let routes = generation.processes.plan().map(|plan| plan.config.routes.as_slice()).unwrap_or_default();
    let names = routes.iter().map(|route| slice::route_name(&route.domains, &route.recipients));
    let names = std::iter::once("the backend".to_owned()).chain(names);
    names.zip(0..u64::BITS).map(|(name, bit)| (name, (unproved >> bit) & 1 == 0)).collect()
}

fn fit(plan: &Plan) -> Result<Fitness, LauncherError> {
    let fitness = Fitness::of(plan);
    match fitness.faults() {
        faults if faults.is_empty() => Ok(fitness),
        faults => Err(LauncherError::Unfit(faults)),
    }
}

/// What has to be there before roles start, each time they start with another plan. This changes the system.
fn prepare(plan: &Plan, fitness: &Fitness) -> Result<spool::InUse, LauncherError> {
    raise_open_files(plan)?;
    let in_use = spool::prepare(plan, fitness)?;
    log_relaxed(plan, fitness);
    fitness.looks().iter().for_each(|look| tracing::warn!("{look}"));
    Ok(in_use)
}

/// Roles need as many descriptors as their profiles say; hard limits cannot be raised once capabilities are gone.
fn raise_open_files(plan: &Plan) -> Result<(), LauncherError> {
    let most =
        gatepost_wire::control::Role::ALL.into_iter().map(|role| setup::open_files(role, plan)).max().unwrap_or(0);
    let system = |e| LauncherError::System("set RLIMIT_NOFILE", e);
    let (_, hard) = limits::get(Limit::OpenFiles).map_err(system)?;
    if hard >= most {
        return Ok(());
    }
    let got = limits::set_at_most(Limit::OpenFiles, most).map_err(system)?;
    if got >= most {
        return Ok(());
    }
    Err(LauncherError::Unfit(vec![format!(
        "limits.sessions = {} needs {most} descriptors, but the hard limit is {got}; raise it (ulimit -Hn, LimitNOFILE=) or lower limits.sessions",
        plan.config.limits.sessions
    )]))
}

fn log_relaxed(plan: &Plan, fitness: &Fitness) {
    let relaxed = [
        (plan.relaxes(Relax::Namespaces), "namespaces: roles are only chrooted"),
        (plan.relaxes(Relax::Landlock), "landlock: may be missing, or an older part of it"),
        (plan.relaxes(Relax::DistinctUsers), "distinct-users: roles may share a uid"),
        (
            plan.config.backends().any(|backend| !backend.relay_proof) && plan.receiver.is_none(),
            "relay_proof: a backend is not tested for open relaying",
        ),
        (fitness.ground == Ground::User, "not started by root: all roles run under one uid, in user namespaces"),
    ];
    for (_, what) in relaxed.iter().filter(|(is, _)| *is) {
        tracing::warn!("relaxed: {what}");
    }
}

fn give_up(ground: Ground) -> Result<(), LauncherError> {
    let failed = |e| LauncherError::System("give up capabilities", e);
    if ground == Ground::Root {
        confine::keep_bounding(KEPT).map_err(failed)?;
        confine::keep_permitted(KEPT).map_err(failed)?;
        process::set_undumpable().map_err(failed)?;
    }
    limits::set(Limit::Core, 0).map_err(failed)?;
    process::set_no_new_privs().map_err(failed)
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        tracing::warn!("cannot notify the service manager: {e}");
    }
}
