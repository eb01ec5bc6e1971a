//! `json`: flat JSON for people and simple consumers.

mod value;

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use outflow_sdk::{
    BuildContext, Description, Error, EventRef, Format, FormatFactory, Image, JsonSchema, MessageRef, Op,
    RecordWriter, Result, RowRef, SchemaCache, TableSchema, ValueRef,
};
use serde::{Deserialize, Serialize};

use crate::head::{self, KeyColumns, Names, open_object};
use crate::options::Decimals;
use crate::text::{Escaped, write_base64, write_display, write_string, write_timestamp};
pub(crate) use value::{Values, write_decimal};

/// Flat JSON. A message gives
/// `{"id":…,"destination":…,"key":…,"type":…,"payload":…}`, a row
/// `{"id":…,"table":…,"op":…,"time":…,"key":{…},"after":{…},"before":{…}}`; what there is none of is left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Json {
    /// Decimals as strings (exact everywhere) or as JSON numbers.
    pub decimals: Decimals,
}

/// Makes the format `json`.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonFormat;

impl FormatFactory for JsonFormat {
    type Config = Json;

    fn type_name(&self) -> &'static str {
        "json"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Flat JSON, one object a change or message, for people and simple consumers.",
            guarantees: "Numbers keep all digits. Values that the source did not send are absent, NULL is null. \
                         The same event gives the same bytes on every replay.",
            example: "format: {type: json, decimals: string}",
        }
    }

    fn build(&self, config: &Json, _: &BuildContext) -> Result<Box<dyn Format>> {
        Ok(Box::new(Flat { plans: SchemaCache::new(), values: Values::new(config.decimals) }))
    }
}

struct Flat {
    plans: SchemaCache<Plan>,
    values: Values,
}

/// What a schema fixes of its records.
struct Plan {
    qualified: String,
    /// `,"database":"shop","table":"public.orders"`.
    table: Vec<u8>,
    names: Names,
    key: KeyColumns,
    /// Rows are documents: the column that holds them.
    document: Option<usize>,
}

impl Plan {
    fn new(schema: &TableSchema) -> Self {
        let qualified = schema.qualified_name();
        let mut table = Vec::new();
        if !schema.database().is_empty() {
            table.extend_from_slice(b",\"database\":");
            write_string(&mut table, schema.database());
        }
        table.extend_from_slice(b",\"table\":");
        write_string(&mut table, &qualified);
        let holds_document = |index: &usize| !schema.key().iter().any(|k| *k as usize == *index);
        Self {
            qualified,
            table,
            names: Names::new(schema.columns().iter().map(|c| c.name())),
            key: KeyColumns::new(schema),
            document: (0..schema.columns().len()).find(holds_document).filter(|_| schema.is_open()),
        }
    }
}

#[async_trait]
impl Format for Flat {
    async fn prepare(&mut self, schemas: &[Arc<TableSchema>]) -> Result<()> {
        for schema in schemas {
            self.plans.get_or_make(schema, Plan::new);
        }
        Ok(())
    }

    fn encode(&mut self, event: EventRef<'_>, out: &mut RecordWriter) -> Result<()> {
        let Self { plans, values } = self;
        let plan = event.schema().map(|schema| &*plans.get_or_make(schema, Plan::new));
        match (event.op(), event.message()) {
            (op, _) if head::is_internal(op) => Ok(()),
            (Op::Undecodable, _) => Err(undecodable()),
            (_, Some(message)) => write_message(event, message, plan, values, out),
            _ => write_row(event, plan, values, out),
        }
    }
}

/// The runtime refuses what sources could not decode before it gets here; a transform could still let it through.
pub(crate) fn undecodable() -> Error {
    Error::data("format.undecodable")
        .message("the source could not decode this event, so there is nothing to encode")
        .hint("set on_error: dead-letter to put such events aside")
}

fn write_message(
    event: EventRef<'_>,
    message: MessageRef<'_>,
    plan: Option<&Plan>,
    values: &mut Values,
    out: &mut RecordWriter,
) -> Result<()> {
    let table = plan.map_or("", |plan| plan.qualified.as_str());
    let mut record = head::begin(out, event, table, "");
    head::message_key(&mut record, message.key())?;
    record.value(|out| {
        out.extend_from_slice(b"{\"id\":");
        match head::message_id(event) {
            Some(id) => write_display(out, id),
            None => write_display(out, event.id()),
        }
        let destination = event.route().or_else(|| message.destination());
        let text = |out: &mut Vec<u8>, name: &str, text: Option<&str>| {
            if let Some(text) = text {
                out.extend_from_slice(name.as_bytes());
                write_string(out, text);
            }
        };
        text(out, ",\"destination\":", destination);
        if !message.key().is_null() {
            out.extend_from_slice(b",\"key\":");
            values.write(out, message.key());
        }
        text(out, ",\"type\":", message.kind());
        if let Some(headers) = message.headers().filter(|headers| !headers.is_empty()) {
            out.extend_from_slice(b",\"headers\":");
            values.write(out, ValueRef::Map(headers));
        }
        write_payload(out, message, values);
        out.push(b'}');
        Ok(())
    })?;
    record.end();
    Ok(())
}

/// The body: JSON where it is JSON, else a string, else `payload_base64`.
fn write_payload(out: &mut Vec<u8>, message: MessageRef<'_>, values: &mut Values) {
    const PAYLOAD: &[u8] = b",\"payload\":";
    let body = message.body_value();
    let content_type = message.content_type();
    let says_json = content_type.is_some_and(is_json_type);
    if let Some(content_type) = content_type.filter(|_| !says_json) {
        out.extend_from_slice(b",\"content_type\":");
        write_string(out, content_type);
    }
    let text = match body {
        ValueRef::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => {
                out.extend_from_slice(b",\"payload_base64\":");
                write_base64(out, bytes);
                return;
            }
        },
        ValueRef::Text(text) => text,
        other => {
            out.extend_from_slice(PAYLOAD);
            values.write(out, other);
            return;
        }
    };
    out.extend_from_slice(PAYLOAD);
    if says_json { values.json(out, text) } else { write_string(out, text) }
}

/// `application/json`, `text/json` and everything that ends in `+json`, whatever its parameters.
fn is_json_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let ends = |end: &str| {
        let at = essence.len().checked_sub(end.len());
        at.and_then(|at| essence.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    ends("/json") || ends("+json")
}

fn write_row(
    event: EventRef<'_>,
    plan: Option<&Plan>,
    values: &mut Values,
    out: &mut RecordWriter,
) -> Result<()> {
    let mut record = head::begin(out, event, plan.map_or("", |plan| plan.qualified.as_str()), "");
    let key = plan.filter(|plan| !plan.key.is_empty() && event.row_any().is_some());
    if let Some(plan) = key {
        record.key(|out| write_key(out, plan, event, values))?;
    }
    record.value(|out| {
        out.extend_from_slice(b"{\"id\":\"");
        // Appending cannot fail.
        let _ = write!(Escaped(out), "{}", event.id());
        out.push(b'"');
        if let Some(plan) = plan {
            out.extend_from_slice(&plan.table);
        }
        if let Some(route) = event.route() {
            out.extend_from_slice(b",\"destination\":");
            write_string(out, route);
        }
        out.extend_from_slice(b",\"op\":\"");
        out.extend_from_slice(event.op().as_str().as_bytes());
        out.push(b'"');
        if let Some(time) = event.commit_time() {
            out.extend_from_slice(b",\"time\":");
            write_timestamp(out, time);
        }
        if let Some(plan) = key {
            out.extend_from_slice(b",\"key\":");
            write_key(out, plan, event, values)?;
        }
        for (name, image) in [(&b",\"after\":"[..], Image::After), (b",\"before\":", Image::Before)] {
            if let (Some(plan), Some(row)) = (plan, event.row(image)) {
                out.extend_from_slice(name);
                write_image(out, plan, row, values);
            }
        }
        out.push(b'}');
        Ok(())
    })?;
    record.end();
    Ok(())
}

fn write_key(out: &mut Vec<u8>, plan: &Plan, event: EventRef<'_>, values: &mut Values) -> Result<()> {
    plan.key.write_object(out, event, Image::After, |out, _, value| values.write(out, value))
}

fn write_image(out: &mut Vec<u8>, plan: &Plan, row: RowRef<'_>, values: &mut Values) {
    // A document that was not sent (a delete by key) leaves the key.
    if let Some(document) = plan.document.and_then(|index| row.get(index)).filter(|d| !d.is_unavailable()) {
        values.write(out, document);
        return;
    }
    let start = out.len();
    for (name, value) in plan.names.iter().zip(row.values()) {
        write_member(out, name, value, values);
    }
    open_object(out, start);
}

/// Absent is not null (invariant 6): what the source did not send is left out.
fn write_member(out: &mut Vec<u8>, name: &[u8], value: ValueRef<'_>, values: &mut Values) {
    if !value.is_unavailable() {
        out.extend_from_slice(name);
        values.write(out, value);
    }
}
