//! Keeps credentials out of everything that is shown (invariant 10).
//!
//! Two nets, because the first cannot see everything: places that the schema or an interpolation made secret, and
//! what looks like a credential in the raw text, which also works in a file that could not be parsed and in comments.

use std::collections::BTreeSet;
use std::ops::Range;

use strsim::damerau_levenshtein;

use crate::text::{SourceText, Span};

/// What stands in for a credential.
pub(crate) const MASK: &str = "***";

/// Values that must not appear in messages.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    /// Credentials: by the schema, by their form, or from a file.
    values: BTreeSet<String>,
    /// What came from variables. Our own messages never quote it; those of others might.
    outside: BTreeSet<String>,
}

impl Secrets {
    pub(crate) fn add(&mut self, value: &str) {
        insert(&mut self.values, value);
    }

    pub(crate) fn add_outside(&mut self, value: &str) {
        insert(&mut self.outside, value);
    }

    /// Adds what a scalar holds of credentials by its own form, such as the password of a URL.
    pub(crate) fn add_embedded(&mut self, value: &str) {
        let chars: Vec<char> = value.chars().collect();
        for range in credentials_within(&chars) {
            self.add(&chars.get(range).unwrap_or_default().iter().collect::<String>());
        }
    }

    /// A message of ours without any of the credentials. A short value is taken out only where it stands alone, for
    /// it would otherwise match parts of ordinary words.
    pub(crate) fn scrub(&self, message: &str) -> String {
        scrub(message, self.values.iter().collect())
    }

    /// A message that somebody else wrote, perhaps around one of the values: without all that came from outside.
    pub(crate) fn scrub_foreign(&self, message: &str) -> String {
        scrub(message, self.values.union(&self.outside).collect())
    }
}

fn insert(into: &mut BTreeSet<String>, value: &str) {
    for part in [value, value.trim()] {
        if !part.is_empty() {
            into.insert(part.to_owned());
        }
    }
}

fn scrub(message: &str, mut values: Vec<&String>) -> String {
    let mut out = message.to_owned();
    // Longest first, so that no part of a longer value is left over.
    values.sort_by_key(|v| std::cmp::Reverse(v.len()));
    for value in values {
        for form in [value.clone(), value.escape_debug().to_string()] {
            out = replace(&out, &form, value.chars().count() >= 4);
        }
    }
    let chars: Vec<char> = out.chars().collect();
    cut(&chars, &credentials_within(&chars))
}

fn replace(text: &str, value: &str, anywhere: bool) -> String {
    if anywhere {
        return text.replace(value, MASK);
    }
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(value) {
        let inside = word(before.chars().next_back()) || word(after.chars().next());
        out.push_str(before);
        out.push_str(if inside { value } else { MASK });
        rest = after;
    }
    out + rest
}

/// A line with the ranges cut out.
fn cut(chars: &[char], ranges: &[Range<usize>]) -> String {
    let mut out = String::new();
    let mut at = 0;
    for range in merged(ranges.to_vec()) {
        out.extend(chars.get(at..range.start).unwrap_or_default());
        out.push_str(MASK);
        at = range.end;
    }
    out.extend(chars.get(at..).unwrap_or_default());
    out
}

/// Sorted, without overlaps or empty ranges.
pub(crate) fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|r| r.start < r.end);
    ranges.sort_by_key(|r| r.start);
    let mut out: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

/// True for a key whose value is a credential by all custom, also when it is misspelt.
pub(crate) fn secret_name(name: &str) -> bool {
    const WORDS: [&str; 14] = [
        "password",
        "passwd",
        "pass",
        "pwd",
        "passphrase",
        "secret",
        "secrets",
        "token",
        "tokens",
        "credential",
        "credentials",
        "authorization",
        "apikey",
        "jaas",
    ];
    const PAIRS: [[&str; 2]; 4] = [["api", "key"], ["access", "key"], ["private", "key"], ["account", "key"]];
    let words = words(name);
    let known = |word: &String| {
        WORDS.contains(&word.as_str())
            || ["password", "passwd", "secret", "token"].iter().any(|w| word.ends_with(w))
            || [("password", 2), ("secret", 1), ("token", 1)]
                .iter()
                .any(|(w, most)| damerau_levenshtein(w, word) <= *most)
    };
    words.iter().any(known) || words.windows(2).any(|w| PAIRS.iter().any(|p| w == p))
}

/// The lower-case words of a name in snake, kebab, dotted or camel case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for c in name.chars() {
        if !c.is_alphanumeric() {
            words.push(String::new());
        } else {
            if c.is_uppercase() && lower_before {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(c.to_lowercase());
            }
        }
        lower_before = c.is_lowercase();
    }
    words.retain(|w| !w.is_empty());
    words
}

/// What looks like a credential, by line of the raw text.
pub(crate) fn lines_to_mask(text: &SourceText) -> Vec<Vec<Range<usize>>> {
    let mut masks = Vec::new();
    // Indentation of a secret key whose value may go on in the lines below it, and whether all of them are value.
    let mut open: Option<(usize, bool)> = None;
    for (_, line) in text.lines() {
        let chars: Vec<char> = line.chars().collect();
        let indent = chars.iter().take_while(|c| c.is_whitespace()).count();
        let blank = indent == chars.len();
        let mut ranges = credentials_within(&chars);
        if let Some((level, all)) = open {
            if !blank && indent <= level {
                open = None;
            } else if !blank && (all || !starts_with_key(&chars)) {
                ranges.push(indent..chars.len());
            }
        }
        for (value, hides) in secret_values(&chars) {
            if open.is_none() {
                open = Some((indent, !value.is_empty()));
            }
            if hides {
                ranges.push(value);
            }
        }
        masks.push(merged(ranges));
    }
    masks
}

/// The first line of a span, if it holds nothing that looks like a credential.
pub(crate) fn raw_if_harmless(text: &SourceText, span: Span) -> Option<String> {
    let line = span.start.line;
    let cols = span.cols(line, text.line(line).chars().count());
    let masks = lines_to_mask(text);
    let masked = masks.get((line as usize).checked_sub(1)?)?;
    let touched = masked.iter().any(|m| m.start < cols.end && cols.start < m.end);
    (!touched).then(|| text.line(line).chars().skip(cols.start).take(cols.len()).collect())
}

fn is_key_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn starts_with_key(chars: &[char]) -> bool {
    let mut rest = chars.iter().copied().skip_while(|c| c.is_whitespace() || *c == '-').peekable();
    let mut any = false;
    while rest.next_if(|c| is_key_char(*c) || matches!(c, '"' | '\'')).is_some() {
        any = true;
    }
    any && rest.next() == Some(':') && rest.next().is_none_or(char::is_whitespace)
}

/// For each secret key of a line: the columns of what follows its colon, and whether that is to be masked.
fn secret_values(chars: &[char]) -> Vec<(Range<usize>, bool)> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let start = i;
        while chars.get(i).is_some_and(|c| is_key_char(*c)) {
            i += 1;
        }
        if i == start {
            i += 1;
            continue;
        }
        let name: String = chars.get(start..i).unwrap_or_default().iter().collect();
        let mut after = i;
        while matches!(chars.get(after), Some('"' | '\'' | ' ' | '\t')) {
            after += 1;
        }
        let quoted = chars.get(i).is_some_and(|c| matches!(c, '"' | '\''));
        let spaced = chars.get(after + 1).is_none_or(|c| c.is_whitespace());
        if chars.get(after) == Some(&':') && (spaced || quoted) && secret_name(&name) {
            let value = value_at(chars, after + 1);
            i = value.end.max(i);
            let shown: String = chars.get(value.clone()).unwrap_or_default().iter().collect();
            let hides = !reference_only(&shown) && !shown.starts_with(['|', '>']);
            found.push((value, hides));
        }
    }
    found
}

/// The columns of the value that starts after a colon: a quoted text, or all up to the end of the entry.
fn value_at(chars: &[char], from: usize) -> Range<usize> {
    let at = |i: usize| chars.get(i).copied();
    let mut start = from;
    while at(start).is_some_and(char::is_whitespace) {
        start += 1;
    }
    let in_flow = chars.get(..from).unwrap_or_default().iter().fold(0i32, |depth, c| match c {
        '{' | '[' => depth + 1,
        '}' | ']' => depth - 1,
        _ => depth,
    }) > 0;
    let mut end = start;
    if let Some(quote @ ('"' | '\'')) = at(start) {
        end += 1;
        while let Some(c) = at(end) {
            end += 1;
            match c {
                '\\' if quote == '"' => end += 1,
                c if c == quote => break,
                _ => {}
            }
        }
        return start..end.min(chars.len());
    }
    let mut braces = 0i32;
    while let Some(c) = at(end) {
        match c {
            '{' => braces += 1,
            '}' if braces > 0 => braces -= 1,
            ',' | '}' | ']' if in_flow && braces == 0 => break,
            '#' if at(end.wrapping_sub(1)).is_some_and(char::is_whitespace) => break,
            _ => {}
        }
        end += 1;
    }
    while end > start && at(end - 1).is_some_and(char::is_whitespace) {
        end -= 1;
    }
    start..end
}

/// True for text that only refers to a value kept elsewhere: `${NAME}`, `${file:path}`.
fn reference_only(text: &str) -> bool {
    let text = text.trim().trim_matches(['"', '\'']);
    let interpolation = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'));
    interpolation.is_some_and(|t| !t.contains(":-") && !t.contains(['{', '}']))
}

/// Passwords within URLs (`scheme://user:password@host`) and assignments (`password=…`).
fn credentials_within(chars: &[char]) -> Vec<Range<usize>> {
    let text = |r: &Range<usize>| chars.get(r.clone()).unwrap_or_default().iter().collect::<String>();
    let mut found = url_passwords(chars);
    let mut i = 0;
    while let Some(next) = chars.get(i..).and_then(|rest| rest.iter().position(|c| *c == '=')) {
        let equals = i + next;
        i = equals + 1;
        let name =
            chars.get(..equals).unwrap_or_default().iter().rev().take_while(|c| is_key_char(**c)).count();
        if name > 0 && secret_name(&text(&(equals - name..equals))) {
            let quote = chars.get(i).copied().filter(|c| matches!(c, '"' | '\''));
            let start = i + usize::from(quote.is_some());
            let ends = |c: &char| match quote {
                Some(q) => *c == q,
                None => ends_word(c) || matches!(c, '&' | ';'),
            };
            let rest = chars.get(start..).unwrap_or_default();
            i = start + rest.iter().position(ends).unwrap_or(rest.len());
            found.push(start..i);
        }
    }
    found.retain(|r| !reference_only(&text(r)));
    found
}

/// What stands between the first colon and the last `@` of a word: a password written without percent-encoding may
/// hold more of both. The scheme may be missing where a URL is not one yet.
fn url_passwords(chars: &[char]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    for word in chars.split(ends_word) {
        let start = from;
        from += word.len() + 1;
        let scheme = word.windows(3).position(|w| w == [':', '/', '/']).map_or(0, |at| at + 3);
        let Some(at) = word.iter().rposition(|c| *c == '@') else { continue };
        let colon = word.iter().skip(scheme).position(|c| *c == ':').map(|i| i + scheme);
        if let Some(colon) = colon.filter(|colon| *colon < at) {
            found.push(start + colon + 1..start + at);
        }
    }
    found
}

fn ends_word(c: &char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let text = SourceText::new("a", text);
        let masks = lines_to_mask(&text);
        let lines = text.lines().zip(masks).map(|((_, line), ranges)| {
            let chars: Vec<char> = line.chars().collect();
            cut(&chars, &ranges)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn masks_what_looks_like_a_credential() {
        for (raw, shown) in [
            ("password: hunter2", "password: ***"),
            ("  password: \"hun # ter2\"  # mine", "  password: ***  # mine"),
            ("pasword: hunter2", "pasword: ***"),
            ("sasl.password: hun,ter2", "sasl.password: ***"),
            ("apiKey: k", "apiKey: ***"),
            ("access_key: k", "access_key: ***"),
            ("sink: {type: x, token: abc, topic: t}", "sink: {type: x, token: ***, topic: t}"),
            ("{\"password\":\"x\",\"a\":1}", "{\"password\":***,\"a\":1}"),
            ("# password: old", "# password: ***"),
            ("url: postgres://u:hunter2@h/db", "url: postgres://u:***@h/db"),
            ("url: postgres://u:hun@ter/2@h/db", "url: postgres://u:***@h/db"),
            ("url: u:hunter2@h", "url: u:***@h"),
            ("url: postgres://u@h/db?password=x&a=b", "url: postgres://u@h/db?password=***&a=b"),
            ("dsn: \"host=h password=hunter2 user=u\"", "dsn: \"host=h password=*** user=u\""),
            ("password: |\n  one\n  two\nnext: x", "password: |\n  ***\n  ***\nnext: x"),
            ("password: \"one\n  two\"\nnext: x", "password: ***\n  ***\nnext: x"),
            ("password: |-\n  user: one\nnext: x", "password: |-\n  ***\nnext: x"),
            ("tokens:\n  - one\n  - two\nnext: x", "tokens:\n  ***\n  ***\nnext: x"),
            ("password: ${A:-hunter2}", "password: ***"),
        ] {
            assert_eq!(masked(raw), shown);
        }
    }

    #[test]
    fn shows_what_is_no_credential() {
        for raw in [
            "key: order",
            "topic: \"shop.{table}\"",
            "password: ${PG_PASSWORD}",
            "password: \"${file:/run/secrets/pg}\"",
            "url: postgres://u:${PW}@h/db",
            "url: postgres://outflow@h/db",
            "bypass: true",
            "tables: [passengers]",
        ] {
            assert_eq!(masked(raw), raw);
        }
    }

    #[test]
    fn scrubs_messages() {
        let mut secrets = Secrets::default();
        secrets.add("hunter2\n");
        secrets.add("ab");
        secrets.add("tab\"le");
        secrets.add_embedded("amqp://u:pw-long@h");
        assert_eq!(
            secrets.scrub("invalid \"hunter2\", about ab, \"tab\\\"le\" amqp://u:pw-long@h and x://y:z1@w"),
            "invalid \"***\", about ***, \"***\" amqp://u:***@h and x://y:***@w"
        );
    }
}
