//! Messages from handoff, a process for each.

use crate::job::{Incoming, Job};
use crate::run::Programs;
use gatepost_channel::Inbox;
use gatepost_jail::Outside;
use gatepost_role::{Event, Parent, RoleError, UNANSWERED};
use gatepost_smtp::envelope::Class;
use gatepost_sys::process::End as Ended;
use gatepost_wire::control::Role;
use gatepost_wire::queue::Done;
use gatepost_wire::slice::QueueSlice;
use gatepost_wire::{HandoffToQueue, QueueToHandoff, queue};
use std::os::fd::OwnedFd;

struct Queue {
    /// The question of a worker is the ticket of its message.
    parent: Parent<QueueToHandoff, HandoffToQueue, u32>,
    programs: Programs,
    at_once: usize,
    incoming: Incoming,
}

/// Serves until drained.
pub(crate) fn serve(outside: Outside, slice: &QueueSlice) -> Result<(), RoleError> {
    let mut queue = Queue {
        programs: Programs::new(slice)?,
        parent: Parent::new(Role::Queue, outside.control, Role::Handoff)?,
        at_once: usize::try_from(slice.at_once).unwrap_or(usize::MAX),
        incoming: Incoming::default(),
    };
    let mut inbox = Inbox::default();
    while let Some(event) = queue.parent.wait()? {
        match event {
            Event::Linked => queue.incoming = Incoming::default(),
            Event::Asked => queue.hear(&mut inbox)?,
            Event::Ended => queue.reap(),
        }
    }
    Ok(())
}

impl Queue {
    /// Hears one message of handoff's.
    fn hear(&mut self, inbox: &mut Inbox) -> Result<(), RoleError> {
        let Some((submit, mut fds)) = self.parent.hear(|link| link.recv_with(inbox))? else { return Ok(()) };
        let job = self.incoming.hear(submit).map_err(|violation| self.parent.broken(&format_args!("{violation:?}")))?;
        match (job, fds.pop(), fds.is_empty()) {
            (None, None, _) => {}
            (Some(job), Some(content), true) => self.begin(&job, content),
            _ => return Err(self.parent.broken(&"descriptors out of place")),
        }
        Ok(())
    }

    /// Starts a process for a message. It answers by itself.
    fn begin(&mut self, job: &Job, content: OwnedFd) {
        let refused = |end| Done { ticket: job.ticket, class: Class::Temporary, end, pid: 0 };
        if self.parent.workers() >= self.at_once {
            return self.tell(refused(queue::End::NotRun));
        }
        // It ends with us, and the program finds its envelope incomplete then.
        let begun = self.parent.begin(job.ticket, |link| {
            let done = self.programs.run(job, content.into());
            if link.tell(&done).is_ok() { 0 } else { UNANSWERED }
        });
        if let Err(e) = begun {
            tracing::error!("no process for a message: {e}");
            self.tell(refused(queue::End::NotRun));
        }
    }

    /// Reaps who has ended; answers for who could not.
    fn reap(&mut self) {
        let silent = self.parent.reap(|_, end| {
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
        if let Err(e) = self.parent.tell(&done) {
            tracing::error!("handoff: {e}");
        }
    }
}
