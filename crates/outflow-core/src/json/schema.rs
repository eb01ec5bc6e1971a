//! Table schemas as JSON.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::text::{display, write_str};
use crate::error::{Error, Result};
use crate::logical::LogicalType;
use crate::schema::{Column, TableSchema};

/// Writes a schema as one JSON object of the members that a line has for it: what a source keeps in its state.
pub fn write_schema(schema: &TableSchema, out: &mut Vec<u8>) {
    out.push(b'{');
    write_names(schema, out);
    write_shape(schema, out);
    out.push(b'}');
}

/// Reads what [`write_schema`] wrote.
///
/// # Errors
/// `json.malformed` when it is anything else.
pub fn read_schema(text: &[u8]) -> Result<Arc<TableSchema>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Members<'a> {
        #[serde(borrow, default)]
        database: Cow<'a, str>,
        #[serde(borrow, default)]
        schema: Cow<'a, str>,
        #[serde(borrow)]
        table: Cow<'a, str>,
        #[serde(default)]
        columns: Columns,
        #[serde(borrow, default)]
        key: Key<'a>,
        #[serde(default)]
        open: bool,
    }

    let malformed = |e: serde_json::Error| Error::data("json.malformed").message("not a schema").caused_by(e);
    let Members { database, schema, table, columns, key, open } =
        serde_json::from_slice(text).map_err(malformed)?;
    build([&database, &schema, &table], columns, &key, open)
        .map_err(|what| Error::data("json.malformed").message(what))
}

/// Writes the members that say which table it is.
pub(super) fn write_names(schema: &TableSchema, out: &mut Vec<u8>) {
    for (member, name) in [("database", schema.database()), ("schema", schema.schema())] {
        if !name.is_empty() {
            display(format_args!("\"{member}\":"), out);
            write_str(name, out);
            out.push(b',');
        }
    }
    out.extend_from_slice(b"\"table\":");
    write_str(schema.table(), out);
}

/// Writes the members that say what its rows are, after others.
pub(super) fn write_shape(schema: &TableSchema, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"columns\":[");
    for (i, column) in schema.columns().iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"[" } else { b",[" });
        write_column(column, out);
        out.push(b']');
    }
    out.push(b']');
    if !schema.key().is_empty() {
        out.extend_from_slice(b",\"key\":[");
        let names_are_unique = names_are_unique(schema);
        for (i, key) in schema.key().iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            match schema.columns().get(*key as usize) {
                Some(column) if names_are_unique => write_str(column.name(), out),
                _ => display(key, out),
            }
        }
        out.push(b']');
    }
    if schema.is_open() {
        out.extend_from_slice(b",\"open\":true");
    }
}

/// Whether a name says which column is meant.
pub(super) fn names_are_unique(schema: &TableSchema) -> bool {
    let mut names: Vec<_> = schema.columns().iter().map(Column::name).collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair.first() != pair.last())
}

/// `name, type [, source type [, "not null"]]`
fn write_column(column: &Column, out: &mut Vec<u8>) {
    write_str(column.name(), out);
    out.push(b',');
    write_logical(column.logical(), out);
    if !column.source_type_name().is_empty() || !column.is_nullable() {
        out.push(b',');
        write_str(column.source_type_name(), out);
    }
    if !column.is_nullable() {
        out.extend_from_slice(b",\"not null\"");
    }
}

/// The name; `{"enum":[labels]}` and `{"set":[labels]}` where there are labels; `{"list":element}`.
fn write_logical(logical: &LogicalType, out: &mut Vec<u8>) {
    match logical {
        LogicalType::Enum(labels) | LogicalType::Set(labels) if !labels.is_empty() => {
            display(format_args!("{{\"{}\":[", logical.name()), out);
            for (i, label) in labels.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_str(label, out);
            }
            out.extend_from_slice(b"]}");
        }
        LogicalType::List(element) => {
            out.extend_from_slice(b"{\"list\":");
            write_logical(element, out);
            out.push(b'}');
        }
        simple => write_str(&simple.name(), out),
    }
}

/// The columns of a schema.
#[derive(Default, Deserialize)]
pub(super) struct Columns(Vec<ColumnText>);

/// The key of a schema: names of columns, or their indexes.
#[derive(Default, Deserialize)]
pub(super) struct Key<'a>(#[serde(borrow)] Vec<KeyColumn<'a>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum KeyColumn<'a> {
    Index(u32),
    Name(#[serde(borrow)] Cow<'a, str>),
}

/// Makes the schema; says what is wrong with it otherwise.
pub(super) fn build(
    [database, schema, table]: [&str; 3],
    columns: Columns,
    key: &Key<'_>,
    open: bool,
) -> Result<Arc<TableSchema>, String> {
    let mut builder = TableSchema::builder(table).database(database).schema(schema);
    let mut indexes = Vec::with_capacity(key.0.len());
    for part in &key.0 {
        let at = match part {
            KeyColumn::Index(index) => Some(*index).filter(|i| (*i as usize) < columns.0.len()),
            KeyColumn::Name(name) => {
                columns.0.iter().position(|c| c.0.name() == name).and_then(|at| u32::try_from(at).ok())
            }
        };
        indexes.push(at.ok_or("the key names a column that is not there")?);
    }
    for ColumnText(column) in columns.0 {
        builder = builder.column(column);
    }
    builder = builder.key_indexes(indexes);
    Ok(if open { builder.open() } else { builder }.build())
}

struct ColumnText(Column);

impl<'de> Deserialize<'de> for ColumnText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;

        impl<'de> Visitor<'de> for Parts {
            type Value = ColumnText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column: [name, type, source type, \"not null\"]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<ColumnText, A::Error> {
                let name: String =
                    parts.next_element()?.ok_or_else(|| de::Error::custom("a column needs a name"))?;
                let LogicalText(logical) =
                    parts.next_element()?.ok_or_else(|| de::Error::custom("a column needs a type"))?;
                let mut column = Column::new(name, logical);
                if let Some(source_type) = parts.next_element::<String>()? {
                    column = column.source_type(source_type);
                }
                match parts.next_element::<Cow<'_, str>>()?.as_deref() {
                    None => {}
                    Some("not null") => column = column.not_null(),
                    Some(_) => return Err(de::Error::custom("expected \"not null\"")),
                }
                Ok(ColumnText(column))
            }
        }

        deserializer.deserialize_seq(Parts)
    }
}

struct LogicalText(LogicalType);

impl<'de> Deserialize<'de> for LogicalText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Logical;

        impl<'de> Visitor<'de> for Logical {
            type Value = LogicalText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a logical type")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<LogicalText, E> {
                name.parse().map(LogicalText).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LogicalText, A::Error> {
                let logical = match map.next_key::<Cow<'_, str>>()?.as_deref() {
                    Some("enum") => LogicalType::Enum(map.next_value()?),
                    Some("set") => LogicalType::Set(map.next_value()?),
                    Some("list") => LogicalType::List(Box::new(map.next_value::<LogicalText>()?.0)),
                    _ => return Err(de::Error::custom("expected `enum`, `set` or `list`")),
                };
                match map.next_key::<de::IgnoredAny>()? {
                    None => Ok(LogicalText(logical)),
                    Some(_) => Err(de::Error::custom("a logical type has one member")),
                }
            }
        }

        deserializer.deserialize_any(Logical)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(schema: &TableSchema) -> String {
        let mut out = Vec::new();
        write_schema(schema, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_type_reads_back() {
        let labels = || vec!["a".to_owned(), "b\"c".to_owned()];
        let types = [
            (LogicalType::Any, "\"any\""),
            (LogicalType::Int(16), "\"int16\""),
            (LogicalType::UInt(8), "\"uint8\""),
            (LogicalType::Float(32), "\"float32\""),
            (LogicalType::Decimal(None), "\"decimal\""),
            (LogicalType::Decimal(Some((10, -2))), "\"decimal(10,-2)\""),
            (LogicalType::TimeTz, "\"time-tz\""),
            (LogicalType::Enum(Vec::new()), "\"enum\""),
            (LogicalType::Enum(labels()), r#"{"enum":["a","b\"c"]}"#),
            (LogicalType::Set(labels()), r#"{"set":["a","b\"c"]}"#),
            (
                LogicalType::List(Box::new(LogicalType::List(Box::new(LogicalType::Text)))),
                r#"{"list":{"list":"text"}}"#,
            ),
        ];
        for (logical, json) in types {
            let schema = TableSchema::builder("t").column(Column::new("c", logical)).build();
            let text = text(&schema);
            assert_eq!(text, format!(r#"{{"table":"t","columns":[["c",{json}]]}}"#));
            assert_eq!(read_schema(text.as_bytes()).unwrap().fingerprint(), schema.fingerprint());
        }
    }

    #[test]
    fn names_key_and_openness_read_back() {
        let orders = TableSchema::builder("orders")
            .database("shop")
            .schema("public")
            .column(Column::new("at", LogicalType::Timestamp))
            .column(Column::new("id", LogicalType::Int(64)).source_type("bigint").not_null())
            .column(Column::new("n", LogicalType::Any).not_null())
            .key(["id", "at"])
            .open()
            .build();
        assert_eq!(
            text(&orders),
            r#"{"database":"shop","schema":"public","table":"orders","columns":[["at","timestamp"],["id","int64","bigint","not null"],["n","any","","not null"]],"key":["id","at"],"open":true}"#
        );
        assert_eq!(read_schema(text(&orders).as_bytes()).unwrap().fingerprint(), orders.fingerprint());

        let twice = TableSchema::builder("t")
            .column(Column::new("c", LogicalType::Text))
            .column(Column::new("c", LogicalType::Text))
            .key_indexes([1])
            .build();
        assert!(text(&twice).ends_with(r#""key":[1]}"#));
        assert_eq!(read_schema(text(&twice).as_bytes()).unwrap().fingerprint(), twice.fingerprint());
    }

    #[test]
    fn nonsense_is_refused() {
        let bad = [
            "",
            "{}",
            r#"{"table":"t","columns":[["c"]]}"#,
            r#"{"table":"t","columns":[["c","int"]]}"#,
            r#"{"table":"t","columns":[["c","list"]]}"#,
            r#"{"table":"t","columns":[["c",{}]]}"#,
            r#"{"table":"t","columns":[["c",{"enum":[],"set":[]}]]}"#,
            r#"{"table":"t","columns":[["c","text","","null"]]}"#,
            r#"{"table":"t","columns":[["c","text","","not null",1]]}"#,
            r#"{"table":"t","key":["id"]}"#,
            r#"{"table":"t","key":[0]}"#,
            r#"{"table":"t","tabel":"u"}"#,
        ];
        for text in bad {
            let error = read_schema(text.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "json.malformed", "{text}");
        }
    }
}
