//! Another program file where the one lies that we were started by: whether there is one, whether it can serve, and its execution in
//! this process. Sockets and roles stay as they are; the next program gets to know of them by a [`State`] in sealed memory.

use crate::admin::AdminSocket;
use crate::descriptors::{kept, number};
use crate::generation::{self, Generation};
use crate::processes::{Children, Files};
use crate::views::ViewSocket;
use crate::{Launcher, LauncherError, REHEARSAL_PROOF};
use gatepost_sys::process::{self, End, Namespaces, ProcessId, Signal, Spawn};
use gatepost_sys::{fds, wait};
use gatepost_wire::resume::State;
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The option by which the next program is told the descriptor of the memory.
pub const RESUME: &str = "--resume";
/// With [`RESUME`]: say whether you could, and do nothing else.
pub const REHEARSE: &str = "--rehearse";

/// The descriptor of the memory in a rehearsal.
const REHEARSAL_FD: i32 = 3;
/// Longest rehearsal: all roles start, and the backend is asked.
const REHEARSAL: Duration = Duration::from_secs(60).saturating_add(REHEARSAL_PROOF);
/// How often its end is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// Octets of what it says that are repeated.
const SAID_MAX: u64 = 16 * 1024;

/// Where the program lies, and what it is told when it is executed anew.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<CString>,
    version: &'static str,
}

impl Program {
    /// The one that this process was started by, of this version, to be executed anew with these arguments. None where that cannot be found out.
    #[must_use]
    pub fn own(arguments: &[OsString], version: &'static str) -> Option<Self> {
        let typed = PathBuf::from(std::env::args_os().next()?);
        let found = if typed.components().count() > 1 { std::path::absolute(typed).ok() } else { in_path(&typed) };
        // By the name that was typed it may be a link, which the next package points elsewhere. If that is another file already, what
        // is executed now has come from it: it was there when we were.
        let path = found.or_else(|| std::env::current_exe().ok())?;
        let arguments = arguments.iter().map(|argument| CString::new(argument.clone().into_vec()).ok());
        Some(Self { path, arguments: arguments.collect::<Option<_>>()?, version })
    }

    /// Whether another file lies there now. None at all is no other one.
    fn is_other(&self) -> bool {
        let same = |seen: &Metadata| (seen.dev(), seen.ino());
        match (fs::metadata(&self.path), fs::metadata(process::OWN_PROGRAM)) {
            (Ok(there), Ok(ours)) => same(&there) != same(&ours),
            _ => false,
        }
    }

    /// Opens it, unless somebody could have put it there who must not.
    fn open(&self) -> Result<OwnedFd, String> {
        let failed = |e: io::Error| format!("{}: {e}", self.path.display());
        let seen = fs::metadata(&self.path).map_err(failed)?;
        let owners = [0, process::effective_ids().0, fs::metadata(process::OWN_PROGRAM).map_err(failed)?.uid()];
        if seen.mode() & 0o022 != 0 || !owners.contains(&seen.uid()) {
            let path = self.path.display();
            return Err(format!("{path}: others than root may change it; run: chown root {path}; chmod 755 {path}"));
        }
        process::program(&self.path).map_err(failed)
    }

    fn words(&self, more: &[CString]) -> Vec<CString> {
        let path = CString::new(self.path.clone().into_os_string().into_vec()).unwrap_or_default();
        [&[path], self.arguments.as_slice(), more].concat()
    }
}

/// The program of that name, as a shell finds it.
fn in_path(name: &Path) -> Option<PathBuf> {
    let directories = std::env::var_os("PATH")?;
    std::env::split_paths(&directories).map(|directory| directory.join(name)).find(|path| path.is_file())
}

fn option(name: &str, value: Option<i32>) -> CString {
    CString::new(value.map_or_else(|| name.to_owned(), |value| format!("{name}={value}"))).unwrap_or_default()
}

fn sealed(state: &State) -> Result<OwnedFd, String> {
    let octets = state.to_octets().map_err(|e| e.to_string())?;
    let memory =
        process::memory().and_then(|mut memory| memory.write_all(&octets).and_then(|()| process::seal(memory)));
    memory.map_err(|e| format!("no memory for the next program: {e}"))
}

/// What an earlier program has left in the memory behind this descriptor.
///
/// # Errors
/// Why it cannot be used, as a sentence.
pub(crate) fn read(memory: i32) -> Result<State, String> {
    let mut octets = Vec::new();
    let read = fds::inherited(memory).map(File::from).and_then(|mut memory| {
        memory.rewind()?;
        memory.read_to_end(&mut octets)
    });
    read.map_err(|e| format!("descriptor {memory}: {e}"))?;
    State::from_octets(&octets).map_err(|e| {
        format!(
            "this program cannot take the place of the one that runs, which is of another version ({e}): restart it"
        )
    })
}

/// A rehearsal of another program: a process of it that starts all roles, takes no client, and ends.
struct Rehearsal {
    pid: ProcessId,
    said: File,
    until: Instant,
}

impl Rehearsal {
    fn start(file: &OwnedFd, program: &Program, state: &State) -> Result<Self, String> {
        let failed = |e: io::Error| format!("{}: cannot be tried: {e}", program.path.display());
        let memory = sealed(state)?;
        let said = process::memory().map_err(failed)?;
        let null = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
        let words = program.words(&[option(RESUME, Some(REHEARSAL_FD)), option(REHEARSE, None)]);
        let pid = process::spawn(&Spawn {
            program: file,
            args: &words.iter().map(CString::as_c_str).collect::<Vec<&CStr>>(),
            fds: &[(0, null.as_fd()), (1, null.as_fd()), (2, said.as_fd()), (REHEARSAL_FD, memory.as_fd())],
            namespaces: Namespaces::default(),
            data: u64::MAX,
        });
        Ok(Self { pid: pid.map_err(failed)?, said, until: Instant::now() + REHEARSAL })
    }

    /// What came of it, once it has ended.
    fn outcome(&mut self) -> Option<Result<(), String>> {
        match process::reap_one(self.pid)? {
            End::Exit(0) => Some(Ok(())),
            end => Some(Err(format!("{}{}", self.reasons(), generation::how(end)))),
        }
    }

    /// What it has said for whoever typed it; anything at all where it has not.
    fn reasons(&mut self) -> String {
        let mut octets = Vec::new();
        let _ = self.said.rewind().and_then(|()| (&self.said).take(SAID_MAX).read_to_end(&mut octets));
        let text = String::from_utf8_lossy(&octets);
        let reasons: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("gatepost: ")).collect();
        let reasons = if reasons.is_empty() { text.lines().take(3).collect() } else { reasons };
        reasons.iter().map(|line| format!("{line}; ")).collect()
    }

    fn cancel(&self) {
        let _ = process::kill(self.pid, Signal::Kill);
        let _ = process::await_end(self.pid);
    }
}

impl Launcher {
    /// Of the program that runs.
    pub(crate) fn version(&self) -> &'static str {
        self.program.as_ref().map_or("", |program| program.version)
    }

    /// True when another program is to take our place.
    pub(crate) fn is_outdated(&self) -> bool {
        self.program.as_ref().is_some_and(Program::is_other)
    }

    /// Has the other program take our place in this process, after a rehearsal. Those who `asked` hear the outcome from it.
    ///
    /// # Errors
    /// Why it does not; everything is as it was.
    pub(crate) fn renew(&mut self, asked: &[UnixStream]) -> Result<Infallible, String> {
        let Some(program) = self.program.clone() else { return Err("where the program lies is not known".into()) };
        let refused = |why: String| format!("{} is not taken: {why}", program.path.display());
        let file = program.open()?;
        let mut rehearsal = Rehearsal::start(&file, &program, &self.leave(asked))?;
        loop {
            if let Some(outcome) = rehearsal.outcome() {
                outcome.map_err(refused)?;
                break;
            }
            let stop = self.told_to_stop();
            if stop || Instant::now() >= rehearsal.until {
                rehearsal.cancel();
                return Err(refused(if stop { "told to stop" } else { "its rehearsal does not end" }.to_owned()));
            }
            self.run_due();
            wait::readable(&[], Some(LOOK)).map_err(|e| refused(e.to_string()))?;
        }
        tracing::info!("{} takes our place", program.path.display());
        Err(refused(self.execute(&file, &program, asked)?.to_string()))
    }

    /// Returns only what kept it from that.
    fn execute(&self, file: &OwnedFd, program: &Program, asked: &[UnixStream]) -> Result<io::Error, String> {
        // Not what the rehearsal was told: roles may have ended meanwhile.
        let state = self.leave(asked);
        let memory = sealed(&state)?;
        let words = program.words(&[option(RESUME, Some(memory.as_raw_fd()))]);
        let close =
            |on: bool| state.descriptors().chain([number(&memory)]).try_for_each(|fd| fds::close_on_exec(fd, on));
        let failed = match close(false) {
            Ok(()) => process::execute(file, &words.iter().map(CString::as_c_str).collect::<Vec<&CStr>>()),
            Err(e) => e,
        };
        let _ = close(true);
        Ok(failed)
    }

    fn leave(&self, asked: &[UnixStream]) -> State {
        State {
            generations: self.generations.iter().map(Generation::leave).collect(),
            views: self
                .generations
                .last()
                .into_iter()
                .flat_map(|g| g.processes.views())
                .map(ViewSocket::leave)
                .collect(),
            control: self.admin_socket.as_ref().map(AdminSocket::leave),
            log: gatepost_log::channel().map(i32::unsigned_abs),
            spare_log: number(&*self.files.spare_log),
            asked: asked.iter().map(number).collect(),
        }
    }
}

/// What an earlier program in this process has left, taken over.
pub(crate) struct Left {
    pub(crate) files: Files,
    pub(crate) generations: Vec<Generation<Children>>,
    pub(crate) admin_socket: Option<AdminSocket>,
    pub(crate) asked: Vec<UnixStream>,
}

/// Takes it over: its lines go where they went, its roles are ours.
///
/// # Errors
/// A descriptor that is not open.
pub(crate) fn take(state: &State) -> Result<Left, LauncherError> {
    let failed = |e| LauncherError::System("take over what the earlier program has left", e);
    if let Some(log) = state.log {
        gatepost_log::connect(gatepost_sys::seq::Seq::from_fd(kept(log).map_err(failed)?));
    }
    let files = Files {
        program: Rc::new(process::own_program().map_err(failed)?),
        log: Rc::new(io::stderr().as_fd().try_clone_to_owned().map_err(failed)?),
        spare_log: Rc::new(kept(state.spare_log).map_err(failed)?),
    };
    let views: Vec<ViewSocket> =
        state.views.iter().map(ViewSocket::adopt).collect::<io::Result<_>>().map_err(failed)?;
    let now = Instant::now();
    let one = |left| Ok(Generation::adopt(Children::adopt(left, files.clone(), views.clone())?, left, now));
    Ok(Left {
        generations: state.generations.iter().map(one).collect::<io::Result<_>>().map_err(failed)?,
        admin_socket: state.control.as_ref().map(AdminSocket::adopt).transpose().map_err(failed)?,
        asked: state.asked.iter().map(|fd| Ok(kept(*fd)?.into())).collect::<io::Result<_>>().map_err(failed)?,
        files,
    })
}

/// When a generation of this program is tried again, while that of an earlier one serves because it could not begin.
#[derive(Debug)]
pub(crate) struct Retry {
    due: Instant,
    pause: Duration,
    advanced: bool,
}

/// First pause before that; doubled each time.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// Longest.
const PAUSE_MAX: Duration = Duration::from_secs(300);

impl Retry {
    /// At once.
    pub(crate) fn new(now: Instant) -> Self {
        Self { due: now, pause: PAUSE_FIRST, advanced: false }
    }

    /// When it is due.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Something of the earlier one has ended: at once, the first time.
    pub(crate) fn advance(&mut self, now: Instant) {
        if !self.advanced {
            (self.due, self.advanced) = (now, true);
        }
    }

    /// It has failed.
    pub(crate) fn later(&mut self, now: Instant) {
        self.due = now + self.pause;
        self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
    }
}
