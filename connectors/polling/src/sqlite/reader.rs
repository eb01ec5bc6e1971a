//! Reads pages.

use std::collections::HashMap;
use std::sync::Arc;

use outflow_sdk::{BatchBuilder, BatchLimits, Page, PartitionId, Result, RowKeys};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::connection::File;
use super::describe::{self, Described};
use super::values;
use crate::config::{Delivered, OnLostPosition, Snapshot};
use crate::in_flight::InFlight;
use crate::options::Options;
use crate::place::Place;
use crate::table::{KeyKind, RowKey, Table, push};
use crate::{emit, error};

/// The connection that reads.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    options: Options,
    connection: Connection,
    /// Changes with every change of the schema.
    version: i64,
    tables: Vec<Described>,
    /// With `--stop-at current`: the last id of each table when the source was opened, `None` if it had no row.
    /// Tables with keys of text have no such id; they are done with the first page that is the last.
    targets: HashMap<PartitionId, Option<i64>>,
}

impl Reader {
    pub(super) fn open(file: &File, options: &Options, stop_at_current: bool) -> Result<Self> {
        let connection = file.read()?;
        let version = schema_version(&connection, file)?;
        let tables = describe::tables(&connection, file, options)?;
        let mut reader = Self {
            file: file.clone(),
            options: options.clone(),
            connection,
            version,
            tables,
            targets: HashMap::new(),
        };
        if stop_at_current {
            for table in reader.tables().iter().filter(|t| t.key.kind == KeyKind::Integer) {
                let last = reader.last_id(table)?;
                reader.targets.insert(table.id.clone(), last);
            }
        }
        Ok(reader)
    }

    pub(super) fn delivered(&self) -> Delivered {
        self.options.delivered
    }

    pub(super) fn tables(&self) -> Vec<Arc<Table>> {
        self.tables.iter().map(|d| Arc::clone(&d.table)).collect()
    }

    fn last_id(&self, table: &Table) -> Result<Option<i64>> {
        let query = format!("SELECT max({}) FROM {}", table.key.sql, table.sql);
        self.connection.query_row(&query, [], |row| row.get(0)).map_err(|e| self.file.failed(e))
    }

    /// Starts a short read transaction and returns the table as it is now. A changed schema is read anew.
    fn begin(&mut self, id: &PartitionId) -> Result<Described> {
        self.connection.execute_batch("BEGIN").map_err(|e| self.file.failed(e))?;
        let version = schema_version(&self.connection, &self.file)?;
        if version != self.version {
            self.tables = describe::tables(&self.connection, &self.file, &self.options)?;
            self.version = version;
        }
        let found = self.tables.iter().find(|d| d.table.id == *id);
        found.cloned().ok_or_else(|| error::table_missing(id.as_str(), &self.file.name(), &[]))
    }

    /// Ends the transaction, so that a write-ahead log can be checkpointed.
    fn end(&self) {
        if !self.connection.is_autocommit() {
            // It only read: there is nothing to lose when this fails.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// The rows after a position.
    ///
    /// SQLite has one writer at a time and gives out ids within its transaction, so a row with a lower id never
    /// commits later; nothing has to be waited for.
    pub(super) fn page_after(
        &mut self,
        id: &PartitionId,
        place: Option<Place>,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Page> {
        let page = self.begin(id).and_then(|table| self.read_after(&table, place, limits, out));
        self.end();
        page
    }

    fn read_after(
        &self,
        described: &Described,
        place: Option<Place>,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Page> {
        let table = &described.table;
        let mut place = match place {
            Some(place) => self.still_valid(described, place)?,
            None if self.options.snapshot == Snapshot::Never => {
                self.last_id(table)?.map(Place::after).unwrap_or_default()
            }
            None => Place::default(),
        };
        let query = format!("SELECT * FROM {} WHERE {k} >= ?1 ORDER BY {k}", table.sql, k = table.key.sql);
        let mut more = false;
        // After the highest number there is no other.
        let from = place.last().map_or(Some(i64::MIN), |last| last.checked_add(1));
        if let Some(from) = from {
            let mut statement = self.connection.prepare_cached(&query).map_err(|e| self.file.failed(e))?;
            let mut rows = statement.query([from]).map_err(|e| self.file.failed(e))?;
            while let Some(row) = rows.next().map_err(|e| self.file.failed(e))? {
                let key = self.key(table, row)?;
                self.emit(table, &key, row, out)?;
                if let RowKey::Integer(id) = key {
                    place.advance(id);
                }
                if limits.reached(out) {
                    more = true;
                    break;
                }
            }
        }
        let reached_target = !more || self.reached(table, place.last());
        Ok(Page { end: Some(place.position()), more, reached_target, ..Page::default() })
    }

    /// Whether a page in the order of the keys that ends here has all that was there when the source was opened.
    fn reached(&self, table: &Table, last: Option<i64>) -> bool {
        self.targets.get(&table.id).is_some_and(|target| *target <= last)
    }

    /// Makes sure that the ids still rise above the position.
    fn still_valid(&self, described: &Described, place: Place) -> Result<Place> {
        let Some(last) = place.last().filter(|_| described.autoincrement) else { return Ok(place) };
        // The row of the table's counter is missing until the first insert.
        let counter: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(seq) FROM sqlite_sequence WHERE name = ?1")
            .and_then(|mut statement| statement.query_row([&described.name], |row| row.get(0)))
            .map_err(|e| self.file.failed(e))?;
        if counter.is_some_and(|counter| counter >= last) {
            return Ok(place);
        }
        let lost = error::position_lost(
            &described.name,
            format!("its counter stands at {}, before the position {place}", counter.unwrap_or(0)),
        );
        match self.options.on_lost_position {
            OnLostPosition::Stop => Err(lost),
            OnLostPosition::Resnapshot => {
                tracing::warn!(error = %lost, "starting again at the first row, as on_lost_position says");
                Ok(Place::default())
            }
        }
    }

    /// Rows without a mark, but for those in flight.
    pub(super) fn undelivered(
        &mut self,
        id: &PartitionId,
        in_flight: &InFlight,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Page> {
        let page = self.begin(id).and_then(|d| self.read_undelivered(&d.table, in_flight, limits, out));
        self.end();
        page
    }

    fn read_undelivered(
        &self,
        table: &Table,
        in_flight: &InFlight,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Page> {
        let condition =
            table.mark.as_ref().map_or_else(String::new, |m| format!("WHERE {}", m.undelivered()));
        let query = format!("SELECT * FROM {} {condition} ORDER BY {}", table.sql, table.key.sql);
        let poll = in_flight.poll();
        let mut read = table.key.kind.no_rows();
        let mut more = false;
        let mut statement = self.connection.prepare_cached(&query).map_err(|e| self.file.failed(e))?;
        let mut rows = statement.query([]).map_err(|e| self.file.failed(e))?;
        while let Some(row) = rows.next().map_err(|e| self.file.failed(e))? {
            let key = self.key(table, row)?;
            if poll.contains(&key) {
                continue;
            }
            self.emit(table, &key, row, out)?;
            push(&mut read, key);
            if limits.reached(out) {
                more = true;
                break;
            }
        }
        poll.emitted(&read);
        let last = if let RowKeys::Integers(ids) = &read { ids.last().copied() } else { None };
        Ok(Page { rows: read, more, reached_target: !more || self.reached(table, last), ..Page::default() })
    }

    fn key(&self, table: &Table, row: &Row<'_>) -> Result<RowKey> {
        let value = row.get_ref(table.key.index).map_err(|e| self.file.failed(e))?;
        match (table.key.kind, value) {
            (KeyKind::Integer, ValueRef::Integer(id)) => Ok(RowKey::Integer(id)),
            (KeyKind::Text, ValueRef::Text(text)) if std::str::from_utf8(text).is_ok() => {
                Ok(RowKey::Text(String::from_utf8_lossy(text).into()))
            }
            (_, other) => Err(error::bad_value(
                table.id.as_str(),
                &table.key.sql,
                &format!("a key of type {} in a row; it cannot be followed", other.data_type()),
            )),
        }
    }

    fn emit(&self, table: &Table, key: &RowKey, row: &Row<'_>, out: &mut BatchBuilder) -> Result<()> {
        let mut event = emit::insert(out, table, key);
        let mut writer = event.after();
        for (index, column) in table.schema.columns().iter().enumerate() {
            let value = row.get_ref(index).map_err(|e| self.file.failed(e))?;
            values::write(&mut writer, column.logical(), value);
        }
        writer.end()?;
        event.end();
        Ok(())
    }
}

fn schema_version(connection: &Connection, file: &File) -> Result<i64> {
    let version = connection
        .prepare_cached("PRAGMA schema_version")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)));
    version.map_err(|e| file.failed(e))
}
