//! A generation of real processes: begun, heard, left to the next program, ended.

use super::Children;
use crate::error::LauncherError;
use crate::generation::{Generation, Processes as _, Proof};
use crate::sockets::Socket;
use crate::spool::InUse;
use crate::{descriptors, roles};
use gatepost_sys::wait;
use gatepost_wire::resume;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Longest wait for processes that are killed, and for an observer to write what was said last.
const LAST_LINES: Duration = Duration::from_secs(3);
/// Longest wait for a listener to say whose sessions are cut off.
const NAMES: Duration = Duration::from_secs(1);

impl Generation<Children> {
    /// Starts every role that the plan needs and waits until all are ready to serve, the backend's proof as `proof` says. The
    /// listener does not have its sockets yet. `meanwhile` is done now and then; true: the start is given up.
    ///
    /// # Errors
    /// The first role that fails, or that it was given up; everything that was started is ended again.
    pub(crate) fn begin(
        processes: Children,
        proof: Proof,
        meanwhile: &mut dyn FnMut() -> bool,
    ) -> Result<Self, LauncherError> {
        let needed = processes.plan().into_iter().flat_map(roles::needed).map(|row| row.role).collect();
        let mut generation = Self::new(processes, needed, proof);
        let begun = generation.begin_all(meanwhile);
        if begun.is_err() {
            generation.end_now();
        }
        begun.map(|()| generation)
    }

    fn begin_all(&mut self, meanwhile: &mut dyn FnMut() -> bool) -> Result<(), LauncherError> {
        while !self.advance(Instant::now())? {
            if meanwhile() {
                return Err(LauncherError::Stopped);
            }
            let fds: Vec<BorrowedFd<'_>> = self.processes.descriptors().collect();
            wait::readable(&fds, Some(Duration::from_millis(50))).map_err(|e| LauncherError::System("wait", e))?;
            self.hear()?;
        }
        Ok(())
    }

    /// What the next program in this process has to know of it.
    pub(crate) fn leave(&self) -> resume::Generation {
        let processes = &self.processes;
        resume::Generation {
            course: self.course(),
            names: self.has_names(),
            drain: u32::try_from(processes.drain_time().as_secs()).unwrap_or(u32::MAX),
            lock: processes.in_use.as_ref().and_then(|in_use| in_use.lock.as_ref()).map(descriptors::number),
            sockets: processes.sockets.iter().map(Socket::leave).collect(),
            children: self.known(|processes, pid| processes.control(pid).map(|(_, end)| descriptors::number(end))),
        }
    }

    /// Takes clients. The spool is ours from here on.
    pub(crate) fn open(&mut self, in_use: InUse) {
        self.processes.in_use = Some(in_use);
        self.serve();
    }

    /// Hears what has happened to the processes.
    ///
    /// # Errors
    /// The first of [`Generation::take`].
    pub(crate) fn hear(&mut self) -> Result<(), LauncherError> {
        let (events, now) = (self.processes.events(), Instant::now());
        let taken: Vec<_> = events.into_iter().map(|(pid, event)| self.take(pid, event, now)).collect();
        taken.into_iter().collect()
    }

    /// Ends every process now, as [`Generation::end_now`], after the log was told whose sessions are cut off.
    pub(crate) fn cut(&mut self) {
        self.name_who_is_cut();
        let deadline = Instant::now() + NAMES;
        while self.has_listener() && Instant::now() < deadline {
            let _ = self.hear();
            let _ = wait::readable(&[], Some(Duration::from_millis(5)));
        }
        self.end_now();
    }

    /// Ends every process now and reaps it; the observer when it has written what the others said last.
    pub(crate) fn end_now(&mut self) {
        self.kill_all();
        self.reap_within(LAST_LINES);
        if let Some(observer) = self.processes.observer() {
            self.processes.kill(observer);
            self.reap_within(LAST_LINES);
        }
    }

    fn reap_within(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.is_over() && Instant::now() < deadline {
            let _ = self.hear();
            self.tick(Instant::now());
            let _ = wait::readable(&[], Some(Duration::from_millis(5)));
        }
    }
}
