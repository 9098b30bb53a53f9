//! A process for each question, in a role without a jail: it does the work, answers by itself and ends.

use gatepost_sys::process::{self, End, Fork, ProcessId};
use std::io;

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
pub struct Workers<Q> {
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
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Questions come by another link from now on. Nobody is told what has become of those before.
    pub fn relink(&mut self) {
        self.link = self.link.wrapping_add(1);
    }

    /// Starts a process that does `work`, which gives its exit status: the calling process must have one thread. It ends with us, since
    /// without us nobody would hear of it.
    ///
    /// # Errors
    /// No process is to be had.
    pub fn begin(&mut self, question: Q, work: impl FnOnce() -> u8) -> io::Result<()> {
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

    /// Reaps who has ended. `answered` says of each whether it had answered; gives the questions of this link that were not.
    pub fn reap(&mut self, mut answered: impl FnMut(&Q, End) -> bool) -> Vec<Q> {
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
        while !workers.is_empty() {
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
