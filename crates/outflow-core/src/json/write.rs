//! Writes events as lines: no tree, and what depends on the schema alone is made once a schema.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::VERSION;
use super::form::{MESSAGE, WHITESPACE, element, float_kind, looks_tagged, string_kind, tag};
use super::number::{write_f32, write_f64};
use super::schema::{names_are_unique, write_names, write_shape};
use super::text::{UuidText, display, write_bytes, write_str};
use crate::cell::Kind;
use crate::error::Error;
use crate::event::{EventRef, MessageRef, RowRef};
use crate::logical::LogicalType;
use crate::schema::{SchemaFingerprint, TableSchema};
use crate::value::{ListRef, MapRef, ValueRef};

/// Writes events as lines of outflow-json. Keeps what it has made of the schemas it met.
#[derive(Debug, Default)]
pub struct EventWriter {
    plans: HashMap<SchemaFingerprint, Plan>,
}

/// What a schema contributes to every line.
#[derive(Debug)]
struct Plan {
    names: Vec<u8>,
    shape: Vec<u8>,
    /// `"name":` of each column; none when a name does not say which column is meant.
    members: Vec<Vec<u8>>,
}

impl EventWriter {
    /// More plans than this are made anew rather than kept.
    const MAX_PLANS: usize = 4096;

    /// A writer that has met no schema yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes one event, without a line break.
    pub fn write(&mut self, event: EventRef<'_>, out: &mut Vec<u8>) {
        self.line(event, None, out);
    }

    /// Writes one event with the reason why it was refused, which a reader skips: a dead letter.
    pub fn write_rejected(&mut self, event: EventRef<'_>, error: &Error, out: &mut Vec<u8>) {
        self.line(event, Some(error), out);
    }

    fn line(&mut self, event: EventRef<'_>, error: Option<&Error>, out: &mut Vec<u8>) {
        let plan = event.schema().map(|schema| self.plan(schema));
        display(format_args!("{{\"v\":{VERSION},\"op\":\"{}\"", event.op().as_str()), out);
        if let Some(error) = error {
            write_error(error, out);
        }
        if let Some(plan) = plan {
            out.push(b',');
            out.extend_from_slice(&plan.names);
        }
        write_id(event, out);
        if let Some(time) = event.commit_time() {
            display(format_args!(",\"time\":\"{time}\""), out);
        }
        if let Some(route) = event.route() {
            out.extend_from_slice(b",\"route\":");
            write_str(route, out);
        }
        if let Some(message) = event.message() {
            out.extend_from_slice(b",\"message\":");
            write_message(message, out);
        }
        for (member, row) in [(",\"before\":", event.before()), (",\"after\":", event.after())] {
            if let (Some(row), Some(plan)) = (row, plan) {
                out.extend_from_slice(member.as_bytes());
                write_row(row, plan, out);
            }
        }
        if let Some(plan) = plan {
            out.extend_from_slice(&plan.shape);
        }
        out.push(b'}');
    }

    fn plan(&mut self, schema: &TableSchema) -> &Plan {
        if self.plans.len() >= Self::MAX_PLANS && !self.plans.contains_key(&schema.fingerprint()) {
            self.plans.clear();
        }
        self.plans.entry(schema.fingerprint()).or_insert_with(|| Plan::new(schema))
    }
}

impl Plan {
    fn new(schema: &TableSchema) -> Self {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out
        };
        let member = |name: &str| {
            written(&|out| {
                write_str(name, out);
                out.push(b':');
            })
        };
        Self {
            names: written(&|out| write_names(schema, out)),
            shape: written(&|out| write_shape(schema, out)),
            members: if names_are_unique(schema) {
                schema.columns().iter().map(|c| member(c.name())).collect()
            } else {
                Vec::new()
            },
        }
    }
}

fn write_error(error: &Error, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"error\":{\"code\":");
    write_str(error.code(), out);
    out.extend_from_slice(b",\"message\":");
    write_str(&error.to_string(), out);
    if let Some(hint) = error.hint_text() {
        out.extend_from_slice(b",\"hint\":");
        write_str(hint, out);
    }
    out.push(b'}');
}

fn write_id(event: EventRef<'_>, out: &mut Vec<u8>) {
    let id = event.id();
    out.extend_from_slice(b",\"id\":{");
    for (member, text) in [("origin", id.origin), ("commit", id.commit)] {
        if !text.is_empty() {
            display(format_args!("\"{member}\":"), out);
            write_str(text, out);
            out.push(b',');
        }
    }
    display(format_args!("\"ordinal\":{}", id.ordinal), out);
    if id.sub != 0 {
        display(format_args!(",\"sub\":{}", id.sub), out);
    }
    if event.event.step != 1 {
        display(format_args!(",\"step\":{}", event.event.step), out);
    }
    out.push(b'}');
}

/// `{column: value}` without what the source did not send, or `[values]` when names are not unique.
fn write_row(row: RowRef<'_>, plan: &Plan, out: &mut Vec<u8>) {
    if plan.members.len() != row.len() {
        let columns = row.schema().columns();
        let logical = |i: usize| columns.get(i).map_or(&LogicalType::Any, |c| c.logical());
        let values = row.values().enumerate();
        return write_array(values, out, |(i, value), out| write_value(value, logical(i), out));
    }
    out.push(b'{');
    let mut first = true;
    for ((column, value), member) in row.iter().zip(&plan.members) {
        if value.is_unavailable() {
            continue; // Invariant 6: absent is not null, so it is absent here too.
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.extend_from_slice(member);
        write_value(value, column.logical(), out);
    }
    out.push(b'}');
}

/// The fields that the message has.
fn write_message(message: MessageRef<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    for (i, (member, logical)) in MESSAGE.iter().enumerate() {
        let value = message.field(i);
        if value.is_null() {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        display(format_args!("\"{member}\":"), out);
        write_value(value, logical, out);
    }
    out.push(b'}');
}

fn write_array<T>(items: impl Iterator<Item = T>, out: &mut Vec<u8>, mut write: impl FnMut(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

/// Writes a value in a column of this type: as itself where the reader takes it for what it is, else tagged.
fn write_value(value: ValueRef<'_>, logical: &LogicalType, out: &mut Vec<u8>) {
    let kind = match value {
        ValueRef::Null => return out.extend_from_slice(b"null"),
        ValueRef::Json(json) if *logical == LogicalType::Json && is_plain_json(json) => {
            return out.extend_from_slice(json.as_bytes());
        }
        other => kind(other),
    };
    if is_natural(value, kind, logical) {
        return write_content(value, logical, out);
    }
    display(format_args!("{{\"{}\":", tag(kind)), out);
    write_content(value, &LogicalType::Any, out);
    out.push(b'}');
}

/// Whether the reader takes the value without a tag for what it is.
fn is_natural(value: ValueRef<'_>, kind: Kind, logical: &LogicalType) -> bool {
    use LogicalType::{Float, Json, Map, UInt};
    match value {
        // In a JSON column, what has no tag is JSON.
        _ if *logical == Json => false,
        ValueRef::Bool(_) => true,
        ValueRef::I64(n) => match logical {
            UInt(_) => n < 0,
            Float(_) => false,
            _ => true,
        },
        ValueRef::U64(n) => match logical {
            UInt(_) => true,
            Float(_) => false,
            _ => i64::try_from(n).is_err(),
        },
        ValueRef::F32(_) => float_kind(logical) == Kind::F32,
        ValueRef::F64(n) => {
            float_kind(logical) == Kind::F64 && (n.is_finite() || matches!(logical, Float(_)))
        }
        ValueRef::List(_) => *logical != Map,
        ValueRef::Map(_) => *logical == Map,
        ValueRef::Json(_) | ValueRef::Unavailable => false,
        _ => string_kind(logical) == Some(kind),
    }
}

fn write_content(value: ValueRef<'_>, logical: &LogicalType, out: &mut Vec<u8>) {
    match value {
        ValueRef::Null => out.extend_from_slice(b"null"),
        ValueRef::Unavailable => out.extend_from_slice(b"true"),
        ValueRef::Bool(b) => display(b, out),
        ValueRef::I64(n) => display(n, out),
        ValueRef::U64(n) => display(n, out),
        ValueRef::F32(n) => write_f32(n, out),
        ValueRef::F64(n) => write_f64(n, out),
        ValueRef::Decimal(s)
        | ValueRef::Text(s)
        | ValueRef::Json(s)
        | ValueRef::Enum(s)
        | ValueRef::Set(s)
        | ValueRef::Other(s) => write_str(s, out),
        ValueRef::Bytes(b) => write_bytes(b, out),
        ValueRef::Bits(b) => display(format_args!("\"{b}\""), out),
        ValueRef::Uuid(u) => display(format_args!("\"{}\"", UuidText(u)), out),
        ValueRef::Date(d) => display(format_args!("\"{d}\""), out),
        ValueRef::Time(t) => display(format_args!("\"{t}\""), out),
        ValueRef::TimeTz(t) => display(format_args!("\"{t}\""), out),
        ValueRef::DateTime(t) => display(format_args!("\"{t}\""), out),
        ValueRef::Timestamp(t) => display(format_args!("\"{t}\""), out),
        ValueRef::Interval(i) => display(format_args!("\"{i}\""), out),
        ValueRef::List(list) => write_list(list, element(logical), out),
        ValueRef::Map(map) => write_map(map, out),
    }
}

fn write_list(list: ListRef<'_>, element: &LogicalType, out: &mut Vec<u8>) {
    write_array(list.iter(), out, |value, out| write_value(value, element, out));
}

/// Keys may be anything and come twice, so a map is a list of pairs.
fn write_map(map: MapRef<'_>, out: &mut Vec<u8>) {
    write_array(map.iter(), out, |(key, value), out| {
        out.push(b'[');
        write_value(key, &LogicalType::Any, out);
        out.push(b',');
        write_value(value, &LogicalType::Any, out);
        out.push(b']');
    });
}

/// Whether JSON can stand in a line as it is, and comes back as it is.
fn is_plain_json(json: &str) -> bool {
    !json.starts_with(WHITESPACE)
        && !json.ends_with(WHITESPACE)
        && json != "null"
        && !json.contains(['\n', '\r'])
        // Half a surrogate pair is no character, and other readers would refuse the line.
        && !json.contains("\\ud")
        && !json.contains("\\uD")
        && !looks_tagged(json)
        && serde_json::from_str::<&RawValue>(json).is_ok()
}

fn kind(value: ValueRef<'_>) -> Kind {
    match value {
        ValueRef::Null => Kind::Null,
        ValueRef::Unavailable => Kind::Unavailable,
        ValueRef::Bool(_) => Kind::Bool,
        ValueRef::I64(_) => Kind::I64,
        ValueRef::U64(_) => Kind::U64,
        ValueRef::F32(_) => Kind::F32,
        ValueRef::F64(_) => Kind::F64,
        ValueRef::Decimal(_) => Kind::Decimal,
        ValueRef::Text(_) => Kind::Text,
        ValueRef::Bytes(_) => Kind::Bytes,
        ValueRef::Bits(_) => Kind::Bits,
        ValueRef::Json(_) => Kind::Json,
        ValueRef::Uuid(_) => Kind::Uuid,
        ValueRef::Date(_) => Kind::Date,
        ValueRef::Time(_) => Kind::Time,
        ValueRef::TimeTz(_) => Kind::TimeTz,
        ValueRef::DateTime(_) => Kind::DateTime,
        ValueRef::Timestamp(_) => Kind::Timestamp,
        ValueRef::Interval(_) => Kind::Interval,
        ValueRef::Enum(_) => Kind::Enum,
        ValueRef::Set(_) => Kind::Set,
        ValueRef::List(_) => Kind::List,
        ValueRef::Map(_) => Kind::Map,
        ValueRef::Other(_) => Kind::Other,
    }
}
