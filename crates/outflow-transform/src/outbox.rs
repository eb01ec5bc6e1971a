//! `outbox`: rows of an outbox table become messages.
//!
//! Column names of the `debezium` preset are those of Debezium's outbox event router; those of `eventuate` are
//! Eventuate Tram's `message` table.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use outflow_sdk::{
    BatchEdit, BuildContext, Description, Error, Field, JsonSchema, MessageFields, Op, Result, RowRef,
    SchemaFingerprint, TablePatterns, TableSchema, Transform, TransformContext, TransformFactory, ValueRef,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Whose outbox table it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `id`, `aggregatetype`, `aggregateid`, `type`, `payload`.
    #[default]
    Debezium,
    /// Eventuate Tram's `message`: `id`, `destination`, `headers` (JSON), `payload`, `published`; `dbid` where ids
    /// are made by the database.
    Eventuate,
}

/// Configuration of `outbox`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxConfig {
    /// The outbox tables; all tables of the pipeline when left out. Rows of other tables pass unchanged.
    #[serde(default)]
    pub tables: TablePatterns,
    /// Whose column names are the default.
    #[serde(default)]
    pub preset: Preset,
    /// Columns with other names than the preset's.
    #[serde(default)]
    pub columns: OutboxColumns,
    /// Columns that become headers, besides those of `columns.headers`.
    #[serde(default)]
    pub header_columns: Vec<String>,
    /// The media type of the payload. When left out: `application/json` for JSON columns and for text that is a
    /// JSON object or array, `application/octet-stream` for bytes, else `text/plain`.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Eventuate's `eventuate.outbox.id`, which the ids of rows without an id are made of.
    #[serde(default)]
    pub outbox_id: Option<u64>,
}

/// Where each field of a message comes from.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxColumns {
    /// The message's own id.
    #[serde(default)]
    pub id: Option<String>,
    /// Where it goes: `aggregatetype` or `destination`.
    #[serde(default)]
    pub destination: Option<String>,
    /// What orders it: `aggregateid`, or the header `PARTITION_ID`.
    #[serde(default)]
    pub key: Option<String>,
    /// The event type: `type`, or the header `event-type`.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// The body.
    #[serde(default)]
    pub payload: Option<String>,
    /// A column with a JSON object whose entries become headers.
    #[serde(default)]
    pub headers: Option<String>,
}

/// The factory of `outbox`.
#[derive(Clone, Copy, Debug)]
pub struct Outbox;

impl TransformFactory for Outbox {
    type Config = OutboxConfig;

    fn type_name(&self) -> &'static str {
        "outbox"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Turns rows of an outbox table into messages: destination, key, type, headers, raw payload.",
            guarantees: "Inserted (or read) rows become messages with the row's bytes as they are; updates and \
                         deletes of outbox rows are housekeeping and give none. A row without a destination or \
                         with malformed headers is an error under on_error, never dropped.",
            example: "- type: outbox\n  preset: debezium     # or eventuate, or name columns:\n  \
                      # columns: {destination: topic, key: entity_id}\n",
        }
    }

    fn build(&self, config: &OutboxConfig, _: &BuildContext) -> Result<Box<dyn Transform>> {
        Ok(Box::new(OutboxTransform { config: config.clone(), plans: HashMap::new() }))
    }
}

struct OutboxTransform {
    config: OutboxConfig,
    /// By schema; `None` for tables that are not the outbox.
    plans: HashMap<SchemaFingerprint, Option<Plan>>,
}

/// Where the fields stand among the columns of one schema.
struct Plan {
    id: Option<usize>,
    database_id: Option<usize>,
    destination: usize,
    key: Option<usize>,
    kind: Option<usize>,
    payload: usize,
    headers: Option<usize>,
    header_columns: Vec<(String, usize)>,
    published: Option<usize>,
}

fn compile(config: &OutboxConfig, schema: &TableSchema) -> Result<Option<Plan>> {
    if !config.tables.matches_or_empty(schema.schema(), schema.table()) {
        return Ok(None);
    }
    let required = |name: &str| {
        schema.column_index(name).ok_or_else(|| {
            let columns: Vec<&str> = schema.columns().iter().map(|c| c.name()).collect();
            Error::configuration("outbox.missing_column")
                .message(format!("outbox: {} has no column \"{name}\"", schema.qualified_name()))
                .hint(format!(
                    "name its columns, for example   columns: {{destination: …}}   ({} has {}), or say which \
                     tables are outboxes under   tables:",
                    schema.table(),
                    columns.join(", ")
                ))
        })
    };
    // A named column must exist; a default of the preset may be missing where the field is optional.
    let optional = |named: &Option<String>, default: Option<&str>| match (named, default) {
        (Some(name), _) => required(name).map(Some),
        (None, Some(default)) => Ok(schema.column_index(default)),
        (None, None) => Ok(None),
    };
    let columns = &config.columns;
    let eventuate = config.preset == Preset::Eventuate;
    let only = |preset: Preset, name: &'static str| (config.preset == preset).then_some(name);
    let destination = if eventuate { "destination" } else { "aggregatetype" };
    let header_columns = config.header_columns.iter().map(|name| Ok((name.clone(), required(name)?)));
    Ok(Some(Plan {
        id: optional(&columns.id, Some("id"))?,
        database_id: eventuate.then(|| schema.column_index("dbid")).flatten(),
        destination: required(columns.destination.as_deref().unwrap_or(destination))?,
        key: optional(&columns.key, only(Preset::Debezium, "aggregateid"))?,
        kind: optional(&columns.kind, only(Preset::Debezium, "type"))?,
        payload: required(columns.payload.as_deref().unwrap_or("payload"))?,
        headers: optional(&columns.headers, only(Preset::Eventuate, "headers"))?,
        header_columns: header_columns.collect::<Result<_>>()?,
        published: eventuate.then(|| schema.column_index("published")).flatten(),
    }))
}

/// What had to be made rather than taken from a column.
struct Made {
    destination: String,
    key: Option<String>,
    kind: Option<String>,
    id: Option<String>,
    content_type: Cow<'static, str>,
    headers: Vec<(String, Option<String>)>,
}

fn malformed(what: &str, row: RowRef<'_>) -> Error {
    Error::data("outbox.malformed").message(format!("a row of {} {what}", row.schema().qualified_name()))
}

/// The text of a value that may name something: text, numbers, UUIDs.
fn text(value: ValueRef<'_>) -> Option<Cow<'_, str>> {
    match value {
        ValueRef::I64(n) => Some(n.to_string().into()),
        ValueRef::U64(n) => Some(n.to_string().into()),
        ValueRef::Uuid(bytes) => {
            let mut out = String::with_capacity(36);
            for (i, byte) in bytes.iter().enumerate() {
                if matches!(i, 4 | 6 | 8 | 10) {
                    out.push('-');
                }
                out.push_str(&format!("{byte:02x}"));
            }
            Some(out.into())
        }
        other => other.as_str().map(Cow::Borrowed),
    }
}

/// Reads a JSON object of headers: strings as they are, null as null, anything else as its JSON text.
fn read_headers(value: ValueRef<'_>, row: RowRef<'_>) -> Result<Vec<(String, Option<String>)>> {
    let Some(json) = value.as_str().filter(|s| !s.trim().is_empty()) else { return Ok(Vec::new()) };
    let entries: HeaderEntries<'_> = serde_json::from_str(json)
        .map_err(|e| malformed(&format!("has headers that are no JSON object: {e}"), row))?;
    let header = |(name, raw): (String, &RawValue)| {
        let value = match raw.get() {
            "null" => None,
            text if text.starts_with('"') => serde_json::from_str(text).ok(),
            text => Some(text.to_owned()),
        };
        (name, value)
    };
    Ok(entries.0.into_iter().map(header).collect())
}

/// A JSON object with its entries in order.
struct HeaderEntries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for HeaderEntries<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> serde::de::Visitor<'de> for Entries {
            type Value = HeaderEntries<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(HeaderEntries(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

fn content_type(payload: ValueRef<'_>) -> &'static str {
    match payload {
        ValueRef::Json(_) => "application/json",
        ValueRef::Bytes(_) => "application/octet-stream",
        other => match other.as_str() {
            Some(s)
                if s.trim_start().starts_with(['{', '['])
                    && serde_json::from_str::<IgnoredAny>(s).is_ok() =>
            {
                "application/json"
            }
            _ => "text/plain",
        },
    }
}

/// Eventuate's id for a row whose id the database made: the two halves of an `Int128` in hexadecimal.
fn database_id(plan: &Plan, config: &OutboxConfig, row: RowRef<'_>) -> Result<Option<String>> {
    let Some(dbid) = plan.database_id.and_then(|c| row.get(c)?.as_i64()) else { return Ok(None) };
    let Some(outbox_id) = config.outbox_id else {
        return Err(malformed("has no id, and outbox_id is not set", row)
            .hint("set   outbox_id:   to the service's eventuate.outbox.id"));
    };
    Ok(Some(format!("{dbid:016x}-{outbox_id:016x}")))
}

fn make(plan: &Plan, config: &OutboxConfig, row: RowRef<'_>) -> Result<Made> {
    let value = |column: Option<usize>| column.and_then(|c| row.get(c)).unwrap_or(ValueRef::Null);
    let destination = text(value(Some(plan.destination)))
        .filter(|d| !d.is_empty())
        .ok_or_else(|| malformed("has no destination", row))?;
    let payload = value(Some(plan.payload));
    if payload.is_unavailable() {
        return Err(malformed("has a payload that the source did not send", row));
    }
    let mut headers = read_headers(value(plan.headers), row)?;
    for (name, column) in &plan.header_columns {
        headers.push((name.clone(), text(value(Some(*column))).map(Cow::into_owned)));
    }
    let from_header = |name: &str| headers.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.clone());
    let eventuate = config.preset == Preset::Eventuate;
    let mut id = None;
    if eventuate && value(plan.id).is_null() {
        id = match from_header("ID") {
            Some(id) => Some(id),
            None => database_id(plan, config, row)?,
        };
    }
    // Eventuate's consumers know a message by its header ID.
    if eventuate && from_header("ID").is_none() {
        let own = id.clone().or_else(|| text(value(plan.id)).map(Cow::into_owned));
        headers.extend(own.map(|own| ("ID".to_owned(), Some(own))));
    }
    let from_header = |name: &str| headers.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.clone());
    let content_type = match &config.content_type {
        Some(given) => Cow::Owned(given.clone()),
        None => Cow::Borrowed(content_type(payload)),
    };
    let kind = match plan.kind {
        Some(column) => text(value(Some(column))).map(Cow::into_owned),
        None if eventuate => from_header("event-type").or_else(|| from_header("command_type")),
        None => None,
    };
    // As Eventuate's publishing strategy: PARTITION_ID, else the id.
    let key = match plan.key {
        None if eventuate => from_header("PARTITION_ID").or_else(|| from_header("ID")),
        _ => None,
    };
    Ok(Made { destination: destination.into_owned(), key, kind, id, content_type, headers })
}

impl Transform for OutboxTransform {
    fn apply(&mut self, edit: &mut BatchEdit<'_>, _: &mut TransformContext) -> Result<()> {
        let Self { config, plans } = self;
        let mut housekeeping = false;
        for index in 0..edit.len() {
            let Some(event) = edit.get(index) else { break };
            let Some(schema) = event.schema() else { continue };
            let plan = match plans.entry(schema.fingerprint()) {
                Entry::Occupied(plan) => plan.into_mut(),
                Entry::Vacant(place) => place.insert(compile(config, schema)?),
            };
            let Some(plan) = plan else { continue };
            let (true, Some(row)) = (becomes_message(event.op()), event.after()) else {
                housekeeping = true;
                continue;
            };
            if is_published(plan, row) {
                housekeeping = true;
                continue;
            }
            match make(plan, config, row) {
                Ok(made) => convert(edit, index, plan, &made),
                Err(error) => edit.reject(index, error),
            }
        }
        if housekeeping {
            edit.retain(|event| {
                let is_outbox = |s: &TableSchema| matches!(plans.get(&s.fingerprint()), Some(Some(_)));
                event.op() == Op::Message || !event.schema().is_some_and(|s| is_outbox(s))
            });
        }
        Ok(())
    }
}

fn becomes_message(op: Op) -> bool {
    matches!(op, Op::Insert | Op::Read | Op::Upsert)
}

/// Eventuate's seed and migrated rows: inserted as published, never to be sent.
fn is_published(plan: &Plan, row: RowRef<'_>) -> bool {
    plan.published.and_then(|c| row.get(c)?.as_i64()).is_some_and(|published| published != 0)
}

/// A value that was made, else the column it comes from.
fn field(made: Option<&String>, column: Option<usize>) -> Field<'_> {
    match (made, column) {
        (Some(text), _) => Field::Value(ValueRef::Text(text)),
        (None, Some(column)) => Field::Column(column),
        (None, None) => Field::Absent,
    }
}

fn convert(edit: &mut BatchEdit<'_>, index: usize, plan: &Plan, made: &Made) {
    let headers: Vec<(&str, ValueRef<'_>)> = made
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref().map_or(ValueRef::Null, ValueRef::Text)))
        .collect();
    if let Some(event) = edit.get_mut(index) {
        event.into_message(&MessageFields {
            destination: Field::Value(ValueRef::Text(&made.destination)),
            key: field(made.key.as_ref(), plan.key),
            kind: field(made.kind.as_ref(), None),
            id: field(made.id.as_ref(), plan.id),
            content_type: Field::Value(ValueRef::Text(&made.content_type)),
            // Shared with the row: the payload is not copied.
            body: Field::Column(plan.payload),
            headers: &headers,
        });
    }
}

#[cfg(test)]
mod tests;
