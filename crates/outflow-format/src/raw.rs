//! `raw`: bodies as they are.

use std::sync::Arc;

use async_trait::async_trait;
use outflow_sdk::{
    BuildContext, Description, Error, EventRef, Format, FormatFactory, Image, JsonSchema, Op, PlainText,
    RecordBuilder, RecordWriter, Result, SchemaCache, TableSchema, ValueRef,
};
use serde::{Deserialize, Serialize};

use crate::flat::undecodable;
use crate::head::{self, KeyColumns};

/// Bodies as they are: the body of a message, or the one column of a row that [`column`](Self::column) names.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    /// The column that is the content of a row. Needed only where rows come that are no messages.
    pub column: Option<String>,
}

/// Makes the format `raw`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawFormat;

impl FormatFactory for RawFormat {
    type Config = Raw;

    fn type_name(&self) -> &'static str {
        "raw"
    }

    fn description(&self) -> Description {
        Description {
            summary: "The body of a message, or one column, byte by byte, with key, headers and content type.",
            guarantees: "The bytes are those of the application. The content type is the header content-type.",
            example: "format: raw",
        }
    }

    fn build(&self, config: &Raw, _: &BuildContext) -> Result<Box<dyn Format>> {
        Ok(Box::new(RawBodies { column: config.column.clone(), plans: SchemaCache::new() }))
    }
}

struct RawBodies {
    column: Option<String>,
    plans: SchemaCache<Plan>,
}

struct Plan {
    qualified: String,
    column: Option<usize>,
    key: KeyColumns,
}

impl Plan {
    fn new(schema: &TableSchema, column: Option<&str>) -> Self {
        Self {
            qualified: schema.qualified_name(),
            column: column.and_then(|name| schema.column_index(name)),
            key: KeyColumns::new(schema),
        }
    }
}

/// The header that says what a body is.
const CONTENT_TYPE: &str = "content-type";

#[async_trait]
impl Format for RawBodies {
    async fn prepare(&mut self, schemas: &[Arc<TableSchema>]) -> Result<()> {
        for schema in schemas {
            self.plans.get_or_make(schema, |schema| Plan::new(schema, self.column.as_deref()));
        }
        Ok(())
    }

    fn encode(&mut self, event: EventRef<'_>, out: &mut RecordWriter) -> Result<()> {
        let Self { column, plans } = self;
        let plan =
            event.schema().map(|s| &*plans.get_or_make(s, |schema| Plan::new(schema, column.as_deref())));
        let table = plan.map_or("", |plan| plan.qualified.as_str());
        if head::is_internal(event.op()) {
            return Ok(());
        }
        if event.op() == Op::Undecodable {
            return Err(undecodable());
        }
        let Some(message) = event.message() else {
            return write_row(event, plan, column.as_deref(), out);
        };
        let mut record = head::begin(out, event, table, "");
        if let Some(content_type) = message.content_type() {
            record.header(CONTENT_TYPE, Some(content_type.as_bytes()));
        }
        head::message_key(&mut record, message.key())?;
        write_body(&mut record, message.body_value(), table)?;
        record.end();
        Ok(())
    }
}

/// Writes text and bytes as they are and any other single value in its plain text; NULL is a tombstone.
fn write_body(record: &mut RecordBuilder<'_>, body: ValueRef<'_>, table: &str) -> Result<()> {
    let text = PlainText::of(body);
    match (body, body.as_bytes(), text) {
        (_, Some(bytes), _) => record.value(|out| {
            out.extend_from_slice(bytes);
            Ok(())
        }),
        (_, None, Some(text)) => record.value(|out| {
            head::append(out, text);
            Ok(())
        }),
        (ValueRef::Null, ..) => Ok(()),
        (ValueRef::Unavailable, ..) => Err(Error::data("format.raw_unavailable")
            .message("the source did not send the column that is the content")
            .with("table", table)
            .hint("have the source log full rows, or use a format that can say so, such as json")),
        _ => Err(Error::data("format.raw_needs_message")
            .message("the content is a list or a map, which has no bytes of its own")
            .with("table", table)
            .hint("use a format that writes structures, such as json")),
    }
}

fn write_row(
    event: EventRef<'_>,
    plan: Option<&Plan>,
    column: Option<&str>,
    out: &mut RecordWriter,
) -> Result<()> {
    let table = plan.map_or("", |plan| plan.qualified.as_str());
    let found = plan.zip(event.row_any()).and_then(|(plan, row)| Some((plan, row.get(plan.column?)?)));
    let Some((plan, content)) = found else {
        let (message, hint) = match column {
            None => (
                "a row is no message, and the format raw has nothing to take its content from".to_owned(),
                "add the outbox transform, name the column (format: {type: raw, column: payload}), or use a \
                 format for rows, such as json",
            ),
            Some(column) => (
                format!("there is no column {column:?} to take the content from"),
                "name a column that every captured table has, or filter the other tables and operations out",
            ),
        };
        return Err(Error::data("format.raw_needs_message")
            .message(message)
            .with("table", table)
            .with("op", event.op().as_str())
            .hint(hint));
    };
    let mut record = head::begin(out, event, table, "");
    write_key(&mut record, &plan.key, event)?;
    // A deleted row is a tombstone of its key.
    let content = if event.op() == Op::Delete { ValueRef::Null } else { content };
    write_body(&mut record, content, table)?;
    record.end();
    Ok(())
}

/// One column as a message's key is; several as plain text with `:` between them.
fn write_key(record: &mut RecordBuilder<'_>, key: &KeyColumns, event: EventRef<'_>) -> Result<()> {
    let mut values = key.values(event, Image::After);
    if key.len() == 1 {
        return values.try_for_each(|found| head::message_key(record, found?.1));
    }
    if key.is_empty() {
        return Ok(());
    }
    record.key(|out| {
        for (i, found) in values.enumerate() {
            if i > 0 {
                out.push(b':');
            }
            if let Some(text) = PlainText::of(found?.1) {
                head::append(out, text);
            }
        }
        Ok(())
    })
}
