//! The general source: a task that emits batches and hears what has been released.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use async_trait::async_trait;
use outflow_core::{
    BatchBuilder, ChangeBatch, Checkpoint, Error, Op, PartitionId, Position, Result, TableSchema, Value,
};
use std::sync::Arc;

/// A stream of changes. Built anew for each attempt; runs once.
///
/// `run` ends with `Ok` when there is nothing more to come (a file, `--stop-at current`), with an error when it
/// cannot go on: the runtime then rewinds to the checkpoint and, if the error is transient, builds the source
/// again after a pause. **Cancellation is a drop**: the future may be dropped at any await and must lose nothing
/// by it. A batch is handed over synchronously by [`Permit::send`], so no dropped future ever holds one.
#[async_trait]
pub trait Source: Send {
    /// Reads and emits until the end, an error, or cancellation.
    async fn run(self: Box<Self>, cx: SourceContext) -> Result<()>;
}

/// The place of a batch in the order of emission; grows by one a batch within a run of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// When a batch should be closed although the next stage is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Bytes of content.
    pub bytes: usize,
    /// Events.
    pub events: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { bytes: 1 << 20, events: 8192 }
    }
}

impl BatchLimits {
    /// True when `builder` has reached a limit.
    pub fn reached(&self, builder: &BatchBuilder) -> bool {
        builder.bytes() >= self.bytes || builder.len() >= self.events
    }
}

/// What a source is told while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Nothing more is taken, and every release has been published: apply the releases, then return `Ok`.
    Stop,
}

/// All events of a partition up to and including batch `seq` are done and stored; the source may forget them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The partition.
    pub partition: PartitionId,
    /// The last batch that is done.
    pub seq: Seq,
    /// Its end, where it had one.
    pub position: Option<Position>,
}

/// What the runtime provides to a running source. Implemented by the runtime and by test harnesses.
pub trait SourcePort: Send + Sync {
    /// A new emitter for a partition.
    fn emitter(&self, partition: PartitionId) -> Box<dyn EmitterPort>;
    /// A new listener for releases.
    fn released(&self) -> Box<dyn ReleasedPort>;
    /// The next control message; after the first call the runtime waits for the source to end by itself.
    fn poll_control(&self, cx: &mut Context<'_>) -> Poll<Control>;
    /// The source reads from its system.
    fn connected(&self);
    /// The source has emitted everything it will.
    fn finished(&self);
    /// Something that holds up delivery and that the operator should know.
    fn note(&self, obstacle: Option<String>);
}

/// The runtime's side of an [`Emitter`].
pub trait EmitterPort: Send + Sync {
    /// Ready when a batch would be taken now.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;
    /// Whether a batch would be taken now.
    fn try_ready(&mut self) -> bool;
    /// Takes a batch.
    fn send(&mut self, batch: ChangeBatch) -> Seq;
}

/// The runtime's side of [`Released`].
pub trait ReleasedPort: Send + Sync {
    /// The next release.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Release>;
}

/// Hands batches of one partition to the pipeline.
pub struct Emitter {
    port: Box<dyn EmitterPort>,
}

impl Emitter {
    /// Waits until the pipeline can take a batch: while the retained bytes are under the budget and the next
    /// stage has room. Keep reading into the builder while [`try_ready`](Self::try_ready) says no, and batches
    /// become large by themselves under load and stay small without. Cancel-safe.
    ///
    /// # Errors
    /// When the pipeline takes nothing more: return the error from `run`.
    pub async fn ready(&mut self) -> Result<Permit<'_>> {
        poll_fn(|cx| self.port.poll_ready(cx)).await?;
        Ok(Permit { port: &mut *self.port })
    }

    /// A permit, if a batch would be taken now.
    pub fn try_ready(&mut self) -> Option<Permit<'_>> {
        if self.port.try_ready() { Some(Permit { port: &mut *self.port }) } else { None }
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emitter")
    }
}

/// The right to hand over one batch.
pub struct Permit<'a> {
    port: &'a mut dyn EmitterPort,
}

impl Permit<'_> {
    /// Hands the batch over, at once. Order of emission is order of delivery.
    pub fn send(self, batch: ChangeBatch) -> Seq {
        self.port.send(batch)
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// Tells what has been released. Coalescing: only the newest release of each partition is kept.
pub struct Released {
    port: Box<dyn ReleasedPort>,
}

impl Released {
    /// The next release; waits while there is none. Cancel-safe.
    pub async fn next(&mut self) -> Release {
        poll_fn(|cx| self.port.poll_next(cx)).await
    }
}

impl fmt::Debug for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Released")
    }
}

/// What a running source sees of its pipeline.
pub struct SourceContext {
    port: Arc<dyn SourcePort>,
    pipeline: Arc<str>,
    checkpoint: Checkpoint,
    limits: BatchLimits,
    stop_at_current: bool,
    simple: Simple,
}

/// The buffer behind the simple level.
struct Simple {
    partition: PartitionId,
    builder: BatchBuilder,
    emitter: Option<Emitter>,
    /// The position of the last change, and how many changes it has had.
    last: Option<(Position, u64)>,
    error: Option<Error>,
}

impl SourceContext {
    /// The partition of a source that names none.
    pub const DEFAULT_PARTITION: &'static str = "main";

    /// A context over a port. For the runtime and for test harnesses.
    pub fn new(
        port: Arc<dyn SourcePort>,
        pipeline: impl Into<Arc<str>>,
        checkpoint: Checkpoint,
        limits: BatchLimits,
        stop_at_current: bool,
    ) -> Self {
        let simple = Simple {
            partition: Self::DEFAULT_PARTITION.into(),
            builder: BatchBuilder::new(),
            emitter: None,
            last: None,
            error: None,
        };
        Self { port, pipeline: pipeline.into(), checkpoint, limits, stop_at_current, simple }
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// The position to go on after; `None` on the first start. For sources with one partition.
    pub fn resume(&self) -> Option<&Position> {
        self.checkpoint.position(&self.simple.partition)
    }

    /// The whole checkpoint to go on after.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// When to close a batch although the pipeline is not ready.
    pub fn limits(&self) -> BatchLimits {
        self.limits
    }

    /// True when the run ends once everything has been delivered that was committed when it started
    /// (`--stop-at current`). Sources whose capabilities include `stop_at_current` then return `Ok`.
    pub fn stop_at_current(&self) -> bool {
        self.stop_at_current
    }

    /// An emitter for a partition. Batches of all emitters of a source keep their order of emission.
    pub fn emitter(&self, partition: impl Into<PartitionId>) -> Emitter {
        Emitter { port: self.port.emitter(partition.into()) }
    }

    /// Tells from now on what has been released.
    pub fn released(&self) -> Released {
        Released { port: self.port.released() }
    }

    /// The next control message. A source that asks for it is not dropped on shutdown but told to stop, after
    /// its last releases were published, and is given until `shutdown_timeout` to return.
    pub fn control(&self) -> impl Future<Output = Control> + Send + use<> {
        let port = Arc::clone(&self.port);
        poll_fn(move |cx| port.poll_control(cx))
    }

    /// States that the source reads from its system. The first batch says the same.
    pub fn connected(&self) {
        self.port.connected();
    }

    /// States that everything has been emitted, while the source stays to apply its last releases: it is told
    /// to stop once they are published. A source without releases to apply returns from `run` instead.
    pub fn finished(&self) {
        self.port.finished();
    }

    /// Shows the operator what holds up delivery, such as a transaction that is open for long; `None` when it
    /// has gone.
    pub fn note(&self, obstacle: Option<String>) {
        self.port.note(obstacle);
    }

    // The simple level: single changes of documents in one partition, buffered until `emit_through`.

    /// Buffers an insert or update of a document: `key` and the whole document, at `position` in the source.
    pub fn upsert(
        &mut self,
        table: &Arc<TableSchema>,
        key: impl Into<Value>,
        document: Value,
        position: Position,
    ) {
        self.change(Op::Upsert, table, &[key.into(), document], &position);
    }

    /// Buffers a delete by key.
    pub fn delete(&mut self, table: &Arc<TableSchema>, key: impl Into<Value>, position: Position) {
        self.change(Op::Delete, table, &[key.into(), Value::Unavailable], &position);
    }

    /// Buffers one change with a value for each column of `table`: the row after it, or before it for a delete.
    pub fn change(&mut self, op: Op, table: &Arc<TableSchema>, row: &[Value], position: &Position) {
        let simple = &mut self.simple;
        if simple.builder.is_empty() {
            simple.builder.origin(table.table());
        }
        // The id rests on the position and the place among its changes, so that a replay gives the same one.
        let ordinal = match &mut simple.last {
            Some((last, count)) if last == position => {
                *count += 1;
                *count
            }
            last => {
                *last = Some((position.clone(), 0));
                0
            }
        };
        let commit = simple.builder.transaction(position.as_str(), None);
        let schema = simple.builder.schema(table);
        let mut event = simple.builder.event(op).schema(schema).transaction(commit).ordinal(ordinal);
        let mut writer = if op == Op::Delete { event.before() } else { event.after() };
        row.iter().for_each(|value| writer.owned(value));
        match writer.end() {
            Ok(()) => event.end(),
            Err(error) => {
                drop(event);
                simple.error.get_or_insert(error);
            }
        }
    }

    /// Hands over what is buffered, with the position that is done when it is; waits for room. An empty buffer
    /// still carries its position. Cancel-safe: until the batch is taken it stays buffered.
    ///
    /// # Errors
    /// When a buffered row did not fit its table, or the pipeline takes nothing more.
    pub async fn emit_through(&mut self, position: Position) -> Result<Seq> {
        if let Some(error) = self.simple.error.take() {
            self.simple.builder.discard();
            return Err(error);
        }
        if self.simple.emitter.is_none() {
            self.simple.emitter = Some(self.emitter(self.simple.partition.clone()));
        }
        let Simple { partition, builder, emitter: Some(emitter), .. } = &mut self.simple else {
            return Err(Error::internal("sdk.emitter").message("the emitter was just set"));
        };
        let permit = emitter.ready().await?;
        Ok(permit.send(builder.finish(partition.clone(), Some(position))))
    }
}

impl fmt::Debug for SourceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceContext").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}
