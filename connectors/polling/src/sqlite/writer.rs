//! Marks or deletes what has been delivered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outflow_sdk::{Error, PartitionId, Result, RowKeys, serde_json};
use rusqlite::Connection;

use super::connection::File;
use crate::config::Delivered;
use crate::options::Options;
use crate::table::Table;

/// Rows a statement: the write lock is held for so many at most.
const CHUNK: usize = 1000;
/// How often rows are looked for whose time is over.
const CLEAN_INTERVAL: Duration = Duration::from_secs(60);

/// The present, in the form that SQLite's own functions read.
const NOW: &str = "strftime('%Y-%m-%d %H:%M:%f', 'now')";

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    connection: Connection,
    statements: HashMap<PartitionId, Statements>,
    next_clean: Instant,
}

#[derive(Debug)]
struct Statements {
    settle: String,
    clean: Option<String>,
}

impl Writer {
    pub(super) fn open(file: &File, options: &Options, tables: Vec<Arc<Table>>) -> Result<Self> {
        let statements = tables.iter().map(|t| (t.id.clone(), statements(t, options.delivered))).collect();
        Ok(Self { connection: file.write()?, file: file.clone(), statements, next_clean: Instant::now() })
    }

    /// Marks or deletes rows, in statements of a bounded size, each durable by itself.
    pub(super) fn settle(&mut self, table: &PartitionId, rows: &RowKeys) -> Result<()> {
        let Some(statements) = self.statements.get(table) else {
            return Err(Error::internal("polling.unknown_table").message(table.to_string()));
        };
        let mut settle =
            self.connection.prepare_cached(&statements.settle).map_err(|e| self.file.failed(e))?;
        let mut run = |keys: serde_json::Result<String>| {
            let keys = keys.map_err(|e| Error::internal("polling.keys").caused_by(e))?;
            settle.execute([keys]).map(drop).map_err(|e| self.file.failed(e))
        };
        match rows {
            RowKeys::Integers(ids) => ids.chunks(CHUNK).try_for_each(|c| run(serde_json::to_string(c))),
            RowKeys::Texts(texts) => texts.chunks(CHUNK).try_for_each(|c| run(serde_json::to_string(c))),
            _ => {
                Err(Error::internal("polling.keys")
                    .message("keys of a kind that this connector does not make"))
            }
        }
    }

    /// Deletes delivered rows whose time is over: once a minute, and while there are many of them, some with each
    /// call. What cannot be deleted now is left for the next time.
    pub(super) fn clean(&mut self) {
        if Instant::now() < self.next_clean {
            return;
        }
        let mut more = false;
        for (table, statements) in &self.statements {
            let Some(clean) = &statements.clean else { continue };
            match self.connection.prepare_cached(clean).and_then(|mut clean| clean.execute([])) {
                Ok(rows) => more |= rows == CHUNK,
                Err(error) => {
                    let error = self.file.failed(error);
                    tracing::warn!(%table, %error, "delivered rows could not be removed; trying again in a minute");
                }
            }
        }
        if !more {
            self.next_clean = Instant::now() + CLEAN_INTERVAL;
        }
    }
}

fn statements(table: &Table, delivered: Delivered) -> Statements {
    let Table { sql, key, mark, expired, .. } = table;
    let these = format!("{} IN (SELECT value FROM json_each(?1))", key.sql);
    let settle = match mark {
        Some(mark) if delivered == Delivered::Mark => {
            format!("UPDATE {sql} SET {} WHERE {these} AND {}", mark.assignment(NOW), mark.undelivered())
        }
        _ => format!("DELETE FROM {sql} WHERE {these}"),
    };
    // The condition on the mark is part of the statement that deletes: an undelivered row cannot go.
    let clean = mark.as_ref().zip(expired.as_ref()).map(|(mark, expired)| {
        format!(
            "DELETE FROM {sql} WHERE {key} IN \
             (SELECT {key} FROM {sql} WHERE {delivered} AND {expired} ORDER BY {key} LIMIT {CHUNK})",
            key = key.sql,
            delivered = mark.delivered(),
        )
    });
    Statements { settle, clean }
}
