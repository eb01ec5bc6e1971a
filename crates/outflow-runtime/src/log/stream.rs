//! Follows the log: batches close when the pipeline can take them, and pages of what was there come in between.

use std::time::Duration;

use outflow_sdk::{
    BatchBuilder, Emitter, LogReader, Moment, PartitionId, Position, Result, SnapshotMode, SourceContext,
    WalSource,
};
use tokio::time::Instant;

use super::backfill::Backfill;
use super::plan::Plan;

/// How often progress without rows is told to the pipeline, so that an idle log can be released.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Follows the log from `start`; ends where `--stop-at current` says, or when the snapshot is all that is wanted.
pub(super) async fn run(
    source: &dyn WalSource,
    cx: &SourceContext,
    mut reader: Box<dyn LogReader>,
    start: Position,
    plan: Plan,
) -> Result<()> {
    let target = if cx.stop_at_current() { Some(source.now().await?) } else { None };
    let backfill = if plan.is_done() {
        None
    } else {
        // In this order: what comes out of the log after the snapshot was asked for is noted.
        reader.note_transactions(true);
        Some(Backfill::new(source.snapshot().await?, plan))
    };
    cx.connected();
    let mut stream = Stream {
        cx,
        source,
        noted: None,
        partition: source.partition(),
        emitter: cx.emitter(source.partition()),
        builder: BatchBuilder::new(),
        told: start,
        tell: Instant::now() + TELL_EVERY,
        only_snapshot: source.policy().snapshot == SnapshotMode::InitialOnly,
        target,
        backfill,
        reader,
    };
    loop {
        stream.pages().await?;
        if stream.is_over() {
            return stream.tell().await;
        }
        stream.note();
        stream.step().await?;
    }
}

struct Stream<'a> {
    cx: &'a SourceContext,
    source: &'a dyn WalSource,
    /// What the operator was told that delivery waits for.
    noted: Option<String>,
    partition: PartitionId,
    emitter: Emitter,
    builder: BatchBuilder,
    reader: Box<dyn LogReader>,
    /// The end of the last batch.
    told: Position,
    /// When progress without rows is told next.
    tell: Instant,
    target: Option<Box<dyn Moment>>,
    only_snapshot: bool,
    backfill: Option<Backfill>,
}

impl Stream<'_> {
    /// Waits for one thing to happen, and does what it asks for.
    async fn step(&mut self) -> Result<()> {
        let Self { source, emitter, builder, reader, backfill, .. } = self;
        let (limits, is_empty) = (self.cx.limits(), builder.is_empty());
        tokio::select! {
            biased;
            room = async { emitter.ready().await.map(drop) }, if !is_empty => {
                room?;
                self.send()
            }
            result = read(backfill, *source) => result,
            result = reader.next(limits, builder), if !limits.reached(builder) => result,
            () = tokio::time::sleep_until(self.tell), if is_empty => self.tell().await,
        }
    }

    /// Hands over what was read of the log, if there is still room.
    fn send(&mut self) -> Result<()> {
        let Some(permit) = self.emitter.try_ready() else { return Ok(()) };
        let position = self.reader.position();
        let batch = self.builder.finish(self.partition.clone(), Some(position.clone()));
        if let Some(backfill) = &mut self.backfill {
            backfill.note(&batch, self.reader.transactions())?;
        }
        permit.send(batch);
        self.told = position;
        self.tell = Instant::now() + TELL_EVERY;
        Ok(())
    }

    /// Tells progress without rows.
    async fn tell(&mut self) -> Result<()> {
        self.tell = Instant::now() + TELL_EVERY;
        let position = self.reader.position();
        if position != self.told {
            let permit = self.emitter.ready().await?;
            permit.send(self.builder.finish(self.partition.clone(), Some(position.clone())));
            self.told = position;
        }
        Ok(())
    }

    /// Hands over the pages that the log has passed. Not before everything that was read of the log has been handed over.
    async fn pages(&mut self) -> Result<()> {
        if !self.builder.is_empty() {
            return Ok(());
        }
        let Some(backfill) = &mut self.backfill else { return Ok(()) };
        let position = self.reader.position();
        while backfill.is_passed(&position) {
            let permit = self.emitter.ready().await?;
            if let Some(batch) = backfill.take(self.partition.clone(), &position)? {
                permit.send(batch);
                self.told = position.clone();
            }
        }
        if let Some(backfill) = self.backfill.take_if(|backfill| backfill.is_done()) {
            self.reader.note_transactions(false);
            backfill.into_snapshot().close().await?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let read = self.backfill.is_none() && self.builder.is_empty();
        let passed = |target: &dyn Moment| target.is_passed_by(&self.reader.position());
        read && (self.only_snapshot || self.target.as_deref().is_some_and(passed))
    }

    /// Tells the operator what delivery waits for.
    fn note(&mut self) {
        let backfill = self.backfill.as_ref().and_then(|backfill| backfill.obstacle().map(str::to_owned));
        let obstacle = backfill.or_else(|| self.source.obstacle());
        if obstacle != self.noted {
            self.cx.note(obstacle.clone());
            self.noted = obstacle;
        }
    }
}

/// Goes on reading pages, if there are some to be read.
async fn read(backfill: &mut Option<Backfill>, source: &dyn WalSource) -> Result<()> {
    match backfill {
        Some(backfill) => backfill.read(source).await,
        None => std::future::pending().await,
    }
}
