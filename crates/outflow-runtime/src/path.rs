//! The path of a batch: transforms, format, sink. One task; batches in order of emission.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use outflow_sdk::{
    Ack, AckPort, BatchEdit, ChangeBatch, Checkpoint, Error, Format, Op, RecordBatch, RecordPool, Result,
    SchemaFingerprint, Scope, Seq, Sink, SinkKind, Transform, TransformContext,
};

use crate::backoff::Backoff;
use crate::dead_letter::{Policy, Stage, named};
use crate::intake::Intake;
use crate::lease::Guard;
use crate::ledger::{Ledger, Payload};
use crate::options::PipelineOptions;
use crate::probe;
use crate::status::Meter;

/// A sink with what it needs in front of it.
pub(crate) enum Outlet {
    Changes(Box<dyn Sink>),
    Records(Box<dyn Sink<RecordBatch>>, Encoder),
}

impl Outlet {
    pub(crate) fn new(kind: SinkKind, format: Option<Box<dyn Format>>) -> Result<Self> {
        match (kind, format) {
            (SinkKind::Changes(sink), _) => Ok(Self::Changes(sink)),
            (SinkKind::Records(sink), Some(format)) => Ok(Self::Records(sink, Encoder::new(format))),
            (SinkKind::Records(_), None) => Err(Error::configuration("config.missing_format")
                .message("this sink takes records and the pipeline has no format")
                .hint("name one, for example   format: json")),
            (_, _) => {
                Err(Error::internal("sink.kind").message("a kind of sink that this runtime does not know"))
            }
        }
    }

    pub(crate) async fn open(&mut self, cx: outflow_sdk::SinkContext) -> Result<Option<Checkpoint>> {
        match self {
            Self::Changes(sink) => sink.open(cx).await,
            Self::Records(sink, _) => sink.open(cx).await,
        }
    }

    async fn flush(&mut self) -> Result<()> {
        match self {
            Self::Changes(sink) => sink.flush().await,
            Self::Records(sink, _) => sink.flush().await,
        }
    }

    async fn commit(&mut self, delta: &outflow_sdk::CheckpointDelta) -> Result<()> {
        match self {
            Self::Changes(sink) => sink.commit(delta).await,
            Self::Records(sink, _) => sink.commit(delta).await,
        }
    }

    pub(crate) async fn close(self) -> Result<()> {
        match self {
            Self::Changes(sink) => sink.close().await,
            Self::Records(sink, _) => sink.close().await,
        }
    }

    async fn write(&mut self, payload: &Payload, ack: Ack) -> Result<()> {
        match (self, payload) {
            (Self::Changes(sink), Payload::Changes(batch)) => sink.write(batch, ack).await,
            (Self::Records(sink, _), Payload::Records(batch)) => sink.write(batch, ack).await,
            _ => Err(Error::internal("sink.payload").message("the payload is not what this sink takes")),
        }
    }
}

/// A format with its buffers.
pub(crate) struct Encoder {
    format: Box<dyn Format>,
    known: HashSet<SchemaFingerprint>,
    pool: RecordPool,
}

impl Encoder {
    fn new(format: Box<dyn Format>) -> Self {
        Self { format, known: HashSet::new(), pool: RecordPool::new() }
    }

    /// Makes records of a batch. Events that the format refuses are named.
    async fn encode(&mut self, batch: &Arc<ChangeBatch>) -> Result<(Arc<RecordBatch>, Vec<(u32, Error)>)> {
        let new: Vec<_> =
            batch.schemas().filter(|s| !self.known.contains(&s.fingerprint())).cloned().collect();
        if !new.is_empty() {
            self.format.prepare(&new).await?;
            self.known.extend(new.iter().map(|s| s.fingerprint()));
        }
        let mut out = self.pool.writer();
        let mut refused = Vec::new();
        for (index, event) in batch.iter().enumerate() {
            let before = out.len();
            match self.format.encode(event, &mut out) {
                Ok(()) => {}
                Err(error) if error.scope_of() == Scope::Events => {
                    // An event goes whole or not at all.
                    out.truncate(before);
                    refused.push((index as u32, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((Arc::new(out.finish(Arc::clone(batch))), refused))
    }
}

/// One attempt's path.
pub(crate) struct Path {
    pub(crate) intake: Arc<Intake>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) lease: Guard,
    pub(crate) options: PipelineOptions,
    pub(crate) transforms: Vec<Box<dyn Transform>>,
    pub(crate) cx: TransformContext,
    pub(crate) outlet: Outlet,
    /// The sink holds the checkpoint: this task commits it there.
    pub(crate) transactional: bool,
    pub(crate) fingerprint: Option<String>,
}

impl Path {
    /// Carries batches until the intake is closed and empty, then flushes the sink and hands it back.
    pub(crate) async fn run(mut self) -> Result<Outlet> {
        if self.transactional {
            return self.run_transactional().await;
        }
        while let Some((seq, batch)) = self.intake.next().await {
            self.carry(seq, batch).await?;
        }
        self.flush().await?;
        Ok(self.outlet)
    }

    /// Commit = resolve acks, `commit(delta)`, release: one destination transaction an interval.
    async fn run_transactional(mut self) -> Result<Outlet> {
        let mut due: Option<Instant> = None;
        loop {
            let next = match due {
                Some(at) => tokio::time::timeout_at(at.into(), self.intake.next()).await.ok(),
                None => Some(self.intake.next().await),
            };
            match next {
                Some(Some((seq, batch))) => {
                    self.carry(seq, batch).await?;
                    due.get_or_insert_with(|| Instant::now() + self.options.checkpoint_interval);
                    let (_, unstored) = self.ledger.retained();
                    if unstored >= self.options.max_replay.as_usize() / 2 {
                        due = Some(Instant::now());
                    }
                }
                Some(None) => {
                    self.commit().await?;
                    return Ok(self.outlet);
                }
                None => {
                    self.commit().await?;
                    due = None;
                }
            }
        }
    }

    async fn commit(&mut self) -> Result<()> {
        self.flush().await?;
        // Every ack is resolved now; refusals are seen to before they are committed over.
        while !self.ledger.is_settled() {
            self.ledger.changed().await;
            settle(&self.ledger, &self.policy).await?;
        }
        let mut progress = self.ledger.collect();
        if progress.is_empty() {
            return Ok(());
        }
        if let Some(fingerprint) = self.fingerprint.take() {
            progress.delta.set_fingerprint(fingerprint);
        }
        self.lease.live().await?;
        let _probe = probe::enter(probe::Phase::Checkpoint).await;
        // Invariant 1: the sink's commit makes data and checkpoint durable in one step; then the release.
        self.outlet.commit(&progress.delta).await?;
        self.meter.stored(&progress.delta);
        self.ledger.stored(&progress);
        self.intake.publish(&progress.releases);
        probe::released(progress.batches, progress.events);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let mut backoff = Backoff::new(self.options.max_backoff);
        loop {
            match self.outlet.flush().await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_transient() => pause(&self.meter, &mut backoff, &error).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn carry(&mut self, seq: Seq, mut batch: ChangeBatch) -> Result<()> {
        probe::taken().await;
        let received = batch.len();
        self.refuse_undecodable_and_huge(&mut batch);
        for transform in &mut self.transforms {
            let mut edit = BatchEdit::new(&mut batch);
            transform.apply(&mut edit, &mut self.cx)?;
        }
        if batch.len() < batch.built_len() {
            let referenced = batch.referenced();
            self.ledger.shrink(seq, if batch.is_empty() { 0 } else { referenced });
            // Invariant 7: one event that stays must not pin a whole arena.
            if referenced * 4 < batch.charge() {
                batch.compact();
            }
        }
        if batch.rejected().len() > 0 {
            // What the source could not decode was refused by the runtime itself.
            let stage = |op| if op == Op::Undecodable { Stage::Source } else { Stage::Transform };
            let first = batch.rejected().next().map_or(Stage::Transform, |(event, _)| stage(event.op()));
            self.policy.refuse(first, batch.rejected()).await?;
        }
        let refused = batch.rejected().len();
        self.meter.filtered(received.saturating_sub(batch.len() + refused) as u64);
        if batch.is_empty() {
            // Invariant 2: filtered to nothing, the batch still carries its position.
            drop(batch);
            probe::offered().await;
            self.ledger.finish(seq);
            return Ok(());
        }
        self.ledger.recharge(seq, batch.charge());
        let events = batch.len();
        let batch = Arc::new(batch);
        let payload = match &mut self.outlet {
            Outlet::Changes(_) => Payload::Changes(batch),
            Outlet::Records(_, encoder) => {
                let (records, refused) = encoder.encode(&batch).await?;
                if !refused.is_empty() {
                    self.policy.refuse(Stage::Format, named(&batch, &refused)).await?;
                }
                self.ledger.recharge(seq, batch.charge() + records.charge());
                if records.is_empty() {
                    probe::offered().await;
                    self.ledger.finish(seq);
                    return Ok(());
                }
                Payload::Records(records)
            }
        };
        self.policy.fine(events);
        self.deliver(seq, payload, events).await
    }

    fn refuse_undecodable_and_huge(&self, batch: &mut ChangeBatch) {
        let limit = self.options.max_row_bytes.as_usize();
        let may_be_huge = batch.content_bytes() > limit;
        if !may_be_huge && !batch.iter().any(|e| e.op() == Op::Undecodable) {
            return;
        }
        let mut edit = BatchEdit::new(batch);
        for index in 0..edit.len() {
            let Some(event) = edit.get(index) else { break };
            let size = if may_be_huge { event.size() } else { 0 };
            let error = if event.op() == Op::Undecodable {
                let message = event.message();
                let code = message.and_then(|m| m.kind()).unwrap_or("source.undecodable");
                Error::data(code.to_owned()).message("the source sent something that could not be decoded")
            } else if size > limit {
                Error::data("pipeline.row_too_large")
                    .message(format!("a row of {size} bytes is above max_row_bytes ({limit})"))
                    .hint(
                        "raise max_row_bytes, or let such rows go to the dead letters: on_error: dead-letter",
                    )
            } else {
                continue;
            };
            edit.reject(index, error);
        }
    }

    /// Offers a batch until the sink takes it.
    async fn deliver(&mut self, seq: Seq, payload: Payload, events: usize) -> Result<()> {
        let mut backoff = Backoff::new(self.options.max_backoff);
        probe::offered().await;
        loop {
            // Invariant 3: behind a batch that failed nothing more is sent.
            if let Some(error) = self.ledger.take_failure() {
                return Err(error);
            }
            // Invariant 12: without a live lease nothing is written.
            self.lease.live().await?;
            let token = self.ledger.offer(seq, &payload, events);
            let port: Arc<dyn AckPort> = Arc::clone(&self.ledger) as _;
            match self.outlet.write(&payload, Ack::new(port, token)).await {
                Ok(()) => {
                    self.ledger.arm(token);
                    if backoff.attempt() > 0 {
                        self.meter.recovered();
                    }
                    return Ok(());
                }
                Err(error) if error.is_transient() => pause(&self.meter, &mut backoff, &error).await,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Notes what does not work, and waits before the next try.
pub(crate) async fn pause(meter: &Meter, backoff: &mut Backoff, error: &Error) {
    let pause = backoff.next();
    meter.retry(error, backoff.attempt(), pause);
    tokio::time::sleep(pause).await;
}

/// Sees to failed acks and to events that the sink refused.
///
/// # Errors
/// That of a failed ack, which rewinds the task, or that of the policy.
pub(crate) async fn settle(ledger: &Ledger, policy: &Policy) -> Result<()> {
    if let Some(error) = ledger.take_failure() {
        return Err(error);
    }
    for refused in ledger.take_refused() {
        if let Some(batch) = refused.payload.as_ref().and_then(Payload::source) {
            policy.refuse(Stage::Sink, named(batch, &refused.bad)).await?;
        }
        ledger.finish(refused.seq);
    }
    Ok(())
}
