//! Strings as JSON, and bytes, bits and UUIDs as strings.

use std::fmt;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Writes a JSON string with its quotes. Line breaks and other control characters are escaped.
pub fn write_str(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, tail)) = tail.split_first() else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => display(format_args!("\\u{other:04x}"), out),
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Writes what a value prints.
pub(super) fn display(value: impl fmt::Display, out: &mut Vec<u8>) {
    // A vector takes every write.
    let _ = write!(out, "{value}");
}

/// Writes bytes as a string of base64 with padding.
pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    display(format_args!("\"{}\"", base64::display::Base64Display::new(bytes, &BASE64)), out);
}

/// Reads base64 with padding.
pub(super) fn read_bytes(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Reads a text of `0` and `1`: the bytes, padded with zeros, and the number of bits.
pub(super) fn read_bits(text: &str) -> Option<(Vec<u8>, u32)> {
    let mut bytes = Vec::with_capacity(text.len().div_ceil(8));
    for eight in text.as_bytes().chunks(8) {
        let mut byte = 0;
        for (i, bit) in eight.iter().enumerate() {
            match bit {
                b'0' => {}
                b'1' => byte |= 0x80 >> i,
                _ => return None,
            }
        }
        bytes.push(byte);
    }
    Some((bytes, u32::try_from(text.len()).ok()?))
}

/// A UUID in its usual form, `8-4-4-4-12` lower-case hexadecimal digits.
pub(crate) struct UuidText<'a>(pub(crate) &'a [u8; 16]);

impl fmt::Display for UuidText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = u128::from_be_bytes(*self.0);
        let part = |shift: u32, digits: u32| n >> shift & ((1 << (4 * digits)) - 1);
        let (a, b, c, d, e) = (part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12));
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }
}

/// Reads a UUID in its usual form.
pub(super) fn read_uuid(text: &str) -> Option<[u8; 16]> {
    let mut n = 0_u128;
    for (i, byte) in text.bytes().enumerate() {
        if matches!(i, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
        } else {
            n = n << 4 | u128::from((byte as char).to_digit(16)?);
        }
    }
    (text.len() == 36).then_some(n.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_stays_on_its_line_and_reads_back() {
        let text: String = (0..0x250).filter_map(char::from_u32).collect::<String>() + "\u{2028}\u{1f600}";
        let mut out = Vec::new();
        write_str(&text, &mut out);
        assert!(out.iter().all(|b| *b >= b' '));
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn uuids_and_bits_read_back() {
        let uuid = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
        assert_eq!(UuidText(&uuid).to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(read_uuid("00112233-4455-6677-8899-AABBCCDDEEFF"), Some(uuid));
        for bad in ["", "00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeef\u{e9}"] {
            assert_eq!(read_uuid(bad), None, "{bad}");
        }
        assert_eq!(read_bits("101000001"), Some((vec![0b1010_0000, 0b1000_0000], 9)));
        assert_eq!(read_bits("102"), None);
    }
}
