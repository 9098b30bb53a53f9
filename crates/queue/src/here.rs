//! The queue program in a process that serves one connection: there is no role, and nobody else waits.

use crate::job::Incoming;
use crate::run::Programs;
use gatepost_role::RoleError;
use gatepost_smtp::envelope::Class;
use gatepost_wire::queue::{Done, End, Submit};
use gatepost_wire::slice::QueueSlice;
use std::os::fd::OwnedFd;

/// The queue program, with the limits that this process was started with.
#[derive(Debug)]
pub struct Here(Programs);

impl Here {
    /// As the slice says. To be made before limits are lowered.
    ///
    /// # Errors
    /// A path with a NUL, or limits that cannot be read.
    pub fn new(slice: &QueueSlice) -> Result<Self, RoleError> {
        Programs::new(slice).map(Self)
    }

    /// Gives a message to the program and waits for what becomes of it.
    #[must_use]
    pub fn run(&self, message: &[Submit<'_>], content: OwnedFd) -> Done {
        let mut incoming = Incoming::default();
        let heard: Result<Vec<_>, _> = message.iter().map(|submit| incoming.hear(*submit)).collect();
        match heard.ok().and_then(|mut jobs| jobs.pop()).flatten() {
            Some(job) => self.0.run(&job, content.into()),
            None => Done { ticket: 0, class: Class::Temporary, end: End::NotRun, pid: 0 },
        }
    }
}
