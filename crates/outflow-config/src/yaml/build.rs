//! Events of the parser to a tree.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::misread::quote_it;
use super::{MAX_DEPTH, MAX_VALUES};
use crate::diagnostic::{At, Finding};
use crate::environment::Environment;
use crate::findings::Findings;
use crate::interpolate::interpolate;
use crate::redact::{Secrets, raw_if_harmless};
use crate::text::{Pos, SourceText, Span};
use crate::tree::{Content, Entry, Key, Map, Node, Origin, Scalar};

/// Where and why the parser gave up.
pub(super) struct Stop {
    pub(super) pos: Pos,
    pub(super) info: String,
}

/// Builds the tree. `scratch` is what is parsed: `text` with the `replaced` spans blanked out.
///
/// # Errors
/// The parser's own error. A document that is refused for another reason is `Ok(None)` and has a finding.
pub(super) fn build(
    scratch: &SourceText,
    text: &SourceText,
    replaced: &[Span],
    environment: &dyn Environment,
    findings: &mut Findings,
    secrets: &mut Secrets,
) -> Result<Option<Arc<Node>>, Stop> {
    let mut builder = Builder {
        text,
        replaced,
        environment,
        findings,
        secrets,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        documents: 0,
        values: 0,
    };
    for event in Parser::new_from_str(scratch.text()) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => return Err(Stop { pos: pos(error.marker()), info: error.info().to_owned() }),
        };
        let span = Span { start: pos(&span.start), end: pos(&span.end) };
        if builder.event(event, span).is_err() {
            return Ok(None);
        }
    }
    if builder.documents == 0 {
        builder.findings.push(Finding::new("config.empty", At::File, "the file holds no pipeline"));
    }
    Ok(builder.root)
}

fn pos(marker: &Marker) -> Pos {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Pos { line: narrow(marker.line()), col: narrow(marker.col()) }
}

/// The document is refused as a whole; a finding says why.
struct Refused;

struct Builder<'a> {
    text: &'a SourceText,
    replaced: &'a [Span],
    environment: &'a dyn Environment,
    findings: &'a mut Findings,
    secrets: &'a mut Secrets,
    stack: Vec<Frame>,
    /// Finished anchors; `None` while the value is being built.
    anchors: HashMap<usize, Option<Arc<Node>>>,
    root: Option<Arc<Node>>,
    documents: u32,
    values: u64,
}

/// A list or a mapping that is being built.
struct Frame {
    start: Span,
    flow: bool,
    anchor: usize,
    /// It has a tag that cannot be taken.
    unreadable: bool,
    kind: FrameKind,
}

enum FrameKind {
    List(Vec<Arc<Node>>),
    Map(MapFrame),
}

#[derive(Default)]
struct MapFrame {
    entries: Vec<Entry>,
    lines: HashMap<String, u32>,
    merges: Vec<(Span, Arc<Node>)>,
    key: Option<PendingKey>,
}

/// A key that waits for its value.
enum PendingKey {
    Name(Key),
    Merge(Span),
    /// Has a finding; the value is dropped.
    Dropped,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Refused> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => self.document(span),
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), span)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(FrameKind::List(Vec::new()), "seq", anchor, tag.as_deref(), span)
            }
            Event::MappingStart(anchor, tag) => {
                self.open(FrameKind::Map(MapFrame::default()), "map", anchor, tag.as_deref(), span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.close(span);
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, span),
        }
    }

    fn document(&mut self, span: Span) -> Result<(), Refused> {
        self.documents += 1;
        if self.documents > 1 {
            let finding = Finding::new("config.many_documents", span, "a second document starts here");
            self.findings.push(finding.label("one file holds one pipeline: move it to a file of its own"));
            return Err(Refused);
        }
        Ok(())
    }

    fn count(&mut self, values: u64, span: Span) -> Result<(), Refused> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            let message = format!("the file holds more than {MAX_VALUES} values");
            let finding = Finding::new("config.too_large", span, message);
            self.findings.push(finding.label("aliases count as what they repeat"));
            return Err(Refused);
        }
        Ok(())
    }

    fn too_deep(&mut self, span: Span) -> Refused {
        let message = format!("values are nested more than {MAX_DEPTH} deep");
        self.findings.push(Finding::new("config.too_large", span, message));
        Refused
    }

    fn wants_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { kind: FrameKind::Map(MapFrame { key: None, .. }), .. }))
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), Refused> {
        self.count(1, span)?;
        let plain =
            style == ScalarStyle::Plain && !tag.is_some_and(|t| t.is_yaml_core_schema() && t.suffix == "str");
        let unreadable = self.replaced.iter().any(|r| r.overlaps(&span));
        if self.wants_key() {
            if anchor != 0 {
                self.anchors.insert(anchor, Some(Arc::new(Node::scalar(text, span, Origin::File))));
            }
            if unreadable {
                self.set_key(PendingKey::Dropped);
            } else {
                self.key(text, plain && tag.is_none(), span);
            }
            return Ok(());
        }
        let known = ["str", "int", "float", "bool", "null"];
        let content = if unreadable || !self.tag_taken(tag, &known, span) {
            Content::Unreadable
        } else {
            self.value(text, plain, span)
        };
        self.finish(Node::new(content, span, Origin::File), anchor);
        Ok(())
    }

    fn value(&mut self, text: &str, plain: bool, span: Span) -> Content {
        self.secrets.add_embedded(text);
        if !text.contains("${") {
            return Content::Scalar(Scalar { text: text.to_owned(), plain, interpolated: false });
        }
        match interpolate(text, self.text.folder(), self.environment, self.secrets) {
            Ok(done) => {
                self.secrets.add_embedded(&done.text);
                Content::Scalar(Scalar { text: done.text, plain, interpolated: done.outside })
            }
            Err(problems) => {
                for problem in problems {
                    let at = locate(self.text, span, text, problem.range);
                    self.findings.push(Finding::new(problem.code, at, problem.message).label(problem.label));
                }
                Content::Unreadable
            }
        }
    }

    fn key(&mut self, name: &str, plain: bool, span: Span) {
        let name = name.to_owned();
        let Some(Frame { kind: FrameKind::Map(map), .. }) = self.stack.last_mut() else { return };
        if let Some(line) = map.lines.get(&name) {
            let label = format!("first written on line {line}");
            let finding = Finding::new(
                "config.duplicate_key",
                span,
                format!("the key {} is written twice", short(&name)),
            );
            self.findings.push(finding.label(label));
            map.key = Some(PendingKey::Dropped);
            return;
        }
        map.lines.insert(name.clone(), span.start.line);
        map.key = Some(if plain && name == "<<" {
            PendingKey::Merge(span)
        } else {
            PendingKey::Name(Key { name, at: At::Span(span) })
        });
    }

    fn set_key(&mut self, key: PendingKey) {
        if let Some(Frame { kind: FrameKind::Map(map), .. }) = self.stack.last_mut() {
            map.key = Some(key);
        }
    }

    /// Whether a value's tag is one that may stand here.
    fn tag_taken(&mut self, tag: Option<&Tag>, known: &[&str], span: Span) -> bool {
        let Some(tag) = tag else { return true };
        if tag.is_yaml_core_schema() && known.contains(&tag.suffix.as_str()) {
            return true;
        }
        let raw = raw_if_harmless(self.text, span);
        let what = raw.as_ref().map_or_else(|| "this value".to_owned(), |raw| format!("{raw:?}"));
        let finding = Finding::new("config.quote", span, format!("YAML reads {what} as a tag"));
        self.findings.push(finding.label(quote_it(raw.as_deref())));
        false
    }

    fn open(
        &mut self,
        kind: FrameKind,
        tag_name: &str,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), Refused> {
        self.count(1, span)?;
        if self.stack.len() >= MAX_DEPTH as usize {
            return Err(self.too_deep(span));
        }
        let unreadable = !self.tag_taken(tag, &[tag_name], span);
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        let flow = self.text.slice(span).ends_with(['{', '[']);
        self.stack.push(Frame { start: span, flow, anchor, unreadable, kind });
        Ok(())
    }

    fn close(&mut self, end: Span) {
        let Some(frame) = self.stack.pop() else { return };
        let (content, first) = match frame.kind {
            FrameKind::List(items) => {
                let first = items.first().map(|n| n.span);
                (Content::List(items), first)
            }
            FrameKind::Map(map) => {
                let entries = self.merge(map.entries, map.merges);
                let first = entries.first().and_then(|e| match e.key.at {
                    At::Span(span) => Some(span),
                    _ => None,
                });
                (Content::Map(Map { entries, flow: frame.flow }), first)
            }
        };
        // A block in indentation has no mark of its own: its first key or entry stands for it.
        let span = if frame.flow {
            Span { start: frame.start.start, end: end.end }
        } else {
            first.filter(|s| s.start >= frame.start.start).unwrap_or(frame.start)
        };
        let content = if frame.unreadable { Content::Unreadable } else { content };
        self.finish(Node::new(content, span, Origin::File), frame.anchor);
    }

    /// Adds what `<<` brings in: own keys win, then the earlier of several.
    fn merge(&mut self, mut entries: Vec<Entry>, merges: Vec<(Span, Arc<Node>)>) -> Vec<Entry> {
        if merges.is_empty() {
            return entries;
        }
        let mut known: HashSet<String> = entries.iter().map(|e| e.key.name.clone()).collect();
        for (span, value) in merges {
            let sources = match &value.content {
                Content::List(items) => items.clone(),
                _ => vec![Arc::clone(&value)],
            };
            for source in sources {
                match &source.content {
                    Content::Map(map) => {
                        let new = map.entries.iter().filter(|e| known.insert(e.key.name.clone()));
                        entries.extend(new.cloned());
                    }
                    Content::Unreadable => {}
                    _ => {
                        let finding = Finding::new("config.merge", span, "\"<<\" takes a block to merge");
                        self.findings.push(finding.label("name an anchor of a block: <<: *base"));
                    }
                }
            }
        }
        entries
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Refused> {
        let Some(Some(node)) = self.anchors.get(&anchor).cloned() else {
            self.findings.push(Finding::new("config.yaml", span, "this alias stands within its own anchor"));
            return Err(Refused);
        };
        self.count(node.size, span)?;
        if (self.stack.len() as u32).saturating_add(node.depth) > MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        match (self.wants_key(), node.as_scalar()) {
            (true, Some(scalar)) => self.key(&scalar.text, false, span),
            _ => self.deliver(node),
        }
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize) {
        let node = Arc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Some(Arc::clone(&node)));
        }
        self.deliver(node);
    }

    /// Hands a finished value to what it stands in.
    fn deliver(&mut self, node: Arc<Node>) {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return;
        };
        let map = match &mut frame.kind {
            FrameKind::List(items) => return items.push(node),
            FrameKind::Map(map) => map,
        };
        match map.key.take() {
            Some(PendingKey::Name(key)) => map.entries.push(Entry { key, value: node }),
            Some(PendingKey::Merge(span)) => map.merges.push((span, node)),
            Some(PendingKey::Dropped) => {}
            None => {
                map.key = Some(PendingKey::Dropped);
                if !matches!(node.content, Content::Unreadable) {
                    let raw = raw_if_harmless(self.text, node.span);
                    let finding =
                        Finding::new("config.key", node.span, "a key must be a word, not a list or a block");
                    self.findings.push(finding.label(quote_it(raw.as_deref())));
                }
            }
        }
    }
}

fn short(name: &str) -> String {
    let cut: String = name.chars().take(40).collect();
    if cut.len() < name.len() { format!("\"{cut}…\"") } else { format!("{name:?}") }
}

/// The place of a part of a scalar in the file: the same text in the raw form, which may differ by escapes and folds.
fn locate(source: &SourceText, span: Span, scalar: &str, part: std::ops::Range<usize>) -> Span {
    let wanted = scalar.get(part.clone()).unwrap_or_default();
    let before = scalar.get(..part.start).unwrap_or_default().matches(wanted).count();
    let raw = source.slice(span);
    match raw.match_indices(wanted).nth(before) {
        Some((offset, _)) if !wanted.is_empty() => Span {
            start: source.advance(span.start, offset),
            end: source.advance(span.start, offset + wanted.len()),
        },
        _ => span,
    }
}
