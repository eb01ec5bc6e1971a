//! What is wrong with a configuration, and where.

use std::borrow::Cow;
use std::ops::Range;

use outflow_core::Error;
use serde_json::{Value as Json, json};

use crate::redact::{MASK, Secrets, lines_to_mask, merged};
use crate::text::{SourceText, Span};

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is started.
    Error,
    /// Worth a look; everything goes on.
    Warning,
}

impl Severity {
    /// The word that is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One mistake. Holds no credential: neither a value that came from an interpolation nor one that the schema or its
/// form makes secret (invariant 10).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The stable code, such as `config.unknown_key`.
    pub code: Cow<'static, str>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where it is.
    pub place: Place,
    /// What to do about it, in a few words: `did you mean "tables"?`.
    pub label: Option<String>,
    /// The key concerned, such as `source.tables[1]`; empty for the file as a whole.
    pub path: String,
    /// The type of the connector whose keys are concerned, for a pointer to its description.
    pub connector: Option<String>,
}

/// Where a [`Diagnostic`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A line of a file.
    Line {
        /// The file, as it was named.
        file: String,
        /// The line, from 1.
        line: u32,
        /// The column, from 1, in characters.
        column: u32,
        /// How many characters of the line are meant; at least 1.
        width: u32,
        /// The line as it may be shown.
        excerpt: Excerpt,
    },
    /// A file as a whole.
    File {
        /// The file, as it was named.
        file: String,
    },
    /// A command-line flag; its value is left out.
    Flag {
        /// The flag, such as `--set orders.sink.topik`.
        text: Excerpt,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
    },
}

/// A line to show: credentials masked, control characters replaced, cut to a width that a terminal has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// What to print.
    pub text: String,
    /// The characters of `text` that are meant.
    pub marked: Range<usize>,
}

impl Excerpt {
    /// The widest line that is shown whole.
    const WIDTH: usize = 110;

    fn new(line: &str, marked: Range<usize>, masks: &[Range<usize>]) -> Self {
        let (mut text, mut start, mut end) = (Vec::new(), None, None);
        let mut masks = masks.iter().peekable();
        let chars: Vec<char> = line.chars().collect();
        let mut i = 0;
        while i <= chars.len() {
            if i >= marked.start && start.is_none() {
                start = Some(text.len());
            }
            if i >= marked.end && end.is_none() {
                end = Some(text.len());
            }
            if let Some(mask) = masks.next_if(|m| m.start <= i && !m.is_empty()) {
                text.extend(MASK.chars());
                i = mask.end.max(i + 1);
                continue;
            }
            if let Some(c) = chars.get(i) {
                text.push(printable(*c));
            }
            i += 1;
        }
        let start = start.unwrap_or(text.len());
        let end = end.unwrap_or(text.len()).max(start + 1);
        while text.last().is_some_and(|c| c.is_whitespace()) && text.len() >= end {
            text.pop();
        }
        Self::window(&text, start..end)
    }

    fn window(text: &[char], marked: Range<usize>) -> Self {
        let show = |range: Range<usize>| text.get(range).unwrap_or_default().iter().collect::<String>();
        if text.len() <= Self::WIDTH {
            return Self { text: show(0..text.len()), marked };
        }
        let from = if marked.start < Self::WIDTH * 2 / 3 { 0 } else { marked.start - Self::WIDTH / 3 };
        let to = (from + Self::WIDTH).min(text.len());
        let before = if from > 0 { "…" } else { "" };
        let after = if to < text.len() { "…" } else { "" };
        let shift = |i: usize| i.min(to) - from + before.chars().count();
        Self {
            text: format!("{before}{}{after}", show(from..to)),
            marked: shift(marked.start)..shift(marked.end).max(shift(marked.start) + 1),
        }
    }
}

/// A character that cannot move the cursor or change colours.
fn printable(c: char) -> char {
    match c {
        '\t' => '→',
        c if c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') =>
        {
            '\u{fffd}'
        }
        c => c,
    }
}

impl Diagnostic {
    pub(crate) fn new(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: Cow::Borrowed(code),
            message: message.into(),
            place,
            label: None,
            path: String::new(),
            connector: None,
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    pub(crate) fn file(code: &'static str, file: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(code, Place::File { file: file.into() }, message)
    }

    /// The file that it is about.
    pub fn file_name(&self) -> Option<&str> {
        match &self.place {
            Place::Line { file, .. } | Place::File { file } => Some(file),
            Place::Flag { .. } | Place::Variable { .. } => None,
        }
    }

    /// The form for `--json`: `severity`, `code`, `message` and, where they apply, `file`, `line`, `column`, `width`,
    /// `flag`, `variable`, `path`, `help`.
    pub fn to_json(&self) -> Json {
        let mut out = json!({"severity": self.severity.word(), "code": self.code, "message": self.message});
        match &self.place {
            Place::Line { file, line, column, width, .. } => {
                out["file"] = json!(file);
                out["line"] = json!(line);
                out["column"] = json!(column);
                out["width"] = json!(width);
            }
            Place::File { file } => out["file"] = json!(file),
            Place::Flag { text } => out["flag"] = json!(text.text),
            Place::Variable { name } => out["variable"] = json!(name),
        }
        if !self.path.is_empty() {
            out["path"] = json!(self.path);
        }
        if let Some(label) = &self.label {
            out["help"] = json!(label);
        }
        out
    }
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        let place = match &diagnostic.place {
            Place::Line { file, line, column, .. } => format!("{file}:{line}:{column}: "),
            Place::File { file } => format!("{file}: "),
            Place::Flag { text } => format!("{}: ", text.text),
            Place::Variable { name } => format!("{name}: "),
        };
        let error = Self::configuration(diagnostic.code).message(format!("{place}{}", diagnostic.message));
        match diagnostic.label {
            Some(label) => error.hint(label),
            None => error,
        }
    }
}

/// A mistake as the checks find it, before it is known what else of the file is secret.
#[derive(Clone)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) at: At,
    pub(crate) label: Option<String>,
    pub(crate) path: String,
    pub(crate) connector: Option<String>,
}

/// Where a [`Finding`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Span(Span),
    /// Characters of the flag with this index.
    Flag(usize, Range<usize>),
    File,
}

impl Finding {
    pub(crate) fn new(code: &'static str, at: impl Into<At>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            at: at.into(),
            label: None,
            path: String::new(),
            connector: None,
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn path(mut self, path: impl ToString) -> Self {
        self.path = path.to_string();
        self
    }
}

impl From<Span> for At {
    fn from(span: Span) -> Self {
        Self::Span(span)
    }
}

/// What of one file, and of the flags that change it, must not be shown.
#[derive(Clone, Default)]
pub(crate) struct Hidden {
    pub(crate) secrets: Secrets,
    pub(crate) spans: Vec<Span>,
}

/// Makes diagnostics of findings: sorted by place, each once, without a secret.
pub(crate) fn publish(
    mut findings: Vec<Finding>,
    text: &SourceText,
    flags: &[String],
    hidden: &Hidden,
) -> Vec<Diagnostic> {
    if findings.is_empty() {
        return Vec::new();
    }
    findings.sort_by_key(|f| match &f.at {
        At::File => (0, 0, 0),
        At::Span(span) => (1, span.start.line as usize, span.start.col as usize),
        At::Flag(index, marked) => (2, *index, marked.start),
    });
    let masks = lines_to_mask(text);
    let mut out: Vec<Diagnostic> = Vec::new();
    for finding in findings {
        let place = match finding.at {
            At::Span(span) => line_place(text, span, &masks, hidden),
            At::Flag(index, marked) => {
                let flag = flags.get(index).map_or("", String::as_str);
                Place::Flag { text: Excerpt::new(flag, marked, &[]) }
            }
            At::File => Place::File { file: text.name().to_owned() },
        };
        let diagnostic = Diagnostic {
            severity: finding.severity,
            code: Cow::Borrowed(finding.code),
            message: hidden.secrets.scrub(&finding.message),
            place,
            label: finding.label.map(|l| hidden.secrets.scrub(&l)),
            path: finding.path,
            connector: finding.connector,
        };
        if !out.contains(&diagnostic) {
            out.push(diagnostic);
        }
    }
    out
}

fn line_place(text: &SourceText, span: Span, masks: &[Vec<Range<usize>>], hidden: &Hidden) -> Place {
    let start = text.clamp(span.start);
    let line = text.line(start.line);
    let len = line.chars().count();
    let marked =
        if start == span.start { span.cols(start.line, len) } else { start.col as usize..start.col as usize };
    let marked = (start.col as usize).min(len)..marked.end.max((start.col as usize).min(len) + 1);
    let mut ranges = masks.get(start.line as usize - 1).cloned().unwrap_or_default();
    ranges.extend(hidden.spans.iter().map(|s| s.cols(start.line, len)));
    Place::Line {
        file: text.name().to_owned(),
        line: start.line,
        column: marked.start as u32 + 1,
        width: marked.len() as u32,
        excerpt: Excerpt::new(line, marked, &merged(ranges)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_keeps_its_mark_behind_a_mask() {
        let excerpt = Excerpt::new("{password: hunter2, tpic: x}", 20..24, std::slice::from_ref(&(11..18)));
        assert_eq!(excerpt.text, "{password: ***, tpic: x}");
        assert_eq!(excerpt.text.chars().skip(16).take(4).collect::<String>(), "tpic");
        assert_eq!(excerpt.marked, 16..20);
    }

    #[test]
    fn a_long_line_is_cut_around_its_mark() {
        let line = format!("{}KEY{}", "a".repeat(500), "b".repeat(500));
        let excerpt = Excerpt::new(&line, 500..503, &[]);
        assert!(excerpt.text.chars().count() <= Excerpt::WIDTH + 2);
        let marked: String =
            excerpt.text.chars().skip(excerpt.marked.start).take(excerpt.marked.len()).collect();
        assert_eq!(marked, "KEY");
    }

    #[test]
    fn nothing_in_an_excerpt_moves_the_cursor() {
        assert_eq!(Excerpt::new("\ta\u{1b}[31m\u{202e}", 0..1, &[]).text, "→a\u{fffd}[31m\u{fffd}");
    }
}
