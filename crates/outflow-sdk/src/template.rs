//! Templates: texts with fields of an event in braces, for topics, routing keys, keys and headers.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use outflow_core::{Error, EventRef, Image, Result, TableSchema, ValueRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::schema_cache::SchemaCache;

/// A text with fields of an event: `shop.{schema}.{table}`, `{destination}.{type}`, `{after.region}`.
///
/// | field | value |
/// | --- | --- |
/// | `database`, `schema`, `table` | the parts of the table's name |
/// | `destination` | what a transform routed to, else the message's destination, else `schema.table` |
/// | `op` | what happened, in kebab-case |
/// | `type` | the type of a message, as the application names it; of a row, its column `type` |
/// | `key` | the message's key; of a row, the values of the key columns with `:` between them |
/// | `id` | the message's id; of a row, its column `id`; where there is neither, the event's |
/// | any other name | the column of this name in the row after the change, else before it |
/// | `after.x`, `before.x` | column `x` of that image; also the way to columns named like a field above |
///
/// `{{` and `}}` are braces. Values appear in their plain text form: numbers, decimals and UUIDs as they are,
/// times in ISO 8601, bytes and bits as hexadecimal digits and digits. A field without a value (no such column,
/// NULL, not sent by the source) is an error, `template.missing_field`, because a text with a hole in it would
/// name another topic or key than was meant.
///
/// Columns are looked up once a schema; after that, rendering allocates nothing but what `out` grows by.
pub struct Template {
    source: String,
    parts: Vec<Part>,
    schemas: SchemaCache<Resolved>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Field(Field),
}

#[derive(Clone, Debug)]
enum Field {
    Database,
    Schema,
    Table,
    Destination,
    Op,
    Type,
    Key,
    Id,
    Column { image: Option<Image>, name: String },
}

/// What a template needs to know of one schema.
#[derive(Debug)]
struct Resolved {
    /// For each part, the index of its column.
    columns: Vec<Option<usize>>,
    qualified: String,
}

impl Resolved {
    fn new(parts: &[Part], schema: &TableSchema) -> Self {
        let column = |part: &Part| match part {
            Part::Field(Field::Column { name, .. }) => schema.column_index(name),
            Part::Field(Field::Id) => schema.column_index("id"),
            Part::Field(Field::Type) => schema.column_index("type"),
            _ => None,
        };
        Self { columns: parts.iter().map(column).collect(), qualified: schema.qualified_name() }
    }
}

/// What a [`Template`] renders into: `String` and `Vec<u8>`. Sealed.
pub trait TemplateOutput: sealed::Output {}
impl TemplateOutput for String {}
impl TemplateOutput for Vec<u8> {}

mod sealed {
    pub trait Output {
        fn mark(&self) -> usize;
        fn reset(&mut self, mark: usize);
        fn text(&mut self, text: &str);
    }

    impl Output for String {
        fn mark(&self) -> usize {
            self.len()
        }

        fn reset(&mut self, mark: usize) {
            self.truncate(mark);
        }

        fn text(&mut self, text: &str) {
            self.push_str(text);
        }
    }

    impl Output for Vec<u8> {
        fn mark(&self) -> usize {
            self.len()
        }

        fn reset(&mut self, mark: usize) {
            self.truncate(mark);
        }

        fn text(&mut self, text: &str) {
            self.extend_from_slice(text.as_bytes());
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// `config.template` for a brace that is not closed, not opened or without a name in it.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if let Some(after) = from.strip_prefix('{') {
                let (name, after) =
                    after.split_once('}').ok_or_else(|| malformed(text, "a { is not closed"))?;
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Field(Field::parse(text, name)?));
                rest = after;
            } else {
                return Err(malformed(text, "a } has no {"));
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { source: text.to_owned(), parts, schemas: SchemaCache::new() })
    }

    /// The text that it was read from.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// True when there is no field in it: every event gives the same text.
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    /// Appends the text for one event.
    ///
    /// # Errors
    /// `template.missing_field` when a field has no value, `template.no_text` when it is a list or a map. Both
    /// concern this event alone, and leave `out` as it was.
    pub fn render(&mut self, event: EventRef<'_>, out: &mut impl TemplateOutput) -> Result<()> {
        let written = self.render_nullable(event, Image::After, out)?;
        match self.parts.first() {
            Some(Part::Field(field)) if !written => Err(missing(&self.source, field, event)),
            _ => Ok(()),
        }
    }

    /// As [`render`](Self::render), but a template of one field hands NULL through: `false`, with nothing
    /// written. That is right for keys and headers, which can be null. Columns named without an image are taken
    /// from `image` first.
    ///
    /// # Errors
    /// Those of [`render`](Self::render).
    pub fn render_nullable(
        &mut self,
        event: EventRef<'_>,
        image: Image,
        out: &mut impl TemplateOutput,
    ) -> Result<bool> {
        let Self { source, parts, schemas } = self;
        let resolved =
            event.schema().map(|schema| &*schemas.get_or_make(schema, |schema| Resolved::new(parts, schema)));
        let mark = out.mark();
        let alone = parts.len() == 1;
        for (index, part) in parts.iter().enumerate() {
            let field = match part {
                Part::Literal(text) => {
                    out.text(text);
                    continue;
                }
                Part::Field(field) => field,
            };
            let column = resolved.and_then(|r| *r.columns.get(index)?);
            match field.write(event, image, resolved, column, out) {
                Found::Written => {}
                Found::Null if alone => return Ok(false),
                Found::Null | Found::Nothing => {
                    out.reset(mark);
                    return Err(missing(source, field, event));
                }
                Found::NoText => {
                    out.reset(mark);
                    return Err(Error::data("template.no_text")
                        .message(format!("{field} in the template {source:?} is a list or a map"))
                        .hint("name a column that holds a single value"));
                }
            }
        }
        Ok(true)
    }
}

/// What became of one field.
enum Found {
    Written,
    /// It is there, and NULL.
    Null,
    /// There is no such column, row or part of the name, or the source did not send the value.
    Nothing,
    NoText,
}

impl Field {
    fn parse(template: &str, name: &str) -> Result<Self> {
        let column = |image, name: &str| match name {
            "" => Err(malformed(template, "a field has no name")),
            _ if name.contains('{') => Err(malformed(template, "a { is not closed")),
            _ => Ok(Self::Column { image, name: name.to_owned() }),
        };
        match name {
            "database" => Ok(Self::Database),
            "schema" => Ok(Self::Schema),
            "table" => Ok(Self::Table),
            "destination" => Ok(Self::Destination),
            "op" => Ok(Self::Op),
            "type" => Ok(Self::Type),
            "key" => Ok(Self::Key),
            "id" => Ok(Self::Id),
            _ => match (name.strip_prefix("after."), name.strip_prefix("before.")) {
                (Some(name), _) => column(Some(Image::After), name),
                (_, Some(name)) => column(Some(Image::Before), name),
                _ => column(None, name),
            },
        }
    }

    fn write(
        &self,
        event: EventRef<'_>,
        image: Image,
        resolved: Option<&Resolved>,
        column: Option<usize>,
        out: &mut impl TemplateOutput,
    ) -> Found {
        let name = |name: Option<&str>, out: &mut _| match name {
            Some(name) if !name.is_empty() => write_text(name, out),
            _ => Found::Nothing,
        };
        let message = event.message();
        match self {
            Self::Database => name(event.schema().map(|s| s.database()), out),
            Self::Schema => name(event.schema().map(|s| s.schema()), out),
            Self::Table => name(event.schema().map(|s| s.table()), out),
            Self::Destination => {
                let chosen = event.route().or_else(|| message?.destination());
                name(chosen.or(resolved.map(|r| r.qualified.as_str())), out)
            }
            Self::Op => write_text(event.op().as_str(), out),
            Self::Type => match message {
                Some(message) => message.kind().map_or(Found::Null, |kind| write_text(kind, out)),
                None => write_column(event, image, column, out),
            },
            Self::Key => match message.map(|m| m.key()) {
                Some(key) if !key.is_null() => write_value(key, out),
                Some(_) if event.row_any().is_none() => Found::Null,
                _ => write_row_key(event, image, out),
            },
            Self::Id => match message.map(|m| m.id()) {
                Some(id) if !id.is_null() => write_value(id, out),
                None if column.is_some() => write_column(event, image, column, out),
                _ => write_display(event.id(), out),
            },
            Self::Column { image: Some(image), .. } => {
                let value = column.and_then(|column| event.row(*image)?.get(column));
                value.map_or(Found::Nothing, |value| write_value(value, out))
            }
            Self::Column { image: None, .. } => write_column(event, image, column, out),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Database => "database",
            Self::Schema => "schema",
            Self::Table => "table",
            Self::Destination => "destination",
            Self::Op => "op",
            Self::Type => "type",
            Self::Key => "key",
            Self::Id => "id",
            Self::Column { image: Some(Image::After), name } => return write!(f, "{{after.{name}}}"),
            Self::Column { image: Some(Image::Before), name } => return write!(f, "{{before.{name}}}"),
            Self::Column { image: None, name } => name,
        };
        write!(f, "{{{name}}}")
    }
}

/// The value in the preferred image; in the other one when there is no such row or the source did not send it.
fn value_of<'a>(event: EventRef<'a>, image: Image, column: usize) -> Option<ValueRef<'a>> {
    let other = match image {
        Image::After => Image::Before,
        Image::Before => Image::After,
    };
    let of = |image| event.row(image)?.get(column).filter(|value| !value.is_unavailable());
    of(image).or_else(|| of(other))
}

fn write_column(
    event: EventRef<'_>,
    image: Image,
    column: Option<usize>,
    out: &mut impl TemplateOutput,
) -> Found {
    let value = column.and_then(|column| value_of(event, image, column));
    value.map_or(Found::Nothing, |value| write_value(value, out))
}

fn write_row_key(event: EventRef<'_>, image: Image, out: &mut impl TemplateOutput) -> Found {
    let key = event.schema().map_or(&[][..], |schema| schema.key());
    if key.is_empty() {
        return Found::Null;
    }
    for (i, column) in key.iter().enumerate() {
        if i > 0 {
            out.text(":");
        }
        let value = value_of(event, image, *column as usize);
        match value.map_or(Found::Nothing, |value| write_value(value, out)) {
            Found::Written => {}
            // A part of a key is never a key.
            Found::Null => return Found::Nothing,
            other => return other,
        }
    }
    Found::Written
}

fn write_text(text: &str, out: &mut impl TemplateOutput) -> Found {
    out.text(text);
    Found::Written
}

fn write_display(value: impl fmt::Display, out: &mut impl TemplateOutput) -> Found {
    struct Adapter<'a, O>(&'a mut O);
    impl<O: TemplateOutput> fmt::Write for Adapter<'_, O> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.text(text);
            Ok(())
        }
    }
    // Appending cannot fail.
    let _ = write!(Adapter(out), "{value}");
    Found::Written
}

/// The plain text of a value, as templates and keys print it: numbers, decimals and UUIDs as they are, times in
/// ISO 8601, bytes as hexadecimal digits. NULL, values that were not sent, lists and maps have none.
#[derive(Clone, Copy, Debug)]
pub struct PlainText<'a>(ValueRef<'a>);

impl<'a> PlainText<'a> {
    /// The plain text of `value`, if it has one.
    pub fn of(value: ValueRef<'a>) -> Option<Self> {
        match value {
            ValueRef::Null | ValueRef::Unavailable | ValueRef::List(_) | ValueRef::Map(_) => None,
            _ => Some(Self(value)),
        }
    }
}

impl fmt::Display for PlainText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ValueRef::Bool(v) => v.fmt(f),
            ValueRef::I64(v) => v.fmt(f),
            ValueRef::U64(v) => v.fmt(f),
            ValueRef::F32(v) => v.fmt(f),
            ValueRef::F64(v) => v.fmt(f),
            ValueRef::Bytes(b) => Hex(b).fmt(f),
            ValueRef::Bits(b) => fmt::Debug::fmt(&b, f),
            ValueRef::Uuid(u) => Uuid(u).fmt(f),
            ValueRef::Date(v) => v.fmt(f),
            ValueRef::Time(v) => v.fmt(f),
            ValueRef::TimeTz(v) => v.fmt(f),
            ValueRef::DateTime(v) => v.fmt(f),
            ValueRef::Timestamp(v) => v.fmt(f),
            ValueRef::Interval(v) => v.fmt(f),
            other => f.write_str(other.as_str().unwrap_or_default()),
        }
    }
}

fn write_value(value: ValueRef<'_>, out: &mut impl TemplateOutput) -> Found {
    match (value, PlainText::of(value)) {
        (_, Some(text)) => match value.as_str() {
            Some(text) => write_text(text, out),
            None => write_display(text, out),
        },
        (ValueRef::Null, None) => Found::Null,
        (ValueRef::Unavailable, None) => Found::Nothing,
        _ => Found::NoText,
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

struct Uuid<'a>(&'a [u8; 16]);

impl fmt::Display for Uuid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(*self.0);
        let group = |shift: u32, digits: u32| (bits >> shift) & ((1 << (digits * 4)) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            group(96, 8),
            group(80, 4),
            group(64, 4),
            group(48, 4),
            group(0, 12)
        )
    }
}

fn malformed(template: &str, what: &str) -> Error {
    Error::configuration("config.template").message(format!("{what} in the template {template:?}")).hint(
        "fields stand in braces, as in \"shop.{schema}.{table}\"; a brace itself is written twice: {{ }}",
    )
}

fn missing(template: &str, field: &Field, event: EventRef<'_>) -> Error {
    let table = event.schema().map_or_else(|| "a message".to_owned(), |s| s.qualified_name());
    let hint = match field {
        Field::Database | Field::Schema => {
            "leave it out: this source's tables have no such part in their name"
        }
        Field::Table => "this message belongs to no table: use {destination}",
        Field::Type => "only messages have a type: route rows by {table}, or add the outbox transform",
        Field::Key => "give the table a primary key, or name columns instead of {key}",
        Field::Column { image: Some(_), .. } => {
            "the row image is not there for every operation: leave out `after.` or `before.` to take either, \
             or have the source log full rows"
        }
        _ => "name a column that every row has and that is never NULL",
    };
    Error::data("template.missing_field")
        .message(format!("{field} in the template {template:?} has no value"))
        .with("table", table)
        .with("op", event.op().as_str())
        .hint(hint)
}

impl Clone for Template {
    /// The copy looks its columns up anew.
    fn clone(&self) -> Self {
        Self { source: self.source.clone(), parts: self.parts.clone(), schemas: SchemaCache::new() }
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.source)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl FromStr for Template {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(|e| D::Error::custom(e.text()))
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "template", "examples": ["shop.{schema}.{table}"]})
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use outflow_core::{
        BatchBuilder, BatchEdit, ChangeBatch, Column, LogicalType, MessageParts, Op, TableSchema, Timestamp,
        Value,
    };

    use super::*;

    fn orders() -> Arc<TableSchema> {
        TableSchema::builder("orders")
            .database("shop")
            .schema("public")
            .column(Column::new("id", LogicalType::Int(64)))
            .column(Column::new("region", LogicalType::Text))
            .column(Column::new("type", LogicalType::Text))
            .key(["id", "region"])
            .build()
    }

    fn row(
        op: Op,
        schema: &Arc<TableSchema>,
        before: Option<&[Value]>,
        after: Option<&[Value]>,
    ) -> ChangeBatch {
        let mut builder = BatchBuilder::new();
        builder.origin("db");
        let schema = builder.schema(schema);
        let transaction = builder.transaction("0/1", None);
        let mut event = builder.event(op).schema(schema).transaction(transaction).ordinal(3);
        for (values, image) in [(before, Image::Before), (after, Image::After)] {
            let Some(values) = values else { continue };
            let mut row = if image == Image::Before { event.before() } else { event.after() };
            values.iter().for_each(|v| row.owned(v));
            row.end().unwrap();
        }
        event.end();
        builder.finish("p".into(), None)
    }

    fn message(parts: &MessageParts<'_>) -> ChangeBatch {
        let mut builder = BatchBuilder::new();
        let mut event = builder.event(Op::Message);
        event.message(parts);
        event.end();
        builder.finish("p".into(), None)
    }

    fn render(template: &str, batch: &ChangeBatch) -> Result<String> {
        let mut template = Template::parse(template).unwrap();
        let mut text = "<".to_owned();
        let result = template.render(batch.get(0).unwrap(), &mut text);
        // The second time goes by what was resolved the first time, and into bytes.
        let mut bytes = b"<".to_vec();
        let again = template.render(batch.get(0).unwrap(), &mut bytes);
        assert_eq!(again.map_err(|e| e.to_string()), result.as_ref().map_err(|e| e.to_string()).copied());
        assert_eq!(bytes, text.as_bytes());
        if result.is_err() {
            assert_eq!(text, "<", "an error leaves the output as it was");
        }
        result.map(|()| text.split_off(1))
    }

    #[test]
    fn fields_of_a_row() {
        let before = [Value::I64(1), "de".into(), "b2b".into()];
        let after = [Value::I64(1), "fr".into(), Value::Null];
        let batch = row(Op::Update, &orders(), Some(&before), Some(&after));
        for (template, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{{{table}}}", "{orders}"),
            ("{database}.{schema}.{table}", "shop.public.orders"),
            ("{destination}/{op}", "public.orders/update"),
            ("{key}", "1:fr"),
            ("{id}", "1"),
            ("{region}-{after.region}-{before.region}", "fr-fr-de"),
            ("{before.type}", "b2b"),
        ] {
            assert_eq!(render(template, &batch).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn fields_of_a_message() {
        let batch = message(&MessageParts {
            destination: Some("orders"),
            key: ValueRef::I64(17),
            kind: Some("OrderPaid"),
            id: ValueRef::Text("01JD"),
            ..MessageParts::default()
        });
        assert_eq!(render("{destination}.{type}/{key}/{id}", &batch).unwrap(), "orders.OrderPaid/17/01JD");
        assert_eq!(render("{table}", &batch).unwrap_err().code(), "template.missing_field");
    }

    #[test]
    fn the_id_of_a_row_is_its_column_and_else_the_events() {
        let schema = TableSchema::builder("t").column(Column::new("a", LogicalType::Int(64))).build();
        let batch = row(Op::Insert, &schema, None, Some(&[Value::I64(1)]));
        assert_eq!(render("{id}", &batch).unwrap(), "db:0/1:3");
        assert_eq!(render("{type}", &batch).unwrap_err().code(), "template.missing_field");
        let batch = row(Op::Insert, &orders(), None, Some(&[Value::I64(1), Value::Null, "b2b".into()]));
        assert_eq!(render("{id} {type}", &batch).unwrap(), "1 b2b");
    }

    #[test]
    fn a_route_comes_before_the_destination_of_the_message() {
        let mut batch = message(&MessageParts { destination: Some("orders"), ..MessageParts::default() });
        BatchEdit::new(&mut batch).get_mut(0).unwrap().route("audit");
        assert_eq!(render("{destination}", &batch).unwrap(), "audit");
    }

    #[test]
    fn what_was_not_sent_after_is_taken_from_before() {
        let before = [Value::I64(1), "de".into(), Value::Unavailable];
        let after = [Value::I64(1), Value::Unavailable, Value::Unavailable];
        let batch = row(Op::Update, &orders(), Some(&before), Some(&after));
        assert_eq!(render("{region} {key}", &batch).unwrap(), "de 1:de");
        assert_eq!(render("{after.region}", &batch).unwrap_err().code(), "template.missing_field");
        let delete = row(Op::Delete, &orders(), Some(&before), None);
        assert_eq!(render("{region}", &delete).unwrap(), "de");
    }

    #[test]
    fn a_hole_is_an_error_that_names_field_table_and_remedy() {
        let batch = row(Op::Insert, &orders(), None, Some(&[Value::I64(1), "de".into(), Value::Null]));
        for template in ["x{after.type}", "{nope}", "{before.id}", "x{type}"] {
            let error = render(template, &batch).unwrap_err();
            assert_eq!(error.code(), "template.missing_field", "{template}");
            assert!(error.to_string().contains("public.orders"), "{error}");
            assert!(error.hint_text().is_some());
        }
        let plain = TableSchema::builder("t").column(Column::new("a", LogicalType::Int(64))).build();
        let batch = row(Op::Insert, &plain, None, Some(&[Value::I64(1)]));
        for template in ["{database}", "{schema}.{table}", "x{key}"] {
            assert_eq!(render(template, &batch).unwrap_err().code(), "template.missing_field", "{template}");
        }
    }

    #[test]
    fn a_single_field_hands_null_through() {
        let batch = row(Op::Insert, &orders(), None, Some(&[Value::I64(1), Value::Null, "t".into()]));
        let nullable = |template: &str| {
            let mut out = String::new();
            let event = batch.get(0).unwrap();
            let found = Template::parse(template).unwrap().render_nullable(event, Image::After, &mut out);
            found.map(|written| written.then_some(out)).map_err(|e| e.code().to_owned())
        };
        assert_eq!(nullable("{region}"), Ok(None));
        assert_eq!(nullable("{after.type}"), Ok(Some("t".to_owned())));
        assert_eq!(nullable("r-{region}"), Err("template.missing_field".to_owned()));
        // A part of a key is never a key.
        assert_eq!(nullable("{key}"), Err("template.missing_field".to_owned()));
    }

    #[test]
    fn the_image_decides_where_plain_names_come_from() {
        let before = [Value::I64(1), "de".into(), Value::Null];
        let after = [Value::I64(2), "de".into(), Value::Null];
        let batch = row(Op::Update, &orders(), Some(&before), Some(&after));
        let mut template = Template::parse("{key} {id} {region}").unwrap();
        let mut out = String::new();
        template.render_nullable(batch.get(0).unwrap(), Image::Before, &mut out).unwrap();
        assert_eq!(out, "1:de 1 de");
    }

    #[test]
    fn every_scalar_has_a_plain_text() {
        let uuid = *b"\x55\x0e\x84\x00\xe2\x9b\x41\xd4\xa7\x16\x44\x66\x55\x44\x00\x00";
        let values = [
            (Value::Bool(true), "true"),
            (Value::I64(i64::MIN), "-9223372036854775808"),
            (Value::U64(u64::MAX), "18446744073709551615"),
            (Value::F64(1.5), "1.5"),
            (Value::Decimal("42.10".into()), "42.10"),
            (Value::Bytes(vec![0, 255]), "00ff"),
            (Value::Bits(vec![0b1010_0000], 3), "101"),
            (Value::Uuid(uuid), "550e8400-e29b-41d4-a716-446655440000"),
            (Value::Timestamp(Timestamp::new(0, 0)), "1970-01-01T00:00:00Z"),
        ];
        let schema = TableSchema::builder("t").column(Column::new("a", LogicalType::Any)).build();
        for (value, expected) in values {
            let batch = row(Op::Insert, &schema, None, Some(&[value]));
            assert_eq!(render("{a}", &batch).unwrap(), expected);
        }
        let list = row(Op::Insert, &schema, None, Some(&[Value::List(vec![])]));
        assert_eq!(render("{a}", &list).unwrap_err().code(), "template.no_text");
    }

    #[test]
    fn columns_are_found_anew_when_the_schema_changes() {
        let other = TableSchema::builder("t")
            .column(Column::new("region", LogicalType::Text))
            .column(Column::new("id", LogicalType::Int(64)))
            .build();
        let first = row(Op::Insert, &orders(), None, Some(&[Value::I64(1), "de".into(), Value::Null]));
        let second = row(Op::Insert, &other, None, Some(&["fr".into(), Value::I64(2)]));
        let mut template = Template::parse("{region} ").unwrap();
        let mut out = String::new();
        for batch in [&first, &second, &first] {
            template.render(batch.get(0).unwrap(), &mut out).unwrap();
        }
        assert_eq!(out, "de fr de ");
    }

    #[test]
    fn malformed_templates_are_refused() {
        for text in ["{", "}", "a{b", "a}b", "{}", "{after.}", "{a{b}", "{a}}"] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!(error.code(), "config.template", "{text}");
            assert!(error.hint_text().is_some());
        }
        assert!(serde_json::from_str::<Template>("\"{\"").is_err());
        let read: Template = serde_json::from_str("\"{table}\"").unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), "\"{table}\"");
        assert!(!read.is_constant());
        assert!(Template::parse("a{{b").unwrap().is_constant());
    }
}
