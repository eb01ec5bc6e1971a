//! What reader and writer agree on: which kind of value each JSON type stands for in a column of some type.

use crate::cell::Kind;
use crate::event::field;
use crate::logical::LogicalType;

/// The kind that a JSON string has without a tag; `None` where a string is part of another form.
pub(super) fn string_kind(logical: &LogicalType) -> Option<Kind> {
    Some(match logical {
        // Strings are NaN and the infinities there, or JSON themselves.
        LogicalType::Float(_) | LogicalType::Json => return None,
        LogicalType::Decimal(_) => Kind::Decimal,
        LogicalType::Bytes => Kind::Bytes,
        LogicalType::Bits => Kind::Bits,
        LogicalType::Uuid => Kind::Uuid,
        LogicalType::Date => Kind::Date,
        LogicalType::Time => Kind::Time,
        LogicalType::TimeTz => Kind::TimeTz,
        LogicalType::DateTime => Kind::DateTime,
        LogicalType::Timestamp => Kind::Timestamp,
        LogicalType::Interval => Kind::Interval,
        LogicalType::Enum(_) => Kind::Enum,
        LogicalType::Set(_) => Kind::Set,
        LogicalType::Other => Kind::Other,
        _ => Kind::Text,
    })
}

/// The kind of a float without a tag.
pub(super) fn float_kind(logical: &LogicalType) -> Kind {
    if matches!(logical, LogicalType::Float(bits) if *bits <= 32) { Kind::F32 } else { Kind::F64 }
}

/// The type of the elements of a list in a column of this type.
pub(super) fn element(logical: &LogicalType) -> &LogicalType {
    if let LogicalType::List(element) = logical { element } else { &LogicalType::Any }
}

const TAGS: [(Kind, &str); 23] = [
    (Kind::Unavailable, "unavailable"),
    (Kind::Bool, "bool"),
    (Kind::I64, "i64"),
    (Kind::U64, "u64"),
    (Kind::F32, "f32"),
    (Kind::F64, "f64"),
    (Kind::Decimal, "decimal"),
    (Kind::Text, "text"),
    (Kind::Bytes, "bytes"),
    (Kind::Bits, "bits"),
    (Kind::Json, "json"),
    (Kind::Uuid, "uuid"),
    (Kind::Date, "date"),
    (Kind::Time, "time"),
    (Kind::TimeTz, "time-tz"),
    (Kind::DateTime, "date-time"),
    (Kind::Timestamp, "timestamp"),
    (Kind::Interval, "interval"),
    (Kind::Enum, "enum"),
    (Kind::Set, "set"),
    (Kind::List, "list"),
    (Kind::Map, "map"),
    (Kind::Other, "other"),
];

/// The tag of a kind. NULL has none: it is `null` everywhere.
pub(super) fn tag(kind: Kind) -> &'static str {
    TAGS.iter().find(|(k, _)| *k == kind).map_or("", |(_, tag)| tag)
}

/// The kind of a tag.
pub(super) fn tagged(tag: &str) -> Option<Kind> {
    TAGS.iter().find(|(_, t)| *t == tag).map(|(kind, _)| *kind)
}

/// True when a JSON object would be taken for a tagged value: when its first key is a tag.
pub(super) fn looks_tagged(object: &str) -> bool {
    // A key that is spelled with escapes is no tag, here and so for the reader too.
    let key = object.strip_prefix('{').and_then(|rest| rest.trim_start_matches(WHITESPACE).strip_prefix('"'));
    key.and_then(|key| key.split_once('"')).is_some_and(|(key, _)| tagged(key).is_some())
}

/// What JSON calls whitespace.
pub(super) const WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The members of a message, in the order of its cells, and the type of each.
pub(super) static MESSAGE: [(&str, LogicalType); field::COUNT] = [
    ("destination", LogicalType::Text),
    ("key", LogicalType::Any),
    ("kind", LogicalType::Text),
    ("id", LogicalType::Any),
    ("content_type", LogicalType::Text),
    ("body", LogicalType::Json),
    ("headers", LogicalType::Map),
];
