//! Marks or deletes what has been delivered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outflow_sdk::{Error, PartitionId, Result, RowKeys};
use tokio::sync::Mutex;

use super::describe::Described;
use super::page::literal;
use super::session::Session;
use crate::config::Delivered;
use crate::table::RowKey;

/// Rows a statement.
const CHUNK: usize = 1000;
/// How often rows are looked for whose time is over.
const CLEAN_INTERVAL: Duration = Duration::from_secs(60);

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    session: Session,
    delivered: Delivered,
    tables: HashMap<PartitionId, Arc<Described>>,
    next_clean: Mutex<Instant>,
}

impl Writer {
    pub(super) fn new(session: Session, delivered: Delivered, tables: &[Arc<Described>]) -> Self {
        let tables = tables.iter().map(|t| (t.table.id.clone(), Arc::clone(t))).collect();
        Self { session, delivered, tables, next_clean: Mutex::new(Instant::now()) }
    }

    /// Marks or deletes rows, in statements of a bounded size, each durable by itself. Doing it again changes nothing.
    pub(super) async fn settle(&self, table: &PartitionId, rows: &RowKeys) -> Result<()> {
        let Some(described) = self.tables.get(table) else {
            return Err(Error::internal("polling.unknown_table").message(table.to_string()));
        };
        let mut keys: Vec<String> = match rows {
            RowKeys::Integers(ids) => {
                ids.iter().map(|id| literal(described, &RowKey::Integer(*id))).collect()
            }
            RowKeys::Texts(texts) => {
                texts.iter().map(|t| literal(described, &RowKey::Text(t.as_str().into()))).collect()
            }
            _ => {
                return Err(Error::internal("polling.keys").message("keys of a kind that is not made here"));
            }
        };
        // Two who delete the same rows take the locks in one order.
        keys.sort_unstable();
        for chunk in keys.chunks(CHUNK) {
            self.session.execute(&self.statement(described, &chunk.join(", "))).await?;
        }
        Ok(())
    }

    fn statement(&self, described: &Described, keys: &str) -> String {
        let table = &described.table;
        let these = format!("{} IN ({keys})", table.key.sql);
        match &table.mark {
            Some(mark) if self.delivered == Delivered::Mark => format!(
                "UPDATE {} SET {} WHERE {these} AND {}",
                table.sql,
                mark.assignment("now()"),
                mark.undelivered()
            ),
            _ => format!("DELETE FROM {} WHERE {these}", table.sql),
        }
    }

    /// Deletes delivered rows whose time is over: once a minute, and while there are many of them, some with each
    /// call. What cannot be deleted now is left for the next time. May be dropped at any await.
    pub(super) async fn clean(&self) {
        let mut next = self.next_clean.lock().await;
        if Instant::now() < *next {
            return;
        }
        let mut more = false;
        for described in self.tables.values() {
            let table = &described.table;
            let Some((mark, expired)) = table.mark.as_ref().zip(table.expired.as_ref()) else { continue };
            // The condition on the mark is part of the statement that deletes: an undelivered row cannot go.
            let clean = format!(
                "DELETE FROM {sql} WHERE {delivered} AND {key} IN \
                 (SELECT {key} FROM {sql} WHERE {delivered} AND {expired} ORDER BY {key} LIMIT {CHUNK} \
                  FOR UPDATE SKIP LOCKED)",
                sql = table.sql,
                key = table.key.sql,
                delivered = mark.delivered(),
            );
            match self.session.execute(&clean).await {
                Ok(rows) => more |= rows == CHUNK as u64,
                Err(error) => {
                    tracing::warn!(table = %table.id, %error, "delivered rows could not be removed; trying again in a minute");
                }
            }
        }
        if !more {
            *next = Instant::now() + CLEAN_INTERVAL;
        }
    }
}
