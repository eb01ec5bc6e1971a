//! Flat JSON by a plan that is compiled once a schema: names escaped ahead, no tree, no allocation a row.

use outflow_core::{TableSchema, ValueRef};

/// How the rows of one schema become JSON lines.
#[derive(Debug)]
pub struct Plan {
    /// What stands before each value: `{"id":`, `,"name":`, …
    prefixes: Vec<Vec<u8>>,
}

impl Plan {
    /// Compiles the plan.
    pub fn new(schema: &TableSchema) -> Self {
        let prefixes = schema.columns().iter().enumerate().map(|(i, column)| {
            let mut prefix = vec![if i == 0 { b'{' } else { b',' }];
            write_text(column.name(), &mut prefix);
            prefix.push(b':');
            prefix
        });
        Self { prefixes: prefixes.collect() }
    }

    /// Appends one row as a line. Decimals are strings, points in time are microseconds since 1970.
    #[inline]
    pub fn encode<'v>(&self, values: impl Iterator<Item = ValueRef<'v>>, out: &mut Vec<u8>) {
        for (prefix, value) in self.prefixes.iter().zip(values) {
            out.extend_from_slice(prefix);
            match value {
                ValueRef::Bool(v) => out.extend_from_slice(if v { b"true" } else { b"false" }),
                ValueRef::I64(v) => write_integer(v, out),
                ValueRef::Timestamp(v) => write_integer(v.micros(), out),
                ValueRef::Uuid(v) => write_uuid(v, out),
                ValueRef::Json(v) => out.extend_from_slice(v.as_bytes()),
                ValueRef::Decimal(v) | ValueRef::Text(v) => write_text(v, out),
                _ => out.extend_from_slice(b"null"),
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

fn write_integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn write_uuid(uuid: &[u8; 16], out: &mut Vec<u8>) {
    let mut text = [b'-'; 38];
    text[0] = b'"';
    text[37] = b'"';
    let mut at = 1;
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    out.extend_from_slice(&text);
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.push(b'"');
    let mut plain = 0;
    while let Some(at) = bytes[plain..].iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\') {
        let at = plain + at;
        out.extend_from_slice(&bytes[plain..at]);
        write_escape(bytes[at], out);
        plain = at + 1;
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

#[cold]
fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let hex = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            return out.extend_from_slice(&hex);
        }
    };
    out.extend([b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_serde_json_does() {
        let all: String = (0..0x80_u8).map(char::from).chain("größer €".chars()).collect();
        let mut out = Vec::new();
        write_text(&all, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&all).unwrap());
    }
}
