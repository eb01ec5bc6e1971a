//! Builds pipelines in Rust.

use std::sync::Arc;

use outflow_runtime::{Observer, OnError, PipelineHandle, PipelineOptions, PipelineSpec, Status};
use outflow_sdk::{
    Batch, ByteSize, ChangeEvent, CheckpointStore, ConfiguredFormat, ConfiguredSink, ConfiguredSource,
    ConfiguredTransform, Error, EventMut, EventRef, Result,
};

use crate::closures::{ChangeFn, FilterFn, SinkFn};
use crate::register::registry;

/// A pipeline being built. Everything is checked by [`start`](Self::start).
pub struct PipelineBuilder {
    name: String,
    source: Option<Arc<dyn ConfiguredSource>>,
    transforms: Vec<Arc<dyn ConfiguredTransform>>,
    format: Option<Arc<dyn ConfiguredFormat>>,
    sink: Option<Arc<dyn ConfiguredSink>>,
    dead_letter: Option<Arc<dyn ConfiguredSink>>,
    store: Option<Arc<dyn CheckpointStore>>,
    options: PipelineOptions,
    /// The first mistake, told by `start`.
    mistake: Option<Error>,
}

impl PipelineBuilder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            source: None,
            transforms: Vec::new(),
            format: None,
            sink: None,
            dead_letter: None,
            store: None,
            options: PipelineOptions::default(),
            mistake: None,
        }
    }

    /// Where changes come from.
    #[must_use]
    pub fn source(mut self, source: impl ConfiguredSource + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Keeps the events for which the closure says true.
    #[must_use]
    pub fn filter(mut self, keep: impl Fn(EventRef<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.transforms.push(Arc::new(FilterFn(Arc::new(keep))));
        self
    }

    /// Changes each event.
    #[must_use]
    pub fn transform(mut self, change: impl Fn(&mut EventMut<'_>) + Send + Sync + 'static) -> Self {
        self.transforms.push(Arc::new(ChangeFn(Arc::new(change))));
        self
    }

    /// Adds a built-in transform by its type and the keys of its block, as in a pipeline file:
    /// `.with("outbox", json!({"preset": "eventuate"}))`.
    #[must_use]
    pub fn with(mut self, type_name: &str, config: outflow_sdk::serde_json::Value) -> Self {
        let found = registry().get_transform(type_name).cloned();
        let unknown =
            || Error::configuration("config.unknown_type").message(format!("no transform \"{type_name}\""));
        match found.ok_or_else(unknown).and_then(|t| t.configure(config)) {
            Ok(transform) => self.transforms.push(transform),
            Err(error) => {
                self.mistake.get_or_insert(error);
            }
        }
        self
    }

    /// Takes batches by a closure: `Ok` means durable; an error is retried, or ends the pipeline, by its class.
    #[must_use]
    pub fn sink_fn<F, Fut>(mut self, write: F) -> Self
    where
        F: Fn(Batch<ChangeEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.sink = Some(Arc::new(SinkFn(Arc::new(write))));
        self
    }

    /// Where changes go.
    #[must_use]
    pub fn sink(mut self, sink: impl ConfiguredSink + 'static) -> Self {
        self.sink = Some(Arc::new(sink));
        self
    }

    /// The format of records, by its type: `json`, `debezium-json`, `raw`. Else the sink's own default.
    #[must_use]
    pub fn format(mut self, type_name: &str) -> Self {
        match format(type_name) {
            Ok(format) => self.format = Some(format),
            Err(error) => {
                self.mistake.get_or_insert(error);
            }
        }
        self
    }

    /// Where progress is kept. Without it, progress lives in memory and every start is a first one.
    #[must_use]
    pub fn state(mut self, store: impl CheckpointStore + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Sends events that cannot be taken to `sink`, durably, instead of stopping.
    #[must_use]
    pub fn dead_letters(mut self, sink: impl ConfiguredSink + 'static) -> Self {
        self.dead_letter = Some(Arc::new(sink));
        self.options.on_error = OnError::DEAD_LETTER;
        self
    }

    /// Bytes that the pipeline may retain.
    #[must_use]
    pub fn memory_budget(mut self, size: ByteSize) -> Self {
        self.options.memory_budget = size;
        self
    }

    /// Changes any limit or policy.
    #[must_use]
    pub fn options(mut self, change: impl FnOnce(&mut PipelineOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Ends once everything has been delivered that was committed when the run started.
    #[must_use]
    pub fn stop_at_current(mut self) -> Self {
        self.options.stop_at_current = true;
        self
    }

    /// Starts the pipeline; returns once it is checked and connected.
    ///
    /// # Errors
    /// A mistake in what was built, or why it cannot start.
    pub async fn start(self) -> Result<Running> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let missing = |what: &str| {
            Error::configuration("config.missing_key").message(format!("the pipeline has no {what}"))
        };
        let source = self.source.ok_or_else(|| missing("source"))?;
        let sink = self.sink.ok_or_else(|| missing("sink"))?;
        let format = match (self.format, sink.default_format()) {
            (Some(given), _) => Some(given),
            (None, Some(default)) => Some(format(default)?),
            (None, None) => None,
        };
        let store = self.store.unwrap_or_else(|| Arc::new(outflow_state::MemoryStore::new()));
        let spec = PipelineSpec {
            name: self.name.into(),
            source,
            transforms: self.transforms,
            format,
            sink,
            dead_letter: self.dead_letter,
            store,
            options: self.options,
        };
        Ok(Running { handle: outflow_runtime::Pipeline::start(spec).await? })
    }
}

fn format(type_name: &str) -> Result<Arc<dyn ConfiguredFormat>> {
    let registry = registry();
    let found = registry.get_format(type_name).ok_or_else(|| {
        let known: Vec<_> = registry.formats().map(|f| f.type_name()).collect();
        Error::configuration("config.unknown_type")
            .message(format!("no format \"{type_name}\""))
            .hint(format!("one of {}", known.join(", ")))
    })?;
    found.configure(outflow_sdk::serde_json::Value::Null)
}

impl std::fmt::Debug for PipelineBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PipelineBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A pipeline that runs. Dropped, it goes on until the runtime ends; [`stop`](Self::stop) ends it in order.
#[derive(Debug)]
pub struct Running {
    handle: PipelineHandle,
}

impl Running {
    /// How it stands.
    pub fn status(&self) -> Status {
        self.handle.status()
    }

    /// A view that can be cloned and kept by others, for health checks and metrics.
    pub fn observer(&self) -> Observer {
        self.handle.observer()
    }

    /// Drains, checkpoints, releases, closes.
    ///
    /// # Errors
    /// What kept it from an end in order.
    pub async fn stop(self) -> Result<()> {
        self.handle.stop();
        self.handle.wait().await
    }

    /// Waits for the end of a source that ends by itself.
    ///
    /// # Errors
    /// What ended the pipeline otherwise.
    pub async fn wait(self) -> Result<()> {
        self.handle.wait().await
    }

    /// Runs until `signal`, then drains, checkpoints, releases, closes.
    ///
    /// # Errors
    /// What ended the pipeline, or kept it from an end in order.
    pub async fn run_until<T>(self, signal: impl Future<Output = T>) -> Result<()> {
        self.handle.run_until(signal).await
    }
}
