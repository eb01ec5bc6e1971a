//! Reads a pinned snapshot: what is there at the log's beginning, by several workers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use outflow_sdk::{
    BatchBuilder, BatchLimits, Chunk, Emitter, Error, PartitionId, Position, Result, Snapshot, SourceContext,
    WalSource,
};
use tokio::task::JoinSet;

use super::plan;

/// Reads all chunks. Their rows come before the first change of the log, so the log's beginning is where each of their
/// batches ends.
pub(super) async fn run(
    source: &dyn WalSource,
    cx: &SourceContext,
    snapshot: &Arc<dyn Snapshot>,
    beginning: &Position,
    chunks: VecDeque<Chunk>,
) -> Result<()> {
    let workers = source.policy().workers.clamp(1, chunks.len().max(1));
    let chunks = Arc::new(Mutex::new(chunks));
    // Dropped, it ends its tasks.
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let worker = Worker {
            snapshot: Arc::clone(snapshot),
            chunks: Arc::clone(&chunks),
            emitter: cx.emitter(source.partition()),
            limits: cx.limits(),
            partition: source.partition(),
            beginning: beginning.clone(),
        };
        tasks.spawn(worker.run());
    }
    while let Some(result) = tasks.join_next().await {
        match result.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(result) => result?,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => {
                return Err(Error::internal("log.aborted").message("a reader was ended from outside"));
            }
        }
    }
    Ok(())
}

struct Worker {
    snapshot: Arc<dyn Snapshot>,
    chunks: Arc<Mutex<VecDeque<Chunk>>>,
    emitter: Emitter,
    limits: BatchLimits,
    partition: PartitionId,
    beginning: Position,
}

impl Worker {
    async fn run(mut self) -> Result<()> {
        let mut builder = BatchBuilder::new();
        while let Some(chunk) = self.next() {
            let mut rows = self.snapshot.open(&chunk).await?;
            let mut more = true;
            while more {
                more = rows.next(self.limits, &mut builder).await?;
                if !more {
                    plan::done(builder.state(), &chunk);
                }
                if !builder.is_empty() {
                    let permit = self.emitter.ready().await?;
                    permit.send(builder.finish(self.partition.clone(), Some(self.beginning.clone())));
                }
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<Chunk> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
