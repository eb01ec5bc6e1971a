//! The small rest: booleans, bytes, bits, UUIDs.

use std::fmt::{Display, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outflow_sdk::BitsRef;

use super::escape::Escaped;

/// Writes a boolean.
pub(crate) fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Writes bytes as a string in base64 (standard alphabet, padded).
pub(crate) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exact, so this cannot fail.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or_default();
    out.truncate(start + written);
    out.push(b'"');
}

/// Writes bits as a string of 0 and 1.
pub(crate) fn write_bits(out: &mut Vec<u8>, bits: BitsRef<'_>) {
    out.push(b'"');
    out.extend(bits.iter().map(|bit| if bit { b'1' } else { b'0' }));
    out.push(b'"');
}

/// Writes a UUID as a string.
pub(crate) fn write_uuid(out: &mut Vec<u8>, uuid: &[u8; 16]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 38];
    text[0] = b'"';
    text[37] = b'"';
    let mut at = 1;
    for (i, byte) in uuid.iter().enumerate() {
        // The hyphens are there already.
        at += usize::from(matches!(i, 4 | 6 | 8 | 10));
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    out.extend_from_slice(&text);
}

/// Writes what prints as a string.
pub(crate) fn write_display(out: &mut Vec<u8>, value: impl Display) {
    out.push(b'"');
    // Appending cannot fail.
    let _ = write!(Escaped(out), "{value}");
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = b"x".to_vec();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        for (bytes, expected) in
            [(&b""[..], "x\"\""), (b"a", "x\"YQ==\""), (b"ab", "x\"YWI=\""), (b"abc", "x\"YWJj\"")]
        {
            assert_eq!(text(&|out| write_base64(out, bytes)), expected);
        }
        let bits = BitsRef::new(&[0b1010_0000], 3).unwrap();
        assert_eq!(text(&|out| write_bits(out, bits)), "x\"101\"");
        let uuid = *b"\x55\x0e\x84\x00\xe2\x9b\x41\xd4\xa7\x16\x44\x66\x55\x44\x00\x00";
        assert_eq!(text(&|out| write_uuid(out, &uuid)), "x\"550e8400-e29b-41d4-a716-446655440000\"");
        assert_eq!(text(&|out| write_display(out, "a\"b")), "x\"a\\\"b\"");
    }
}
