//! What a pipeline is made of, and its limits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outflow_sdk::{
    BatchLimits, ByteSize, CheckpointStore, ConfiguredFormat, ConfiguredSink, ConfiguredSource,
    ConfiguredTransform,
};

/// What becomes of an event that cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// The pipeline stops with the event's error; nothing is skipped (invariant 4).
    Stop,
    /// The event goes to the dead letters, durably, before the pipeline goes on: a declared hole in its key.
    /// When more than `bad` of the last `window` events went there the pipeline stops after all.
    DeadLetter {
        /// So many bad events are put up with.
        bad: usize,
        /// Among so many of the last events.
        window: usize,
    },
}

impl OnError {
    /// Dead letters with the default threshold: 100 of the last 1,000 events.
    pub const DEAD_LETTER: Self = Self::DeadLetter { bad: 100, window: 1000 };
}

/// Limits and policies of a pipeline, with the defaults of the configuration reference.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PipelineOptions {
    /// Bytes that the pipeline may retain in batches and records (invariant 7).
    pub memory_budget: ByteSize,
    /// A row above this size is an error of its event.
    pub max_row_bytes: ByteSize,
    /// Bytes emitted since the last stored checkpoint: the bound of what comes again after a crash.
    pub max_replay: ByteSize,
    /// How long a graceful stop may take.
    pub shutdown_timeout: Duration,
    /// How long transient failures are retried before the pipeline has ever run; zero is for ever.
    pub startup_timeout: Duration,
    /// What becomes of an event that cannot be taken.
    pub on_error: OnError,
    /// How often progress is stored.
    pub checkpoint_interval: Duration,
    /// The longest pause between two attempts.
    pub max_backoff: Duration,
    /// When a source closes a batch although the pipeline is busy.
    pub batch: BatchLimits,
    /// End once everything has been delivered that was committed when the run started.
    pub stop_at_current: bool,
    /// Where relative paths of the pipeline's parts start from.
    pub base: PathBuf,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            memory_budget: ByteSize::mib(24),
            max_row_bytes: ByteSize::mib(128),
            max_replay: ByteSize::mib(64),
            shutdown_timeout: Duration::from_secs(30),
            startup_timeout: Duration::from_secs(60),
            on_error: OnError::Stop,
            checkpoint_interval: Duration::from_millis(200),
            max_backoff: Duration::from_secs(30),
            batch: BatchLimits::default(),
            stop_at_current: false,
            base: PathBuf::new(),
        }
    }
}

/// A pipeline to be run: parts with their configurations, and where progress is kept.
#[derive(Clone)]
pub struct PipelineSpec {
    /// The name: unique among the pipelines that share a store.
    pub name: Arc<str>,
    /// Where changes come from.
    pub source: Arc<dyn ConfiguredSource>,
    /// What is done to them, in order.
    pub transforms: Vec<Arc<dyn ConfiguredTransform>>,
    /// How records are made of them; `None` for sinks that take typed batches.
    pub format: Option<Arc<dyn ConfiguredFormat>>,
    /// Where they go.
    pub sink: Arc<dyn ConfiguredSink>,
    /// Where events go that cannot be taken; it takes records whose value is the letter as JSON.
    pub dead_letter: Option<Arc<dyn ConfiguredSink>>,
    /// Where progress is kept.
    pub store: Arc<dyn CheckpointStore>,
    /// Limits and policies.
    pub options: PipelineOptions,
}

impl std::fmt::Debug for PipelineSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PipelineSpec")
            .field("name", &self.name)
            .field("source", &self.source.type_name())
            .field("sink", &self.sink.type_name())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
