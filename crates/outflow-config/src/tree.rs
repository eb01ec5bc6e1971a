//! The document as written: values with the place of each key and value. Figment and JSON have no room for that.

use std::fmt;
use std::sync::Arc;

use crate::diagnostic::At;
use crate::text::Span;

/// What a flag that sets a value is shown with.
pub(crate) const FLAG_WORD: &str = "--set ";

/// Where a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File,
    /// The flag with this index.
    Flag(usize),
    /// One of our own defaults.
    Default,
}

/// A value. Shared where an alias refers to it, so that aliases of aliases cost nothing; `size` and `depth` are those
/// of the value written out and are what the limits are about. No `Debug`: it may hold a credential (invariant 10).
pub(crate) struct Node {
    pub(crate) content: Content,
    pub(crate) span: Span,
    pub(crate) origin: Origin,
    pub(crate) size: u64,
    pub(crate) depth: u32,
}

pub(crate) enum Content {
    Scalar(Scalar),
    List(Vec<Arc<Node>>),
    Map(Map),
    /// Cannot be read; a finding has been made of it, and nothing more is to be said.
    Unreadable,
}

pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Plain in YAML's sense: not quoted, no block.
    pub(crate) plain: bool,
    /// Part of it came from outside of the file.
    pub(crate) interpolated: bool,
}

#[derive(Default)]
pub(crate) struct Map {
    pub(crate) entries: Vec<Entry>,
    /// Written with braces.
    pub(crate) flow: bool,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Arc<Node>,
}

#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) at: At,
}

impl Node {
    pub(crate) fn new(content: Content, span: Span, origin: Origin) -> Self {
        let children: Vec<&Self> = match &content {
            Content::Scalar(_) | Content::Unreadable => Vec::new(),
            Content::List(items) => items.iter().map(AsRef::as_ref).collect(),
            Content::Map(map) => map.entries.iter().map(|e| e.value.as_ref()).collect(),
        };
        let size = children.iter().fold(1u64, |sum, c| sum.saturating_add(c.size));
        let depth = children.iter().map(|c| c.depth).max().map_or(0, |d| d.saturating_add(1));
        Self { content, span, origin, size, depth }
    }

    pub(crate) fn scalar(text: impl Into<String>, span: Span, origin: Origin) -> Self {
        let scalar = Scalar { text: text.into(), plain: true, interpolated: false };
        Self::new(Content::Scalar(scalar), span, origin)
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.content {
            Content::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The same value as if it had been written elsewhere, with all that it holds.
    pub(crate) fn with_origin(&self, origin: Origin) -> Self {
        let content = match &self.content {
            Content::Unreadable => Content::Unreadable,
            Content::Scalar(s) => Content::Scalar(Scalar { text: s.text.clone(), ..*s }),
            Content::List(items) => {
                Content::List(items.iter().map(|n| Arc::new(n.with_origin(origin))).collect())
            }
            Content::Map(map) => {
                let moved = |e: &Entry| {
                    let value = Arc::new(e.value.with_origin(origin));
                    Entry { key: Key { name: e.key.name.clone(), at: value.at() }, value }
                };
                Content::Map(Map { entries: map.entries.iter().map(moved).collect(), flow: map.flow })
            }
        };
        Self::new(content, self.span, origin)
    }

    /// Where to point when the value is wrong.
    pub(crate) fn at(&self) -> At {
        match self.origin {
            Origin::File => At::Span(self.span),
            Origin::Flag(index) => At::Flag(index, FLAG_WORD.len()..usize::MAX),
            Origin::Default => At::File,
        }
    }
}

impl Map {
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key.name == name)
    }
}

impl Scalar {
    /// Null of YAML's core schema, or nothing where an interpolation gave nothing.
    pub(crate) fn is_null(&self) -> bool {
        let null = self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL");
        if self.interpolated { self.text.is_empty() } else { null }
    }
}

/// The way to a value from the root: `sink.exchange`, `transforms[1].columns[0]`.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    pub(crate) fn is_root(&self) -> bool {
        matches!(self, Path::Root)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
