//! The root parent: binds, reads config and keys, starts and restarts the roles, reloads, stops.
//!
//! May do: everything until the roles have started, and then what the capabilities in [`KEPT`] permit. Holds: listening
//! sockets and one channel to each role; private keys only while it hands them to a keyholder. Believes: its
//! configuration, and fixed-size reports of its roles (P2). No runtime: one loop over descriptors.
#![forbid(unsafe_code)]

pub mod admin;
mod apart;
mod descriptors;
mod error;
pub mod findings;
mod fitness;
mod generation;
mod look;
mod names;
mod pair_files;
mod pairs;
pub mod plan;
mod prepare;
mod processes;
mod reload;
pub mod renew;
mod reports;
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
pub use prepare::KEPT;

use admin::AdminSocket;
use findings::Fitness;
use gatepost_sys::process;
use gatepost_sys::signal::{Notice, Signals};
use gatepost_wire::slice::Ground;
use generation::{Generation, Proof};
use plan::Plan;
use prepare::{files, fit, give_up, log_relaxed, prepare, raise_open_files};
use processes::{Children, Files};
use renew::{Left, Program, Retry};
use reports::notify;
use sockets::Socket;
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use watchdog::Watchdog;

/// Longest wait of a rehearsal for a backend that cannot be asked at once whether it relays.
const REHEARSAL_PROOF: Duration = Duration::from_secs(3);

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
    let admin_socket = plan.admin.as_deref().and_then(|path| {
        let unheard = |e| tracing::warn!("gatepost reload and gatepost status cannot ask by {}: {e}", path.display());
        AdminSocket::open(path).map_err(unheard).ok()
    });
    let mut launcher = Launcher::new(signals, files()?, admin_socket, program);
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
    let Left { files, generations, admin_socket, asked } = renew::take(&state)?;
    give_up(if process::effective_ids().0 == 0 { Ground::Root } else { Ground::User })?;
    let mut launcher = Launcher { generations, ..Launcher::new(signals, files, admin_socket, program) };
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
    admin_socket: Option<AdminSocket>,
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
    /// Without a generation.
    fn new(signals: Signals, files: Files, admin_socket: Option<AdminSocket>, program: Option<Program>) -> Self {
        let now = Instant::now();
        Self {
            signals,
            stop: Cell::new(false),
            files,
            generations: Vec::new(),
            status: String::new(),
            names: names::Watch::new(),
            watchdog: Watchdog::new(sd_notify::watchdog_enabled(), now),
            admin_socket,
            program,
            retry: Retry::new(now),
            pairs: None,
            next_gauges: now,
            born: now,
            refused: None,
        }
    }

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
                    // A second one cuts everything off.
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
            self.run_due();
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
        fds.extend(self.admin_socket.iter().flat_map(AdminSocket::descriptors));
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
    fn run_due(&mut self) {
        for generation in &mut self.generations {
            if let Err(e) = generation.hear() {
                tracing::error!("{e}; it was ended and is started anew");
            }
            generation.processes.renew(Instant::now());
            generation.tick(Instant::now());
        }
        if self.generations.last().is_some_and(Generation::is_broken) {
            self.retry.advance(Instant::now());
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

    fn drain(&mut self) -> Instant {
        tracing::info!("draining: no new sessions, those under way may end");
        notify(&[sd_notify::NotifyState::Stopping]);
        self.generations.iter_mut().for_each(Generation::drain);
        Instant::now() + self.generations.last().map_or(Duration::ZERO, |last| last.processes.drain_time())
    }

    /// When to begin a generation in the place of an earlier program's; None: ours serves.
    fn retry_due(&self) -> Option<Instant> {
        let last = self.generations.last().filter(|last| last.is_adopted() && last.is_serving());
        last.map(|_| self.retry.due())
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
