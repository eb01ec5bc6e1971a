//! `debezium-json`: Debezium's envelope, as its JSON converter writes it without inline schema.

mod columns;
mod envelope;

use std::sync::Arc;

use async_trait::async_trait;
use outflow_sdk::{
    BuildContext, Description, EventRef, Format, FormatFactory, Image, JsonSchema, MessageRef, Op, PlainText,
    RecordWriter, Result, SchemaCache, TableSchema,
};
use serde::{Deserialize, Serialize};

use crate::flat::undecodable;
use crate::head;
use crate::options::Decimals;
use crate::text::{write_base64, write_string};
use columns::Values;
use envelope::{Plan, Source, write_envelope};

/// Debezium's envelope: `before`, `after`, `source`, `op`, `ts_ms`, without inline schema
/// (`schemas.enable=false`). Types are mapped as Debezium maps them by default; where its default needs a schema
/// to be read (`decimal.handling.mode=precise`), the schemaless form is used. `ts_ms` is the time of the commit,
/// not of processing, so that a replay gives the same bytes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DebeziumJson {
    /// `source.name`, Debezium's `topic.prefix`; the pipeline's name unless set.
    pub name: Option<String>,
    /// `source.connector`: what consumers that look at it expect, such as `postgresql`.
    pub connector: String,
    /// A record without content behind each delete of a keyed row, so that log compaction can forget the key.
    pub tombstones: bool,
    /// What stands in `after` for a value that the source did not send.
    pub unavailable_value_placeholder: String,
    /// Decimals as strings (exact everywhere) or as JSON numbers.
    pub decimals: Decimals,
}

impl Default for DebeziumJson {
    fn default() -> Self {
        Self {
            name: None,
            connector: "outflow".to_owned(),
            tombstones: true,
            unavailable_value_placeholder: "__debezium_unavailable_value".to_owned(),
            decimals: Decimals::default(),
        }
    }
}

/// Makes the format `debezium-json`.
#[derive(Clone, Copy, Debug, Default)]
pub struct DebeziumJsonFormat;

impl FormatFactory for DebeziumJsonFormat {
    type Config = DebeziumJson;

    fn type_name(&self) -> &'static str {
        "debezium-json"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Debezium's change event envelope as JSON without inline schema.",
            guarantees: "Debezium's default type mapping, tombstones and handling of key changes. ts_ms is the \
                         time of the commit: the same event gives the same bytes on every replay.",
            example: "format: {type: debezium-json, connector: postgresql}",
        }
    }

    fn build(&self, config: &DebeziumJson, cx: &BuildContext) -> Result<Box<dyn Format>> {
        Ok(Box::new(Debezium {
            plans: SchemaCache::new(),
            source: Source::new(&config.connector, config.name.as_deref().unwrap_or(&cx.pipeline)),
            values: Values::new(config.decimals, &config.unavailable_value_placeholder),
            tombstones: config.tombstones,
            scratch: Vec::new(),
        }))
    }
}

struct Debezium {
    plans: SchemaCache<Plan>,
    source: Source,
    values: Values,
    tombstones: bool,
    /// The other key of a key change, as a header.
    scratch: Vec<u8>,
}

#[async_trait]
impl Format for Debezium {
    async fn prepare(&mut self, schemas: &[Arc<TableSchema>]) -> Result<()> {
        for schema in schemas {
            self.plans.get_or_make(schema, |schema| Plan::new(schema, &self.source));
        }
        Ok(())
    }

    fn encode(&mut self, event: EventRef<'_>, out: &mut RecordWriter) -> Result<()> {
        let op = match (event.op(), event.message()) {
            // What Debezium has no record for: a new schema shows in the next row, a gap in the pipeline's status.
            (op, _) if head::is_internal(op) => return Ok(()),
            (Op::SchemaChange | Op::Gap, _) => return Ok(()),
            (Op::Undecodable, _) => return Err(undecodable()),
            (_, Some(message)) => return self.message(event, message, out),
            (Op::Insert, _) => "c",
            (Op::Delete, _) => "d",
            (Op::Read, _) => "r",
            (Op::Truncate, _) => "t",
            // A source that cannot tell insert from update says "update", whose `before` may be null.
            _ => "u",
        };
        let Some(schema) = event.schema() else {
            return Err(outflow_sdk::Error::data("format.no_table")
                .message("a change of a row belongs to no table")
                .hint("the source is at fault: its rows must name their schema"));
        };
        let Self { plans, source, values, scratch, .. } = self;
        let plan = &*plans.get_or_make(schema, |schema| Plan::new(schema, source));
        if event.op() == Op::Update && plan.key.changes(event) {
            let first = out.len();
            let tombstones = self.tombstones;
            let written = write_key_change(event, plan, values, scratch, tombstones, out);
            if written.is_err() {
                out.truncate(first);
            }
            return written;
        }
        let image = if event.op() == Op::Delete { Image::Before } else { Image::After };
        let mut record = head::begin(out, event, &plan.qualified, "");
        record.image(image);
        let keyed = !plan.key.is_empty() && event.row_any().is_some();
        if keyed {
            record.key(|out| plan.write_key(out, event, image, values))?;
        }
        record.value(|out| {
            write_envelope(out, plan, event, op, event.before(), event.after(), values);
            Ok(())
        })?;
        record.end();
        if keyed && event.op() == Op::Delete && self.tombstones {
            write_tombstone(event, plan, &mut self.values, out)?;
        }
        Ok(())
    }
}

/// A change of key is a delete of the old key and a create of the new one, each naming the other in a header.
fn write_key_change(
    event: EventRef<'_>,
    plan: &Plan,
    values: &mut Values,
    scratch: &mut Vec<u8>,
    tombstones: bool,
    out: &mut RecordWriter,
) -> Result<()> {
    for (image, part, header, op) in
        [(Image::Before, "delete", "__debezium.newkey", "d"), (Image::After, "", "__debezium.oldkey", "c")]
    {
        let other = if image == Image::Before { Image::After } else { Image::Before };
        scratch.clear();
        plan.write_key(scratch, event, other, values)?;
        let mut record = head::begin(out, event, &plan.qualified, part);
        record.image(image);
        record.header(header, Some(scratch));
        record.key(|out| plan.write_key(out, event, image, values))?;
        record.value(|out| {
            let (before, after) = match image {
                Image::Before => (event.before(), None),
                Image::After => (None, event.after()),
            };
            write_envelope(out, plan, event, op, before, after, values);
            Ok(())
        })?;
        record.end();
        if image == Image::Before && tombstones {
            write_tombstone(event, plan, values, out)?;
        }
    }
    Ok(())
}

fn write_tombstone(
    event: EventRef<'_>,
    plan: &Plan,
    values: &mut Values,
    out: &mut RecordWriter,
) -> Result<()> {
    let mut record = head::begin(out, event, &plan.qualified, "tombstone");
    record.image(Image::Before);
    record.key(|out| plan.write_key(out, event, Image::Before, values))?;
    record.end();
    Ok(())
}

impl Debezium {
    /// A message in the form of Debezium's logical decoding messages.
    fn message(
        &mut self,
        event: EventRef<'_>,
        message: MessageRef<'_>,
        out: &mut RecordWriter,
    ) -> Result<()> {
        let Self { plans, source, .. } = self;
        let plan = event.schema().map(|s| &*plans.get_or_make(s, |schema| Plan::new(schema, source)));
        let mut record = head::begin(out, event, plan.map_or("", |plan| &plan.qualified), "");
        let prefix = message.destination().unwrap_or_default();
        if PlainText::of(message.key()).is_some() {
            head::message_key(&mut record, message.key())?;
        } else {
            record.key(|out| {
                out.extend_from_slice(b"{\"prefix\":");
                write_string(out, prefix);
                out.push(b'}');
                Ok(())
            })?;
        }
        record.value(|out| {
            out.push(b'{');
            match plan {
                Some(plan) => plan.write_source(out, event),
                None => source.write_without_table(out, event),
            }
            out.extend_from_slice(b",\"op\":\"m\",\"ts_ms\":");
            envelope::write_time(out, event);
            out.extend_from_slice(b",\"message\":{\"prefix\":");
            write_string(out, prefix);
            out.extend_from_slice(b",\"content\":");
            match message.body() {
                Some(body) => write_base64(out, body),
                None => out.extend_from_slice(b"null"),
            }
            out.extend_from_slice(b"}}");
            Ok(())
        })?;
        record.end();
        Ok(())
    }
}
