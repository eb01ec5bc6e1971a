//! Values in flat JSON.

use outflow_sdk::{PlainText, ValueRef};

use crate::options::Decimals;
use crate::text::{
    JsonText, is_json_number, write_base64, write_bits, write_bool, write_date, write_date_time,
    write_display, write_f32, write_f64, write_integer, write_string, write_timestamp, write_uuid,
};

/// Writes values for people: ISO 8601 for everything temporal, base64 for bytes, JSON as JSON.
#[derive(Debug)]
pub(crate) struct Values {
    decimals: Decimals,
    json: JsonText,
}

impl Values {
    pub(crate) fn new(decimals: Decimals) -> Self {
        Self { decimals, json: JsonText::default() }
    }

    /// Writes JSON text as JSON.
    pub(crate) fn json(&mut self, out: &mut Vec<u8>, text: &str) {
        self.json.write(out, text);
    }

    /// Writes any value. Inside lists and maps, where nothing can be left out, an unavailable value is null.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, value: ValueRef<'_>) {
        match value {
            ValueRef::Null | ValueRef::Unavailable => out.extend_from_slice(b"null"),
            ValueRef::Bool(v) => write_bool(out, v),
            ValueRef::I64(v) => write_integer(out, v),
            ValueRef::U64(v) => write_integer(out, v),
            ValueRef::F32(v) => write_f32(out, v),
            ValueRef::F64(v) => write_f64(out, v),
            ValueRef::Decimal(s) => write_decimal(out, s, self.decimals),
            ValueRef::Text(s) | ValueRef::Enum(s) | ValueRef::Set(s) | ValueRef::Other(s) => {
                write_string(out, s)
            }
            ValueRef::Bytes(b) => write_base64(out, b),
            ValueRef::Bits(b) => write_bits(out, b),
            ValueRef::Json(s) => self.json.write(out, s),
            ValueRef::Uuid(u) => write_uuid(out, u),
            ValueRef::Date(v) => write_date(out, v),
            ValueRef::Time(v) => write_display(out, v),
            ValueRef::TimeTz(v) => write_display(out, v),
            ValueRef::DateTime(v) => write_date_time(out, v),
            ValueRef::Timestamp(v) => write_timestamp(out, v),
            ValueRef::Interval(v) => write_display(out, v),
            ValueRef::List(list) => {
                out.push(b'[');
                for (i, value) in list.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    self.write(out, value);
                }
                out.push(b']');
            }
            ValueRef::Map(map) => {
                out.push(b'{');
                for (i, (key, value)) in map.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    write_map_key(out, key);
                    out.push(b':');
                    self.write(out, value);
                }
                out.push(b'}');
            }
            // Kinds of a later version of the change model.
            other => write_display(out, format_args!("{other:?}")),
        }
    }
}

/// Writes a decimal: its exact text, with or without quotes.
pub(crate) fn write_decimal(out: &mut Vec<u8>, text: &str, decimals: Decimals) {
    if decimals == Decimals::Number && is_json_number(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_string(out, text);
    }
}

fn write_map_key(out: &mut Vec<u8>, key: ValueRef<'_>) {
    match (key.as_str(), PlainText::of(key)) {
        (Some(text), _) => write_string(out, text),
        (None, Some(text)) => write_display(out, text),
        // JSON has text keys only; a list as a key shows what it is.
        (None, None) => write_display(out, format_args!("{key:?}")),
    }
}
