//! A process for each question of the one peer that a role without a jail has: it does the work, answers by itself and ends.
//! Blocking: one loop over descriptors.

use crate::{Control, Phase, RoleError, Step};
use gatepost_channel::{self as channel, ChannelError};
use gatepost_jail::ControlEnd;
use gatepost_sys::process::{self, End, Fork, ProcessId};
use gatepost_sys::signal::{self, Signals};
use gatepost_wire::Direction;
use gatepost_wire::control::Role;
use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The exit status of a worker that could not answer. What a lower one means is the role's to say.
pub const UNANSWERED: u8 = 111;

/// A question under way.
#[derive(Debug)]
struct Worker<Q> {
    pid: ProcessId,
    question: Q,
    /// Of which link it came by: numbers of another link are another's.
    link: u64,
}

/// All that are under way.
#[derive(Debug)]
struct Workers<Q> {
    workers: Vec<Worker<Q>>,
    /// The number of the newest link.
    link: u64,
}

impl<Q> Default for Workers<Q> {
    fn default() -> Self {
        Self { workers: Vec::new(), link: 0 }
    }
}

impl<Q> Workers<Q> {
    /// Questions come by another link from now on. Nobody is told what has become of those before.
    fn relink(&mut self) {
        self.link = self.link.wrapping_add(1);
    }

    /// Starts a process that does `work`, which gives its exit status. It ends with us, since without us nobody would hear of it.
    fn begin(&mut self, question: Q, work: impl FnOnce() -> u8) -> io::Result<()> {
        let parent = ProcessId::try_from(std::process::id());
        match process::fork()? {
            Fork::Parent(pid) => {
                self.workers.push(Worker { pid, question, link: self.link });
                Ok(())
            }
            Fork::Child => {
                let alive = process::die_with_parent().is_ok() && parent == Ok(process::parent());
                process::exit(if alive { work() } else { UNANSWERED })
            }
        }
    }

    fn reap(&mut self, mut answered: impl FnMut(&Q, End) -> bool) -> Vec<Q> {
        let mut silent = Vec::new();
        for worker in std::mem::take(&mut self.workers) {
            match process::reap_one(worker.pid) {
                None => self.workers.push(worker),
                Some(end) if answered(&worker.question, end) => {}
                Some(_) => silent.extend((worker.link == self.link).then_some(worker.question)),
            }
        }
        silent
    }
}

/// What a role with workers has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// There is another link with the peer.
    Linked,
    /// The peer has said something: [`Parent::hear`] is due.
    Asked,
    /// Workers may have ended: [`Parent::reap`] is due.
    Ended,
}

/// The parent of workers, linked with the launcher and with the peer that asks. The process must have one thread.
#[derive(Debug)]
pub struct Parent<Out, In, Q> {
    control: Control,
    signals: Signals,
    peer: Role,
    /// The newest link with the peer.
    link: Option<channel::End<Out, In>>,
    workers: Workers<Q>,
}

impl<Out: Direction, In: Direction, Q> Parent<Out, In, Q> {
    /// For `role`, which `peer` asks.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn new(role: Role, control: ControlEnd, peer: Role) -> Result<Self, RoleError> {
        // A peer that is gone is told nothing; that must not end us.
        signal::ignore_broken_pipe().map_err(RoleError::system("ignore SIGPIPE"))?;
        let signals = Signals::children().map_err(RoleError::system("receive signals"))?;
        Ok(Self { control: Control::new(role, control), signals, peer, link: None, workers: Workers::default() })
    }

    /// Waits, and follows orders meanwhile. None: the role is drained.
    ///
    /// # Errors
    /// The launcher is gone, or ordered what has no place here.
    pub fn wait(&mut self) -> Result<Option<Event>, RoleError> {
        while !(self.control.phase() == Phase::Draining && self.workers.workers.is_empty()) {
            let mut fds: Vec<BorrowedFd<'_>> = vec![self.control.as_fd(), self.signals.as_fd()];
            fds.extend(self.link.as_ref().map(AsFd::as_fd));
            let ready = gatepost_sys::wait::readable(&fds, None).map_err(RoleError::system("wait"))?;
            if ready.get(1) == Some(&true) {
                while let Ok(Some(_)) = self.signals.next() {}
                return Ok(Some(Event::Ended));
            }
            // The launcher's word first: a link that it has replaced is not read any more.
            if ready.first() == Some(&true) {
                match self.control.order()? {
                    Step::Link(_, fd) => {
                        self.workers.relink();
                        self.link = Some(channel::End::from_fd(fd));
                        return Ok(Some(Event::Linked));
                    }
                    Step::Begin => self.control.ready()?,
                    Step::Drain | Step::Special(_) | Step::Noted => {}
                }
            } else if ready.get(2) == Some(&true) {
                return Ok(Some(Event::Asked));
            }
        }
        Ok(None)
    }

    /// Hears the peer by `receive`. None: the link has ended, or there is none.
    ///
    /// # Errors
    /// As [`Parent::broken`].
    pub fn hear<T>(
        &mut self,
        receive: impl FnOnce(&channel::End<Out, In>) -> Result<T, ChannelError>,
    ) -> Result<Option<T>, RoleError> {
        match self.link.as_ref().map(receive) {
            Some(Ok(heard)) => Ok(Some(heard)),
            Some(Err(ChannelError::Closed)) | None => {
                self.link = None;
                Ok(None)
            }
            Some(Err(e)) => Err(self.broken(&e)),
        }
    }

    /// The peer has broken the rules. Nothing that it says can be believed after that, and only the launcher can link us anew: so that
    /// ends us.
    #[must_use]
    pub fn broken(&self, why: &dyn Display) -> RoleError {
        RoleError::Peer(self.peer, why.to_string())
    }

    /// Answers the peer, if there is one.
    ///
    /// # Errors
    /// As [`channel::End::tell`].
    pub fn tell(&self, answer: &Out::Message<'_>) -> Result<(), ChannelError> {
        self.link.as_ref().map_or(Ok(()), |link| link.tell(answer))
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.workers.len()
    }

    /// Starts a worker, which answers by the link that `work` is given, and whose exit status `work` gives. It ends with us.
    ///
    /// # Errors
    /// No process is to be had.
    pub fn begin(&mut self, question: Q, work: impl FnOnce(&channel::End<Out, In>) -> u8) -> io::Result<()> {
        let link = self.link.as_ref();
        self.workers.begin(question, || link.map_or(UNANSWERED, work))
    }

    /// Reaps who has ended. `answered` says of each whether it had answered; gives the questions of this link that were not.
    pub fn reap(&mut self, answered: impl FnMut(&Q, End) -> bool) -> Vec<Q> {
        self.workers.reap(answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn p1_who_could_not_answer_is_answered_for_and_not_to_another_link() {
        let mut workers = Workers::default();
        let begin = |workers: &mut Workers<u32>, question: u32, status| workers.begin(question, || status).unwrap();
        begin(&mut workers, 1, UNANSWERED);
        workers.relink();
        for (question, status) in [(2, 0), (3, UNANSWERED), (4, 3)] {
            begin(&mut workers, question, status);
        }
        let (mut silent, mut told) = (Vec::new(), Vec::new());
        let until = Instant::now() + Duration::from_secs(30);
        while !workers.workers.is_empty() {
            assert!(Instant::now() < until, "{workers:?}");
            silent.extend(workers.reap(|question, end| {
                told.push((*question, end));
                end == End::Exit(0)
            }));
            std::thread::yield_now();
        }
        silent.sort_unstable();
        told.sort_unstable_by_key(|(question, _)| *question);
        assert_eq!(silent, [3, 4]);
        let statuses = [(1, UNANSWERED), (2, 0), (3, UNANSWERED), (4, 3)];
        assert_eq!(told, statuses.map(|(question, status)| (question, End::Exit(status))));
    }
}
