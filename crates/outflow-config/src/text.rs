//! The text of one file, and places in it.

use std::ops::Range;
use std::path::Path;

/// A place in a file: line from 1, column from 0, counted in characters as the parser does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pos {
    pub(crate) line: u32,
    pub(crate) col: u32,
}

/// A stretch of a file. `end` is exclusive; an empty span is a place between two characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) start: Pos,
    pub(crate) end: Pos,
}

impl Span {
    /// A stretch within one line.
    pub(crate) fn of(line: u32, cols: Range<usize>) -> Self {
        Self { start: Pos { line, col: cols.start as u32 }, end: Pos { line, col: cols.end as u32 } }
    }

    /// The columns that the span covers of a line with so many characters.
    pub(crate) fn cols(&self, line: u32, len: usize) -> Range<usize> {
        if line < self.start.line || line > self.end.line {
            return 0..0;
        }
        let start = if line == self.start.line { self.start.col as usize } else { 0 };
        let end = if line == self.end.line { self.end.col as usize } else { len };
        let end = end.min(len);
        start.min(end)..end
    }

    /// True when the two share a character.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// A file as it was read.
#[derive(Clone)]
pub(crate) struct SourceText {
    name: String,
    text: String,
    lines: Vec<Range<usize>>,
}

impl SourceText {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = split_lines(&text);
        Self { name: name.into(), text, lines }
    }

    /// The file's name, as the person wrote it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The folder that relative paths in the file start from.
    pub(crate) fn folder(&self) -> &Path {
        Path::new(&self.name).parent().unwrap_or_else(|| Path::new(""))
    }

    /// The text of a line, from 1, without its end. Empty past the end of the file.
    pub(crate) fn line(&self, line: u32) -> &str {
        let range = (line as usize).checked_sub(1).and_then(|i| self.lines.get(i)).cloned();
        range.and_then(|r| self.text.get(r)).unwrap_or_default()
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = (u32, &str)> {
        self.lines.iter().zip(1..).map(|(r, n)| (n, self.text.get(r.clone()).unwrap_or_default()))
    }

    /// The text that a span covers.
    pub(crate) fn slice(&self, span: Span) -> &str {
        let (start, end) = (self.byte_at(span.start), self.byte_at(span.end));
        self.text.get(start..end.max(start)).unwrap_or_default()
    }

    /// The place so many bytes after another.
    pub(crate) fn advance(&self, from: Pos, bytes: usize) -> Pos {
        let at = self.byte_at(from).saturating_add(bytes);
        let index = self.lines.partition_point(|r| r.start <= at).saturating_sub(1);
        let start = self.lines.get(index).map_or(0, |r| r.start);
        let col = self.text.get(start..at).map_or(0, |s| s.chars().count());
        Pos { line: index as u32 + 1, col: col as u32 }
    }

    /// A place within the file, for one that a parser reported past its end.
    pub(crate) fn clamp(&self, pos: Pos) -> Pos {
        let count = self.lines.len() as u32;
        if pos.line <= count {
            return Pos { line: pos.line.max(1), col: pos.col };
        }
        let last = self.lines().filter(|(_, l)| !l.trim().is_empty()).last();
        let (line, text) = last.unwrap_or((1, ""));
        Pos { line, col: text.trim_end().chars().count() as u32 }
    }

    fn byte_at(&self, pos: Pos) -> usize {
        let Some(range) = (pos.line as usize).checked_sub(1).and_then(|i| self.lines.get(i)) else {
            return self.text.len();
        };
        let line = self.text.get(range.clone()).unwrap_or_default();
        let offset = line.char_indices().nth(pos.col as usize).map_or(line.len(), |(i, _)| i);
        range.start + offset
    }
}

/// The lines of YAML: ended by CR LF, LF or CR.
fn split_lines(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut lines = Vec::new();
    let (mut start, mut i) = (0, 0);
    while let Some(&b) = bytes.get(i) {
        let next = i + 1;
        if b == b'\n' || b == b'\r' {
            lines.push(start..i);
            i = if b == b'\r' && bytes.get(next) == Some(&b'\n') { next + 1 } else { next };
            start = i;
        } else {
            i = next;
        }
    }
    if start < bytes.len() || lines.is_empty() {
        lines.push(start..bytes.len());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_in_yaml() {
        let text = SourceText::new("a", "x\r\ny\rzä\n\nlast");
        let lines: Vec<_> = text.lines().map(|(_, l)| l).collect();
        assert_eq!(lines, ["x", "y", "zä", "", "last"]);
        assert_eq!(text.line(3), "zä");
        assert_eq!((text.line(0), text.line(6)), ("", ""));
    }

    #[test]
    fn slices_and_advances_by_characters() {
        let text = SourceText::new("a", "ä: öü\nnext: x");
        let span = Span { start: Pos { line: 1, col: 3 }, end: Pos { line: 2, col: 4 } };
        assert_eq!(text.slice(span), "öü\nnext");
        assert_eq!(text.advance(span.start, "ö".len()), Pos { line: 1, col: 4 });
        assert_eq!(text.advance(span.start, "öü\nn".len()), Pos { line: 2, col: 1 });
        assert_eq!(text.clamp(Pos { line: 9, col: 0 }), Pos { line: 2, col: 7 });
    }
}
