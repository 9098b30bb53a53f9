//! Orders from the launcher, messages from handoff, a process for each. Blocking: one loop over descriptors.

use crate::job::{Incoming, Job};
use crate::run::Programs;
use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_jail::Outside;
use gatepost_role::{Control, Phase, RoleError, Step, UNANSWERED, Workers};
use gatepost_smtp::envelope::Class;
use gatepost_sys::process::End as Ended;
use gatepost_sys::signal::{self, Signals};
use gatepost_wire::control::Role;
use gatepost_wire::queue::Done;
use gatepost_wire::slice::QueueSlice;
use gatepost_wire::{HandoffToQueue, QueueToHandoff, queue};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

type HandoffLink = End<QueueToHandoff, HandoffToQueue>;

struct Queue {
    control: Control,
    programs: Programs,
    at_once: usize,
    /// The newest link with handoff.
    link: Option<HandoffLink>,
    incoming: Incoming,
    /// The ticket of each message under way.
    workers: Workers<u32>,
}

/// Serves until drained.
pub(crate) fn serve(outside: Outside, slice: &QueueSlice) -> Result<(), RoleError> {
    let system = RoleError::system;
    let programs = Programs::new(slice)?;
    // A handoff that is gone is told nothing; that must not end us.
    signal::ignore_broken_pipe().map_err(system("ignore SIGPIPE"))?;
    let signals = Signals::children().map_err(system("receive signals"))?;
    let mut queue = Queue {
        control: Control::new(Role::Queue, outside.control),
        programs,
        at_once: usize::try_from(slice.at_once).unwrap_or(usize::MAX),
        link: None,
        incoming: Incoming::default(),
        workers: Workers::default(),
    };
    let mut inbox = Inbox::default();
    while !(queue.control.phase() == Phase::Draining && queue.workers.is_empty()) {
        let mut fds: Vec<BorrowedFd<'_>> = vec![queue.control.as_fd(), signals.as_fd()];
        fds.extend(queue.link.as_ref().map(AsFd::as_fd));
        let ready = gatepost_sys::wait::readable(&fds, None).map_err(system("wait"))?;
        if ready.get(1) == Some(&true) {
            while let Ok(Some(_)) = signals.next() {}
            queue.reap();
        }
        // The launcher's word first: a link that it has replaced is not read any more.
        if ready.first() == Some(&true) {
            queue.order()?;
        } else if ready.get(2) == Some(&true) {
            queue.hear(&mut inbox)?;
        }
    }
    Ok(())
}

impl Queue {
    /// Follows one order.
    fn order(&mut self) -> Result<(), RoleError> {
        match self.control.order()? {
            Step::Link(_, fd) => {
                self.workers.relink();
                self.link = Some(HandoffLink::from_fd(fd));
                self.incoming = Incoming::default();
            }
            Step::Begin => self.control.ready()?,
            Step::Drain | Step::Special(_) | Step::Noted => {}
        }
        Ok(())
    }

    /// Hears one message of handoff's. After one that breaks the rules nothing it says can be believed, and only the launcher can
    /// link us anew: so that ends us.
    fn hear(&mut self, inbox: &mut Inbox) -> Result<(), RoleError> {
        let broken = |why: &dyn std::fmt::Display| RoleError::Peer(Role::Handoff, why.to_string());
        let Some(link) = &self.link else { return Ok(()) };
        let (submit, mut fds) = match link.recv_with(inbox) {
            Ok(heard) => heard,
            Err(ChannelError::Closed) => {
                self.link = None;
                return Ok(());
            }
            Err(e) => return Err(broken(&e)),
        };
        let job = self.incoming.hear(submit).map_err(|violation| broken(&format_args!("{violation:?}")))?;
        match (job, fds.pop(), fds.is_empty()) {
            (None, None, _) => {}
            (Some(job), Some(content), true) => self.begin(&job, content),
            _ => return Err(broken(&"descriptors out of place")),
        }
        Ok(())
    }

    /// Starts a process for a message. It answers by itself.
    fn begin(&mut self, job: &Job, content: OwnedFd) {
        let refused = |end| Done { ticket: job.ticket, class: Class::Temporary, end, pid: 0 };
        if self.workers.len() >= self.at_once {
            return self.tell(refused(queue::End::NotRun));
        }
        // It ends with us, and the program finds its envelope incomplete then.
        let begun = self.workers.begin(job.ticket, || {
            let done = self.programs.run(job, content.into());
            let told = self.link.as_ref().is_some_and(|link| link.tell(&done).is_ok());
            if told { 0 } else { UNANSWERED }
        });
        if let Err(e) = begun {
            tracing::error!("no process for a message: {e}");
            self.tell(refused(queue::End::NotRun));
        }
    }

    /// Reaps who has ended; answers for who could not.
    fn reap(&mut self) {
        let silent = self.workers.reap(|_, end| {
            let answered = end == Ended::Exit(0);
            if !answered {
                tracing::error!("who waited for the queue program ended: {end:?}");
            }
            answered
        });
        for ticket in silent {
            self.tell(Done { ticket, class: Class::Temporary, end: queue::End::Unknown, pid: 0 });
        }
    }

    fn tell(&self, done: Done) {
        if let Some(link) = &self.link
            && let Err(e) = link.tell(&done)
        {
            tracing::error!("handoff: {e}");
        }
    }
}
