//! What the catalogue says about tables.

use std::sync::Arc;

use outflow_sdk::{Column, Error, LogicalType, Result, TableSchema};
use rusqlite::Connection;

use super::connection::File;
use super::values;
use crate::config::Delivered;
use crate::error;
use crate::options::{Options, Retention};
use crate::table::{KeyColumn, KeyKind, MarkColumn, MarkKind, Table, quoted};

/// A table with what only SQLite has.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) table: Arc<Table>,
    /// The name without quotes.
    pub(super) name: String,
    /// The key is an `INTEGER PRIMARY KEY AUTOINCREMENT`: an id is never used again.
    pub(super) autoincrement: bool,
    /// An index serves the search for rows without a mark.
    pub(super) mark_indexed: bool,
}

/// A row of `PRAGMA table_xinfo`.
struct ColumnInfo {
    name: String,
    declared: String,
    not_null: bool,
    default: Option<String>,
    /// The place in the primary key, from 1 on; 0 outside it.
    key: u32,
}

/// An index that could serve a key.
struct IndexInfo {
    unique: bool,
    origin: String,
    partial: bool,
    /// Columns, an expression being `None`.
    columns: Vec<Option<String>>,
}

/// The tables that are asked for, each described.
pub(super) fn tables(connection: &Connection, file: &File, options: &Options) -> Result<Vec<Described>> {
    let names = list(connection).map_err(|e| file.failed(e))?;
    let wanted: Vec<&(String, bool)> = names.iter().filter(|(name, _)| options.wants("", name)).collect();
    let unmatched = options.unmatched(|pattern| names.iter().any(|(name, _)| pattern.matches("", name)));
    if let Some(pattern) = unmatched.first() {
        let there: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
        return Err(error::table_missing(pattern, &file.name(), &there));
    }
    if wanted.is_empty() {
        return Err(Error::configuration("polling.no_tables")
            .message("exclude_tables leaves no table of those in tables"));
    }
    wanted.into_iter().map(|(name, rowid)| describe(connection, file, options, name, *rowid)).collect()
}

/// The ordinary tables, and whether each has row ids.
fn list(connection: &Connection) -> rusqlite::Result<Vec<(String, bool)>> {
    let mut query = connection.prepare(
        "SELECT name, wr = 0 FROM pragma_table_list \
         WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<ColumnInfo>> {
    // Hidden columns are not part of `SELECT *`; generated ones are.
    let mut query = connection.prepare(
        "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid",
    )?;
    let column = |row: &rusqlite::Row<'_>| {
        Ok(ColumnInfo {
            name: row.get(0)?,
            declared: row.get(1)?,
            not_null: row.get(2)?,
            default: row.get(3)?,
            key: row.get(4)?,
        })
    };
    query.query_map([table], column)?.collect()
}

fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<IndexInfo>> {
    let mut list =
        connection.prepare("SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1)")?;
    let mut columns = connection.prepare("SELECT name FROM pragma_index_info(?1) ORDER BY seqno")?;
    let index = |row: &rusqlite::Row<'_>| {
        let name: String = row.get(0)?;
        let columns = columns.query_map([name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(IndexInfo { unique: row.get(1)?, origin: row.get(2)?, partial: row.get(3)?, columns })
    };
    list.query_map([table], index)?.collect()
}

fn describe(
    connection: &Connection,
    file: &File,
    options: &Options,
    name: &str,
    rowid: bool,
) -> Result<Described> {
    let failed = |e| file.failed(e);
    let columns = columns(connection, name).map_err(failed)?;
    let indexes = indexes(connection, name).map_err(failed)?;
    let primary: Vec<usize> = columns.iter().enumerate().filter(|(_, c)| c.key > 0).map(|(i, _)| i).collect();
    // A lone INTEGER PRIMARY KEY is the row id itself, and has no index of its own (but with DESC, a quirk).
    let is_row_id = |index: usize| {
        rowid
            && primary == [index]
            && columns.get(index).is_some_and(|c| c.declared.eq_ignore_ascii_case("INTEGER"))
            && !indexes.iter().any(|i| i.origin == "pk")
    };
    let index = key_index(name, options, &columns, &primary, &indexes, is_row_id)?;
    let Some(column) = columns.get(index) else {
        return Err(Error::internal("polling.key").message("the key lies outside the table"));
    };
    let key = KeyColumn { index, sql: quoted(&column.name), kind: key_kind(name, column)? };
    let autoincrement = is_row_id(index)
        && connection
            .column_metadata(Some("main"), name, column.name.as_str())
            .map(|(_, _, _, _, autoincrement)| autoincrement)
            .map_err(failed)?;
    if options.delivered == Delivered::Keep {
        can_keep(name, &key, options, autoincrement)?;
    }
    let mark = (options.delivered == Delivered::Mark).then(|| mark(name, options, &columns)).transpose()?;
    let mark_indexed = match &mark {
        Some(mark) => mark_index(connection, name, mark).map_err(failed)?,
        None => true,
    };
    let expired = match (&mark, &options.retention) {
        (Some(mark), Some(retention)) => Some(expired(name, mark, retention, &columns)?),
        _ => None,
    };
    let table = Table {
        id: name.into(),
        sql: quoted(name),
        origin: format!("{}/{name}", file.name()),
        schema: schema(name, &columns, &primary, key.index),
        key,
        mark,
        expired,
    };
    Ok(Described { table: Arc::new(table), name: name.to_owned(), autoincrement, mark_indexed })
}

/// Finds the column that identifies the rows.
fn key_index(
    table: &str,
    options: &Options,
    columns: &[ColumnInfo],
    primary: &[usize],
    indexes: &[IndexInfo],
    is_row_id: impl Fn(usize) -> bool,
) -> Result<usize> {
    let Some(cursor) = &options.cursor else {
        return match primary {
            [index] => Ok(*index),
            [] => Err(error::key_missing(table, "no primary key")),
            more => Err(error::key_missing(table, &format!("a primary key of {} columns", more.len()))),
        };
    };
    let Some(index) = columns.iter().position(|c| c.name == *cursor) else {
        return Err(error::column_missing("cursor", cursor, table, &names(columns)));
    };
    let leads =
        |i: &&IndexInfo| !i.partial && i.columns.first().and_then(Option::as_deref) == Some(cursor.as_str());
    let alone = |i: &IndexInfo| i.unique && i.columns.len() == 1;
    if !is_row_id(index) && !indexes.iter().filter(leads).any(alone) {
        return Err(Error::permanent("polling.cursor_not_indexed")
            .message(format!("cursor: no unique index is on {table}.{cursor} alone"))
            .hint(format!(
                "CREATE UNIQUE INDEX {} ON {} ({});",
                quoted(&format!("{table}_{cursor}")),
                quoted(table),
                quoted(cursor)
            )));
    }
    Ok(index)
}

fn key_kind(table: &str, column: &ColumnInfo) -> Result<KeyKind> {
    match values::logical(&column.declared) {
        LogicalType::Int(_) => Ok(KeyKind::Integer),
        LogicalType::Text => Ok(KeyKind::Text),
        _ => Err(Error::permanent("polling.key_type")
            .message(format!(
                "{table}.{} is declared \"{}\"; rows are followed by whole numbers or text",
                column.name, column.declared
            ))
            .hint("name a column of another type:   cursor: seq")),
    }
}

/// Whether progress in this table can be a position.
fn can_keep(table: &str, key: &KeyColumn, options: &Options, autoincrement: bool) -> Result<()> {
    if key.kind == KeyKind::Text {
        return Err(error::keep_needs(
            "polling.text_key",
            format!("the key {} of {table} is text, and a later row may have a lower one", key.sql),
            "use   delivered: mark   or   delivered: delete   or name a column of numbers:   cursor: seq"
                .into(),
        ));
    }
    if !autoincrement && options.cursor.is_none() {
        return Err(error::keep_needs(
            "polling.ids_reused",
            format!(
                "SQLite uses the ids of {table} again when its last rows are deleted, and such rows would be lost"
            ),
            format!(
                "declare the key as INTEGER PRIMARY KEY AUTOINCREMENT; or use   delivered: delete   or   delivered: \
                 mark; or, if rows are never deleted, say so:   cursor: {}",
                key.sql.trim_matches('"')
            ),
        ));
    }
    Ok(())
}

fn mark(table: &str, options: &Options, columns: &[ColumnInfo]) -> Result<MarkColumn> {
    let usual = || MarkColumn::USUAL.iter().find(|u| columns.iter().any(|c| c.name == **u));
    let name = match &options.mark_column {
        Some(name) => name.as_str(),
        None => usual().ok_or_else(|| {
            Error::permanent("polling.mark_column_missing")
                .message(format!("table {table} has no column to mark delivered rows in"))
                .hint(format!(
                    "ALTER TABLE {} ADD COLUMN delivered_at TEXT;\nor name one:   mark_column: sent",
                    quoted(table)
                ))
        })?,
    };
    let Some(column) = columns.iter().find(|c| c.name == name) else {
        return Err(error::column_missing("mark_column", name, table, &names(columns)));
    };
    let kind = if is_time(&column.declared) { MarkKind::Time } else { MarkKind::Number };
    if kind == MarkKind::Number && !column.not_null && column.default.is_none() {
        return Err(Error::permanent("polling.mark_nullable")
            .message(format!(
                "{table}.{name} may be NULL and has no default; rows with NULL would wait for ever"
            ))
            .hint(format!("declare it as   {} INTEGER NOT NULL DEFAULT 0", quoted(name))));
    }
    Ok(MarkColumn { name: name.to_owned(), sql: quoted(name), kind })
}

fn is_time(declared: &str) -> bool {
    let upper = declared.to_ascii_uppercase();
    upper.contains("DATE") || upper.contains("TIME") || values::logical(declared) == LogicalType::Text
}

/// Whether an index is limited to the rows without a mark, or begins with the mark.
fn mark_index(connection: &Connection, table: &str, mark: &MarkColumn) -> rusqlite::Result<bool> {
    let mut query = connection.prepare(
        "SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1 AND sql IS NOT NULL",
    )?;
    let statements: Vec<String> =
        query.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(statements.iter().any(|sql| sql.contains(mark.name.as_str())))
}

fn expired(table: &str, mark: &MarkColumn, retention: &Retention, columns: &[ColumnInfo]) -> Result<String> {
    let name = match (&retention.column, mark.kind) {
        (Some(column), _) => column.as_str(),
        (None, MarkKind::Time) => mark.name.as_str(),
        (None, _) => {
            return Err(Error::configuration("polling.retention")
                .message(format!("{table}.{} does not tell when a row was delivered", mark.name))
                .hint("name a column with a time:   retention_column: created_at"));
        }
    };
    let Some(column) = columns.iter().find(|c| c.name == name) else {
        return Err(error::column_missing("retention_column", name, table, &names(columns)));
    };
    let ms = retention.keep.as_millis();
    let column_sql = quoted(name);
    Ok(match values::logical(&column.declared) {
        LogicalType::Int(_) => {
            format!("{column_sql} < CAST(strftime('%s', 'now') AS INTEGER) * 1000 - {ms}")
        }
        _ => format!("julianday({column_sql}) < julianday('now') - {ms} / 86400000.0"),
    })
}

fn schema(table: &str, columns: &[ColumnInfo], primary: &[usize], key: usize) -> Arc<TableSchema> {
    let mut builder = TableSchema::builder(table);
    for column in columns {
        let made = Column::new(&column.name, values::logical(&column.declared)).source_type(&column.declared);
        builder = builder.column(if column.not_null { made.not_null() } else { made });
    }
    let mut primary: Vec<(u32, usize)> =
        primary.iter().filter_map(|i| columns.get(*i).map(|c| (c.key, *i))).collect();
    primary.sort_unstable();
    let indexes = if primary.is_empty() { vec![key] } else { primary.into_iter().map(|(_, i)| i).collect() };
    builder.key_indexes(indexes.into_iter().filter_map(|i| u32::try_from(i).ok())).build()
}

fn names(columns: &[ColumnInfo]) -> String {
    columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
}
