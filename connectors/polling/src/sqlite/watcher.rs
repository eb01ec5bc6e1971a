//! Notices commits of other connections.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// How often it looks: a commit is seen within 10 ms, a timer's own delay included.
const INTERVAL: Duration = Duration::from_millis(8);

/// Looks at `PRAGMA data_version`, which changes for a connection when another one commits.
#[derive(Debug)]
pub(super) struct Watcher(Mutex<State>);

#[derive(Debug)]
struct State {
    connection: Connection,
    /// The version before the first poll since the last wait.
    seen: Option<i64>,
}

impl State {
    /// The version; `None` while the database is locked, when there is something to be seen soon.
    fn version(&self) -> Option<i64> {
        let mut statement = self.connection.prepare_cached("PRAGMA data_version").ok()?;
        statement.query_row([], |row| row.get(0)).ok()
    }
}

impl Watcher {
    pub(super) fn new(connection: Connection) -> Self {
        // It must never hold up the thread that asks.
        let _ = connection.busy_timeout(Duration::ZERO);
        Self(Mutex::new(State { connection, seen: None }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A poll begins: what is committed from now on ends the next wait.
    pub(super) fn note(&self) {
        let mut state = self.state();
        if state.seen.is_none() {
            state.seen = state.version();
        }
    }

    fn changed(&self) -> bool {
        let state = self.state();
        let now = state.version();
        now.is_some() && now != state.seen
    }

    /// Waits for a commit since the first poll after the last wait. Cancel-safe.
    pub(super) async fn wait(&self, at_most: Duration) {
        let end = Instant::now() + at_most;
        while !self.changed() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(INTERVAL)).await;
        }
        self.state().seen = None;
    }
}
