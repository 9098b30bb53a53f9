//! The runner: executes a program for each connection that the listener hands over, and tells it of each end.

use crate::execute::Programs;
use crate::rules::{Rules, Seen};
use crate::say::{Fatal, Say};
use crate::{FAILED, RunnerEnd};
use gatepost_channel::{ChannelError, Inbox};
use gatepost_sys::epoll::{Epoll, Until};
use gatepost_sys::process::{self, ProcessId, Signal};
use gatepost_sys::signal::{self, ServerSignals};
use gatepost_ucspi::tcpserver::lines;
use gatepost_ucspi::words;
use gatepost_wire::ListenerToRunner;
use gatepost_wire::ucspi::{Answer, Ask, Connection};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Between TERM and KILL of a program whose time is over.
const GRACE: Duration = Duration::from_secs(5);
/// Messages of the listener's that are dealt with before signals are looked at.
const BATCH: usize = 16;

const CHANNEL: u64 = 0;
const SIGNALS: u64 = 1;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// A program's life.
    pub(crate) session: Option<Duration>,
    /// From TERM until programs are killed; None: they are left to themselves.
    pub(crate) drain: Option<Duration>,
}

/// The process of a connection.
#[derive(Debug, Clone, Copy)]
struct Child {
    number: u32,
    /// When it is to be ended, and by what.
    ends: Option<(Instant, Signal)>,
}

/// The runner, serving.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) say: Say,
    /// None: it has ended.
    pub(crate) listener: Option<ProcessId>,
    pub(crate) channel: RunnerEnd,
    pub(crate) signals: ServerSignals,
    pub(crate) programs: Programs,
    pub(crate) rules: Option<Rules>,
    pub(crate) times: Times,
}

/// Its state.
struct Running {
    runner: Runner,
    children: HashMap<ProcessId, Child>,
    /// Those with a time, soonest first.
    deadlines: BTreeSet<(Instant, ProcessId)>,
    /// What the listener has no room for now.
    unsent: VecDeque<Answer>,
    epoll: Epoll,
    writable: bool,
    /// TERM has come: when what is left is killed.
    drains: Option<Instant>,
}

/// Why the loop ends.
enum Over {
    /// With this exit status.
    Exit(u8),
    /// By this signal.
    Signal(i32),
}

impl Runner {
    /// Serves until a signal ends it; gives the exit status.
    pub(crate) fn run(self) -> u8 {
        let say = self.say;
        match Running::new(self).and_then(Running::run) {
            Ok(status) => status,
            Err(why) => {
                say.fatal(&why);
                FAILED
            }
        }
    }
}

impl Running {
    fn new(runner: Runner) -> Result<Self, Fatal> {
        let failed = |e: io::Error| Fatal::system("unable to wait for the listener", &e);
        let epoll = Epoll::new(4).map_err(failed)?;
        runner.channel.seq().set_nonblocking(true).map_err(failed)?;
        epoll.add(runner.channel.as_fd(), CHANNEL).map_err(failed)?;
        epoll.add(runner.signals.as_fd(), SIGNALS).map_err(failed)?;
        Ok(Self {
            runner,
            children: HashMap::new(),
            deadlines: BTreeSet::new(),
            unsent: VecDeque::new(),
            epoll,
            writable: false,
            drains: None,
        })
    }

    fn run(mut self) -> Result<u8, Fatal> {
        let mut inbox = Inbox::of::<ListenerToRunner>();
        let mut ready = Vec::new();
        loop {
            let over = self.step(&mut inbox, &mut ready)?;
            let Some(over) = over else { continue };
            // The port must be free when we have gone.
            if let Some(listener) = self.runner.listener {
                let _ = process::kill(listener, Signal::Kill);
                let _ = process::await_end(listener);
            }
            match over {
                Over::Exit(status) => return Ok(status),
                Over::Signal(number) => signal::die_of(number),
            }
        }
    }

    fn step(&mut self, inbox: &mut Inbox, ready: &mut Vec<u64>) -> Result<Option<Over>, Fatal> {
        let timeout = self.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        self.epoll.wait(timeout, ready).map_err(|e| Fatal::system("unable to wait", &e))?;
        if ready.contains(&SIGNALS)
            && let Some(over) = self.signals()?
        {
            return Ok(Some(over));
        }
        if ready.contains(&CHANNEL) {
            self.flush()?;
            self.messages(inbox)?;
        }
        self.deadlines();
        Ok(self.drains.is_some_and(|at| at <= Instant::now()).then(|| self.end_of_drain()))
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at).into_iter().chain(self.drains).min()
    }

    fn signals(&mut self) -> Result<Option<Over>, Fatal> {
        while let Some(number) = self.runner.signals.next().map_err(|e| Fatal::system("unable to read signals", &e))? {
            match number {
                signal::CHLD => {
                    if let Some(over) = self.reap()? {
                        return Ok(Some(over));
                    }
                }
                signal::HUP => self.runner.rules.iter_mut().for_each(Rules::forget),
                signal::TERM => match self.runner.times.drain {
                    None => return Ok(Some(Over::Exit(0))),
                    Some(_) if self.drains.is_some() => {}
                    Some(time) => {
                        self.drains = Instant::now().checked_add(time);
                        self.tell(Answer::Stop)?;
                    }
                },
                number => return Ok(Some(Over::Signal(number))),
            }
        }
        Ok(None)
    }

    fn reap(&mut self) -> Result<Option<Over>, Fatal> {
        while let Some((pid, status)) = process::reap_raw() {
            if Some(pid) == self.runner.listener {
                self.runner.listener = None;
                // After a drain it ends by itself, when it has told of the last program's end.
                return match self.drains {
                    Some(_) => Ok(Some(Over::Exit(0))),
                    None => Err(Fatal::new(&[b"the listener has ended, status ", status.to_string().as_bytes()])),
                };
            }
            self.runner.programs.say_failure(pid);
            if let Some(child) = self.children.remove(&pid) {
                if let Some((at, _)) = child.ends {
                    self.deadlines.remove(&(at, pid));
                }
                let (pid, status) = (pid.unsigned_abs(), status.unsigned_abs());
                self.tell(Answer::Ended { number: child.number, pid, status })?;
            }
        }
        Ok(None)
    }

    fn messages(&mut self, inbox: &mut Inbox) -> Result<(), Fatal> {
        for _ in 0..BATCH {
            let (ask, mut fds) = match self.runner.channel.recv_with(inbox) {
                Ok(message) => message,
                Err(ChannelError::WouldBlock) => return Ok(()),
                // Its end is told by SIGCHLD, which says how.
                Err(ChannelError::Closed) => {
                    let _ = self.epoll.remove(self.runner.channel.as_fd());
                    return Ok(());
                }
                Err(e) => return Err(Fatal::new(&[b"the listener: ", e.to_string().as_bytes()])),
            };
            match ask {
                Ask::Rules => self.give_rules()?,
                Ask::Start(connection) => match fds.pop() {
                    Some(socket) => {
                        start(&mut self.runner, &mut self.children, &mut self.deadlines, &connection, socket)
                            .map_or(Ok(()), |answer| self.tell(answer))?
                    }
                    None => return Err(Fatal::new(&[b"the listener handed nothing over"])),
                },
                Ask::Jail { .. } => return Err(Fatal::new(&[b"the listener says twice that it is jailed"])),
            }
        }
        Ok(())
    }

    fn give_rules(&mut self) -> Result<(), Fatal> {
        let Some(rules) = &mut self.runner.rules else { return Err(Fatal::new(&[b"the listener asks for rules"])) };
        let refused = |e: &io::Error| Answer::NoRules { errno: errno(e) };
        match rules.look() {
            Ok(Seen::Same) => self.tell(Answer::SameRules),
            Err(e) => self.tell(refused(&e)),
            Ok(Seen::New) => {
                // At once or not at all: a file does not wait in the queue. The listener asks again where it was not.
                let sent = rules.file().map_err(|e| e.to_string()).and_then(|file| {
                    let sent = self.runner.channel.tell_with(&Answer::Rules, &[file.as_fd()]);
                    sent.map_err(|e| e.to_string())
                });
                if sent.is_ok() {
                    return Ok(());
                }
                rules.forget();
                self.tell(Answer::NoRules { errno: AGAIN })
            }
        }
    }

    /// Sends, or keeps for later: the listener must never have to wait for us to read while we wait for it.
    fn tell(&mut self, answer: Answer) -> Result<(), Fatal> {
        self.unsent.push_back(answer);
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Fatal> {
        while let Some(answer) = self.unsent.front() {
            match self.runner.channel.tell(answer) {
                Ok(()) => drop(self.unsent.pop_front()),
                Err(ChannelError::WouldBlock) => return self.watch_room(true),
                Err(ChannelError::Closed) => {
                    self.unsent.clear();
                    return Ok(());
                }
                Err(e) => return Err(Fatal::new(&[b"the listener: ", e.to_string().as_bytes()])),
            }
        }
        self.watch_room(false)
    }

    fn watch_room(&mut self, wanted: bool) -> Result<(), Fatal> {
        if self.writable != wanted {
            let until = if wanted { Until::Either } else { Until::Readable };
            let changed = self.epoll.change(self.runner.channel.as_fd(), CHANNEL, until);
            changed.map_err(|e| Fatal::system("unable to wait", &e))?;
            self.writable = wanted;
        }
        Ok(())
    }

    /// Ends programs whose time is over, with all that they have started.
    fn deadlines(&mut self) {
        let now = Instant::now();
        while let Some((at, pid)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, pid));
            let Some(child) = self.children.get_mut(&pid) else { continue };
            let signal = child.ends.map_or(Signal::Kill, |(_, signal)| signal);
            end(pid, signal);
            child.ends = (signal != Signal::Kill).then(|| (now + GRACE, Signal::Kill));
            if let Some((at, _)) = child.ends {
                self.deadlines.insert((at, pid));
            }
        }
    }

    fn end_of_drain(&self) -> Over {
        self.children.keys().for_each(|pid| end(*pid, Signal::Kill));
        let count = self.children.len();
        self.runner.say.warn(lines::note(&format!("drain: time is over, programs killed: {count}")));
        Over::Exit(0)
    }
}

/// EAGAIN of Linux (asm-generic/errno-base.h).
const AGAIN: u16 = 11;

/// The number of an error; those that have none are the file's fault.
fn errno(e: &io::Error) -> u16 {
    words::number(e)
}

/// A program's whole process group: it was made for that.
fn end(pid: ProcessId, signal: Signal) {
    let _ = process::kill(pid.saturating_neg(), signal);
}

/// Starts a program. Some: no process can be made, which the listener has to know.
fn start(
    runner: &mut Runner,
    children: &mut HashMap<ProcessId, Child>,
    deadlines: &mut BTreeSet<(Instant, ProcessId)>,
    connection: &Connection<'_>,
    socket: OwnedFd,
) -> Option<Answer> {
    let number = connection.number;
    match runner.programs.start(connection, socket.as_fd(), runner.rules.as_ref()) {
        Ok(pid) => {
            let at = runner.times.session.and_then(|time| Instant::now().checked_add(time));
            deadlines.extend(at.map(|at| (at, pid)));
            children.insert(pid, Child { number, ends: at.map(|at| (at, Signal::Terminate)) });
            None
        }
        Err(e) => {
            runner.say.warn(lines::dropped(&[b"unable to fork: ", words::of(&e).as_bytes()]));
            Some(Answer::NotStarted { number })
        }
    }
}
