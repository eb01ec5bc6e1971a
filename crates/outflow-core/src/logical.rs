//! What the values of a column mean, and how that is spelled where schemas are stored.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The meaning of a column, apart from how the source spells its type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogicalType {
    /// Decided by each value: documents and sources without types.
    Any,
    /// Boolean.
    Bool,
    /// Signed integer of so many bits.
    Int(u8),
    /// Unsigned integer of so many bits.
    UInt(u8),
    /// Binary floating point of so many bits.
    Float(u8),
    /// Exact decimal with precision and scale where the source states them.
    Decimal(Option<(u32, i32)>),
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A string of bits.
    Bits,
    /// JSON.
    Json,
    /// UUID.
    Uuid,
    /// Calendar date.
    Date,
    /// Time of day.
    Time,
    /// Time of day with offset.
    TimeTz,
    /// Date and time without zone.
    DateTime,
    /// Point in time.
    Timestamp,
    /// Calendar interval.
    Interval,
    /// Enumeration with its labels where the source tells them.
    Enum(Vec<String>),
    /// Set with its labels where the source tells them.
    Set(Vec<String>),
    /// List of one element type.
    List(Box<LogicalType>),
    /// Keys with values.
    Map,
    /// A type without a form of its own, carried as the server's text.
    Other,
}

impl LogicalType {
    /// The name, without labels and element type. Fingerprints and stored schemas contain it: it never changes.
    pub(crate) fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Any => "any",
            Self::Bool => "bool",
            Self::Int(bits) => return format!("int{bits}").into(),
            Self::UInt(bits) => return format!("uint{bits}").into(),
            Self::Float(bits) => return format!("float{bits}").into(),
            Self::Decimal(None) => "decimal",
            Self::Decimal(Some((p, s))) => return format!("decimal({p},{s})").into(),
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Bits => "bits",
            Self::Json => "json",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Time => "time",
            Self::TimeTz => "time-tz",
            Self::DateTime => "date-time",
            Self::Timestamp => "timestamp",
            Self::Interval => "interval",
            Self::Enum(_) => "enum",
            Self::Set(_) => "set",
            Self::List(_) => "list",
            Self::Map => "map",
            Self::Other => "other",
        })
    }
}

/// The name, with the element type of a list: `int64`, `decimal(10,2)`, `list<text>`. Labels are not printed.
impl fmt::Display for LogicalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(element) => write!(f, "list<{element}>"),
            simple => f.write_str(&simple.name()),
        }
    }
}

/// Reads the name of any type but a list. Labels are none.
impl FromStr for LogicalType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let numbered = |prefix: &str| name.strip_prefix(prefix)?.parse::<u8>().ok();
        let parsed = match name {
            "any" => Some(Self::Any),
            "bool" => Some(Self::Bool),
            "decimal" => Some(Self::Decimal(None)),
            "text" => Some(Self::Text),
            "bytes" => Some(Self::Bytes),
            "bits" => Some(Self::Bits),
            "json" => Some(Self::Json),
            "uuid" => Some(Self::Uuid),
            "date" => Some(Self::Date),
            "time" => Some(Self::Time),
            "time-tz" => Some(Self::TimeTz),
            "date-time" => Some(Self::DateTime),
            "timestamp" => Some(Self::Timestamp),
            "interval" => Some(Self::Interval),
            "enum" => Some(Self::Enum(Vec::new())),
            "set" => Some(Self::Set(Vec::new())),
            "map" => Some(Self::Map),
            "other" => Some(Self::Other),
            _ => None,
        };
        parsed
            .or_else(|| numbered("int").map(Self::Int))
            .or_else(|| numbered("uint").map(Self::UInt))
            .or_else(|| numbered("float").map(Self::Float))
            .or_else(|| {
                let (p, s) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
                Some(Self::Decimal(Some((p.parse().ok()?, s.parse().ok()?))))
            })
            .ok_or_else(|| Error::data("schema.type").message("no such logical type").with("type", name))
    }
}
