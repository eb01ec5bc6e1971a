//! Notices commits of other connections.

use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use outflow_sdk::{Error, Result};
use rusqlite::Connection;
use tokio::sync::Notify;

/// How often it looks: a commit is seen within 10 ms, a timer's own delay included.
const INTERVAL: Duration = Duration::from_millis(8);

/// How long SQLite is asked on every look after the files have changed. A commit writes first and can be seen after
/// its sync; writes within one tick of the system's clock leave one time stamp.
const LIVELY: Duration = Duration::from_secs(1);

/// Looks at `PRAGMA data_version`, which changes for a connection when another one commits.
///
/// On a thread of its own: a timer of the runtime would wake one of its workers, and that another, a hundred times a
/// second, which costs several times what the look itself does.
#[derive(Debug)]
pub(super) struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ordered: Condvar,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    /// The version before the first poll since the last wait.
    seen: Option<i64>,
    files: Files,
    order: Order,
}

/// The database and its write-ahead log, as their folder shows them.
///
/// Where nothing has been written for a while, there is no need to ask SQLite, which costs ten times as much. The files
/// are never opened: closing one would drop the locks that SQLite holds on it.
#[derive(Debug)]
struct Files {
    paths: [PathBuf; 2],
    stamps: [Option<(u64, SystemTime)>; 2],
    changed: Instant,
}

impl Files {
    fn new(connection: &Connection) -> Self {
        let path = connection.path().unwrap_or_default();
        let paths = [path.into(), format!("{path}-wal").into()];
        Self { paths, stamps: [None; 2], changed: Instant::now() }
    }

    /// Whether a commit may have come into sight since the last call.
    fn lively(&mut self) -> bool {
        let stamp = |meta: Metadata| Some((meta.len(), meta.modified().ok()?));
        let stamps = self.paths.each_ref().map(|path| path.metadata().ok().and_then(stamp));
        let unknown = stamps[0].is_none();
        if unknown || stamps != self.stamps {
            self.stamps = stamps;
            self.changed = Instant::now();
        }
        self.changed.elapsed() < LIVELY
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Rest,
    Watch,
    End,
}

impl State {
    /// The version; `None` while the database is locked, when there is something to be seen soon.
    fn version(&self) -> Option<i64> {
        let mut statement = self.connection.prepare_cached("PRAGMA data_version").ok()?;
        statement.query_row([], |row| row.get(0)).ok()
    }

    fn changed(&mut self) -> bool {
        if !self.files.lively() {
            return false;
        }
        let now = self.version();
        now.is_some() && now != self.seen
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) {
        self.state().order = order;
        self.ordered.notify_one();
    }

    /// Looks while it is told to, until the end.
    fn watch(&self) {
        let mut state = self.state();
        loop {
            let order = state.order;
            state = match order {
                Order::End => return,
                Order::Rest => self.ordered.wait(state).unwrap_or_else(PoisonError::into_inner),
                Order::Watch if state.changed() => {
                    state.order = Order::Rest;
                    self.changed.notify_one();
                    state
                }
                Order::Watch => {
                    let waited = self.ordered.wait_timeout(state, INTERVAL);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            }
        }
    }
}

/// Lets the thread rest when the wait ends, however it does.
struct Waiting<'a>(&'a Shared);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.order = Order::Rest;
        state.seen = None;
    }
}

impl Watcher {
    pub(super) fn new(connection: Connection) -> Result<Self> {
        // It must never hold up the thread that asks.
        let _ = connection.busy_timeout(Duration::ZERO);
        let files = Files::new(&connection);
        let state = Mutex::new(State { connection, seen: None, files, order: Order::Rest });
        let shared = Arc::new(Shared { state, ordered: Condvar::new(), changed: Notify::new() });
        let watch = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("outflow-sqlite".into()).spawn(move || watch.watch()).map_err(
                |e| Error::transient("polling.thread").message("no thread to watch from").caused_by(e),
            )?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A poll begins: what is committed from now on ends the next wait.
    pub(super) fn note(&self) {
        let mut state = self.shared.state();
        if state.seen.is_none() {
            state.seen = state.version();
        }
    }

    /// Waits for a commit since the first poll after the last wait. Cancel-safe. May return early.
    pub(super) async fn wait(&self, at_most: Duration) {
        let _waiting = Waiting(&self.shared);
        self.shared.order(Order::Watch);
        // That the time has passed is as good a reason to look as any.
        let _ = tokio::time::timeout(at_most, self.shared.changed.notified()).await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.order(Order::End);
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked in a way that matters to whoever drops it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_rest_come_alive_with_a_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let application = Connection::open(&path).unwrap();
        for journal in ["DELETE", "WAL"] {
            application.pragma_update(None, "journal_mode", journal).unwrap();
            application.execute_batch("CREATE TABLE IF NOT EXISTS t (id)").unwrap();
            let mut files = Files::new(&Connection::open(&path).unwrap());
            assert!(files.lively(), "at first");
            files.changed -= LIVELY;
            assert!(!files.lively(), "{journal}: at rest");
            // Within one tick of the clock a time stamp may stay; the log grows all the same, and the database's own
            // stamp was taken before.
            while !files.lively() {
                application.execute_batch("INSERT INTO t VALUES (1)").unwrap();
            }
        }
    }
}
