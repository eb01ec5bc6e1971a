//! From pipeline files to pipelines.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outflow_config::{
    Block, Diagnostic, Loader, OnError as ConfiguredOnError, Part, PipelineFile, ProcessEnvironment,
};
use outflow_runtime::{OnError, PipelineOptions, PipelineSpec};
use outflow_sdk::{
    BuildContext, ConfiguredFormat, ConfiguredSink, Error, Format, Registry, Result, Template, serde_json,
};

use crate::arguments::Files;
use crate::exit::Exit;
use crate::process::Process;
use crate::say::obstacle;

/// A pipeline with what the command line says about it.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) spec: PipelineSpec,
    /// The folder of its state.
    pub(crate) state: Option<PathBuf>,
    /// The folder of dead letters for which the file names no place.
    dead_letters: Option<PathBuf>,
}

impl Assembled {
    /// Makes what must be there before it starts.
    ///
    /// # Errors
    /// When the folder of the dead letters cannot be made.
    pub(crate) fn prepare(&self) -> Result<()> {
        let Some(folder) = &self.dead_letters else { return Ok(()) };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|e| {
            let message = format!("cannot make the folder {}: {e}", folder.display());
            obstacle("state.no_folder", message, "name another folder with --state-dir")
        })
    }
}

/// Reads the files; prints every mistake.
pub(crate) fn load(
    registry: &Registry,
    files: &Files,
    process: &Process,
    outcome: &str,
) -> Result<Vec<PipelineFile>, Exit> {
    let loaded = Loader::new(registry, &ProcessEnvironment).set(&files.set).load_paths(&files.paths);
    process.report(&loaded.diagnostics, outcome);
    if loaded.has_errors() { Err(Exit::Configuration) } else { Ok(loaded.pipelines) }
}

/// Where state is kept: `--state-dir`, else `.outflow` beside the file.
pub(crate) fn state_root(file: &PipelineFile, process: &Process) -> PathBuf {
    process.state_dir.clone().unwrap_or_else(|| file.folder().join(".outflow"))
}

/// Builds the parts of a pipeline; `Err` is a mistake at its place in the file.
pub(crate) async fn assemble(
    registry: &Registry,
    file: PipelineFile,
    process: &Process,
) -> Result<Assembled, Box<Diagnostic>> {
    parts(registry, &file, process).await.map_err(|(part, error)| Box::new(file.diagnose(part, &error)))
}

async fn parts(
    registry: &Registry,
    file: &PipelineFile,
    process: &Process,
) -> Result<Assembled, (Part, Error)> {
    let source = lookup(registry.get_source(&file.source.kind), &file.source)
        .and_then(|s| s.configure(file.source.config.clone()))
        .map_err(|e| (Part::Source, e))?;
    let mut transforms = Vec::new();
    for (index, block) in file.transforms.iter().enumerate() {
        let transform = lookup(registry.get_transform(&block.kind), block)
            .and_then(|t| t.configure(block.config.clone()))
            .and_then(|t| {
                // Built once here, so that a mistake in it is told at its line.
                t.build(&context(file))?;
                Ok(t)
            });
        transforms.push(transform.map_err(|e| (Part::Transform(index), e))?);
    }
    let sink = sink(registry, &file.sink).map_err(|e| (Part::Sink, e))?;
    let format = format(registry, file, &*sink).map_err(|e| (Part::Format, e))?;
    let root = state_root(file, process);
    let (store, state) = match &file.state {
        Some(block) => {
            let mut config = block.config.clone();
            if let (Some(dir), "file", Some(config)) =
                (&process.state_dir, &*block.kind, config.as_object_mut())
            {
                config.insert("path".into(), dir.to_string_lossy().into());
            }
            let store = lookup(registry.get_store(&block.kind), block).map_err(|e| (Part::State, e))?;
            let path = config.get("path").and_then(|p| p.as_str()).map(|p| file.folder().join(p));
            let opened = store.open(config, &context(file)).await.map_err(|e| (Part::State, e))?;
            (opened, path)
        }
        None => {
            let store = outflow_state::FileStore::at(&root);
            (Arc::new(store) as _, Some(root.clone()))
        }
    };
    let beside = state.as_ref().unwrap_or(&root);
    let letters = dead_letters(registry, file, beside).map_err(|e| (Part::DeadLetter, e))?;
    let settings = &file.settings;
    let mut options = PipelineOptions::default();
    options.memory_budget = settings.memory_budget;
    options.max_row_bytes = settings.max_row_bytes;
    options.max_replay = settings.max_replay;
    options.shutdown_timeout = settings.shutdown_timeout.0;
    options.startup_timeout = settings.startup_timeout.0;
    options.on_error = match settings.on_error {
        ConfiguredOnError::DeadLetter => OnError::DEAD_LETTER,
        _ => OnError::Stop,
    };
    options.base = file.folder().to_owned();
    let spec = PipelineSpec {
        name: file.name.as_str().into(),
        source,
        transforms,
        format,
        sink,
        dead_letter: letters.sink,
        store,
        options,
    };
    Ok(Assembled { spec, state, dead_letters: letters.folder })
}

fn context(file: &PipelineFile) -> BuildContext {
    BuildContext::new(file.name.as_str()).base(file.folder())
}

fn lookup<'a, T: ?Sized>(found: Option<&'a Arc<T>>, block: &Block) -> Result<&'a Arc<T>> {
    found.ok_or_else(|| {
        Error::configuration("config.unknown_type").message(format!("this build has no \"{}\"", block.kind))
    })
}

fn sink(registry: &Registry, block: &Block) -> Result<Arc<dyn ConfiguredSink>> {
    lookup(registry.get_sink(&block.kind), block)?.configure(block.config.clone())
}

/// The sink's format with the file's `key` and `headers` over it.
fn format(
    registry: &Registry,
    file: &PipelineFile,
    sink: &dyn ConfiguredSink,
) -> Result<Option<Arc<dyn ConfiguredFormat>>> {
    let (kind, config) = match (&file.format, sink.default_format()) {
        (Some(block), _) => (block.kind.as_str(), block.config.clone()),
        (None, Some(default)) => (default, serde_json::Value::Null),
        (None, None) => return Ok(None),
    };
    let registered = registry.get_format(kind).ok_or_else(|| {
        Error::configuration("config.unknown_type").message(format!("this build has no format \"{kind}\""))
    })?;
    let inner = registered.configure(config)?;
    inner.build(&context(file))?;
    if file.key.is_none() && file.headers.is_empty() {
        return Ok(Some(inner));
    }
    Ok(Some(Arc::new(Overridden { inner, key: file.key.clone(), headers: file.headers.clone() })))
}

struct Overridden {
    inner: Arc<dyn ConfiguredFormat>,
    key: Option<Template>,
    headers: Vec<(String, Template)>,
}

impl ConfiguredFormat for Overridden {
    fn type_name(&self) -> &'static str {
        self.inner.type_name()
    }

    fn build(&self, cx: &BuildContext) -> Result<Box<dyn Format>> {
        Ok(outflow_format::with_overrides(self.inner.build(cx)?, self.key.clone(), self.headers.clone()))
    }
}

/// Where dead letters go.
#[derive(Default)]
struct DeadLetters {
    sink: Option<Arc<dyn ConfiguredSink>>,
    /// The folder to make, where the file names no place.
    folder: Option<PathBuf>,
}

/// Where dead letters go: as the file says, else to a file beside the state.
fn dead_letters(registry: &Registry, file: &PipelineFile, root: &Path) -> Result<DeadLetters> {
    if let Some(block) = &file.dead_letter {
        return Ok(DeadLetters { sink: Some(sink(registry, block)?), folder: None });
    }
    if file.settings.on_error != ConfiguredOnError::DeadLetter {
        return Ok(DeadLetters::default());
    }
    let folder = root.join(&file.name);
    // Relative paths of sinks start from the file's folder; this one starts where the process does.
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let config = serde_json::json!({ "path": folder.join("dead-letters.jsonl") });
    let registered = registry.get_sink("file").ok_or_else(|| {
        Error::configuration("config.dead_letter")
            .message("this build has no sink \"file\" for dead letters")
            .hint("name a destination under   dead_letter:")
    })?;
    Ok(DeadLetters { sink: Some(registered.configure(config)?), folder: Some(folder) })
}
