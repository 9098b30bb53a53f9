//! The loop that forks sessions and reaps them.
//!
//! The nursery reads no octet of any client. It gives each session the three descriptors that came with its `Start`,
//! keeps none of them, and says how each process ended.

use crate::serve::{NewSession, SessionExit};
use crate::shared::Shared;
use crate::{serve, warm};
use gatepost_channel::{End, Inbox};
use gatepost_jail::{JailError, JailedSession, Unjailed};
use gatepost_role::{Control, Phase, Rest, RoleError, SHORT_FRAME, Step};
use gatepost_smtp::envelope::CloseReason;
use gatepost_sys::process::{self, Fork, ProcessId, Signal};
use gatepost_sys::signal::{self, Deaths};
use gatepost_sys::wait;
use gatepost_wire::control::{Report, Role};
use gatepost_wire::link::{self, Ended, NurseryOrder, SessionId};
use gatepost_wire::slice::NurserySlice;
use gatepost_wire::{ListenerToNursery, NurseryToListener};
use std::collections::BTreeMap;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How a session ends that could not begin.
const INTERNAL: link::End = link::End::Exit(link::exit_status(CloseReason::Internal, false));

/// Ends told at once after which some may not have been told: fewer than any system's RLIMIT_SIGPENDING.
const MANY: usize = 64;
/// Sessions after which all children are looked at in any case.
const LOOK_AFTER: usize = 256;

type ListenerEnd = End<NurseryToListener, ListenerToNursery>;

/// The nursery's whole life. In a forked session it does not return.
///
/// # Errors
/// [`RoleError`].
pub fn run_nursery(unjailed: Unjailed) -> Result<(), RoleError> {
    run_nursery_with(unjailed, serve::serve)
}

/// As [`run_nursery`], with another life for its sessions: what they do, jailed just as ours, is up to `life`. The escape
/// room lets them turn hostile.
///
/// # Errors
/// [`RoleError`].
pub fn run_nursery_with(
    unjailed: Unjailed,
    life: impl FnOnce(JailedSession, NewSession, PipeReader, &Shared) -> SessionExit,
) -> Result<(), RoleError> {
    let slice: NurserySlice = unjailed.slice()?;
    let entered = unjailed.enter(Role::Nursery)?;
    let (limit, hostname) = (slice.sessions, slice.hostname.clone());
    let shared = Shared::new(slice).map_err(RoleError::given("certificates"))?;
    warm::up(&shared);
    signal::keep_handler_stack();
    let tools = Tools::new().map_err(RoleError::system("make a pipe and receive signals"))?;
    let jailed = entered.seal()?;
    let seal = jailed.session_seal().ok_or(JailError::NotLaunched)?;
    warm::settle();
    Nursery::new(Control::new(Role::Nursery, jailed.control), tools, limit, hostname)
        .run(|new, drained| serve::live(&shared, new, drained, &seal, life))
}

/// What the nursery makes before its jail is complete.
pub(crate) struct Tools {
    deaths: Deaths,
    /// Every session has the reading end. Closing ours tells them all to drain.
    drain: (PipeReader, PipeWriter),
}

impl Tools {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { deaths: Deaths::new()?, drain: io::pipe()? })
    }
}

/// One listener's link. A listener that is started anew brings a new one; sessions of the one before are told on theirs.
struct Link {
    number: u32,
    end: ListenerEnd,
    /// More may come along it.
    open: bool,
}

pub(crate) struct Nursery {
    control: Control,
    deaths: Deaths,
    drained: PipeReader,
    drain: Option<PipeWriter>,
    links: Vec<Link>,
    last_link: u32,
    sessions: BTreeMap<ProcessId, (SessionId, u32)>,
    /// Sessions made since all children were looked at.
    forked: usize,
    /// Sessions at once.
    limit: u32,
    /// Our name in the 421 of a client that gets no session.
    hostname: String,
    /// Another nursery has taken over: end with the last session.
    retired: bool,
    /// The launcher knows of a crash: more of them change nothing.
    crash_reported: bool,
    /// While many sessions end, their ends are let gather: this process and the listener are woken less often.
    rest: Rest,
    inbox: Inbox,
}

impl Nursery {
    pub(crate) fn new(control: Control, tools: Tools, limit: u32, hostname: String) -> Self {
        let Tools { deaths, drain: (drained, drain) } = tools;
        Self {
            control,
            deaths,
            drained,
            drain: Some(drain),
            links: Vec::new(),
            last_link: 0,
            sessions: BTreeMap::new(),
            forked: 0,
            limit,
            hostname,
            retired: false,
            crash_reported: false,
            rest: Rest::default(),
            inbox: Inbox::new(SHORT_FRAME),
        }
    }

    /// Forks and reaps until drained or replaced, and empty. `live` is a session's whole life; it gives the exit status.
    pub(crate) fn run<F: FnOnce(NewSession, PipeReader) -> u8>(mut self, live: F) -> Result<(), RoleError> {
        loop {
            let mut fds = vec![self.control.as_fd()];
            fds.extend(self.links.iter().filter(|link| link.open).map(|link| link.end.as_fd()));
            if self.rest.until().is_none() {
                fds.push(self.deaths.as_fd());
            }
            let ready = wait::readable(&fds, self.rest.left(Instant::now())).map_err(RoleError::system("wait"))?;
            let Some((control, others)) = ready.split_first() else { continue };
            let open = self.links.iter().filter(|link| link.open).map(|link| link.number);
            let speaking: Vec<u32> = open.zip(others).filter_map(|(number, ready)| ready.then_some(number)).collect();
            let deaths = match self.rest.until() {
                None => others.last() == Some(&true),
                Some(until) => Instant::now() >= until,
            };
            if *control {
                self.follow()?;
            }
            for number in &speaking {
                let Some(new) = self.hear(*number) else { continue };
                if let Some(new) = self.fork(new, *number) {
                    self.become_session(new, live);
                }
            }
            // Last: a nursery that has been replaced knows of it before it tells of a crash.
            if deaths {
                self.reap()?;
            }
            if self.forked >= LOOK_AFTER {
                self.reap_untold()?;
            }
            if self.leaving() {
                self.rest.end();
            }
            if self.leaving() && self.sessions.is_empty() && !self.something_waits()? {
                return Ok(());
            }
        }
    }

    /// No more sessions are to come.
    fn leaving(&self) -> bool {
        self.retired || self.control.phase() == Phase::Draining
    }

    /// A session that was announced before the drain must still be turned away with a word.
    fn something_waits(&self) -> Result<bool, RoleError> {
        let links: Vec<_> = self.links.iter().filter(|link| link.open).map(|link| link.end.as_fd()).collect();
        let ready = wait::readable(&links, Some(Duration::ZERO)).map_err(RoleError::system("wait"))?;
        Ok(ready.contains(&true))
    }

    fn follow(&mut self) -> Result<(), RoleError> {
        match self.control.order()? {
            Step::Link(_, fd) => {
                self.last_link = self.last_link.saturating_add(1);
                self.links.push(Link { number: self.last_link, end: ListenerEnd::from_fd(fd), open: true });
                self.retired = false;
            }
            Step::Begin => self.control.ready()?,
            Step::Drain => self.drain = None,
            Step::Special(_) | Step::Noted => {}
        }
        Ok(())
    }

    /// Follows an order of a listener's; gives the session that is to begin.
    fn hear(&mut self, number: u32) -> Option<NewSession> {
        let link = self.links.iter_mut().find(|link| link.number == number)?;
        let Ok((order, fds)) = link.end.recv_with(&mut self.inbox) else {
            // The listener is dead, and the launcher will bring a new one.
            link.open = false;
            self.forget_silent_links();
            return None;
        };
        match order {
            NurseryOrder::Start(start) => {
                let new = NewSession::of(start, fds);
                if new.is_none() {
                    self.tell(number, start.id, INTERNAL);
                }
                return new;
            }
            NurseryOrder::Kill(id) => self.kill(id, number),
            NurseryOrder::Retire => self.retired |= number == self.last_link,
        }
        None
    }

    /// Makes the session's process. In it, and only there, gives `new` back.
    fn fork(&mut self, new: NewSession, number: u32) -> Option<NewSession> {
        let id = new.id;
        let full = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX) >= self.limit;
        let forked = if full || self.control.phase() == Phase::Draining { None } else { Some(process::fork_alone()) };
        match forked {
            Some(Ok(Fork::Child)) => return Some(new),
            Some(Ok(Fork::Parent(pid))) => {
                self.sessions.insert(pid, (id, number));
                self.forked = self.forked.saturating_add(1);
                return None;
            }
            Some(Err(e)) => {
                tracing::warn!(session = %id, error = %e, "cannot fork a session; its client is told to come again (421)")
            }
            None => {}
        }
        new.turn_away(&self.hostname);
        self.tell(number, id, INTERNAL);
        None
    }

    /// Ends a session that this listener has begun and that has not ended yet.
    fn kill(&mut self, id: SessionId, number: u32) {
        let pid = self.sessions.iter().find(|(_, session)| **session == (id, number)).map(|(pid, _)| *pid);
        if let Some(pid) = pid
            && let Err(e) = process::kill(pid, Signal::Kill)
        {
            tracing::warn!(session = %id, error = %e, "cannot end a session");
        }
    }

    /// The child's side: nothing of the nursery's is kept. The maps are left as they are, since tidying them up would
    /// only copy pages that parent and child share.
    // On its own: what a session has on its stack would lie between the pages that the nursery writes between two forks.
    #[inline(never)]
    fn become_session(self, new: NewSession, live: impl FnOnce(NewSession, PipeReader) -> u8) -> ! {
        let Self { control, deaths, drained, drain, links, sessions, inbox, .. } = self;
        drop((control, deaths, drain, links));
        std::mem::forget((sessions, inbox));
        process::set_comm(c"gp-session");
        process::exit(live(new, drained))
    }

    /// Reaps those whose ends are told.
    fn reap(&mut self) -> Result<(), RoleError> {
        let mut told = 0_usize;
        while let Some(pid) = self.deaths.next().map_err(RoleError::system("hear of a session's end"))? {
            told = told.saturating_add(1);
            // None: it was reaped when all were looked at.
            if self.sessions.contains_key(&pid)
                && let Some(end) = process::reap_one(pid)
            {
                self.note_end(pid, end)?;
            }
        }
        if self.leaving() || told >= MANY {
            self.reap_untold()?;
        }
        self.rest.heard(told, Instant::now());
        self.forget_silent_links();
        Ok(())
    }

    /// Reaps all that have ended. The queue of signals has an end, and one that was full has told of fewer.
    fn reap_untold(&mut self) -> Result<(), RoleError> {
        self.forked = 0;
        while !self.sessions.is_empty() {
            let Some((pid, end)) = process::reap().map_err(RoleError::system("reap a session"))? else { break };
            self.note_end(pid, end)?;
        }
        Ok(())
    }

    /// A session is over: its listener is told, and of a crash the launcher.
    fn note_end(&mut self, pid: ProcessId, end: process::End) -> Result<(), RoleError> {
        // The first process of a namespace inherits orphans; none of them is a session.
        let Some((id, number)) = self.sessions.remove(&pid) else { return Ok(()) };
        let how = match end {
            // It was stuck, and nothing of it has crashed.
            end if end.is_timer() => link::End::Exit(link::exit_status(CloseReason::Timeout, false)),
            process::End::Exit(status) => link::End::Exit(status),
            process::End::Signal(signal) => link::End::Signal(signal),
            process::End::Unknown => INTERNAL,
        };
        self.tell(number, id, how);
        if how.is_crash() && !self.crash_reported && !self.retired {
            self.crash_reported = true;
            self.control.report(Report::SessionCrashed)?;
        }
        Ok(())
    }

    /// Tells the listener that a session is over. One that is gone need not know.
    fn tell(&mut self, number: u32, id: SessionId, how: link::End) {
        if let Some(link) = self.links.iter_mut().find(|link| link.number == number)
            && link.end.tell(&Ended { id, how }).is_err()
        {
            link.open = false;
        }
    }

    /// Drops links along which nothing will come and nothing is to be told.
    fn forget_silent_links(&mut self) {
        let sessions = &self.sessions;
        self.links.retain(|link| link.open || sessions.values().any(|(_, number)| *number == link.number));
    }
}
