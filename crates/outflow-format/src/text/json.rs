//! JSON inside JSON: documents that sources send as text.

use super::escape::write_string;
use super::number::number_end;

/// Embeds JSON text. Keeps the stack of open brackets from one document to the next.
#[derive(Debug, Default)]
pub(crate) struct JsonText {
    open: Vec<Bracket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bracket {
    Object,
    Array,
}

impl JsonText {
    /// Writes a document as it is, without its line breaks, which can only stand between tokens: a record stays
    /// one line. Text that is not JSON (a column without a check, say) becomes a string, so that what is written
    /// is always JSON.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, text: &str) {
        if !self.is_json(text) {
            write_string(out, text);
            return;
        }
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
    }

    /// True for exactly one JSON value, of any depth, whose strings are whole Unicode text: escaped surrogates
    /// stand in pairs.
    pub(crate) fn is_json(&mut self, text: &str) -> bool {
        self.open.clear();
        let mut scan = Scan { rest: text.as_bytes() };
        self.document(&mut scan).is_some()
    }

    fn document(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        loop {
            scan.space();
            // A value begins here.
            match *scan.rest.first()? {
                b'{' => {
                    scan.next()?;
                    if !scan.close(b'}') {
                        self.open.push(Bracket::Object);
                        scan.key()?;
                        continue;
                    }
                }
                b'[' => {
                    scan.next()?;
                    if !scan.close(b']') {
                        self.open.push(Bracket::Array);
                        continue;
                    }
                }
                b'"' => scan.string()?,
                b't' => scan.word(b"true")?,
                b'f' => scan.word(b"false")?,
                b'n' => scan.word(b"null")?,
                _ => scan.number()?,
            }
            // A value has ended: what holds it goes on or ends.
            loop {
                scan.space();
                let Some(bracket) = self.open.last() else {
                    return scan.rest.is_empty().then_some(());
                };
                match (bracket, scan.next()?) {
                    (Bracket::Object, b',') => {
                        scan.key()?;
                        break;
                    }
                    (Bracket::Array, b',') => break,
                    (Bracket::Object, b'}') | (Bracket::Array, b']') => {
                        self.open.pop();
                    }
                    _ => return None,
                }
            }
        }
    }
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn space(&mut self) {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }

    /// Takes the closing bracket of an empty object or list.
    fn close(&mut self, bracket: u8) -> bool {
        self.space();
        match self.rest.split_first() {
            Some((first, rest)) if *first == bracket => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let end = number_end(self.rest)?;
        self.rest = self.rest.get(end..)?;
        Some(())
    }

    fn key(&mut self) -> Option<()> {
        self.space();
        self.string()?;
        self.space();
        (self.next()? == b':').then_some(())
    }

    fn string(&mut self) -> Option<()> {
        self.word(b"\"")?;
        loop {
            let at = self.rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20))?;
            let special = self.rest[at];
            self.rest = &self.rest[at + 1..];
            match special {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => match self.unit()? {
                0xd800..0xdc00 => {
                    self.word(b"\\u")?;
                    matches!(self.unit()?, 0xdc00..0xe000).then_some(())
                }
                0xdc00..0xe000 => None,
                _ => Some(()),
            },
            _ => None,
        }
    }

    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        JsonText::default().write(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn documents_stay_as_they_are_on_one_line() {
        assert_eq!(written("{\n  \"a\": [1.10, {}],\r\n\"b\":null }"), "{  \"a\": [1.10, {}],\"b\":null }");
        assert_eq!(written("123456789012345678901234567890.10"), "123456789012345678901234567890.10");
    }

    #[test]
    fn what_is_not_json_becomes_a_string() {
        for text in
            ["", " ", "{", "{\"a\"}", "[1,]", "{,}", "tru", "1 2", "\"a", "\"\n\"", "'a'", "{\"a\":1}}", "]"]
        {
            assert_eq!(serde_json::from_str::<String>(&written(text)).unwrap(), text);
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        let mut json = JsonText::default();
        assert!(json.is_json(r#""\ud83d\ude00""#));
        for text in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#""\ud83d\u0041""#] {
            assert!(!json.is_json(text), "{text}");
        }
    }

    #[test]
    fn depth_has_no_limit() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(JsonText::default().is_json(&deep));
        assert!(!JsonText::default().is_json(&deep[1..]));
    }

    proptest! {
        #[test]
        fn agrees_with_a_json_parser(text in r#"[\[\]{}:,"0-9.eE tfn\\u-]{0,12}|[\[{]{0,3}("a":)?(true|null|1.5|"x")[\]}]{0,3}"#) {
            prop_assert_eq!(
                JsonText::default().is_json(&text),
                serde_json::from_str::<IgnoredAny>(&text).is_ok(),
                "{}", text
            );
        }
    }
}
