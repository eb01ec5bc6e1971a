//! SQLite, in WAL mode.

use std::time::Duration;

use outflow_core::{Error, Result, Retry};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, params};

use super::clock::unix_nanos;
use super::database::{Database, NewRow};
use super::table::{DESTINATION, Dialect, EVENT_TYPE, Shape, Table};

/// How long a writer waits for another's transaction. One that holds its transaction open blocks all others.
const BUSY_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) struct Sqlite {
    connection: Connection,
    table: Table,
}

impl Sqlite {
    pub(super) fn open(url: &str, table: &Table) -> Result<Self> {
        let path = url.trim_start_matches("sqlite:");
        let path = path.strip_prefix("//").unwrap_or(path);
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "normal").map_err(failed)?;
        Ok(Self { connection, table: table.clone() })
    }
}

impl Database for Sqlite {
    fn is_exclusive(&self) -> bool {
        true
    }

    fn execute(&mut self, statements: &str) -> Result<()> {
        self.connection.execute_batch(statements).map_err(failed)
    }

    fn create(&mut self) -> Result<()> {
        self.execute(&self.table.create(Dialect::Sqlite).join(";"))
    }

    fn begin(&mut self) -> Result<()> {
        // A transaction that reads first could not become a writer once another has written.
        self.execute("BEGIN IMMEDIATE")
    }

    fn reserve(&mut self, keys: &[(String, u64)]) -> Result<Vec<u64>> {
        let sql = format!(
            "INSERT INTO {} (key, seq) VALUES (?1, ?2) \
             ON CONFLICT (key) DO UPDATE SET seq = seq + excluded.seq RETURNING seq",
            self.table.keys()
        );
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let mut reserve = |(key, count): &(String, u64)| {
            statement.query_row(params![key, count.cast_signed()], |row| row.get::<_, i64>(0))
        };
        keys.iter().map(|key| reserve(key).map(i64::cast_unsigned).map_err(failed)).collect()
    }

    fn insert(&mut self, rows: Vec<NewRow>) -> Result<Vec<Option<u64>>> {
        let table = self.table.quoted();
        let mut cursors = Vec::with_capacity(rows.len());
        for NewRow { row, payload } in rows {
            match self.table.shape() {
                Shape::Outbox => {
                    let sql = format!(
                        "INSERT INTO {table} (id, aggregatetype, aggregateid, type, payload) \
                         VALUES (?1, ?2, ?3, ?4, ?5)"
                    );
                    let mut insert = self.connection.prepare_cached(&sql).map_err(failed)?;
                    let id = row.id.to_string();
                    let seq = insert
                        .insert(params![id, DESTINATION, row.key, EVENT_TYPE, payload])
                        .map_err(failed)?;
                    cursors.push(Some(seq.cast_unsigned()));
                }
                Shape::Eventuate => {
                    let sql = format!(
                        "INSERT INTO {table} (id, destination, headers, payload, creation_time) \
                         VALUES (?1, ?2, ?3, ?4, ?5)"
                    );
                    let mut insert = self.connection.prepare_cached(&sql).map_err(failed)?;
                    let (id, headers) = (row.id.eventuate(), super::table::eventuate_headers(&row));
                    let now = (unix_nanos() / 1_000_000).cast_signed();
                    insert.execute(params![id, DESTINATION, headers, payload, now]).map_err(failed)?;
                    cursors.push(None);
                }
            }
        }
        Ok(cursors)
    }

    fn note(&mut self, tx: &str) -> Result<()> {
        let sql = format!("INSERT INTO {} (tx) VALUES (?1)", self.table.commits());
        self.connection.prepare_cached(&sql).and_then(|mut s| s.execute([tx])).map(drop).map_err(failed)
    }

    fn committed(&mut self, tx: &str) -> Result<bool> {
        // A process that died holds no lock any more; a live one is waited for.
        self.begin()?;
        let sql = format!("SELECT 1 FROM {} WHERE tx = ?1", self.table.commits());
        let found = self.connection.prepare_cached(&sql).and_then(|mut s| s.exists([tx])).map_err(failed)?;
        self.roll_back()?;
        Ok(found)
    }

    fn pairs(&mut self, query: &str) -> Result<Vec<(String, String)>> {
        let mut statement = self.connection.prepare(query).map_err(failed)?;
        let text = |value: ValueRef<'_>| match value {
            ValueRef::Null => String::new(),
            ValueRef::Integer(i) => i.to_string(),
            ValueRef::Real(f) => f.to_string(),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        };
        let rows = statement.query_map([], |row| Ok((text(row.get_ref(0)?), text(row.get_ref(1)?))));
        rows.and_then(Iterator::collect).map_err(failed)
    }
}

fn failed(error: rusqlite::Error) -> Error {
    let busy = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SchemaChanged)
    );
    Error::transient("verifier.database")
        .message("SQLite")
        .retry(if busy { Retry::Transient } else { Retry::Permanent })
        .caused_by(error)
}
