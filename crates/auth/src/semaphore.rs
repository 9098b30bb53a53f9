//! How many may ask the source of logins at once, and whose turn it is (P13): a dialogue that waits for its client is ended for one of a
//! network that holds less.

use gatepost_policy::share::{Action, Answer, Origin, Shares, WhenFull};
use gatepost_role::unless;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, oneshot};

/// Who waits at most for a permit.
const WAITING_MAX: usize = 512;

/// Permits for so many at once.
#[derive(Debug)]
pub(crate) struct Semaphore {
    table: Mutex<Table>,
    begun: Instant,
}

#[derive(Debug)]
struct Table {
    shares: Shares<u64>,
    waiting: HashMap<u64, oneshot::Sender<Arc<Notify>>>,
    held: HashMap<u64, Arc<Notify>>,
    last: u64,
}

/// One, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Permit {
    semaphore: Arc<Semaphore>,
    id: u64,
    told: Arc<Notify>,
}

/// Who waits for one.
struct Claim<'s> {
    semaphore: &'s Arc<Semaphore>,
    id: u64,
    granted: bool,
}

impl Semaphore {
    /// So many permits.
    pub(crate) fn new(permits: u64) -> Self {
        let shares = Shares::new(permits, WAITING_MAX);
        let table = Table { shares, waiting: HashMap::new(), held: HashMap::new(), last: 0 };
        Self { table: Mutex::new(table), begun: Instant::now() }
    }

    /// A permit. None: there is none for this client now.
    pub(crate) async fn take(self: &Arc<Self>, origin: Origin) -> Option<Permit> {
        let (granted, coming) = oneshot::channel();
        let mut claim = {
            let mut table = self.lock();
            table.last = table.last.saturating_add(1);
            let id = table.last;
            let answer = table.shares.claim(id, origin, 1, WhenFull::Queue, self.now());
            match answer {
                Answer::Granted => {
                    let told = table.permit(id);
                    table.act();
                    return Some(Permit { semaphore: Arc::clone(self), id, told });
                }
                Answer::Waiting => drop(table.waiting.insert(id, granted)),
                Answer::Refused => return None,
            }
            table.act();
            Claim { semaphore: self, id, granted: false }
        };
        let told = coming.await.ok()?;
        claim.granted = true;
        Some(Permit { semaphore: Arc::clone(self), id: claim.id, told })
    }

    fn release(&self, id: u64) {
        let mut table = self.lock();
        table.waiting.remove(&id);
        table.held.remove(&id);
        table.shares.release(id, self.now());
        table.act();
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn permit(&mut self, id: u64) -> Arc<Notify> {
        let told = Arc::<Notify>::default();
        self.held.insert(id, Arc::clone(&told));
        told
    }

    /// Carries out what follows from a claim or an end.
    fn act(&mut self) {
        while let Some(action) = self.shares.poll() {
            match action {
                Action::Grant(id) => {
                    let told = self.permit(id);
                    // One that is not waited for any more is about to be given back.
                    let _ = self.waiting.remove(&id).map(|waiting| waiting.send(told));
                }
                Action::Refuse(id) => drop(self.waiting.remove(&id)),
                Action::Reclaim(id) => {
                    if let Some(told) = self.held.get(&id) {
                        told.notify_one();
                    }
                }
            }
        }
    }
}

impl Permit {
    /// Runs `work` until it is done, or until the permit is needed for somebody else: then None, and it must be given back.
    pub(crate) async fn unless_told<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        unless(self.told.notified(), work).await
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.release(self.id);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.granted {
            self.semaphore.release(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::net::{IpAddr, Ipv4Addr};
    use tokio::time::{Duration, timeout};

    fn at(n: u32) -> Origin {
        Origin::of(IpAddr::V4(Ipv4Addr::from_bits((10 << 24) | (n << 16))))
    }

    #[test]
    fn p13_who_holds_most_gives_way_to_a_newcomer() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let semaphore = Arc::new(Semaphore::new(3));
            let mut held = Vec::new();
            for _ in 0..3 {
                held.push(semaphore.take(at(1)).await.unwrap());
            }
            // One of the same network waits for its neighbours; a newcomer does not.
            assert!(timeout(Duration::ZERO, semaphore.take(at(1))).await.is_err());
            let newcomer = {
                let semaphore = Arc::clone(&semaphore);
                tokio::spawn(async move { semaphore.take(at(2)).await.is_some() })
            };
            tokio::task::yield_now().await;
            let mut told = 0;
            let mut left = Vec::new();
            for permit in held {
                match timeout(Duration::ZERO, permit.unless_told(pending::<()>())).await {
                    Ok(None) => told += 1,
                    _ => left.push(permit),
                }
            }
            assert_eq!((told, newcomer.await.unwrap()), (1, true));
            drop(left);
            let table = semaphore.lock();
            assert_eq!((table.held.len(), table.waiting.len(), table.shares.used()), (0, 0, 0));
        });
    }
    #[test]
    fn p13_a_seat_that_was_granted_to_who_has_left_comes_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let semaphore = Arc::new(Semaphore::new(1));
            let soon = Duration::from_secs(10);
            for _ in 0..3 {
                let held = timeout(soon, semaphore.take(at(1))).await.expect("none came back").unwrap();
                let mut waiting = Box::pin(semaphore.take(at(2)));
                assert!(timeout(Duration::ZERO, &mut waiting).await.is_err());
                // Whoever gets the permit does not look any more.
                drop(held);
                assert_eq!(semaphore.lock().shares.used(), 1);
                drop(waiting);
                assert_eq!(semaphore.lock().shares.used(), 0);
            }
        });
    }
}
