//! Reads lines back into batches.

use std::borrow::Cow;
use std::str::FromStr as _;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::VERSION;
use super::form::MESSAGE;
use super::read_value::{Malformed, Text, elements, entries, read_value};
use super::schema::{self, Columns, Key};
use crate::builder::BatchBuilder;
use crate::error::{Error, Result};
use crate::event::{Event, Op};
use crate::row_writer::RowWriter;
use crate::schema::TableSchema;
use crate::temporal::Timestamp;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The event is in the builder.
    Read,
    /// Nothing was read: the event comes from another origin than those in the builder, and a batch has one.
    /// Finish the batch and read the line again.
    OriginChanged,
}

/// Reads lines of outflow-json. Keeps the last schemas, so that rows of one table share one.
///
/// ```
/// use outflow_core::{BatchBuilder, ChangeBatch, Result, json};
/// fn read(text: &str) -> Result<Vec<ChangeBatch>> {
///     let (mut reader, mut builder) = (json::EventReader::new(), BatchBuilder::new());
///     let mut batches = Vec::new();
///     for line in text.lines() {
///         while reader.read(line.as_bytes(), &mut builder)? == json::Outcome::OriginChanged {
///             batches.push(builder.finish("file".into(), None));
///         }
///     }
///     batches.push(builder.finish("file".into(), None));
///     Ok(batches)
/// }
/// # assert_eq!(read("{\"op\":\"begin\"}\n{\"op\":\"commit\",\"id\":{\"origin\":\"b\"}}").unwrap().len(), 2);
/// ```
#[derive(Debug, Default)]
pub struct EventReader {
    schemas: Vec<Known>,
}

/// A schema with the text that it was made from.
#[derive(Debug)]
struct Known {
    text: [String; 5],
    open: bool,
    schema: Arc<TableSchema>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    v: Option<u32>,
    op: Op,
    /// Says why a dead letter is one; no part of the event.
    #[serde(borrow, rename = "error")]
    _error: Option<&'a RawValue>,
    #[serde(borrow)]
    database: Option<Cow<'a, str>>,
    #[serde(borrow)]
    schema: Option<Cow<'a, str>>,
    #[serde(borrow)]
    table: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    id: Id<'a>,
    #[serde(borrow)]
    time: Option<Text<'a>>,
    #[serde(borrow)]
    route: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    #[serde(borrow)]
    columns: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(default)]
    open: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Id<'a> {
    #[serde(borrow)]
    origin: Cow<'a, str>,
    #[serde(borrow)]
    commit: Cow<'a, str>,
    ordinal: u64,
    sub: u32,
    step: Option<u32>,
}

impl EventReader {
    const MAX_SCHEMAS: usize = 64;

    /// A reader that has met no schema yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one line into the batch that is being built. After an error the builder is as it was.
    ///
    /// # Errors
    /// `json.malformed` says what is wrong at which byte of the line; `json.version` when the line is of a
    /// newer form; `batch.value_too_large` and `batch.value_too_deep` as for every builder.
    pub fn read(&mut self, line: &[u8], builder: &mut BatchBuilder) -> Result<Outcome> {
        let text = std::str::from_utf8(line)
            .map_err(|e| Malformed { at: None, what: "not UTF-8".into() }.error(Some(e.valid_up_to())))?;
        let place = |malformed: Malformed<'_>| malformed.error_in(text);
        let line = Line::read(text)?;
        let step = line.id.step().map_err(place)?;
        if !builder.takes_origin(&line.id.origin) {
            return Ok(Outcome::OriginChanged);
        }
        let schema = match &line.table {
            Some(_) => Some(self.schema(&line).map_err(place)?),
            None if line.has_rows() => {
                return Err(place(Malformed::whole("a row needs `table` and `columns`")));
            }
            None => None,
        };
        builder.attempt(|builder| line.write(step, schema.as_ref(), builder, text))?;
        Ok(Outcome::Read)
    }

    fn schema<'a>(&mut self, line: &Line<'a>) -> Result<Arc<TableSchema>, Malformed<'a>> {
        let name = |name: &'_ Option<Cow<'a, str>>| name.clone().unwrap_or_default();
        let raw = |raw: Option<&'a RawValue>| Cow::Borrowed(raw.map_or("[]", RawValue::get));
        let text =
            [name(&line.database), name(&line.schema), name(&line.table), raw(line.columns), raw(line.key)];
        if let Some(known) = self.schemas.iter().rfind(|k| k.open == line.open && k.text == text) {
            return Ok(Arc::clone(&known.schema));
        }
        let [database, namespace, table, columns, key] = &text;
        let columns_read: Columns =
            serde_json::from_str(columns).map_err(|e| Malformed::member("columns", e))?;
        let key_read: Key<'_> = serde_json::from_str(key).map_err(|e| Malformed::member("key", e))?;
        let schema = schema::build([database, namespace, table], columns_read, &key_read, line.open)
            .map_err(Malformed::whole)?;
        if self.schemas.len() == Self::MAX_SCHEMAS {
            self.schemas.remove(0);
        }
        let text = text.map(Cow::into_owned);
        self.schemas.push(Known { text, open: line.open, schema: Arc::clone(&schema) });
        Ok(schema)
    }
}

impl<'a> Line<'a> {
    fn read(text: &'a str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u32,
        }

        let newer = |v: u32| {
            Error::data("json.version")
                .message(format!("the line is of form {v}, and this version reads form {VERSION}"))
                .hint("read it with the version of Outflow that wrote it, or a later one")
        };
        match serde_json::from_str::<Self>(text) {
            Ok(line) => match line.v {
                Some(v) if v != VERSION => Err(newer(v)),
                _ => Ok(line),
            },
            Err(e) => match serde_json::from_str(text) {
                Ok(Versioned { v }) if v != VERSION => Err(newer(v)),
                _ => Err(Malformed::json(text, &e).error_in(text)),
            },
        }
    }

    fn has_rows(&self) -> bool {
        self.before.is_some() || self.after.is_some()
    }

    fn write(
        &self,
        step: u32,
        schema: Option<&Arc<TableSchema>>,
        builder: &mut BatchBuilder,
        text: &str,
    ) -> Result<()> {
        let place = |malformed: Malformed<'_>| malformed.error_in(text);
        let id = &self.id;
        let time = match &self.time {
            Some(Text(time)) => Some(Timestamp::from_str(time).map_err(|_| {
                place(Malformed::whole("`time` is no timestamp such as 2026-01-02T03:04:05Z"))
            })?),
            None => None,
        };
        builder.origin(&id.origin);
        let schema_index = schema.map(|schema| builder.schema(schema));
        let transaction =
            (!id.commit.is_empty() || time.is_some()).then(|| builder.transaction(&id.commit, time));
        let mut event = builder.event(self.op).ordinal(id.ordinal).part(id.sub, step);
        if let Some(schema) = schema_index {
            event = event.schema(schema);
        }
        if let Some(transaction) = transaction {
            event = event.transaction(transaction);
        }
        if let Some(route) = &self.route {
            event = event.route(route);
        }
        if let Some(message) = self.message {
            let mut row = RowWriter::message(&mut event);
            read_message(message.get(), &mut row).map_err(place)?;
            row.end()?;
        }
        if let (Some(before), Some(schema)) = (self.before, schema) {
            let mut row = event.before();
            read_row(before.get(), schema, &mut row).map_err(place)?;
            row.end()?;
        }
        if let (Some(after), Some(schema)) = (self.after, schema) {
            let mut row = event.after();
            read_row(after.get(), schema, &mut row).map_err(place)?;
            row.end()?;
        }
        event.end();
        Ok(())
    }
}

impl<'a> Id<'a> {
    fn step(&self) -> Result<u32, Malformed<'a>> {
        match self.step {
            Some(step) if step != 0 && self.sub >= step => {
                Err(Malformed::whole("the id's `sub` must be below its `step`"))
            }
            Some(step) => Ok(step),
            None => Ok(if self.sub == 0 { 1 } else { Event::source_step(self.sub) }),
        }
    }
}

/// A row: `{column: value}`, in which a column that is left out was not sent, or `[values]`.
fn read_row<'a>(raw: &'a str, schema: &TableSchema, row: &mut RowWriter<'_>) -> Result<(), Malformed<'a>> {
    let columns = schema.columns();
    if raw.starts_with('[') {
        let mut logical = columns.iter().map(|c| c.logical());
        let too_many = || Malformed::at(raw, "the row has more values than the table has columns");
        elements(raw, |value| read_value(value, logical.next().ok_or_else(too_many)?, row))?;
        return match logical.next() {
            None => Ok(()),
            Some(_) => Err(Malformed::at(raw, "the row has fewer values than the table has columns")),
        };
    }
    let mut found = vec![None; columns.len()];
    let mut next = 0;
    entries(raw, |name, value| {
        // Written lines have the columns in order.
        let at = match columns.get(next) {
            Some(column) if column.name() == name => Some(next),
            _ => schema.column_index(&name),
        };
        let place = at.and_then(|at| found.get_mut(at)).filter(|place| place.is_none());
        *place.ok_or_else(|| Malformed::at(value, format!("{name:?} is no column, or comes twice")))? =
            Some(value);
        next = at.map_or(next, |at| at + 1);
        Ok(())
    })?;
    for (column, value) in columns.iter().zip(found) {
        match value {
            Some(value) => read_value(value, column.logical(), row).map_err(|m| m.of(column.name()))?,
            None => row.unavailable(),
        }
    }
    Ok(())
}

/// A message: a field that is left out is NULL.
fn read_message<'a>(raw: &'a str, row: &mut RowWriter<'_>) -> Result<(), Malformed<'a>> {
    let mut found = [None; MESSAGE.len()];
    entries(raw, |name, value| {
        let at = MESSAGE.iter().position(|(member, _)| *member == name);
        let place = at.and_then(|at| found.get_mut(at)).filter(|place| place.is_none());
        *place.ok_or_else(|| {
            Malformed::at(value, format!("{name:?} is no field of a message, or comes twice"))
        })? = Some(value);
        Ok(())
    })?;
    for ((member, logical), value) in MESSAGE.iter().zip(found) {
        match value {
            Some(value) => read_value(value, logical, row).map_err(|m| m.of(member))?,
            None => row.null(),
        }
    }
    Ok(())
}
