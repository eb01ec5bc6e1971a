//! From files and flags to pipelines, or to all that is wrong with them.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::catalog::Catalog;
use crate::diagnostic::{At, Diagnostic, Excerpt, Finding, Hidden, Place, Severity, publish};
use crate::environment::Environment;
use crate::files::{InputFile, expand};
use crate::findings::Findings;
use crate::layers::{Flag, FlagError, merge};
use crate::pipeline::{PipelineFile, Source};
use crate::pipeline_schema::pipeline_schema;
use crate::schema::Checker;
use crate::settings::{OnError, Settings};
use crate::suggest::{listed, nearest};
use crate::text::Span;
use crate::tree::{Content, Entry, FLAG_WORD, Key, Map, Node, Origin};

/// Reads pipeline files.
///
/// ```
/// use outflow_config::{InputFile, Loader};
/// use outflow_sdk::Registry;
///
/// let registry = Registry::new();
/// let environment = |_: &str| None;
/// let file = InputFile::new("orders.yaml", "sauce: {}");
/// let loaded = Loader::new(&registry, &environment).load(vec![file]);
/// assert!(loaded.pipelines.is_empty());
/// assert_eq!(loaded.diagnostics[0].message, "a pipeline has no key \"sauce\"");
/// ```
pub struct Loader<'a> {
    environment: &'a dyn Environment,
    schema: Json,
    flags: Vec<String>,
}

impl std::fmt::Debug for Loader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").finish_non_exhaustive()
    }
}

/// What came of a set of files.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Loaded {
    /// The pipelines without an error, in the order of their files.
    pub pipelines: Vec<PipelineFile>,
    /// All that is wrong, file by file, line by line.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// True when something must be corrected before anything is started.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// A file on its way.
struct Draft {
    file: InputFile,
    tree: Option<Arc<Node>>,
    name: String,
    name_at: At,
    findings: Findings,
    hidden: Hidden,
    flags: Vec<Flag>,
}

impl<'a> Loader<'a> {
    /// A loader that knows the types of `catalog` and asks `environment` for what interpolations name.
    pub fn new(catalog: &dyn Catalog, environment: &'a dyn Environment) -> Self {
        Self { environment, schema: pipeline_schema(catalog), flags: Vec::new() }
    }

    /// Adds values of `--set`, each `NAME.key=value`. They lie over the files; a later one over an earlier one.
    #[must_use]
    pub fn set(mut self, flags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.flags.extend(flags.into_iter().map(Into::into));
        self
    }

    /// Reads the files behind paths of files and folders, as [`expand`] finds them.
    pub fn load_paths(&self, paths: &[PathBuf]) -> Loaded {
        let (found, mut problems) = expand(paths);
        let mut files = Vec::new();
        for path in found {
            match InputFile::read(&path) {
                Ok(file) => files.push(file),
                Err(problem) => problems.push(*problem),
            }
        }
        let mut loaded = self.load(files);
        problems.append(&mut loaded.diagnostics);
        loaded.diagnostics = problems;
        loaded
    }

    /// Reads the files. All mistakes of all files are found in one go.
    pub fn load(&self, files: Vec<InputFile>) -> Loaded {
        let mut drafts: Vec<Draft> = files.into_iter().map(|f| self.draft(f)).collect();
        let mut loaded = Loaded::default();
        let stray = self.hand_out_flags(&mut drafts);
        same_names(&mut drafts);
        for draft in drafts {
            self.finish(draft, &mut loaded);
        }
        loaded.diagnostics.extend(stray);
        loaded
    }

    fn draft(&self, file: InputFile) -> Draft {
        let (mut findings, mut hidden) = (Findings::default(), Hidden::default());
        let tree = crate::yaml::parse(&file.text, self.environment, &mut findings, &mut hidden.secrets);
        let written = tree.as_ref().and_then(|t| t.as_map()).and_then(|m| m.get("name"));
        let value = written.and_then(|e| e.value.as_scalar().map(|s| (s.text.clone(), e.value.at())));
        let (name, name_at) = value.unwrap_or_else(|| (file.stem(), At::File));
        Draft { file, tree, name, name_at, findings, hidden, flags: Vec::new() }
    }

    /// Gives each flag to the pipeline that it names; those that name none are wrong by themselves.
    fn hand_out_flags(&self, drafts: &mut [Draft]) -> Vec<Diagnostic> {
        let mut stray = Vec::new();
        for text in &self.flags {
            let names: Vec<&str> = drafts.iter().map(|d| d.name.as_str()).collect();
            match Flag::parse(text, &names) {
                Ok((index, flag)) => {
                    if let Some(draft) = drafts.get_mut(index) {
                        draft.flags.push(flag);
                    }
                }
                Err(error) => stray.push(stray_flag(text, error, &names)),
            }
        }
        stray
    }

    fn finish(&self, mut draft: Draft, loaded: &mut Loaded) {
        let shown: Vec<String> = draft.flags.iter().map(|f| f.shown.clone()).collect();
        let document = draft.tree.take().and_then(|tree| self.check(&tree, &mut draft));
        let findings = std::mem::take(&mut draft.findings).into_list();
        let errors = findings.iter().any(|f| f.severity == Severity::Error);
        loaded.diagnostics.extend(publish(findings, &draft.file.text, &shown, &draft.hidden));
        let Some((document, tree)) = document.filter(|_| !errors) else { return };
        let name = draft.file.name().to_owned();
        let source = Source { text: draft.file.text, flags: shown, tree, hidden: draft.hidden };
        match PipelineFile::assemble(document, source) {
            Some(pipeline) => loaded.pipelines.push(pipeline),
            None => {
                let message = "the file fits its schema, but cannot be taken apart: a defect of Outflow";
                loaded.diagnostics.push(Diagnostic::file("config.internal", name, message));
            }
        }
    }

    fn check(&self, file: &Arc<Node>, draft: &mut Draft) -> Option<(Json, Arc<Node>)> {
        if file.as_map().is_none() {
            if !matches!(file.content, Content::Unreadable) {
                let finding =
                    Finding::new("config.wrong_type", file.at(), "a pipeline must be a block of keys");
                draft.findings.push(finding.label("start with   source:"));
            }
            return None;
        }
        let mut refused = Vec::new();
        let tree = merge(&defaults(&draft.name), file, &draft.flags, &mut refused)?;
        refused.into_iter().for_each(|f| draft.findings.push(f));
        let mut checker =
            Checker::new(&self.schema, &draft.file.text, &mut draft.findings, &mut draft.hidden);
        let document = checker.document(&tree);
        if let Some(unused) = unused_dead_letter(&tree, &document) {
            draft.findings.push(unused);
        }
        Some((document, tree))
    }
}

/// The lowest layer: our own defaults and the name that the file's name gives.
fn defaults(name: &str) -> Arc<Node> {
    let mut all = serde_json::to_value(Settings::default()).unwrap_or_default();
    if let Some(map) = all.as_object_mut() {
        map.insert("name".to_owned(), Json::from(name));
    }
    let entries = all.as_object().into_iter().flatten().map(|(key, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let key = Key { name: key.clone(), at: At::File };
        Entry { key, value: Arc::new(Node::scalar(text, Span::default(), Origin::Default)) }
    });
    let map = Map { entries: entries.collect(), flow: false };
    Arc::new(Node::new(Content::Map(map), Span::default(), Origin::Default))
}

fn unused_dead_letter(tree: &Node, document: &Json) -> Option<Finding> {
    let entry = tree.as_map()?.get("dead_letter")?;
    let stops = document.get("on_error") == serde_json::to_value(OnError::Stop).ok().as_ref();
    let mut finding = Finding::new("config.unused", entry.key.at.clone(), "nothing goes to the dead letters")
        .label("add   on_error: dead-letter")
        .path("dead_letter");
    finding.severity = Severity::Warning;
    stops.then_some(finding)
}

fn same_names(drafts: &mut [Draft]) {
    for i in 1..drafts.len() {
        let (before, after) = drafts.split_at_mut(i);
        let Some(draft) = after.first_mut() else { continue };
        if let Some(first) = before.iter().find(|d| d.name == draft.name) {
            let message = format!(
                "two pipelines are called {:?}: {} and {}",
                draft.name,
                first.file.name(),
                draft.file.name()
            );
            let finding = Finding::new("config.duplicate_name", draft.name_at.clone(), message).path("name");
            draft.findings.push(finding.label("each needs a name of its own, for its state and its metrics"));
        }
    }
}

fn stray_flag(text: &str, error: FlagError, names: &[&str]) -> Diagnostic {
    let path = text.split_once('=').map_or(text, |(path, _)| path);
    let shown = format!("{}{path}", FLAG_WORD);
    let start = FLAG_WORD.len();
    let all = shown.chars().count();
    let place =
        |end: usize| Place::Flag { text: Excerpt { text: shown.clone(), marked: start..end.max(start + 1) } };
    match error {
        FlagError::Form if !text.contains('=') => {
            // Without `=` all of it might be a value.
            let place = Place::Flag { text: Excerpt { text: "--set".to_owned(), marked: 0..5 } };
            Diagnostic::new("config.flag", place, "a flag gives no value").label("write --set NAME.key=value")
        }
        FlagError::Form => Diagnostic::new("config.flag", place(all), "a flag names no key")
            .label("write --set NAME.key=value"),
        FlagError::Name => {
            let name = path.split('.').next().unwrap_or_default();
            let label = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known: {}", listed(names.iter().copied())),
            };
            let message = format!("no pipeline is called {name:?}");
            Diagnostic::new("config.unknown_pipeline", place(start + name.chars().count()), message)
                .label(label)
        }
    }
}
