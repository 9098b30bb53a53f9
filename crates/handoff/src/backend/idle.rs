//! Backend connections between sessions. Connecting and greeting costs more than a small message, so a connection that
//! holds nothing of its session waits a moment for the next one.
//!
//! Only where the backend is not told who the client is: else a connection belongs to one client.

use super::connection::Connection;
use gatepost_policy::share::Origin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Most connections that wait: after many sessions at once they must not occupy as many processes of the backend.
const MOST: usize = 8;
/// How long one waits before it is closed by QUIT.
const WAIT: Duration = Duration::from_secs(2);

/// The connections that wait, the newest last.
#[derive(Debug, Default)]
pub(super) struct Idle {
    waiting: Mutex<Vec<(Instant, Connection)>>,
}

impl Idle {
    /// The newest connection, if one waits, for the session of a client at `origin`.
    pub(super) fn take(&self, origin: Origin) -> Option<Connection> {
        let (_, connection) = self.lock().pop()?;
        connection.pass_on(origin)
    }

    /// Keeps a connection for the next session, or closes it.
    pub(super) fn give(self: &Arc<Self>, connection: Connection) {
        let mut waiting = self.lock();
        if !connection.is_reusable() || connection.is_wanted() || waiting.len() >= MOST {
            drop(waiting);
            return connection.quit();
        }
        let first = waiting.is_empty();
        waiting.push((Instant::now(), connection));
        drop(waiting);
        if first {
            tokio::spawn(Arc::clone(self).close_late());
        }
    }

    /// Closes those that have waited too long, until none waits.
    async fn close_late(self: Arc<Self>) {
        loop {
            tokio::time::sleep(WAIT).await;
            let mut waiting = self.lock();
            let late: Vec<_> = waiting.extract_if(.., |(since, _)| since.elapsed() >= WAIT).collect();
            let none_left = waiting.is_empty();
            drop(waiting);
            late.into_iter().for_each(|(_, connection)| connection.quit());
            if none_left {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Connection)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
