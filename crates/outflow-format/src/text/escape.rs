//! JSON strings.

use std::fmt;

/// Writes a string with its quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Writes the inside of a string. Most text needs no escape, so it is searched eight bytes at a time and copied
/// in runs.
pub(crate) fn write_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = find_special(rest) {
        let (clean, special) = rest.split_at(at);
        out.extend_from_slice(clean);
        let Some((byte, after)) = special.split_first() else { break };
        write_special(out, *byte);
        rest = after;
    }
    out.extend_from_slice(rest);
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte that is zero. Bytes above the lowest zero byte may be marked wrongly, so only the
/// lowest mark counts.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// The high bit of each byte that cannot stand in a JSON string; only the lowest mark counts.
const fn specials(word: u64) -> u64 {
    let quotes = zeros(word ^ (ONES * b'"' as u64));
    let backslashes = zeros(word ^ (ONES * b'\\' as u64));
    let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    quotes | backslashes | controls
}

/// The place of the first byte that cannot stand in a JSON string as it is.
fn find_special(bytes: &[u8]) -> Option<usize> {
    let (words, tail) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(i * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    tail.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).map(|at| words.len() * 8 + at)
}

fn write_special(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Takes what is printed into the inside of a JSON string.
pub(crate) struct Escaped<'a>(pub(crate) &'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_escaped(self.0, text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_byte_at_each_place_survives() {
        for at in 0..20 {
            for special in (0..=0x7f_u8).map(char::from).chain(['é', '€', '😀', '\u{2028}']) {
                let text = "a".repeat(at) + &special.to_string() + "bcdefghij";
                assert_eq!(serde_json::from_str::<String>(&encoded(&text)).unwrap(), text);
            }
        }
    }

    #[test]
    fn escapes_are_the_short_ones() {
        assert_eq!(encoded("\"\\\n\r\t\u{8}\u{c}\u{1}/"), r#""\"\\\n\r\t\b\f\u0001/""#);
    }

    proptest! {
        #[test]
        fn any_text_survives(text in any::<String>(), specials in "[\u{0}-\u{ff}\"\\\\]*") {
            for text in [text, specials] {
                prop_assert_eq!(serde_json::from_str::<String>(&encoded(&text)).unwrap(), text);
            }
        }
    }
}
