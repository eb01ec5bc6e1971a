//! The connector keeps the contract, by positions and by marks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]
#![cfg(feature = "sqlite")]

use std::path::PathBuf;
use std::sync::Arc;

use outflow_connector_polling::{Delivered, Polling, PollingFactory};
use outflow_sdk::{ConfiguredSource, EventRef, PositionCodec, SourceFactory as _, ValueRef, async_trait};
use outflow_testkit::conformance::{Change, SourceFixture};
use rusqlite::Connection;
use tempfile::TempDir;

const KEYS: i64 = 3;

/// An application that writes to its outbox, and to other tables.
struct Application {
    folder: TempDir,
    delivered: Delivered,
    written: i64,
}

impl Application {
    fn new(delivered: Delivered) -> Self {
        let application = Self { folder: tempfile::tempdir().unwrap(), delivered, written: 0 };
        let schema = "PRAGMA journal_mode = WAL; \
                      CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, key INTEGER NOT NULL, \
                          n INTEGER NOT NULL, published BOOLEAN NOT NULL DEFAULT 0); \
                      CREATE TABLE other (id INTEGER PRIMARY KEY)";
        application.database().execute_batch(schema).unwrap();
        application
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    fn database(&self) -> Connection {
        let database = Connection::open(self.path()).unwrap();
        database.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        database
    }
}

#[async_trait]
impl SourceFixture for Application {
    fn source(&self) -> Arc<dyn ConfiguredSource> {
        Arc::new(Polling::sqlite(self.path()).table("outbox").delivered(self.delivered))
    }

    async fn produce(&mut self, changes: usize) -> Vec<Change> {
        let numbers = self.written..self.written + i64::try_from(changes).unwrap();
        self.written = numbers.end;
        let mut database = self.database();
        let rows: Vec<i64> = numbers.clone().collect();
        for transaction in rows.chunks(7) {
            let open = database.transaction().unwrap();
            for n in transaction {
                open.execute("INSERT INTO outbox (key, n) VALUES (?1, ?2)", (n % KEYS, n)).unwrap();
            }
            open.commit().unwrap();
        }
        numbers.map(|n| Change::new((n % KEYS).to_string(), n.to_string())).collect()
    }

    fn change(&self, event: &EventRef<'_>) -> Option<Change> {
        let column = |name: &str| match event.after()?.by_name(name)? {
            ValueRef::I64(n) => Some(n.to_string()),
            _ => None,
        };
        Some(Change::new(column("key")?, column("n")?))
    }

    async fn unrelated(&mut self) -> bool {
        let rolled_back = "BEGIN; INSERT INTO outbox (key, n) VALUES (0, -1); ROLLBACK; \
                           INSERT INTO other DEFAULT VALUES";
        self.database().execute_batch(rolled_back).unwrap();
        // Nothing of it is read, so there is no progress that could be told.
        false
    }

    fn codec(&self) -> Option<Box<dyn PositionCodec>> {
        PollingFactory.positions()
    }
}

mod keep {
    use super::*;

    outflow_testkit::source_conformance!(Application::new(Delivered::Keep));
}

mod mark {
    use super::*;

    outflow_testkit::source_conformance!(Application::new(Delivered::Mark));
}

mod delete {
    use super::*;

    outflow_testkit::source_conformance!(Application::new(Delivered::Delete));
}
