//! A pipeline file that has been understood.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use outflow_core::Error;
use outflow_sdk::Template;
use serde::Deserialize;
use serde_json::{Map as JsonMap, Value as Json, json};

use crate::diagnostic::{At, Diagnostic, Finding, Hidden, publish};
use crate::pipeline_schema::RUNTIME_KEYS;
use crate::settings::Settings;
use crate::text::SourceText;
use crate::tree::{Content, Node};

/// The configuration of one pipeline: checked against the schemas of its connectors, scalars converted to the types
/// that they ask for.
///
/// `Debug` shows no value of a connector: it may be a credential (invariant 10).
#[derive(Clone)]
#[non_exhaustive]
pub struct PipelineFile {
    /// What the pipeline is called.
    pub name: String,
    /// The file that it came from.
    pub file: PathBuf,
    /// Where changes come from.
    pub source: Block,
    /// What is done to them, in order.
    pub transforms: Vec<Block>,
    /// Where they go.
    pub sink: Block,
    /// How records are made of them, if the file says.
    pub format: Option<Block>,
    /// What orders a record among others, if the file says.
    pub key: Option<Template>,
    /// Headers to add to each record, in the order of the file.
    pub headers: Vec<(String, Template)>,
    /// Where progress is kept; `None` for the default place. A path alone is a `file` store.
    pub state: Option<Block>,
    /// Where events go that cannot be taken; `None` for the default place.
    pub dead_letter: Option<Block>,
    /// Limits and policies.
    pub settings: Settings,
    origin: Arc<Source>,
}

/// A typed block: the word after `type:`, and the connector's own keys.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Block {
    /// The word after `type:`.
    pub kind: String,
    /// The connector's own keys, for its factory: without `type` and the runtime's keys.
    pub config: Json,
}

/// A part of a pipeline, for [`PipelineFile::diagnose`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The file as a whole.
    Pipeline,
    /// The source.
    Source,
    /// The transform with this index.
    Transform(usize),
    /// The sink.
    Sink,
    /// The sink's format.
    Format,
    /// Where progress is kept.
    State,
    /// Where dead letters go.
    DeadLetter,
}

/// What a pipeline was read from.
pub(crate) struct Source {
    pub(crate) text: SourceText,
    pub(crate) flags: Vec<String>,
    pub(crate) tree: Arc<Node>,
    pub(crate) hidden: Hidden,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for PipelineFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineFile")
            .field("name", &self.name)
            .field("file", &self.file)
            .field("source", &self.source)
            .field("transforms", &self.transforms)
            .field("sink", &self.sink)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl PipelineFile {
    /// Takes a checked document apart. `None` when it is not what the schema promises, which is a defect of ours.
    pub(crate) fn assemble(document: Json, source: Source) -> Option<Self> {
        let settings = Settings::deserialize(&document).ok()?;
        let Json::Object(mut document) = document else { return None };
        let Json::String(name) = document.remove("name")? else { return None };
        let Json::Object(mut sink) = document.remove("sink")? else { return None };
        let [format, key, headers] = RUNTIME_KEYS.map(|k| sink.remove(k));
        let transforms = match document.remove("transforms") {
            Some(Json::Array(items)) => items.into_iter().map(Block::of).collect::<Option<Vec<_>>>()?,
            _ => Vec::new(),
        };
        let state = match document.remove("state") {
            Some(path @ Json::String(_)) => {
                Some(Block { kind: "file".to_owned(), config: json!({"path": path}) })
            }
            Some(block) => Some(Block::of(block)?),
            None => None,
        };
        let optional = |block: Option<Json>| match block {
            Some(block) => Block::of(block).map(Some),
            None => Some(None),
        };
        Some(Self {
            name,
            file: PathBuf::from(source.text.name()),
            source: Block::of(document.remove("source")?)?,
            transforms,
            sink: Block::of(Json::Object(sink))?,
            format: optional(format)?,
            key: key.map(Template::deserialize).transpose().ok()?,
            headers: templates(headers)?,
            state,
            dead_letter: optional(document.remove("dead_letter"))?,
            settings,
            origin: Arc::new(source),
        })
    }

    /// The folder that relative paths of the file start from.
    pub fn folder(&self) -> &FilePath {
        self.origin.text.folder()
    }

    /// An error that a connector's factory or check reported, at the line that it is about: what the error's context
    /// calls `path` (such as `tables[1]`) within the part, or else the part's own key. Values that came from outside
    /// of the file are taken out of the message (invariant 10).
    pub fn diagnose(&self, part: Part, error: &Error) -> Diagnostic {
        let (within, kind) = self.part(part);
        let inner = error.context().find(|(key, _)| *key == "path").map(|(_, path)| path);
        let path = [within.as_str(), inner.unwrap_or_default()];
        let path = path.iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>().join(".");
        let secrets = &self.origin.hidden.secrets;
        let text = if error.text().is_empty() { error.to_string() } else { error.text().to_owned() };
        let mut finding = Finding::new("config.connector", self.locate(&path), secrets.scrub_foreign(&text));
        finding.label = error.hint_text().map(|hint| secrets.scrub_foreign(hint));
        finding.connector = kind.map(str::to_owned);
        finding.path.clone_from(&path);
        let origin = &self.origin;
        let published = publish(vec![finding], &origin.text, &origin.flags, &origin.hidden).pop();
        let mut diagnostic = published.unwrap_or_else(|| {
            Diagnostic::file("config.connector", origin.text.name(), secrets.scrub_foreign(&text))
        });
        diagnostic.code = Cow::Owned(error.code().to_owned());
        diagnostic
    }

    fn part(&self, part: Part) -> (String, Option<&str>) {
        match part {
            Part::Pipeline => (String::new(), None),
            Part::Source => ("source".to_owned(), Some(&self.source.kind)),
            Part::Transform(i) => {
                (format!("transforms[{i}]"), self.transforms.get(i).map(|b| b.kind.as_str()))
            }
            Part::Sink => ("sink".to_owned(), Some(&self.sink.kind)),
            Part::Format => ("sink.format".to_owned(), self.format.as_ref().map(|b| b.kind.as_str())),
            Part::State => ("state".to_owned(), self.state.as_ref().map(|b| b.kind.as_str())),
            Part::DeadLetter => {
                ("dead_letter".to_owned(), self.dead_letter.as_ref().map(|b| b.kind.as_str()))
            }
        }
    }

    /// The place of a path, or of as much of it as there is.
    fn locate(&self, path: &str) -> At {
        let mut node = &self.origin.tree;
        let mut at = At::File;
        for segment in path.split(['.', '[', ']']).filter(|s| !s.is_empty()) {
            match &node.content {
                Content::Map(map) => {
                    let Some(entry) = map.get(segment) else { break };
                    node = &entry.value;
                    // A scalar is what is wrong; a block is named by its key.
                    at = if node.as_scalar().is_some() { node.at() } else { entry.key.at.clone() };
                }
                Content::List(items) => {
                    let Some(item) = segment.parse::<usize>().ok().and_then(|i| items.get(i)) else { break };
                    node = item;
                    at = node.at();
                }
                Content::Scalar(_) | Content::Unreadable => break,
            }
        }
        at
    }
}

fn templates(headers: Option<Json>) -> Option<Vec<(String, Template)>> {
    let Some(headers) = headers else { return Some(Vec::new()) };
    let headers = headers.as_object()?.iter();
    headers.map(|(name, text)| Some((name.clone(), Template::parse(text.as_str()?).ok()?))).collect()
}

impl Block {
    fn of(value: Json) -> Option<Self> {
        match value {
            Json::String(kind) => Some(Self { kind, config: Json::Object(JsonMap::new()) }),
            Json::Object(mut map) => match map.remove("type") {
                Some(Json::String(kind)) => Some(Self { kind, config: Json::Object(map) }),
                _ => None,
            },
            _ => None,
        }
    }
}
