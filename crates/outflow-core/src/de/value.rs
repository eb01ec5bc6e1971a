//! Values.

use serde::de::value::{BorrowedStrDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde_json::de::StrRead;

use super::Failure;
use crate::json::UuidText;
use crate::value::ValueRef;

/// A value of a row, list or map.
pub(super) struct Column<'a>(pub(super) ValueRef<'a>);

type Out<T> = Result<T, Failure>;

/// Lets `serde_json` read the text of a JSON value, in the way that the type asks for.
fn json<'a, T>(
    text: &'a str,
    read: impl FnOnce(&mut serde_json::Deserializer<StrRead<'a>>) -> serde_json::Result<T>,
) -> Out<T> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = read(&mut json).map_err(Failure::new)?;
    json.end().map_err(Failure::new)?;
    Ok(value)
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Out<V::Value> {
            match self.0 {
                ValueRef::Json(text) => json(text, |json| json.$method(visitor)),
                ValueRef::Decimal(text) => match integral(text) {
                    Some(n) => visit_integer(n, visitor),
                    None => Err(Failure::new(format_args!("the decimal {text} is no integer"))),
                },
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

macro_rules! floats {
    ($($method:ident $visit:ident),*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Out<V::Value> {
            match self.0 {
                ValueRef::Json(text) => json(text, |json| json.$method(visitor)),
                // The one place where a decimal is rounded: the type asks for a float by name.
                ValueRef::Decimal(text) => match text.parse() {
                    Ok(n) => visitor.$visit(n),
                    Err(_) => Err(Failure::new(format_args!("the decimal {text} is no float"))),
                },
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

macro_rules! as_they_are {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Out<V::Value> {
            match self.0 {
                ValueRef::Json(text) => json(text, |json| json.$method(visitor)),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

macro_rules! bytes {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Out<V::Value> {
            match self.0 {
                ValueRef::Json(text) => json(text, |json| json.$method(visitor)),
                ValueRef::Uuid(uuid) => visitor.visit_borrowed_bytes(uuid),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'a> Deserializer<'a> for Column<'a> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Out<V::Value> {
        match self.0 {
            ValueRef::Null => visitor.visit_unit(),
            ValueRef::Unavailable => Err(Failure::new("the source did not send the value")),
            ValueRef::Bool(b) => visitor.visit_bool(b),
            ValueRef::I64(n) => visitor.visit_i64(n),
            ValueRef::U64(n) => visitor.visit_u64(n),
            ValueRef::F32(n) => visitor.visit_f32(n),
            ValueRef::F64(n) => visitor.visit_f64(n),
            ValueRef::Decimal(s)
            | ValueRef::Text(s)
            | ValueRef::Enum(s)
            | ValueRef::Set(s)
            | ValueRef::Other(s) => visitor.visit_borrowed_str(s),
            ValueRef::Bytes(b) => visitor.visit_borrowed_bytes(b),
            ValueRef::Bits(b) => visitor.visit_string(b.to_string()),
            ValueRef::Json(text) => json(text, |json| json.deserialize_any(visitor)),
            ValueRef::Uuid(u) => visitor.visit_string(UuidText(u).to_string()),
            ValueRef::Date(d) => visitor.visit_string(d.to_string()),
            ValueRef::Time(t) => visitor.visit_string(t.to_string()),
            ValueRef::TimeTz(t) => visitor.visit_string(t.to_string()),
            ValueRef::DateTime(t) => visitor.visit_string(t.to_string()),
            ValueRef::Timestamp(t) => visitor.visit_string(t.to_string()),
            ValueRef::Interval(i) => visitor.visit_string(i.to_string()),
            ValueRef::List(list) => SeqDeserializer::new(list.iter().map(Column)).deserialize_any(visitor),
            ValueRef::Map(map) => {
                let entries = map.iter().map(|(k, v)| (Column(k), Column(v)));
                MapDeserializer::new(entries).deserialize_any(visitor)
            }
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    floats! { deserialize_f32 visit_f32, deserialize_f64 visit_f64 }

    as_they_are! {
        deserialize_bool deserialize_char deserialize_str deserialize_string deserialize_unit deserialize_map
        deserialize_identifier deserialize_ignored_any
    }

    bytes! { deserialize_bytes deserialize_byte_buf }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Out<V::Value> {
        match self.0 {
            ValueRef::Null | ValueRef::Unavailable => visitor.visit_none(),
            ValueRef::Json(text) => json(text, |json| json.deserialize_option(visitor)),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Out<V::Value> {
        match self.0 {
            ValueRef::Json(text) => json(text, |json| json.deserialize_seq(visitor)),
            ValueRef::Bytes(b) => SeqDeserializer::new(b.iter().copied()).deserialize_any(visitor),
            ValueRef::Uuid(u) => SeqDeserializer::new(u.iter().copied()).deserialize_any(visitor),
            ValueRef::Bits(b) => SeqDeserializer::new(b.iter()).deserialize_any(visitor),
            ValueRef::Set(labels) => {
                let labels = labels.split(',').filter(|label| !label.is_empty());
                SeqDeserializer::new(labels.map(|s| Column(ValueRef::Text(s)))).deserialize_any(visitor)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, len: usize, visitor: V) -> Out<V::Value> {
        match self.0 {
            ValueRef::Json(text) => json(text, |json| json.deserialize_tuple(len, visitor)),
            _ => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Out<V::Value> {
        match self.0 {
            ValueRef::Json(text) => json(text, |json| json.deserialize_tuple_struct(name, len, visitor)),
            _ => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Out<V::Value> {
        match self.0 {
            ValueRef::Json(text) => json(text, |json| json.deserialize_unit_struct(name, visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Out<V::Value> {
        match self.0 {
            // Also how `serde_json::value::RawValue` asks for the text itself.
            ValueRef::Json(text) => json(text, |json| json.deserialize_newtype_struct(name, visitor)),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Out<V::Value> {
        match self.0 {
            ValueRef::Json(text) => json(text, |json| json.deserialize_struct(name, fields, visitor)),
            // A composite is a list of its fields.
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Out<V::Value> {
        match self.0 {
            ValueRef::Json(text) => json(text, |json| json.deserialize_enum(name, variants, visitor)),
            ValueRef::Text(s) | ValueRef::Enum(s) | ValueRef::Set(s) | ValueRef::Other(s) => {
                visitor.visit_enum(BorrowedStrDeserializer::new(s))
            }
            _ => self.deserialize_any(visitor),
        }
    }
}

impl<'a> IntoDeserializer<'a, Failure> for Column<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The integer that a decimal is, if it is one: digits, and after a point only zeros.
fn integral(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().all(|b| b == b'0') { whole.parse().ok() } else { None }
}

/// Hands out the narrowest form: most types take 64 bits only.
fn visit_integer<'a, V: Visitor<'a>>(n: i128, visitor: V) -> Out<V::Value> {
    match (i64::try_from(n), u64::try_from(n)) {
        (Ok(n), _) => visitor.visit_i64(n),
        (_, Ok(n)) => visitor.visit_u64(n),
        _ => visitor.visit_i128(n),
    }
}
