//! Values: [`ValueRef`] is what everyone reads, [`Value`] its owned twin.

use std::fmt;

use crate::arena::Parts;
use crate::cell::Range;
use crate::temporal::{Date, DateTime, Interval, Time, TimeTz, Timestamp};

/// One value of a row, borrowed from its batch. `Copy`; reading allocates nothing.
///
/// Numbers, decimals, JSON and UUIDs are never parsed through floats.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// SQL NULL.
    Null,
    /// The source did not send this value: unchanged TOAST, a partial row image. Absent is not null (invariant 6).
    Unavailable,
    /// A boolean.
    Bool(bool),
    /// A signed integer of any width.
    I64(i64),
    /// An unsigned integer of any width.
    U64(u64),
    /// A 32-bit float; NaN and the infinities are themselves.
    F32(f32),
    /// A 64-bit float; NaN and the infinities are themselves.
    F64(f64),
    /// A decimal in the server's exact text, including `NaN` and `Infinity`.
    Decimal(&'a str),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A string of bits.
    Bits(BitsRef<'a>),
    /// JSON, as the source sent it.
    Json(&'a str),
    /// A UUID.
    Uuid(&'a [u8; 16]),
    /// A calendar date.
    Date(Date),
    /// A time of day or a signed duration.
    Time(Time),
    /// A time of day with an offset.
    TimeTz(TimeTz),
    /// A date and time without a zone.
    DateTime(DateTime),
    /// A point in time.
    Timestamp(Timestamp),
    /// A calendar interval.
    Interval(Interval),
    /// The label of an enumeration.
    Enum(&'a str),
    /// The labels of a set, joined by commas as MySQL prints them.
    Set(&'a str),
    /// An array, or the fields of a composite in order.
    List(ListRef<'a>),
    /// Keys with values, in order.
    Map(MapRef<'a>),
    /// A type without a form of its own, in the server's text.
    Other(&'a str),
}

impl<'a> ValueRef<'a> {
    /// True for [`ValueRef::Null`] alone.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// True for [`ValueRef::Unavailable`] alone.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable)
    }

    /// The text of any value that is kept as text: text, JSON, decimal, enum, set, other.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::Text(s)
            | Self::Json(s)
            | Self::Decimal(s)
            | Self::Enum(s)
            | Self::Set(s)
            | Self::Other(s) => Some(s),
            _ => None,
        }
    }

    /// The bytes of text and of bytes.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Bytes(b) => Some(b),
            _ => self.as_str().map(str::as_bytes),
        }
    }

    /// An integer that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::I64(n) => Some(n),
            Self::U64(n) => i64::try_from(n).ok(),
            _ => None,
        }
    }

    /// A copy that owns its content.
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Unavailable => Value::Unavailable,
            Self::Bool(b) => Value::Bool(b),
            Self::I64(n) => Value::I64(n),
            Self::U64(n) => Value::U64(n),
            Self::F32(n) => Value::F32(n),
            Self::F64(n) => Value::F64(n),
            Self::Decimal(s) => Value::Decimal(s.to_owned()),
            Self::Text(s) => Value::Text(s.to_owned()),
            Self::Bytes(b) => Value::Bytes(b.to_owned()),
            Self::Bits(b) => Value::Bits(b.bytes.to_owned(), b.len),
            Self::Json(s) => Value::Json(s.to_owned()),
            Self::Uuid(u) => Value::Uuid(*u),
            Self::Date(d) => Value::Date(d),
            Self::Time(t) => Value::Time(t),
            Self::TimeTz(t) => Value::TimeTz(t),
            Self::DateTime(t) => Value::DateTime(t),
            Self::Timestamp(t) => Value::Timestamp(t),
            Self::Interval(i) => Value::Interval(i),
            Self::Enum(s) => Value::Enum(s.to_owned()),
            Self::Set(s) => Value::Set(s.to_owned()),
            Self::List(l) => Value::List(l.iter().map(ValueRef::to_value).collect()),
            Self::Map(m) => Value::Map(m.iter().map(|(k, v)| (k.to_value(), v.to_value())).collect()),
            Self::Other(s) => Value::Other(s.to_owned()),
        }
    }
}

/// A string of bits: `len` of them, from the highest bit of the first byte on; the rest is zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BitsRef<'a> {
    bytes: &'a [u8],
    len: u32,
}

impl<'a> BitsRef<'a> {
    /// `len` bits out of `bytes`; `None` when there are not enough bytes or too many, or when what pads the
    /// last byte is not zero.
    pub fn new(bytes: &'a [u8], len: u32) -> Option<Self> {
        let padding = if len.is_multiple_of(8) { 0 } else { 0xff_u8 >> (len % 8) };
        let padded = bytes.last().is_none_or(|last| last & padding == 0);
        (bytes.len() == (len as usize).div_ceil(8) && padded).then_some(Self { bytes, len })
    }

    /// All bits of `bytes`, as far as a length can say.
    fn whole(bytes: &'a [u8]) -> Self {
        let bytes = bytes.get(..(u32::MAX / 8) as usize).unwrap_or(bytes);
        Self { bytes, len: bytes.len() as u32 * 8 }
    }

    /// The number of bits.
    pub fn len(self) -> u32 {
        self.len
    }

    /// True when there is no bit.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The bytes, the last one padded with zeros.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The bits, first to last.
    pub fn iter(self) -> impl Iterator<Item = bool> + 'a {
        let bytes = self.bytes;
        (0..self.len as usize).map(move |i| bytes[i / 8] >> (7 - i % 8) & 1 == 1)
    }
}

/// `0` and `1`, first to last.
impl fmt::Display for BitsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|bit| f.write_str(if bit { "1" } else { "0" }))
    }
}

impl fmt::Debug for BitsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The elements of a list.
#[derive(Clone, Copy)]
pub struct ListRef<'a>(Elements<'a>);

#[derive(Clone, Copy)]
enum Elements<'a> {
    Cells(&'a Parts, Range),
    Values(&'a [Value]),
    Entries(&'a [(Value, Value)]),
}

impl<'a> Elements<'a> {
    fn len(self) -> usize {
        match self {
            Self::Cells(_, range) => range.len(),
            Self::Values(v) => v.len(),
            Self::Entries(e) => e.len() * 2,
        }
    }

    fn get(self, index: usize) -> Option<ValueRef<'a>> {
        match self {
            Self::Cells(parts, range) => parts.cells(range).get(index).map(|cell| parts.value(cell)),
            Self::Values(v) => v.get(index).map(Value::as_ref),
            Self::Entries(e) => {
                e.get(index / 2).map(|(k, v)| if index.is_multiple_of(2) { k.as_ref() } else { v.as_ref() })
            }
        }
    }
}

impl<'a> ListRef<'a> {
    pub(crate) fn cells(parts: &'a Parts, range: Range) -> Self {
        Self(Elements::Cells(parts, range))
    }

    /// The number of elements.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The element at `index`.
    pub fn get(self, index: usize) -> Option<ValueRef<'a>> {
        self.0.get(index)
    }

    /// All elements, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = ValueRef<'a>> {
        (0..self.len()).map(move |i| self.get(i).unwrap_or(ValueRef::Null))
    }
}

impl fmt::Debug for ListRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for ListRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

/// Keys with values, in the order of the source.
#[derive(Clone, Copy)]
pub struct MapRef<'a>(Elements<'a>);

impl<'a> MapRef<'a> {
    pub(crate) fn cells(parts: &'a Parts, range: Range) -> Self {
        Self(Elements::Cells(parts, range))
    }

    /// The number of entries.
    pub fn len(self) -> usize {
        self.0.len() / 2
    }

    /// True when there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value of the first entry whose key is this text.
    pub fn get(self, key: &str) -> Option<ValueRef<'a>> {
        self.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(_, v)| v)
    }

    /// All entries, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = (ValueRef<'a>, ValueRef<'a>)> {
        (0..self.len()).map(move |i| {
            let at = |index| self.0.get(index).unwrap_or(ValueRef::Null);
            (at(2 * i), at(2 * i + 1))
        })
    }
}

impl fmt::Debug for MapRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for MapRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

/// An owned value: for literals, tests and dead letters. Hot paths read [`ValueRef`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is that of ValueRef")]
pub enum Value {
    Null,
    Unavailable,
    Bool(bool),
    I64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    Decimal(String),
    Text(String),
    Bytes(Vec<u8>),
    /// The bytes and the number of bits; all bits of the bytes where the two do not fit.
    Bits(Vec<u8>, u32),
    Json(String),
    Uuid([u8; 16]),
    Date(Date),
    Time(Time),
    TimeTz(TimeTz),
    DateTime(DateTime),
    Timestamp(Timestamp),
    Interval(Interval),
    Enum(String),
    Set(String),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Other(String),
}

impl Value {
    /// JSON from anything that prints as JSON, such as `serde_json::Value`. The text is taken as it is.
    pub fn json(document: impl fmt::Display) -> Self {
        Self::Json(document.to_string())
    }

    /// The borrowed form.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Unavailable => ValueRef::Unavailable,
            Self::Bool(b) => ValueRef::Bool(*b),
            Self::I64(n) => ValueRef::I64(*n),
            Self::U64(n) => ValueRef::U64(*n),
            Self::F32(n) => ValueRef::F32(*n),
            Self::F64(n) => ValueRef::F64(*n),
            Self::Decimal(s) => ValueRef::Decimal(s),
            Self::Text(s) => ValueRef::Text(s),
            Self::Bytes(b) => ValueRef::Bytes(b),
            Self::Bits(b, len) => ValueRef::Bits(BitsRef::new(b, *len).unwrap_or_else(|| BitsRef::whole(b))),
            Self::Json(s) => ValueRef::Json(s),
            Self::Uuid(u) => ValueRef::Uuid(u),
            Self::Date(d) => ValueRef::Date(*d),
            Self::Time(t) => ValueRef::Time(*t),
            Self::TimeTz(t) => ValueRef::TimeTz(*t),
            Self::DateTime(t) => ValueRef::DateTime(*t),
            Self::Timestamp(t) => ValueRef::Timestamp(*t),
            Self::Interval(i) => ValueRef::Interval(*i),
            Self::Enum(s) => ValueRef::Enum(s),
            Self::Set(s) => ValueRef::Set(s),
            Self::List(l) => ValueRef::List(ListRef(Elements::Values(l))),
            Self::Map(m) => ValueRef::Map(MapRef(Elements::Entries(m))),
            Self::Other(s) => ValueRef::Other(s),
        }
    }
}

macro_rules! value_from {
    ($($from:ty => |$v:ident| $make:expr),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from($v: $from) -> Self {
                $make
            }
        }
    )*};
}
value_from! {
    bool => |v| Self::Bool(v),
    i32 => |v| Self::I64(v.into()),
    i64 => |v| Self::I64(v),
    u32 => |v| Self::I64(v.into()),
    u64 => |v| Self::U64(v),
    f32 => |v| Self::F32(v),
    f64 => |v| Self::F64(v),
    &str => |v| Self::Text(v.to_owned()),
    String => |v| Self::Text(v),
    Vec<u8> => |v| Self::Bytes(v),
    Date => |v| Self::Date(v),
    Timestamp => |v| Self::Timestamp(v),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Self {
        v.map_or(Self::Null, Into::into)
    }
}
