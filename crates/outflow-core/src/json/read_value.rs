//! Reads values: each from the slice of the line that holds it, so that numbers keep every digit and an error
//! knows its place.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::de::StrRead;
use serde_json::value::RawValue;

use super::form::{element, float_kind, looks_tagged, string_kind, tagged};
use super::number::{finite, special};
use super::text::{read_bits, read_bytes, read_uuid};
use crate::cell::Kind;
use crate::error::Error;
use crate::logical::LogicalType;
use crate::row_writer::RowWriter;
use crate::value::{BitsRef, ValueRef};

/// A string, borrowed from the line when it has no escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// What is wrong with a line, and with which slice of it.
#[derive(Debug)]
pub(super) struct Malformed<'a> {
    pub(super) at: Option<&'a str>,
    pub(super) what: String,
}

impl<'a> Malformed<'a> {
    pub(super) fn at(slice: &'a str, what: impl Into<String>) -> Self {
        Self { at: Some(slice), what: what.into() }
    }

    pub(super) fn whole(what: impl Into<String>) -> Self {
        Self { at: None, what: what.into() }
    }

    pub(super) fn member(name: &str, e: serde_json::Error) -> Self {
        Self::whole(format!("`{name}`: {e}"))
    }

    pub(super) fn json(slice: &'a str, e: &serde_json::Error) -> Self {
        // Lines within a line are rare, and then the start of the slice is near enough.
        let at = if e.line() == 1 { e.column().saturating_sub(1) } else { 0 };
        Self::at(slice.get(at..).unwrap_or(slice), e.to_string())
    }

    /// Adds the column or field to what is wrong.
    pub(super) fn of(mut self, member: &str) -> Self {
        self.what = format!("{member:?}: {}", self.what);
        self
    }

    /// The error, with the place of the slice in the line that it was cut from.
    pub(super) fn error_in(self, line: &str) -> Error {
        let at = self.at.map(|slice| (slice.as_ptr() as usize).saturating_sub(line.as_ptr() as usize));
        self.error(at)
    }

    pub(super) fn error(self, at: Option<usize>) -> Error {
        let error = Error::data("json.malformed")
            .message(format!("not a line of outflow-json: {}", self.what))
            .hint("the line was cut or edited; docs/reference/outflow-json.md describes the form");
        match at {
            Some(at) => error.with("byte", at),
            None => error,
        }
    }
}

type Read<'a> = Result<(), Malformed<'a>>;

/// Reads a value of a column of this type.
pub(super) fn read_value<'a>(raw: &'a str, logical: &LogicalType, row: &mut RowWriter<'_>) -> Read<'a> {
    let json = *logical == LogicalType::Json;
    match raw.as_bytes().first() {
        Some(b'n') => row.null(),
        Some(b'{') if !json || looks_tagged(raw) => return read_tagged(raw, row),
        _ if json => row.json(raw),
        Some(b't' | b'f') => row.bool(raw == "true"),
        Some(b'"') => return read_string(raw, logical, row),
        Some(b'[') if *logical == LogicalType::Map => return read_map(raw, row),
        Some(b'[') => return read_list(raw, element(logical), row),
        _ => row.value(number(raw, logical).ok_or_else(|| Malformed::at(raw, "the number is out of range"))?),
    }
    Ok(())
}

fn number(raw: &str, logical: &LogicalType) -> Option<ValueRef<'static>> {
    let float = matches!(logical, LogicalType::Float(_)) || raw.contains(['.', 'e', 'E']);
    if float {
        return finite(raw, float_kind(logical));
    }
    let unsigned = || raw.parse().ok().map(ValueRef::U64);
    let signed = || raw.parse().ok().map(ValueRef::I64);
    if matches!(logical, LogicalType::UInt(_)) {
        unsigned().or_else(signed)
    } else {
        signed().or_else(unsigned)
    }
}

fn read_string<'a>(raw: &'a str, logical: &LogicalType, row: &mut RowWriter<'_>) -> Read<'a> {
    let text = text(raw)?;
    match string_kind(logical) {
        Some(kind) => read_text(raw, &text, kind, row),
        None => {
            let float = special(&text, float_kind(logical));
            row.value(float.ok_or_else(|| Malformed::at(raw, "not a float"))?);
            Ok(())
        }
    }
}

/// Reads a kind that is a string in JSON.
fn read_text<'a>(raw: &'a str, text: &str, kind: Kind, row: &mut RowWriter<'_>) -> Read<'a> {
    let bad = || Malformed::at(raw, format!("not a {}", super::form::tag(kind)));
    match kind {
        Kind::Text => row.text(text),
        Kind::Decimal => row.decimal(text),
        Kind::Json => row.json(text),
        Kind::Enum => row.enumeration(text),
        Kind::Set => row.set(text),
        Kind::Other => row.other(text),
        Kind::Bytes => row.bytes(&read_bytes(text).ok_or_else(bad)?),
        Kind::Bits => {
            let (bytes, len) = read_bits(text).ok_or_else(bad)?;
            row.value(ValueRef::Bits(BitsRef::new(&bytes, len).ok_or_else(bad)?));
        }
        Kind::Uuid => row.value(ValueRef::Uuid(&read_uuid(text).ok_or_else(bad)?)),
        Kind::Date => row.value(ValueRef::Date(text.parse().map_err(|_| bad())?)),
        Kind::Time => row.value(ValueRef::Time(text.parse().map_err(|_| bad())?)),
        Kind::TimeTz => row.value(ValueRef::TimeTz(text.parse().map_err(|_| bad())?)),
        Kind::DateTime => row.value(ValueRef::DateTime(text.parse().map_err(|_| bad())?)),
        Kind::Timestamp => row.timestamp(text.parse().map_err(|_| bad())?),
        Kind::Interval => row.value(ValueRef::Interval(text.parse().map_err(|_| bad())?)),
        _ => return Err(bad()),
    }
    Ok(())
}

/// Reads `{"kind": content}`.
fn read_tagged<'a>(raw: &'a str, row: &mut RowWriter<'_>) -> Read<'a> {
    let mut only = None;
    entries(raw, |tag, content| match (tagged(&tag), only.is_none()) {
        (Some(kind), true) => {
            only = Some((kind, content));
            Ok(())
        }
        (None, _) => Err(Malformed::at(content, format!("{tag:?} is no kind of value"))),
        (_, false) => Err(Malformed::at(content, "a value has one kind")),
    })?;
    let (kind, content) = only.ok_or_else(|| Malformed::at(raw, "a value needs a kind"))?;
    let bad =
        || Malformed::at(content, format!("not the content of a value of kind {:?}", super::form::tag(kind)));
    let string = || if content.starts_with('"') { text(content) } else { Err(bad()) };
    let any = LogicalType::Any;
    match kind {
        Kind::Unavailable if content == "true" => row.unavailable(),
        Kind::Bool if content == "true" || content == "false" => row.bool(content == "true"),
        Kind::I64 => row.i64(content.parse().map_err(|_| bad())?),
        Kind::U64 => row.u64(content.parse().map_err(|_| bad())?),
        Kind::F32 | Kind::F64 if content.starts_with('"') => {
            row.value(special(&string()?, kind).ok_or_else(bad)?);
        }
        Kind::F32 | Kind::F64 if content.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
            row.value(finite(content, kind).ok_or_else(bad)?);
        }
        Kind::List if content.starts_with('[') => return read_list(content, &any, row),
        Kind::Map if content.starts_with('[') => return read_map(content, row),
        Kind::Null | Kind::Unavailable | Kind::Bool | Kind::F32 | Kind::F64 | Kind::List | Kind::Map => {
            return Err(bad());
        }
        text => return read_text(content, &string()?, text, row),
    }
    Ok(())
}

fn read_list<'a>(raw: &'a str, element: &LogicalType, row: &mut RowWriter<'_>) -> Read<'a> {
    row.begin_list();
    check_depth(raw, row)?;
    elements(raw, |value| read_value(value, element, row))?;
    row.end_list();
    Ok(())
}

fn read_map<'a>(raw: &'a str, row: &mut RowWriter<'_>) -> Read<'a> {
    row.begin_map();
    check_depth(raw, row)?;
    elements(raw, |pair| {
        let mut values = 0;
        let bad = || Malformed::at(pair, "a map is a list of [key, value]");
        if !pair.starts_with('[') {
            return Err(bad());
        }
        elements(pair, |value| {
            values += 1;
            read_value(value, &LogicalType::Any, row)
        })?;
        if values == 2 { Ok(()) } else { Err(bad()) }
    })?;
    row.end_map();
    Ok(())
}

/// What nests too deep is refused at once, before it exhausts the stack.
fn check_depth<'a>(raw: &'a str, row: &RowWriter<'_>) -> Read<'a> {
    if row.is_too_deep() { Err(Malformed::at(raw, "lists and maps nest too deep")) } else { Ok(()) }
}

fn text(raw: &str) -> Result<Cow<'_, str>, Malformed<'_>> {
    let text: Text<'_> = serde_json::from_str(raw).map_err(|e| Malformed::json(raw, &e))?;
    Ok(text.0)
}

/// Visits the elements of an array.
pub(super) fn elements<'a>(raw: &'a str, mut visit: impl FnMut(&'a str) -> Read<'a>) -> Read<'a> {
    walk(raw, |json, stop| json.deserialize_seq(Elements(|value| stop.check(visit(value)))))
}

/// Visits the entries of an object.
pub(super) fn entries<'a>(
    raw: &'a str,
    mut visit: impl FnMut(Cow<'a, str>, &'a str) -> Read<'a>,
) -> Read<'a> {
    walk(raw, |json, stop| json.deserialize_map(Entries(|name, value| stop.check(visit(name, value)))))
}

/// Keeps what a visit found wrong, so that it is not lost behind the parser's own error for stopping early.
#[derive(Default)]
struct Stop<'a>(Option<Malformed<'a>>);

impl<'a> Stop<'a> {
    fn check<E: serde::de::Error>(&mut self, read: Read<'a>) -> Result<(), E> {
        read.map_err(|malformed| {
            self.0 = Some(malformed);
            E::custom("stopped")
        })
    }
}

fn walk<'a>(
    raw: &'a str,
    walk: impl FnOnce(&mut serde_json::Deserializer<StrRead<'a>>, &mut Stop<'a>) -> serde_json::Result<()>,
) -> Read<'a> {
    let mut stop = Stop::default();
    let done = walk(&mut serde_json::Deserializer::from_str(raw), &mut stop);
    match (stop.0, done) {
        (Some(malformed), _) => Err(malformed),
        (None, Err(e)) => Err(Malformed::json(raw, &e)),
        (None, Ok(())) => Ok(()),
    }
}

struct Elements<F>(F);

impl<'a, F: FnMut(&'a str) -> serde_json::Result<()>> Visitor<'a> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<&'a RawValue>()? {
            (self.0)(element.get()).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

struct Entries<F>(F);

impl<'a, F: FnMut(Cow<'a, str>, &'a str) -> serde_json::Result<()>> Visitor<'a> for Entries<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((Text(name), value)) = map.next_entry::<Text<'a>, &'a RawValue>()? {
            (self.0)(name, value.get()).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
