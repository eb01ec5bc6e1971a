//! What the catalogue says about tables.

use std::collections::HashMap;
use std::sync::Arc;

use outflow_sdk::{Column, Error, PartitionId, Result, TableSchema, serde_json};

use super::failure::{boolean, number, optional, text};
use super::keys::{self, Sequence};
use super::notify;
use super::pg_text::PgType;
use super::session::Session;
use crate::config::Delivered;
use crate::error;
use crate::options::{Options, Retention};
use crate::table::{KeyColumn, KeyKind, MarkColumn, MarkKind, Table, quoted};

/// A table with what only PostgreSQL has.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) table: Table,
    pub(super) oid: u32,
    /// The types of the columns, in row order.
    pub(super) types: Vec<PgType>,
    /// The type of the key, for literals.
    pub(super) key_type: String,
    /// With `delivered: keep`, where the ids come from.
    pub(super) sequence: Option<Sequence>,
    /// The channel that a trigger would notify.
    pub(super) channel: String,
}

/// A column as the catalogue has it.
pub(super) struct ColumnInfo {
    pub(super) number: i16,
    pub(super) name: String,
    pub(super) not_null: bool,
    has_default: bool,
    type_oid: u32,
    modifier: i32,
    type_name: String,
}

/// An ordinary table: its OID, schema and name.
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
}

impl Relation {
    pub(super) fn qualified(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    pub(super) fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// The tables that are asked for.
pub(super) async fn relations(session: &Session, options: &Options) -> Result<Vec<Relation>> {
    // Partitions are read through their parent.
    let rows = session
        .query(
            "SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' \
             AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY n.nspname, c.relname",
        )
        .await?;
    let all = rows.iter().map(|row| {
        Ok(Relation { oid: number(row, 0)?, schema: text(row, 1)?.into(), name: text(row, 2)?.into() })
    });
    let all = all.collect::<Result<Vec<Relation>>>()?;
    let unmatched = options.unmatched(|pattern| all.iter().any(|r| pattern.matches(&r.schema, &r.name)));
    if let Some(pattern) = unmatched.first() {
        let there: Vec<String> = all.iter().map(Relation::qualified).collect();
        return Err(error::table_missing(pattern, &session.address().database, &there));
    }
    let wanted: Vec<Relation> = all.into_iter().filter(|r| options.wants(&r.schema, &r.name)).collect();
    if wanted.is_empty() {
        return Err(Error::configuration("polling.no_tables")
            .message("exclude_tables leaves no table of those in tables"));
    }
    Ok(wanted)
}

/// Describes the table of this partition as it is now.
pub(super) async fn again(session: &Session, options: &Options, id: &PartitionId) -> Result<Described> {
    let relations = relations(session, options).await?;
    match relations.iter().find(|r| r.qualified() == id.as_str()) {
        Some(relation) => describe(session, options, relation).await,
        None => Err(error::table_missing(id.as_str(), &session.address().database, &[])),
    }
}

/// Describes a table, and refuses one that cannot be followed.
pub(super) async fn describe(session: &Session, options: &Options, relation: &Relation) -> Result<Described> {
    let columns = columns(session, relation).await?;
    let types = types(session, &columns).await?;
    let indexes = keys::indexes(session, relation).await?;
    let index = keys::choose(relation, options, &columns, &indexes)?;
    let Some((column, column_type)) = columns.get(index).zip(types.get(index)) else {
        return Err(Error::internal("polling.key").message("the key lies outside the table"));
    };
    let kind = match column_type {
        PgType::Int(_) => KeyKind::Integer,
        PgType::Text | PgType::Uuid => KeyKind::Text,
        _ => {
            return Err(Error::permanent("polling.key_type")
                .message(format!(
                    "{}.{} is {}; rows are followed by whole numbers, text or UUIDs",
                    relation.qualified(),
                    column.name,
                    column.type_name
                ))
                .hint("name a column of another type:   cursor: seq"));
        }
    };
    let sequence = match options.delivered {
        Delivered::Keep => Some(keys::sequence(session, relation, column, kind).await?),
        Delivered::Mark | Delivered::Delete => None,
    };
    let mark = match options.delivered {
        Delivered::Mark => Some(mark(relation, options, &columns, &types)?),
        Delivered::Keep | Delivered::Delete => None,
    };
    let expired = match (&mark, &options.retention) {
        (Some(mark), Some(retention)) => Some(expired(relation, mark, retention, &columns, &types)?),
        _ => None,
    };
    let table = Table {
        id: PartitionId::new(relation.qualified()),
        sql: relation.sql(),
        origin: format!("{}/{}", session.address().database, relation.qualified()),
        schema: schema(session, relation, &columns, &types, &keys::primary(&columns, &indexes, index)),
        key: KeyColumn { index, sql: quoted(&column.name), kind },
        mark,
        expired,
    };
    let key_type = column.type_name.clone();
    let channel = notify::channel(relation);
    Ok(Described { table, oid: relation.oid, types, key_type, sequence, channel })
}

impl Described {
    /// True when a query for all columns gives these.
    pub(super) fn has_columns<'a>(&self, names: impl ExactSizeIterator<Item = &'a str>) -> bool {
        let columns = self.table.schema.columns();
        names.len() == columns.len() && names.zip(columns).all(|(name, column)| name == column.name())
    }
}

async fn columns(session: &Session, relation: &Relation) -> Result<Vec<ColumnInfo>> {
    let rows = session
        .query(&format!(
            "SELECT attnum, attname, attnotnull, atthasdef, atttypid, atttypmod, format_type(atttypid, atttypmod) \
             FROM pg_attribute WHERE attrelid = {} AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            relation.oid
        ))
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ColumnInfo {
                number: number(row, 0)?,
                name: text(row, 1)?.into(),
                not_null: boolean(row, 2)?,
                has_default: boolean(row, 3)?,
                type_oid: number(row, 4)?,
                modifier: number(row, 5)?,
                type_name: text(row, 6)?.into(),
            })
        })
        .collect()
}

/// A type as the catalogue has it.
struct TypeInfo {
    name: String,
    /// `b`ase, `d`omain, `e`num, …
    kind: String,
    is_array: bool,
    element: u32,
    base: u32,
    modifier: i32,
    delimiter: char,
    labels: Vec<String>,
}

/// Types are made of types: looks up all of them, in as many steps as they are deep.
async fn types(session: &Session, columns: &[ColumnInfo]) -> Result<Vec<PgType>> {
    let mut known: HashMap<u32, TypeInfo> = HashMap::new();
    let mut wanted: Vec<u32> = columns.iter().map(|c| c.type_oid).collect();
    while !wanted.is_empty() {
        let list: Vec<String> = wanted.iter().map(u32::to_string).collect();
        // int2vector and oidvector (22, 30) call themselves arrays and are printed otherwise.
        let rows = session
            .query(&format!(
                "SELECT oid, typname, typtype, typcategory = 'A' AND typlen = -1 AND oid NOT IN (22, 30), typelem, \
                 typbasetype, typtypmod, typdelim, \
                 (SELECT json_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid) \
                 FROM pg_type t WHERE oid IN ({})",
                list.join(", ")
            ))
            .await?;
        for row in &rows {
            let labels = optional(row, 8).and_then(|json| serde_json::from_str(json).ok());
            let info = TypeInfo {
                name: text(row, 1)?.into(),
                kind: text(row, 2)?.into(),
                is_array: boolean(row, 3)?,
                element: number(row, 4)?,
                base: number(row, 5)?,
                modifier: number(row, 6)?,
                delimiter: text(row, 7)?.chars().next().unwrap_or(','),
                labels: labels.unwrap_or_default(),
            };
            known.insert(number(row, 0)?, info);
        }
        let next = wanted.iter().filter_map(|oid| known.get(oid)).flat_map(|info| [info.element, info.base]);
        wanted = next.filter(|oid| *oid != 0 && !known.contains_key(oid)).collect();
        wanted.sort_unstable();
        wanted.dedup();
    }
    Ok(columns.iter().map(|c| resolve(&known, c.type_oid, c.modifier, 0)).collect())
}

fn resolve(known: &HashMap<u32, TypeInfo>, oid: u32, modifier: i32, depth: usize) -> PgType {
    // No type of the server's is so deep; this is for a catalogue that changes while it is read.
    let Some(info) = known.get(&oid).filter(|_| depth < 32) else { return PgType::Other };
    match info.kind.as_str() {
        "d" => {
            resolve(known, info.base, if info.modifier >= 0 { info.modifier } else { modifier }, depth + 1)
        }
        "e" => PgType::Enum(info.labels.clone()),
        "b" if info.is_array => {
            let delimiter = known.get(&info.element).map_or(',', |element| element.delimiter);
            PgType::Array(Box::new(resolve(known, info.element, modifier, depth + 1)), delimiter)
        }
        "b" => PgType::base(oid, &info.name, modifier),
        _ => PgType::Other,
    }
}

fn mark(
    relation: &Relation,
    options: &Options,
    columns: &[ColumnInfo],
    types: &[PgType],
) -> Result<MarkColumn> {
    let table = relation.qualified();
    let usual = || MarkColumn::USUAL.iter().find(|u| columns.iter().any(|c| c.name == **u));
    let name = match &options.mark_column {
        Some(name) => name.as_str(),
        None => usual().ok_or_else(|| {
            Error::permanent("polling.mark_column_missing")
                .message(format!("table {table} has no column to mark delivered rows in"))
                .hint(format!(
                    "ALTER TABLE {} ADD COLUMN delivered_at timestamptz;\nor name one:   mark_column: sent",
                    relation.sql()
                ))
        })?,
    };
    let Some((column, of)) = columns.iter().zip(types).find(|(c, _)| c.name == name) else {
        return Err(error::column_missing("mark_column", name, &table, &names(columns)));
    };
    let kind = match of {
        PgType::Bool => MarkKind::Boolean,
        PgType::Int(_) | PgType::Numeric(_) => MarkKind::Number,
        PgType::Timestamp | PgType::TimestampTz | PgType::Date => MarkKind::Time,
        _ => {
            return Err(Error::permanent("polling.mark_type")
                .message(format!("mark_column: {table}.{name} is {}", column.type_name))
                .hint("use a boolean, a number or a time"));
        }
    };
    if kind != MarkKind::Time && !column.not_null && !column.has_default {
        let (sql, column) = (relation.sql(), quoted(name));
        let zero = if kind == MarkKind::Boolean { "false" } else { "0" };
        return Err(Error::permanent("polling.mark_nullable")
            .message(format!("{table}.{name} may be NULL and has no default; rows with NULL would wait for ever"))
            .hint(format!(
                "ALTER TABLE {sql} ALTER COLUMN {column} SET DEFAULT {zero};\nUPDATE {sql} SET {column} = {zero} \
                 WHERE {column} IS NULL;\nALTER TABLE {sql} ALTER COLUMN {column} SET NOT NULL;"
            )));
    }
    Ok(MarkColumn { name: name.to_owned(), sql: quoted(name), kind })
}

fn expired(
    relation: &Relation,
    mark: &MarkColumn,
    retention: &Retention,
    columns: &[ColumnInfo],
    types: &[PgType],
) -> Result<String> {
    let table = relation.qualified();
    let name = match (&retention.column, mark.kind) {
        (Some(column), _) => column.as_str(),
        (None, MarkKind::Time) => mark.name.as_str(),
        (None, _) => {
            return Err(Error::configuration("polling.retention")
                .message(format!("{table}.{} does not tell when a row was delivered", mark.name))
                .hint("name a column with a time:   retention_column: created_at"));
        }
    };
    let Some((column, of)) = columns.iter().zip(types).find(|(c, _)| c.name == name) else {
        return Err(error::column_missing("retention_column", name, &table, &names(columns)));
    };
    let (ms, sql) = (retention.keep.as_millis(), quoted(name));
    match of {
        PgType::Timestamp | PgType::TimestampTz | PgType::Date => {
            Ok(format!("{sql} < now() - interval '1 millisecond' * {ms}"))
        }
        PgType::Int(64) => Ok(format!("{sql} < (extract(epoch FROM now()) * 1000)::bigint - {ms}")),
        _ => Err(Error::permanent("polling.retention")
            .message(format!("retention_column: {table}.{name} is {}", column.type_name))
            .hint("use a time, or a bigint of milliseconds since 1970")),
    }
}

fn schema(
    session: &Session,
    relation: &Relation,
    columns: &[ColumnInfo],
    types: &[PgType],
    key: &[usize],
) -> Arc<TableSchema> {
    let mut builder =
        TableSchema::builder(&relation.name).database(&session.address().database).schema(&relation.schema);
    for (column, of) in columns.iter().zip(types) {
        let made = Column::new(&column.name, of.logical()).source_type(&column.type_name);
        builder = builder.column(if column.not_null { made.not_null() } else { made });
    }
    builder.key_indexes(key.iter().filter_map(|i| u32::try_from(*i).ok())).build()
}

pub(super) fn names(columns: &[ColumnInfo]) -> String {
    columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
}
