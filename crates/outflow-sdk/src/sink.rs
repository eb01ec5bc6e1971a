//! Sinks and acks: where batches go, and how the runtime learns what is durable.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use outflow_core::{ChangeBatch, Checkpoint, CheckpointDelta, Error, Result};

/// What a sink is told when it is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SinkContext {
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// The checkpoint that the run starts from.
    pub checkpoint: Checkpoint,
    /// Bytes that the sink and its client library may retain together.
    pub memory: usize,
}

impl SinkContext {
    /// A context. For the runtime and for test harnesses.
    pub fn new(pipeline: impl Into<Arc<str>>, checkpoint: Checkpoint, memory: usize) -> Self {
        Self { pipeline: pipeline.into(), checkpoint, memory }
    }
}

/// A destination for batches of `B`: [`ChangeBatch`], or [`RecordBatch`](crate::RecordBatch) where a format has
/// made bytes of the events. Built anew after each rewind.
///
/// Batches come in order, one call at a time. [`Ack`]s may be resolved later, in any order, from any thread.
/// Order per key (invariant 3): have a later record of a key in flight only where the destination cannot accept
/// it after refusing the earlier.
#[async_trait]
pub trait Sink<B: Send + Sync + 'static = ChangeBatch>: Send {
    /// Connects. A transactional sink fences its predecessors first, then returns the committed checkpoint,
    /// which wins over the store's; all others return `None`.
    async fn open(&mut self, cx: SinkContext) -> Result<Option<Checkpoint>> {
        let _ = cx;
        Ok(None)
    }

    /// Takes a batch. `Ok` arms the ack and takes the batch; `Err`: nothing was taken, and if the error is
    /// transient the same batch is offered again after a pause. Waiting here is back-pressure.
    /// Dropped in the middle, the batch counts as not taken: its outcome is unknown and it comes again.
    async fn write(&mut self, batch: &Arc<B>, ack: Ack) -> Result<()>;

    /// Returns when every armed ack is resolved.
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Commits the data since the last commit and the checkpoint's delta, atomically. Only called where the
    /// capabilities say `transactional`.
    async fn commit(&mut self, delta: &CheckpointDelta) -> Result<()> {
        let _ = delta;
        Err(Error::internal("sink.not_transactional").message("this sink does not hold checkpoints"))
    }

    /// Ends in order. Called once, after the last flush.
    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// What became of a batch.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Every record is durable.
    Durable,
    /// These records (by event index) can never be taken; all others are durable.
    Rejected(Vec<(u32, Error)>),
    /// Unknown: the task rewinds to its checkpoint.
    Failed(Error),
}

/// Which offer of which batch an ack answers. Answers of an older generation or attempt are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckToken {
    /// Grows with each rewind.
    pub generation: u64,
    /// The batch.
    pub seq: u64,
    /// Grows with each offer of the same batch.
    pub attempt: u32,
}

/// The runtime's side of an [`Ack`]: must not block, may be called from any thread.
pub trait AckPort: Send + Sync {
    /// Takes the outcome of one offer. Called exactly once an ack.
    fn resolve(&self, token: AckToken, outcome: Outcome);
}

/// The duty to say what became of one batch. Dropped without an answer it counts as failed, never as success.
pub struct Ack {
    port: Option<Arc<dyn AckPort>>,
    token: AckToken,
}

impl Ack {
    /// An ack. For the runtime and for test harnesses.
    pub fn new(port: Arc<dyn AckPort>, token: AckToken) -> Self {
        Self { port: Some(port), token }
    }

    fn resolve(&mut self, outcome: Outcome) {
        if let Some(port) = self.port.take() {
            port.resolve(self.token, outcome);
        }
    }

    /// Every record of the batch is durable: it survives a crash of everything that is not the destination.
    pub fn durable(mut self) {
        self.resolve(Outcome::Durable);
    }

    /// These records can never be taken, named by the index of their event; all others are durable.
    pub fn rejected(mut self, bad: Vec<(u32, Error)>) {
        self.resolve(if bad.is_empty() { Outcome::Durable } else { Outcome::Rejected(bad) });
    }

    /// The outcome is unknown: the task rewinds.
    pub fn failed(mut self, error: Error) {
        self.resolve(Outcome::Failed(error));
    }

    /// Splits the duty over `records` records that finish one by one, in any order, from any thread.
    pub fn countdown(self, records: u32) -> Countdown {
        let shared = Shared {
            left: AtomicU32::new(records),
            failed: Mutex::new(Failures::default()),
            ack: Mutex::new(Some(self)),
        };
        let countdown = Countdown(Arc::new(shared));
        if records == 0 {
            countdown.0.finish();
        }
        countdown
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if self.port.is_some() {
            let error =
                Error::transient("sink.ack_dropped").message("the sink let go of a batch without an answer");
            self.resolve(Outcome::Failed(error));
        }
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ack({:?})", self.token)
    }
}

/// An ack that resolves when all of its records have. One atomic operation a record; clones share the count.
/// When the last clone is dropped with records left, the batch counts as failed.
#[derive(Clone)]
pub struct Countdown(Arc<Shared>);

struct Shared {
    left: AtomicU32,
    failed: Mutex<Failures>,
    ack: Mutex<Option<Ack>>,
}

#[derive(Default)]
struct Failures {
    rejected: Vec<(u32, Error)>,
    failed: Option<Error>,
}

impl Countdown {
    /// One record is durable.
    pub fn done(&self) {
        self.0.count();
    }

    /// One record, named by the index of its event, can never be taken.
    pub fn rejected(&self, event: u32, error: Error) {
        self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).rejected.push((event, error));
        self.0.count();
    }

    /// The outcome of one record is unknown.
    pub fn failed(&self, error: Error) {
        self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).failed.get_or_insert(error);
        self.0.count();
    }
}

impl Shared {
    fn count(&self) {
        // AcqRel: whoever counts the last record sees what the others noted.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.finish();
        }
    }

    fn finish(&self) {
        let Some(ack) = self.ack.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let failures = std::mem::take(&mut *self.failed.lock().unwrap_or_else(PoisonError::into_inner));
        match failures.failed {
            Some(error) => ack.failed(error),
            None => ack.rejected(failures.rejected),
        }
    }
}

impl fmt::Debug for Countdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Countdown({} left)", self.0.left.load(Ordering::Relaxed))
    }
}
