//! How a program that was started for the session has ended: qmail-queue, a recipient check, a plugin, a checker.

/// The end of a program, from its wait status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exited(u8),
    /// A signal ended it.
    Killed(i32),
    /// There was no process to be had, fork(2) failed.
    NotForked,
    /// waitpid(2) knows nothing of it.
    Lost,
}

impl Ended {
    /// The status of a child that could not execute its program, by qmail's convention.
    pub const NOT_EXECUTED: Self = Self::Exited(120);
}
