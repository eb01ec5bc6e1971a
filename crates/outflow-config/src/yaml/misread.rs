//! What the parser's errors mean to the person who wrote the file.

use std::ops::Range;

use crate::diagnostic::Finding;
use crate::redact::raw_if_harmless;
use crate::suggest::nearest;
use crate::text::{Pos, SourceText, Span};

/// An error in plain words, and what to replace so that the rest of the file can be read.
pub(super) struct Misread {
    pub(super) finding: Finding,
    pub(super) replace: Option<Span>,
}

/// Explains an error. `scratch` is what was parsed, `text` what was written.
pub(super) fn explain(text: &SourceText, scratch: &SourceText, pos: Pos, info: &str) -> Misread {
    let pos = scratch.clamp(pos);
    let chars: Vec<char> = text.line(pos.line).chars().collect();
    let line = Line { source: text, chars: &chars, number: pos.line };
    let col = pos.col as usize;
    tab(text, pos, info)
        .or_else(|| indicator(text, &line, col, info))
        .or_else(|| line.interpolation(col))
        .or_else(|| line.value_error(col, info))
        .or_else(|| never_closed(text, pos, info))
        .or_else(|| no_colon(text, pos, info))
        .unwrap_or_else(|| line.plain_error(col, info))
}

fn plain(span: Span, message: impl Into<String>, label: &str) -> Misread {
    let finding = Finding::new("config.yaml", span, message);
    Misread { finding: if label.is_empty() { finding } else { finding.label(label) }, replace: None }
}

/// A list or a block in brackets that goes on into lines which were not meant for it.
fn never_closed(text: &SourceText, pos: Pos, info: &str) -> Option<Misread> {
    if !info.contains("flow") && !info.contains("':' indicator") {
        return None;
    }
    let mut open: Vec<(char, Span)> = Vec::new();
    for (number, content) in text.lines().take_while(|(n, _)| *n <= pos.line) {
        let mut quote = None;
        let mut before = ' ';
        for (col, c) in content.chars().enumerate() {
            if number == pos.line && col >= pos.col as usize {
                break;
            }
            match (quote, c) {
                (Some(q), _) => quote = quote.filter(|_| c != q),
                (None, '"' | '\'') if matches!(before, ' ' | '[' | '{' | ',') => quote = Some(c),
                (None, '#') if before == ' ' => break,
                (None, '[' | '{') if matches!(before, ' ' | '[' | '{' | ',') => {
                    open.push((c, Span::of(number, col..col + 1)));
                }
                (None, ']' | '}') => {
                    open.pop();
                }
                _ => {}
            }
            before = c;
        }
    }
    let (bracket, span) = open.pop().filter(|(_, span)| span.start.line < pos.line)?;
    let (what, close) = if bracket == '[' { ("list", ']') } else { ("block", '}') };
    Some(plain(
        span,
        format!("this {what} is not closed where it should be"),
        &format!("no \"{close}\" before line {}", pos.line),
    ))
}

/// A line that was meant as a key. The parser notices only at the next one.
fn no_colon(text: &SourceText, pos: Pos, info: &str) -> Option<Misread> {
    if !info.contains("expect ':'") {
        return None;
    }
    let indent = |line: &str| line.chars().take_while(|c| c.is_whitespace()).count();
    let first = indent(text.line(pos.line)) >= pos.col as usize;
    let told = |l: &&str| !l.trim().is_empty() && !l.trim_start().starts_with('#');
    let (number, content) =
        text.lines().filter(|(n, l)| *n < pos.line + u32::from(!first) && told(l)).last()?;
    let cols = indent(content)..content.trim_end().chars().count();
    Some(plain(Span::of(number, cols), "a key without \":\"", "write key: value"))
}

/// The remedy for a value that YAML misreads; `raw` is the value, where it may be shown.
pub(super) fn quote_it(raw: Option<&str>) -> String {
    match raw {
        Some(raw) if raw.contains(['"', '\\']) => format!("quote it: '{}'", raw.replace('\'', "''")),
        Some(raw) => format!("quote it: \"{raw}\""),
        None => "quote it".to_owned(),
    }
}

fn tab(text: &SourceText, pos: Pos, info: &str) -> Option<Misread> {
    let indent =
        |line: u32| text.line(line).chars().take_while(|c| c.is_whitespace()).position(|c| c == '\t');
    let at = |col: usize| text.line(pos.line).chars().nth(col) == Some('\t');
    let col = pos.col as usize;
    let (line, tab) = if let Some(tab) = indent(pos.line) {
        (pos.line, tab)
    } else if let Some(tab) = indent(pos.line + 1).filter(|_| info.contains("tab")) {
        (pos.line + 1, tab)
    } else {
        (pos.line, [col, col.wrapping_sub(1)].into_iter().find(|c| at(*c))?)
    };
    let others: Vec<String> = text
        .lines()
        .map(|(n, _)| n)
        .filter(|n| *n > line && indent(*n).is_some())
        .map(|n| n.to_string())
        .collect();
    let also = match others.as_slice() {
        [] => String::new(),
        [one] => format!(" (line {one} too)"),
        [first, .., last] => format!(" ({} more lines too, {first} to {last})", others.len()),
    };
    let finding = Finding::new("config.tab", Span::of(line, tab..tab + 1), "a tab where YAML wants spaces");
    Some(Misread { finding: finding.label(format!("write spaces{also}")), replace: None })
}

/// A value that starts with a character that means something else to YAML.
fn indicator(text: &SourceText, line: &Line<'_>, col: usize, info: &str) -> Option<Misread> {
    let first = line.at(col).filter(|c| matches!(c, '*' | '@' | '`' | '%'))?;
    let starts = info.contains("unexpected character") || info.contains("anchor");
    if !starts {
        return None;
    }
    let range = line.token(col);
    if first != '*' {
        return Some(line.misread(range, format!("YAML allows no value that starts with \"{first}\"")));
    }
    let raw = line.text(range.clone());
    let anchors = anchors(text);
    let near = nearest(raw.trim_start_matches('*'), anchors.iter().map(String::as_str));
    let mut misread =
        line.misread(range, "YAML reads \"*\" as an alias, and there is no such anchor".to_owned());
    if let Some(near) = near {
        misread.finding = misread.finding.label(format!("did you mean \"*{near}\"?"));
    }
    Some(misread)
}

fn anchors(text: &SourceText) -> Vec<String> {
    let name =
        |part: &str| part.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-')).collect();
    let starts = |before: &str| before.ends_with([' ', '[', '{', ',']) || before.is_empty();
    let mut found: Vec<String> = Vec::new();
    for (_, line) in text.lines() {
        for (at, _) in line.match_indices('&') {
            if starts(line.get(..at).unwrap_or_default()) {
                found.push(name(line.get(at + 1..).unwrap_or_default()));
            }
        }
    }
    found
}

struct Line<'a> {
    source: &'a SourceText,
    chars: &'a [char],
    number: u32,
}

impl Line<'_> {
    fn at(&self, col: usize) -> Option<char> {
        self.chars.get(col).copied()
    }

    fn text(&self, range: Range<usize>) -> String {
        self.chars.get(range).unwrap_or_default().iter().collect()
    }

    fn misread(&self, range: Range<usize>, message: String) -> Misread {
        let span = Span::of(self.number, range);
        let raw = raw_if_harmless(self.source, span);
        let finding = Finding::new("config.quote", span, message).label(quote_it(raw.as_deref()));
        Misread { finding, replace: Some(span) }
    }

    /// The end of the line without its comment.
    fn end(&self, from: usize) -> usize {
        let comment =
            |i: &usize| self.at(*i) == Some('#') && i.checked_sub(1).and_then(|b| self.at(b)) == Some(' ');
        let mut end = (from..self.chars.len()).find(comment).unwrap_or(self.chars.len());
        while end > from && self.at(end - 1).is_some_and(char::is_whitespace) {
            end -= 1;
        }
        end
    }

    /// From a column to where an entry of a list ends; braces that open within pair up.
    fn token(&self, from: usize) -> Range<usize> {
        let end = self.end(from);
        let mut depth = 0u32;
        let stop = (from..end).find(|i| match self.at(*i) {
            Some('{' | '[') => {
                depth += 1;
                false
            }
            Some('}' | ']') if depth > 0 => {
                depth -= 1;
                false
            }
            Some('}' | ']') => true,
            Some(',') => depth == 0 && self.at(i + 1).is_none_or(char::is_whitespace),
            _ => false,
        });
        let mut end = stop.unwrap_or(end);
        while end > from + 1 && self.at(end - 1).is_some_and(char::is_whitespace) {
            end -= 1;
        }
        from..end.max(from + 1)
    }

    /// The columns of the value, when the line is `key: value` or `- value`.
    fn value(&self) -> Option<Range<usize>> {
        let skip = |mut i: usize| {
            while self.at(i).is_some_and(char::is_whitespace) {
                i += 1;
            }
            i
        };
        let mut start = skip(0);
        let mut found = false;
        while self.at(start) == Some('-') && self.at(start + 1) == Some(' ') {
            start = skip(start + 1);
            found = true;
        }
        let key_char = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '<' | '"' | '\'' | '/');
        let mut end = start;
        while self.at(end).is_some_and(key_char) {
            end += 1;
        }
        if end > start && self.at(end) == Some(':') && self.at(end + 1) == Some(' ') {
            start = skip(end + 1);
            found = true;
        }
        let end = self.end(start);
        (found && end > start).then_some(start..end)
    }

    /// `${…}` where braces have a meaning: within `[ ]` and `{ }`.
    fn interpolation(&self, col: usize) -> Option<Misread> {
        let dollar = col.checked_sub(1).filter(|d| self.at(*d) == Some('$') && self.at(col) == Some('{'))?;
        let starts = |i: &usize| {
            let before = i.checked_sub(1).and_then(|b| self.at(b));
            matches!(before, None | Some('[' | '{' | ',' | ' '))
        };
        let start = (0..=dollar).rev().find(starts).unwrap_or(dollar);
        let range = start..self.token(col).end;
        let message = "\"${…}\" must be quoted within [ ] and { }, where braces have a meaning".to_owned();
        Some(self.misread(range, message))
    }

    fn value_error(&self, col: usize, info: &str) -> Option<Misread> {
        let value = self.value()?;
        if col < value.start || col > value.end {
            return None;
        }
        let raw = self.text(value.clone());
        let before = self.text(value.start..col.min(value.end));
        let message = match raw.chars().next()? {
            open @ ('{' | '[') if before.trim_end().ends_with(['}', ']']) => {
                let what = if open == '{' { "block" } else { "list" };
                format!("YAML reads \"{open}\" as the start of a {what}, and more text follows")
            }
            '"' | '\'' if info.contains("trailing") || before.len() > 1 => {
                "text follows the closing quote".to_owned()
            }
            '{' | '[' | '"' | '\'' => return None,
            _ if info.contains("mapping values") && raw.contains(": ") => {
                "a value cannot hold \": \"".to_owned()
            }
            _ => return None,
        };
        Some(self.misread(value, message))
    }

    fn plain_error(&self, col: usize, info: &str) -> Misread {
        let indent = self.chars.iter().take_while(|c| c.is_whitespace()).count();
        let end = self.end(indent);
        let here = Span::of(self.number, col..col + 1);
        let whole = Span::of(self.number, indent..end);
        if info.contains("quoted scalar") {
            plain(here, "this quote is not closed where it should be", "")
        } else if info.contains("mapping values") || (info.contains("expected key") && col <= indent) {
            plain(
                whole,
                "this line is not indented like the lines above it",
                "align it with the keys of its block",
            )
        } else if info.contains("block sequence entries") {
            plain(here, "a list starts in the middle of a line", "give each \"- \" a line of its own")
        } else if info.contains("flow sequence") {
            plain(here, "a list in [ ] is not closed here", "expected \",\" or \"]\"")
        } else if info.contains("flow mapping") {
            plain(here, "a block in { } is not closed here", "expected \",\" or \"}\"")
        } else {
            plain(here, format!("this is no valid YAML: {info}"), "")
        }
    }
}
