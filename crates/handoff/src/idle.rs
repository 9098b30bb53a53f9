//! Backend connections between sessions. Connecting and saying hello costs more than a small message, so a connection
//! that is clean and says nothing of its client waits a moment for the next session.
//!
//! Only where no identity is handed over: else the connection belongs to one client for good.

use crate::backend::Connection;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Connections that wait at most: a burst's end must not keep the backend's processes.
const MOST: usize = 8;
/// How long one waits. A backend sees an idle client this long and then its QUIT.
const WAIT: Duration = Duration::from_secs(2);

/// Those that wait, the last come last.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    waiting: Mutex<Vec<(Instant, Connection)>>,
}

impl Idle {
    /// The connection that came last, if one waits.
    pub(crate) fn take(&self) -> Option<Connection> {
        self.lock().pop().map(|(_, connection)| connection)
    }

    /// Keeps a connection for the next session, or takes leave of it.
    pub(crate) fn give(self: &Arc<Self>, connection: Connection) {
        let mut waiting = self.lock();
        if !connection.is_anybodys() || waiting.len() >= MOST {
            drop(waiting);
            return connection.quit();
        }
        let first = waiting.is_empty();
        waiting.push((Instant::now(), connection));
        drop(waiting);
        if first {
            tokio::spawn(Arc::clone(self).dismiss());
        }
    }

    /// Takes leave of those that have waited too long, until none is left.
    async fn dismiss(self: Arc<Self>) {
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
