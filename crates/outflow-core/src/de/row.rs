//! Rows.

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::Failure;
use super::value::Column;
use crate::error::{Error, Result};
use crate::event::RowRef;
use crate::value::ValueRef;

impl<'a> RowRef<'a> {
    /// The row as `T`: a struct or map by column names, a tuple or sequence by column order. Text and bytes can
    /// be borrowed from the batch. [`ChangeBatch::rows`](crate::ChangeBatch::rows) shows it.
    ///
    /// In a schema of documents (see [`TableSchema::document`](crate::TableSchema::document)) `T` is read from
    /// the document, where the row has one.
    ///
    /// | value | becomes |
    /// | --- | --- |
    /// | NULL | `None`, `()` |
    /// | unavailable | a missing field: `None` for an `Option`, the default for `#[serde(default)]`, else an error |
    /// | integers, floats, booleans | numbers and booleans that hold them |
    /// | decimal | text, exactly; an integer where it is integral; `f64` or `f32` only where `T` asks for one, rounded |
    /// | text, enum, set, other | text (`&str` without a copy), a unit variant of an enum; a set also a list of its labels |
    /// | bytes | `&[u8]` without a copy, `Vec<u8>`, arrays |
    /// | bits | text of `0` and `1`, or a list of booleans |
    /// | UUID | text in its usual form, or 16 bytes |
    /// | dates and times | their ISO 8601 text |
    /// | list, map | sequences and tuples, maps and structs |
    /// | JSON | whatever its text says, by `serde_json` |
    ///
    /// # Errors
    /// `row.deserialize`, naming the table and the column. A column that the source did not send is not NULL
    /// (invariant 6): the error says so.
    pub fn deserialize<T: Deserialize<'a>>(&self) -> Result<T> {
        let read = match self.document() {
            Some(document) => serde_json::from_str(document).map_err(Failure::new),
            None => T::deserialize(Row(*self)),
        };
        read.map_err(|failure| self.error(failure))
    }

    fn document(&self) -> Option<&'a str> {
        match self.get(self.schema().document_column()?)? {
            ValueRef::Json(document) => Some(document),
            _ => None,
        }
    }

    fn error(&self, failure: Failure) -> Error {
        let column = failure.column.as_deref().or(failure.missing);
        let not_sent = failure.missing.and_then(|c| self.by_name(c)).is_some_and(|v| v.is_unavailable());
        let error = Error::data("row.deserialize").with("table", self.schema().qualified_name());
        let error = match column {
            Some(column) => error.with("column", column),
            None => error,
        };
        if not_sent {
            return error.message("the source did not send the column, which is not the same as NULL").hint(
                "make the field an Option, or let the source send whole rows \
                 (PostgreSQL: ALTER TABLE … REPLICA IDENTITY FULL; MySQL: binlog_row_image = FULL)",
            );
        }
        error.message(format!("the row does not fit the type: {failure}"))
    }
}

struct Row<'a>(RowRef<'a>);

impl<'de> Deserializer<'de> for Row<'de> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(Columns { row: self.0, next: 0 })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(Columns { row: self.0, next: 0 })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        if self.0.len() != len {
            return Err(Failure::new(format_args!("it has {} columns, not {len}", self.0.len())));
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let columns = Columns { row: self.0, next: 0 };
        MapAccessDeserializer::new(columns).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        map struct identifier ignored_any
    }
}

/// The columns of a row, by name or in order.
struct Columns<'a> {
    row: RowRef<'a>,
    next: usize,
}

impl<'a> Columns<'a> {
    fn current(&self) -> Option<(&'a str, ValueRef<'a>)> {
        let name = self.row.schema().columns().get(self.next)?.name();
        Some((name, self.row.get(self.next)?))
    }

    fn read<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        let (name, value) = self.current().ok_or_else(|| Failure::new("there is no column left"))?;
        self.next += 1;
        seed.deserialize(Column(value)).map_err(|failure| failure.within(name))
    }
}

impl<'a> MapAccess<'a> for Columns<'a> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        while let Some((name, value)) = self.current() {
            if !value.is_unavailable() {
                return seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some);
            }
            self.next += 1; // Invariant 6: not sent is missing, not null.
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        self.read(seed)
    }
}

impl<'a> SeqAccess<'a> for Columns<'a> {
    type Error = Failure;

    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        if self.current().is_some() { self.read(seed).map(Some) } else { Ok(None) }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.row.len() - self.next)
    }
}
