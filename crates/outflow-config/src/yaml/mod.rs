//! YAML text to a tree of values with their places.
//!
//! The parser stops at its first error. What people get wrong most is known, though (a value that had to be quoted),
//! so that such a value is reported, replaced by a harmless one of the same width and the text read again: the other
//! mistakes of the file show in the same run, each at its own place.

mod build;
mod misread;

use std::sync::Arc;

use crate::diagnostic::Finding;
use crate::environment::Environment;
use crate::findings::Findings;
use crate::redact::Secrets;
use crate::text::{Pos, SourceText, Span};
use crate::tree::Node;

/// The largest file, in bytes.
pub(crate) const MAX_FILE: u64 = 1024 * 1024;
/// How deep values may be nested.
pub(crate) const MAX_DEPTH: u32 = 64;
/// How many values a file may hold, those that aliases repeat included.
pub(crate) const MAX_VALUES: u64 = 100_000;
/// How many values are replaced before the rest of a file is given up.
const MAX_RECOVERIES: usize = 32;

/// Reads the one document of a file. `None` when it cannot be read as a whole; the findings say why.
pub(crate) fn parse(
    text: &SourceText,
    environment: &dyn Environment,
    findings: &mut Findings,
    secrets: &mut Secrets,
) -> Option<Arc<Node>> {
    if let Some(finding) = control_character(text) {
        findings.push(finding);
        return None;
    }
    let mut scratch = text.clone();
    let mut replaced: Vec<Span> = Vec::new();
    loop {
        let mut found = Findings::default();
        match build::build(&scratch, text, &replaced, environment, &mut found, secrets) {
            Ok(node) => {
                findings.append(found);
                return node;
            }
            Err(stop) => {
                let misread = misread::explain(text, &scratch, stop.pos, &stop.info);
                findings.push(misread.finding);
                let span = misread.replace.filter(|span| !replaced.iter().any(|r| r.overlaps(span)))?;
                if replaced.len() >= MAX_RECOVERIES {
                    return None;
                }
                scratch = blank_out(&scratch, span);
                replaced.push(span);
            }
        }
    }
}

/// Reads the value of a flag, where a list or a block is wanted: flow style, nothing replaced.
pub(crate) fn parse_flow(text: &str) -> Option<Arc<Node>> {
    let source = SourceText::new("", text);
    let none = |_: &str| None;
    let mut found = Findings::default();
    let node = build::build(&source, &source, &[], &none, &mut found, &mut Secrets::default()).ok()??;
    found.is_empty().then_some(node)
}

/// The text with the characters of a span replaced by letters.
fn blank_out(text: &SourceText, span: Span) -> SourceText {
    let mut out = String::with_capacity(text.text().len());
    let (mut line, mut col) = (1, 0);
    for c in text.text().chars() {
        let here = Pos { line, col };
        let within = span.start <= here && here < span.end;
        out.push(if within && c != '\n' && c != '\r' { 'x' } else { c });
        if c == '\n' {
            (line, col) = (line + 1, 0);
        } else {
            col += 1;
        }
    }
    SourceText::new(text.name(), out)
}

/// YAML allows no control characters, and the parser takes NUL for the end of the file.
fn control_character(text: &SourceText) -> Option<Finding> {
    let bad =
        |c: char| (c.is_control() && !matches!(c, '\t' | '\u{85}')) || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.lines().find_map(|(line, content)| {
        let (col, c) = content.chars().enumerate().find(|(_, c)| bad(*c))?;
        let message = format!("the control character U+{:04X} is not allowed in YAML", u32::from(c));
        let finding = Finding::new("config.yaml", Span::of(line, col..col + 1), message);
        Some(finding.label("remove it, or write it as an escape in double quotes"))
    })
}
