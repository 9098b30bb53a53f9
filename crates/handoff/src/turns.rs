//! Turns of sessions that send and wait for no answer: a frame a turn, and one turn for all sessions of a network (P13, issue 9).
//! Without that the sessions of one network, owned ones at most, would have nearly all of this process's time.

use gatepost_policy::share::Origin;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::yield_now;

/// Networks share a queue when their numbers fall together, which nobody can arrange.
const QUEUES: usize = 64;

/// Whose turn it is to send a frame, by network.
#[derive(Debug)]
pub(crate) struct FrameTurns {
    queues: Vec<Turn>,
    random: RandomState,
}

/// The queue of one client's network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn(Arc<Mutex<()>>);

impl FrameTurns {
    pub(crate) fn new() -> Self {
        Self { queues: (0..QUEUES).map(|_| Turn::default()).collect(), random: RandomState::new() }
    }

    /// For a client at `origin`.
    pub(crate) fn of(&self, origin: Origin) -> Turn {
        let number = self.random.hash_one(origin.block());
        let index = usize::try_from(number % QUEUES as u64).unwrap_or_default();
        self.queues.get(index).cloned().unwrap_or_default()
    }
}

impl Turn {
    /// Lets all other tasks run, after those of the same network that came before.
    pub(crate) async fn end(&self) {
        let _held = self.0.lock().await;
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn issue_9_many_sessions_of_one_network_have_one_turn_together() {
        let turns = FrameTurns { queues: vec![Turn::default(), Turn::default()], random: RandomState::new() };
        let (busy, other) = (turns.queues[0].clone(), turns.queues[1].clone());
        let taken = Rc::new(Cell::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let tasks = tokio::task::LocalSet::new();
        for _ in 0..100 {
            let (busy, taken) = (busy.clone(), taken.clone());
            tasks.spawn_local(async move {
                loop {
                    busy.end().await;
                    taken.set(taken.get() + 1);
                }
            });
        }
        tasks.block_on(&runtime, async {
            for _ in 0..20 {
                other.end().await;
            }
        });
        assert!((1..=40).contains(&taken.get()), "{} turns in 20", taken.get());
    }

    #[test]
    fn a_network_has_one_queue() {
        let turns = FrameTurns::new();
        let queue = |text: &str| turns.of(Origin::of(text.parse().unwrap())).0;
        assert!(Arc::ptr_eq(&queue("192.0.2.1"), &queue("192.0.77.9")));
        assert!(Arc::ptr_eq(&queue("2001:db8:11::1"), &queue("2001:db8:22::1")));
        let all: Vec<_> = (0..200).map(|n| queue(&format!("10.{n}.0.1"))).collect();
        assert!(all.iter().any(|other| !Arc::ptr_eq(other, &all[0])));
    }
}
